"""What a pipeline declares: its steps with their guards and its gates, and where in the source each stands."""

import ast
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightcrew.pipeline.chain import Step

if TYPE_CHECKING:
    from nightcrew.pipeline import Pipeline


@dataclass(frozen=True)
class DeclaredStep:
    """One step. ``attempts`` are tries in all; ``fallbacks`` the names of the later levels."""

    name: str
    function: str
    attempts: int
    timeout: float | None
    fallbacks: tuple[str, ...]
    breaker: bool
    path: Path | None
    line: int


@dataclass(frozen=True)
class DeclaredGate:
    """One gate. ``confidence`` is the threshold below which it holds; ``rule``: a function says what it holds."""

    name: str
    confidence: float | None
    sample: float
    rule: bool


@dataclass(frozen=True)
class Declared:
    """A pipeline as it is declared; ``line`` is where, 0 if that was not found."""

    name: str
    line: int
    steps: tuple[DeclaredStep, ...]
    gates: tuple[DeclaredGate, ...]


def declared(pipeline: "Pipeline", path: Path, variable: str) -> Declared:
    """What ``pipeline``, the variable of the file ``path``, declares."""
    functions = iter(pipeline._functions)
    steps, gates = [], []
    for stage in pipeline._stages:
        if isinstance(stage, Step):
            steps.append(_step(stage, next(functions)))
        else:
            gate = stage.gate
            if gate._reason is not None:
                next(functions)
            gates.append(DeclaredGate(stage.name, gate.confidence, gate.sample, gate._reason is not None))
    return Declared(pipeline.name, _line(path, variable), tuple(steps), tuple(gates))


def _step(stage: Step, function: Callable[..., Any]) -> DeclaredStep:
    guard: Any = getattr(stage.call.attempt, "__self__", None)
    code = getattr(function, "__code__", None)
    name = str(getattr(function, "__name__", stage.name))
    return DeclaredStep(
        name=stage.name,
        function=name,
        attempts=guard._retry.attempts if guard is not None else 1,
        timeout=guard._timeout if guard is not None else None,
        fallbacks=tuple(level.name for level in guard._levels) if guard is not None else (),
        breaker=guard is not None and guard._breaker is not None,
        path=Path(code.co_filename).resolve() if code is not None else None,
        line=code.co_firstlineno if code is not None else 0,
    )


def _line(path: Path, variable: str) -> int:
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return 0
    for node in tree.body:
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if any(isinstance(target, ast.Name) and target.id == variable for target in targets):
            return node.lineno
    return 0
