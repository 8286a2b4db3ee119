"""nightcrew drill."""

import difflib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nightcrew.cli.output import OPTIONS, clean, say, show_json, table
from nightcrew.model.errors import NightcrewError, NotFoundError, UsageError

if TYPE_CHECKING:
    from nightcrew.readiness.drills.place import Given
    from nightcrew.readiness.drills.protocol import Drill, Result
    from nightcrew.readiness.target import Target

drill_app = typer.Typer(add_completion=False)
APPS = {"drill": drill_app}
CANNOT = 4
_MARKS = {"passed": "passed", "failed": "FAILED", "error": "error", "not_applicable": "not applicable"}


@drill_app.command(epilog="Example: nightcrew drill kill-mid-step --target app.py:fraud --input sample.jsonl")
def drill(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="drills, by name")] = None,
    every: Annotated[bool, typer.Option("--all", help="every drill that can be done on the target")] = False,
    listed: Annotated[bool, typer.Option("--list", help="list the drills and what each proves")] = False,
    target: Annotated[
        str, typer.Option(help="APP.py:NAME, a pipeline; a folder, its crew; default: the crew of this repository")
    ] = "",
    input_: Annotated[Path | None, typer.Option("--input", help="a sample of records for a pipeline, .jsonl")] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(help="a file or folder that the code reads and that is not to be copied; may be given again"),
    ] = None,
    env: Annotated[
        list[str] | None, typer.Option(help="name of an environment variable that the code needs; may be given again")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="leave the copy where it is, to look at")] = False,
    seconds: Annotated[float, typer.Option(min=1, help="time limit of one drill")] = 180.0,
    game_day: Annotated[
        float | None,
        typer.Option(
            min=0.1, max=600, metavar="MINUTES", help="faults at random times into work that goes on, for so long"
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="hold a game day again as it was")] = None,
) -> int:
    """Inject faults into an isolated copy, and say what happened; what is live is not touched."""
    from nightcrew.readiness.target import resolve

    if listed:
        found = resolve(target, OPTIONS.repo) if target else None
        return _list(found)
    if game_day is not None and (names or every):
        raise UsageError("a game day chooses its faults itself", hint="Leave out --all and names of drills.")
    if not names and not every and game_day is None:
        raise UsageError("no drill is named", hint="Name some, or say --all; see them with: nightcrew drill --list")
    found = _drillable(resolve(target, OPTIONS.repo))
    given = _given(input_, data or [], env or [])
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _ended)  # So that the copy is removed, and what runs in it ended.
    if game_day is not None:
        from nightcrew.cli.game_day import hold

        return hold(found, minutes=game_day, seed=seed, given=given, keep=keep)
    chosen = _chosen(found, () if every else tuple(names or ()))
    results: list[Result] = []
    not_kept: NightcrewError | None = None
    for one in chosen:
        result, problem = _done(one, found, seconds, given, keep)
        results.append(result)
        not_kept = not_kept or problem
        if not OPTIONS.json:
            _say(result, problem)
    status = _told(results, all_of_them=every)
    if not_kept is not None:
        raise not_kept  # What was seen is told, though it cannot be stored, and so proves nothing.
    return status


def _drillable(target: "Target") -> "Target":
    """The target, if anything can be drilled on it: said once, before the first copy is made."""
    from nightcrew.readiness.target import CodeTarget, CrewTarget, PipelineTarget

    if isinstance(target, CrewTarget):
        target.project.store.require_ours()  # Before minutes of drills whose results could not be kept.
    if isinstance(target, CodeTarget):
        raise UsageError(
            "a drill needs a pipeline, or a crew: plain code is read, never run",
            hint="Declare a nightcrew.Pipeline in it, and name it: --target APP.py:NAME",
        )
    if isinstance(target, PipelineTarget):
        _ = target.pipeline  # Its module is imported for its state in any case.
    return target


class _Ended(SystemExit):
    """Raised when the command is told to end: no exit of the user's code."""


def _ended(number: int, _frame: object) -> None:
    raise _Ended(128 + number)


def _given(sample: Path | None, data: list[Path], variables: list[str]) -> "Given":
    from nightcrew.readiness.drills.place import Given

    if sample is not None and not sample.is_file():
        raise UsageError(f"there is no file {sample}", hint="--input names a file of records.")
    if missing := [path for path in data if not path.exists()]:
        raise UsageError(f"there is no {missing[0]}", hint="--data names a file or folder that the code reads.")
    if unset := [name for name in variables if name not in os.environ]:
        raise UsageError(f"the variable {unset[0]} is not set", hint="--env names a variable of this environment.")
    return Given(sample and sample.absolute(), tuple(path.absolute() for path in data), tuple(variables))


