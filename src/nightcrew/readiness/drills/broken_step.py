"""Break a step of the application's code, and run its own tests: tests that do not notice are worth nothing."""

import ast
import importlib.util
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightcrew.readiness.boxes import Box
from nightcrew.readiness.drills.protocol import NotApplicable, Observed, On, Place
from nightcrew.readiness.outside_code import around
from nightcrew.readiness.target import PipelineTarget, Target

if TYPE_CHECKING:
    from nightcrew.pipeline import Pipeline

_BROKEN = 'raise RuntimeError("this step was broken by a drill")'
_MOST = 4
_SHARE = 0.9
"""The part of the drill's time that the tests may take; the rest is for what is around them."""
_COUNTS = re.compile(r"(\d+) (passed|failed|errors?)")


@dataclass(frozen=True)
class BrokenStep:
    """See ``Drill``."""

    name: str = "broken-step"
    title: str = "the tests notice when a step is broken"
    boxes: tuple[Box, ...] = (Box.TESTS,)
    on: frozenset[On] = frozenset({"pipeline"})
    injects: str = "in the copy, a step's function does nothing but raise an error; one step after the other"
    expects: str = "the application's own tests pass before, and fail for each step that is broken"

    def applies(self, target: Target) -> str:
        """See ``Drill``."""
        if not _tests(target):
            return "no test in the application's folder imports it"
        if importlib.util.find_spec("pytest") is None:
            return "pytest is not installed where nightcrew is"
        return ""

    def run(self, place: Place) -> Observed:
        """See ``Drill``."""
        tests = [str(path) for path in _tests(place.target)]
        answer = place.child(f"{__name__}:inject", {"tests": tests, "root": str(place.root), "seconds": place.left()})
        if answer["before"]["status"] not in (0, 1):
            raise NotApplicable(f"the tests cannot be run in the copy: {answer['before']['said']}")
        wrong = []
        if answer["before"]["status"] == 1:
            wrong.append(f"the tests fail before anything is broken: {answer['before']['said']}")
        if cut := [one for one in answer["broken"] if one["status"] not in (0, 1)]:
            raise NotApplicable(
                f"with {cut[0]['step']} broken the tests came to no end that says anything: {cut[0]['said']}; give them"
                " more time with --seconds, or look at them with --keep"
            )
        wrong += [
            f"the step {one['step']} does nothing but raise an error, and the tests still pass ({one['said']})"
            for one in answer["broken"]
            if one["status"] == 0
        ]
        if not answer["broken"] and not wrong:
            raise NotApplicable("no step is a function in the application's own files")
        said = "; ".join(f"with {one['step']} broken: {one['said']}" for one in answer["broken"])
        detected = max((one["seconds"] for one in answer["broken"]), default=None)
        return Observed(
            not wrong, "; ".join(wrong) or f"{said}; before: {answer['before']['said']}", detected, None, answer
        )


def inject(pipeline: "Pipeline", spec: Mapping[str, Any]) -> dict[str, Any]:
    """In the child: run the tests as they are, then with one step broken after the other."""
    from nightcrew.readiness.declared import declared

    root = Path(spec["root"]).resolve()
    end = time.monotonic() + float(spec["seconds"]) * _SHARE
    answer: dict[str, Any] = {"before": _tested(spec["tests"], root, end), "broken": []}
    if answer["before"]["status"] != 0:
        return answer
    for step in declared(pipeline, root, "").steps[:_MOST]:
        if step.path is None or not step.path.is_relative_to(root):
            continue
        whole = step.path.read_text(encoding="utf-8")
        broken = without_body(whole, step.line)
        if broken is None:
            continue
        step.path.write_text(broken, encoding="utf-8")
        try:
            answer["broken"].append({"step": step.name, **_tested(spec["tests"], root, end)})
        finally:
            step.path.write_text(whole, encoding="utf-8")
    return answer


def without_body(source: str, line: int) -> str | None:
    """The source with the function that begins at ``line`` (its first decorator, too) broken; None if there is none."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
            lines, body = source.splitlines(keepends=True), node.body[0]
            # What stands on the line of a signature's end cannot be taken out by lines.
            alone = not lines[body.lineno - 1].encode()[: body.col_offset].strip()
            if first <= line <= node.lineno and body.lineno > node.lineno and alone:
                end = node.body[-1].end_lineno or node.lineno
                lines[body.lineno - 1 : end] = [" " * body.col_offset + _BROKEN + "\n"]
                return "".join(lines)
    return None


def _tested(tests: list[str], root: Path, end: float) -> dict[str, Any]:
    began = time.monotonic()
    limit = max(1.0, end - began)
    argv = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--no-header", *tests]
    try:
        done = subprocess.run(argv, cwd=root, capture_output=True, text=True, timeout=limit, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return {"status": 124, "said": f"they did not end within {limit:.0f} s", "seconds": limit}
    last = done.stdout.splitlines()[-1:] or [""]
    counts = ", ".join(f"{count} {what}" for count, what in _COUNTS.findall(last[0]))
    said = counts or f"{done.stdout}\n{done.stderr}".strip()[-300:]
    # 2: a module could not be collected, which is how a step that runs at import is noticed.
    status = 1 if done.returncode == 2 and counts else done.returncode
    return {"status": status, "said": said, "seconds": time.monotonic() - began}


def _tests(target: Target) -> list[Path]:
    if not isinstance(target, PipelineTarget):
        return []
    found = around(target.root, {target.path.stem}).tests
    return [path for path in found if path.is_relative_to(target.root)]


DRILL = BrokenStep()
