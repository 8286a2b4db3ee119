"""Every drill is seen to fail: a test breaks what it is about, and says so with the mark ``sabotages``."""

import ast
from pathlib import Path

from nightcrew.readiness.drills import CATALOGUE

TESTS = Path(__file__).parents[1]


def sabotaged() -> set[str]:
    """The modules of drills that the marks of tests name."""
    found: set[str] = set()
    for path in TESTS.rglob("test_drill*.py"):
        for test in ast.walk(ast.parse(path.read_text())):
            if isinstance(test, ast.FunctionDef) and test.name.startswith("test_"):
                for mark in test.decorator_list:
                    if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.sabotages":
                        found |= {ast.literal_eval(name) for name in mark.args}
    return found


def test_each_drill_has_a_test_that_sees_it_fail() -> None:
    drills = {module for modules in CATALOGUE.values() for module in modules.values()}
    assert sabotaged() >= drills, f"nothing breaks what these are about: {sorted(drills - sabotaged())}"
    assert sabotaged() <= drills, f"there are no such drills: {sorted(sabotaged() - drills)}"
