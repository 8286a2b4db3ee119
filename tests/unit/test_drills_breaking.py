"""What a broken change breaks: what tests call, while everything imports as before."""

import ast

from nightcrew.readiness.drills import breaking

SOURCE = '''
import functools

LIMIT = 3


def largest():
    """Called while the module is imported."""
    return helper()


def helper():
    return LIMIT


TOP = largest()


def double(number):
    return 2 * number


class Box:
    def put(
        self,
        thing,
    ):
        return thing

    def peek(
        self,
    ): return None

    async def take(self):
        """Give it."""
        return self
'''
TESTS = """
from thing import Box, double, largest, helper

def put_away():
    Box().peek()

def test_double():
    assert double(2) == 4
    assert largest() == helper()

class TestBox:
    def test_put(self):
        assert Box().put(double(1)) == 2
        Box().peek()
"""


def test_what_most_tests_name_is_broken_and_nothing_that_importing_needs() -> None:
    broken = breaking.called({"thing.py": SOURCE}, {"test_thing.py": TESTS})
    assert broken is not None
    assert broken.what == "double and put of the code do nothing but raise an error"
    text = broken.files["thing.py"]
    ran: dict[str, object] = {}
    exec(compile(text, "thing.py", "exec"), ran)
    assert ran["TOP"] == 3
    assert text.count("raise RuntimeError") == 2
    assert ast.unparse(ast.parse(text)).count("return self") == 1


def test_tests_that_name_no_function_leave_nothing_to_break() -> None:
    assert breaking.called({"thing.py": SOURCE}, {"test_thing.py": "def test_it():\n    assert 1 + 1 == 2\n"}) is None
    assert breaking.called({"thing.py": "def ("}, {"test_thing.py": TESTS}) is None
    assert breaking.called({}, {}) is None


def test_code_of_other_languages_ends_with_what_is_none() -> None:
    files = {"a.js": "let a = 1", "b.js": ""}
    broken = breaking.unloadable(files)
    assert broken.files["a.js"].startswith("let a = 1\n")
    assert all(text.endswith("(((\n") for text in broken.files.values())
    assert breaking.is_source("web/a.ts", "node")
    assert not breaking.is_source("web/a.go", "node")
    assert breaking.is_source("src/a.c", "make")
    assert not breaking.is_source("README.md", "unknown")


def test_a_module_that_does_not_import_is_python_all_the_same() -> None:
    broken = breaking.unimportable({"thing.py": SOURCE.rstrip()}, "thing.py")
    assert ast.parse(broken.files["thing.py"]).body[-1].__class__ is ast.Raise


def test_tests_are_told_by_the_paths_that_the_settings_name() -> None:
    paths = ("tests/*", "*_test.py")
    assert breaking.is_test("tests/deep/helper.py", paths)
    assert breaking.is_test("pkg/thing_test.py", paths)
    assert breaking.is_test("pkg/conftest.py", paths)
    assert not breaking.is_test("pkg/thing.py", paths)
