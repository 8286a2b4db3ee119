"""The eight boxes of plain code, such as a prototype: read from its source, nothing is imported or run."""

from pathlib import Path

from nightcrew.readiness.boxes import Box
from nightcrew.readiness.calls import Calls, ExternalCall, find_calls, own_files
from nightcrew.readiness.looks import Look, relative
from nightcrew.readiness.outside_code import around, look_at_tests
from nightcrew.readiness.source import ENGINES, METRICS, Source, read

_CRITICAL = frozenset(("model", "prediction", "http", "cloud", "network"))


def look_at_code(path: Path, root: Path) -> dict[Box, Look]:
    """What the source of the program ``path`` says of each box."""
    files = own_files(path)
    calls, source = find_calls(root, files, entry=path), read(files, root, path)
    looks = {box: Look(box) for box in Box}
    here = relative(path, root)
    _inputs(looks[Box.INPUTS], source, here)
    look_at_calls(looks[Box.RETRIES], calls)
    _monitoring(looks[Box.MONITORING], source, here)
    _state(looks[Box.STATE], source, here)
    answers = [call for call in calls.found if call.kind in ("model", "prediction")]
    _reviews(looks[Box.REVIEWS], answers)
    _fallbacks(looks[Box.FALLBACKS], [call for call in calls.found if call.kind in _CRITICAL], source)
    found = around(root, {path.stem})
    look_at_tests(looks[Box.TESTS], found, path.stem, "APP.py:NAME", load=False)
    _runbooks(looks[Box.RUNBOOKS], [relative(one, found.top) for one in found.runbooks], calls, here)
    return looks


def look_at_calls(look: Look, calls: Calls) -> None:
    """Every call that leaves the program: the guard around it, or that there is none."""
    for call in calls.found:
        if not call.external:
            continue
        said = f"{call.what}, {call.place}"
        if call.unguarded:
            look.gap(
                f"{call.what} has no guard that tells transient from permanent: {call.way}",
                "Make it a step of a pipeline, or put @nc.guard or @nc.production on the function around it",
                call.path, call.line,
            )  # fmt: skip
        elif call.accepted:
            look.code(f"{said}: accepted without a guard, {call.accepted}")
        else:
            look.code(f"{said}: guarded by {call.guarded_by}")
        if call.hangs:
            look.gap(
                f"{call.what} is waited for in a loop without a time limit",
                "Give the client or the guard a timeout",
                call.path, call.line,
            )  # fmt: skip
    for unread in calls.unread:
        look.gap(f"it could not be read: {unread.why}", "Mend the file, so that its calls can be found", unread.path)
    if not look.gaps and not look.evidence:
        look.needless = f"no call leaves the program ({_files(calls.files)} read)"


def _inputs(look: Look, source: Source, here: str) -> None:
    fix = "Say what a record must be (a pydantic model), and give it to Pipeline(record=...) or guard(contract=...)"
    for spot in source.unchecked:
        look.gap(f"{spot.text} of whatever it is given: no contract has passed it", fix, spot.path, spot.line)
    if not source.unchecked:
        look.gap("no contract of its input was found", fix, here, 1)


def _monitoring(look: Look, source: Source, here: str) -> None:
    fix = "Make it a nightcrew.Pipeline: each step is measured, and alert rules with thresholds hold from the start"
    if used := sorted(source.imports & METRICS):
        look.code(f"it uses {', '.join(used)}")
        look.gap("no alert threshold is seen in it", fix, here, 1)
    elif source.prints:
        spot = source.prints[0]
        look.gap("what happens is printed and measured nowhere; nobody is told", fix, spot.path, spot.line)
    else:
        look.gap("nothing is measured, and nobody is told", fix, here, 1)


def _state(look: Look, source: Source, here: str) -> None:
    fix = "Run it as a nightcrew.Pipeline: each record's outcome is stored once, and the next run goes on from there"
    if used := sorted(source.imports & ENGINES):
        look.code(f"it uses {', '.join(used)}")
        return
    for spot in source.loops:
        look.gap(f"{spot.text}: if it dies here, the next run begins again at the first", fix, spot.path, spot.line)
    for spot in source.writes:
        look.gap(f"{spot.text}: nothing says which results are in it after a crash", fix, spot.path, spot.line)
    if not look.gaps:
        look.gap("nothing that was done is stored", fix, here, 1)


def _reviews(look: Look, answers: list[ExternalCall]) -> None:
    fix = "Put a gate after it: @pipeline.gate, or guard(gate=...), with the confidence below which a person looks"
    for call in answers:
        look.gap(f"what {call.what} says is used, however unsure it is", fix, call.path, call.line)
    if not answers:
        look.needless = "it uses no model's answer"


def _fallbacks(look: Look, critical: list[ExternalCall], source: Source) -> None:
    fix = "Give its guard or step a fallback=: a second model, a rule, a default that says so"
    for call in critical:
        at, name = (call.path, call.line), call.function.rpartition(".")[2]
        if at in source.tried or (call.path, name) in source.falls_back:
            look.code(f"{call.place}: something else is done when {call.what} fails")
        else:
            look.gap(f"when {call.what} fails, {call.function or 'the program'} fails with it", fix, *at)
    if not critical:
        look.needless = "it calls no model and no service"


def _runbooks(look: Look, runbooks: list[str], calls: Calls, here: str) -> None:
    if runbooks:
        look.file(f"{_files(len(runbooks))} of runbooks, such as {runbooks[0]}")
        return
    fix = "Write what each failure means and what to do; those of a nightcrew.Pipeline are written: nightcrew runbook"
    for call in calls.found:
        look.gap(f"no runbook says what to do when {call.what} fails", fix, call.path, call.line)
    if not calls.found:
        look.gap("no runbook says what to do when it fails", fix, here, 1)


def _files(count: int) -> str:
    return f"{count} {'file' if count == 1 else 'files'}"