def _chosen(target: "Target", names: Sequence[str]) -> "list[Drill]":
    from nightcrew.readiness import drills
    from nightcrew.readiness.drills import own

    users: dict[str, Drill] = {one.name: one for one in own.found(target)}
    kind = drills.kind(target)
    if unknown := [name for name in names if name not in (*drills.names(), *users)]:
        near = difflib.get_close_matches(unknown[0], (*drills.names(), *users), n=1)
        said = f"Did you mean {near[0]}? " if near else ""
        raise NotFoundError(f"there is no drill {unknown[0]}", hint=f"{said}See them with: nightcrew drill --list")
    wanted = names or (*(name for name, modules in drills.CATALOGUE.items() if kind in modules), *users)
    return [users[name] if name in users else drills.for_target(name, target) for name in wanted]


def _done(
    drill: "Drill", target: "Target", seconds: float, given: "Given", keep: bool
) -> "tuple[Result, NightcrewError | None]":
    """What came of a drill, and why it cannot be stored, if it cannot."""
    from nightcrew.readiness.drills import running

    def tell(text: str) -> None:
        if keep or not OPTIONS.json:  # Where the copy is left is told in any case.
            sys.stderr.write(f"  {clean(text)}\n")

    if not OPTIONS.json:
        sys.stderr.write(clean(f"{drill.name}: {drill.title}\n"))
    result = running.run(drill, target, seconds=seconds, given=given, keep=keep, tell=tell)
    if result.outcome == "not_applicable":
        return result, None
    try:
        return running.keep_result(target, result), None
    except NightcrewError as error:
        return result, error


def _told(results: "list[Result]", *, all_of_them: bool) -> int:
    if OPTIONS.json:
        show_json([result.plain() for result in results])
    else:
        say(_counted(results))
    outcomes = {result.outcome for result in results}
    if "failed" in outcomes:
        return 1
    if "error" in outcomes or (outcomes == {"not_applicable"}) or ("not_applicable" in outcomes and not all_of_them):
        return CANNOT
    return 0


def _say(result: "Result", problem: NightcrewError | None) -> None:
    say(f"{result.drill}: {_MARKS[result.outcome]}")
    if result.outcome == "not_applicable":
        say(f"  {result.happened}")
        say()
        return
    _line("injected", result.injected)
    _line("expected", result.expected)
    _line("happened", result.happened)
    if result.outcome == "error" and (hint := result.evidence.get("hint")):
        _line("hint", hint)
    if result.stood_in:
        _line("stood in", result.stood_in)
    times = [
        f"{what} after {seconds:.2f} s"
        for what, seconds in (("detected", result.detected_seconds), ("recovered", result.recovered_seconds))
        if seconds is not None
    ]
    _line("took", ", ".join([*times, f"{result.seconds:.1f} s in all"]))
    if result.entry is not None:
        _line("evidence", f"entry {result.entry} of the ledger")
    if problem is not None:
        _line("not kept", str(problem))
    say()


def _line(name: str, text: str) -> None:
    """What the user's code said may have several lines: none of them passes for one of ours."""
    say(f"  {name:<11}" + text.replace("\n", "\n" + " " * 13))


def _counted(results: "list[Result]") -> str:
    counts = {name: sum(result.outcome == name for result in results) for name in _MARKS}
    return ", ".join(f"{count} {_MARKS[name].lower()}" for name, count in counts.items() if count) or "No drills."


def _list(target: "Target | None") -> int:
    from nightcrew.readiness import drills
    from nightcrew.readiness.drills import own

    rows = []
    for name in drills.names():
        variants = drills.variants(name)
        one = variants[0] if target is None else drills.for_target(name, target)
        on = sorted({kind for variant in variants for kind in variant.on})
        reason = "" if target is None else drills.why_not(one, target)
        rows.append((name, one.title, on, list(one.boxes), reason))
    rows += [(one.name, one.title, ["pipeline"], list(one.boxes), "") for one in (own.found(target) if target else ())]
    if OPTIONS.json:
        keys = ("name", "proves", "on", "boxes", "why_not")
        show_json([dict(zip(keys, row, strict=True)) for row in rows])
        return 0
    headings = ("drill", "proves", "on", "boxes", *(["not here, because"] if target else []))
    cells = [
        (name, title, ", ".join(on), ", ".join(boxes), *([why] if target else []))
        for name, title, on, boxes, why in rows
    ]
    table(headings, cells, empty="There are no drills.")
    return 0
