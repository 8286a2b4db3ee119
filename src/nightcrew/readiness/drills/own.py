"""Drills of the user's own: a small class in the application's code, run in the copy's child process."""

import ast
import importlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightcrew.model.errors import UsageError
from nightcrew.pipeline.drill import Drill
from nightcrew.readiness.boxes import Box
from nightcrew.readiness.drills import CATALOGUE
from nightcrew.readiness.drills.protocol import Observed, On, Place
from nightcrew.readiness.fingerprint import drilled_modules
from nightcrew.readiness.material import UNREADABLE
from nightcrew.readiness.target import PipelineTarget, Target

if TYPE_CHECKING:
    from nightcrew.pipeline import Pipeline

_TAKEN = frozenset((*CATALOGUE, "game-day"))
"""Names under which nightcrew keeps results of its own."""


@dataclass(frozen=True)
class OwnDrill:
    """A drill that was found in the user's code, as every other one."""

    name: str
    title: str
    boxes: tuple[Box, ...]
    injects: str
    expects: str
    module: str
    class_name: str
    on: frozenset[On] = frozenset({"pipeline"})

    def applies(self, target: Target) -> str:  # noqa: ARG002 - it was found in this target's code
        """See ``Drill``."""
        return ""

    def run(self, place: Place) -> Observed:
        """See ``Drill``."""
        from nightcrew.readiness.drills.samples import records_for

        spec = {"module": self.module, "class": self.class_name, "records": records_for(place)}
        answer: Mapping[str, Any] = place.child("nightcrew.readiness.drills.own:call", spec)
        return Observed(**answer)


def found(target: Target) -> list[OwnDrill]:
    """The drills in the code of a pipeline, in the order of their names; read from the source, nothing is run.

    Raises UsageError for one that names a box that there is not, or has the name of another drill.
    """
    if not isinstance(target, PipelineTarget):
        return []
    drills: dict[str, OwnDrill] = {}
    for drill in (one for path in drilled_modules(target.path, target.root) for one in _in(path, target.root)):
        if drill.name in _TAKEN or drill.name in drills:
            raise UsageError(
                f"{drill.module}.{drill.class_name}: there is another drill {drill.name}",
                hint='Give yours another name in its class: name = "..."',
            )
        drills[drill.name] = drill
    return sorted(drills.values(), key=lambda drill: drill.name)


def call(pipeline: "Pipeline", spec: Mapping[str, Any]) -> dict[str, Any]:
    """In the child: run one; gives the fields of an Observed."""
    drill: Drill = getattr(importlib.import_module(spec["module"]), spec["class"])()
    try:
        said: object = drill.run(pipeline, spec["records"])
    except AssertionError as error:
        return {"passed": False, "happened": str(error) or "an assertion of the drill failed, without a message"}
    if said is None:
        return {"passed": True, "happened": "what had to happen did"}
    if not isinstance(said, str):
        hint = "Assert what must have happened, and return a sentence about it, or nothing."
        raise UsageError(f"the drill returned {said!r:.200}, which says nothing of whether it passed", hint=hint)
    return {"passed": True, "happened": said}


def _in(path: Path, root: Path) -> Iterator[OwnDrill]:
    try:
        tree = ast.parse(path.read_bytes())
    except UNREADABLE:
        return
    names = _names(tree)
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and any(ast.unparse(base) in names for base in node.bases):
            yield _drill(node, path, root)


def _names(tree: ast.Module) -> set[str]:
    """What ``nightcrew.Drill`` is called in a module."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {f"{one.asname or one.name}.Drill" for one in node.names if one.name == "nightcrew"}
        elif isinstance(node, ast.ImportFrom) and node.module == "nightcrew":
            names |= {one.asname or one.name for one in node.names if one.name == "Drill"}
    return names


def _drill(node: ast.ClassDef, path: Path, root: Path) -> OwnDrill:
    said = {**dict.fromkeys(("name", "title", "injects", "expects"), ""), "boxes": (), **_constants(node)}
    name = said["name"] or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", node.name).lower()
    where = f"{path.relative_to(root)}:{node.lineno}"
    try:
        boxes = tuple(Box(box) for box in said["boxes"])
    except ValueError as error:
        raise UsageError(f"{where}: {error}", hint=f"The boxes are {', '.join(Box)}.") from None
    title = said["title"] or (ast.get_docstring(node) or name).split("\n")[0]
    module = ".".join(path.relative_to(root).with_suffix("").parts)
    return OwnDrill(name, title, boxes, said["injects"] or title, said["expects"] or title, module, node.name)


def _constants(node: ast.ClassDef) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for inner in node.body:
        targets: list[ast.expr] = []
        if isinstance(inner, ast.Assign):
            targets = inner.targets
        elif isinstance(inner, ast.AnnAssign) and inner.value is not None:
            targets = [inner.target]
        for name in targets:
            if isinstance(name, ast.Name) and isinstance(inner, ast.Assign | ast.AnnAssign) and inner.value:
                try:
                    found[name.id] = ast.literal_eval(inner.value)
                except ValueError:
                    continue
    return found
