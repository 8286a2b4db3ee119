"""A run whose records fail: an alert fires, reaches a channel, and it and each failure lead to a runbook."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightcrew.readiness.boxes import Box
from nightcrew.readiness.drills import settings
from nightcrew.readiness.drills.judging import asked, judged, on_bench
from nightcrew.readiness.drills.protocol import Observed, On, Place
from nightcrew.readiness.drills.samples import known
from nightcrew.readiness.target import Target

if TYPE_CHECKING:
    from nightcrew.model.settings import Settings
    from nightcrew.pipeline import Pipeline
    from nightcrew.readiness.drills.bench import Bench
    from nightcrew.readiness.drills.injecting import Call

_WANTED = 80
_FEWEST = 60
"""Of fewer records in a window, nightcrew's own rules say nothing."""


@dataclass(frozen=True)
class FailingRecords:
    """See ``Drill``."""

    name: str = "failing-records"
    title: str = "when records fail a person is told, and told what to do"
    boxes: tuple[Box, ...] = (Box.MONITORING, Box.RUNBOOKS)
    on: frozenset[On] = frozenset({"pipeline"})
    injects: str = "every call of the steps fails for good: refused, missing, a bug; then one look at the alert rules"
    expects: str = (
        "an alert about the pipeline fires and its message reaches a channel; the alert, and each class of failure that"
        " was stored, has a runbook that says what to do"
    )

    def applies(self, target: Target) -> str:  # noqa: ARG002 - every pipeline has steps
        """See ``Drill``."""
        return ""

    def run(self, place: Place) -> Observed:
        """See ``Drill``."""
        answer = asked(place, f"{__name__}:inject", _WANTED)
        right = (
            f"the calls of {answer['records']} records failed ({', '.join(answer['failures']) or 'by fallback'});"
            f" one look later {', '.join(answer['fired'])} fired, a message arrived, and each leads to a runbook"
        )
        return judged(answer, answer["wrong"], right, detected=answer["detected"])


def inject(pipeline: "Pipeline", spec: Mapping[str, Any]) -> dict[str, Any]:
    """In the child: fail, look, and see what arrives."""
    sample = _enough(pipeline, known(pipeline, {**spec, "count": _WANTED}))
    if len(sample) < _FEWEST:
        need = f"the rules look at {_FEWEST} records and more: give as many with --input FILE"
        return {"not": f"{need} (there are {len(sample)}, and no copies can be made of them under other keys)"}
    return on_bench(pipeline, spec, lambda bench: _fail(bench, sample, Path(spec["root"])))


def _enough(pipeline: "Pipeline", sample: list[Any]) -> list[Any]:
    """The sample, and copies of its records under other keys if it is short; without a key, as they are."""
    key, made = pipeline.key, list(sample)
    if not sample or callable(key):
        return made
    if key is None:
        return (made * (_WANTED // len(made) + 1))[:_WANTED]
    numbers = [one[key] for one in sample if isinstance(one.get(key), int)]
    span = max(numbers) - min(numbers) + 1 if numbers else 0
    for number in range(1, _WANTED):
        made += [{**one, key: one[key] + span * number} for one in sample if isinstance(one.get(key), int)]
        made += [{**one, key: f"{one[key]}-{number}"} for one in sample if isinstance(one.get(key), str)]
    # Those that the contract does not take would not come to a step.
    return known(pipeline, {"samples": {"given": made, "last": {}}, "count": _WANTED})


def _fail(bench: "Bench", sample: list[Any], root: Path) -> dict[str, Any]:
    from nightcrew.monitoring.alerts.configured import SETTINGS_FILE, read_settings
    from nightcrew.monitoring.alerts.watch import Watcher
    from nightcrew.readiness.drills.injecting import Fault, http_error
    from nightcrew.readiness.drills.listening import Listener
    from nightcrew.store import alerts

    def decide(call: "Call") -> BaseException:
        refused = http_error(401, "invalid key (injected by a drill)")
        kinds = (refused, FileNotFoundError(2, "injected by a drill"), KeyError("injected by a drill"))
        return kinds[int(call.record[:4] or "0", 16) % len(kinds)]

    folder = bench.folder("failing")
    if (root / SETTINGS_FILE).is_file():
        settings.save(folder, _at_any_hour(settings.harmless(settings.load(root))))
    fault = Fault(decide)
    run = bench.work("failing", {step.name: fault for step in bench.steps}, sample)
    failures = sorted({one["kind"] for one in run["outcomes"] if one["kind"]})
    state, subject = bench.pipeline.state, f"pipeline:{bench.pipeline.name}"
    with Listener() as listener:
        _point(read_settings(folder / SETTINGS_FILE), f"json://127.0.0.1:{listener.port}/")
        began = time.monotonic()
        looked = Watcher(state.store, state.directory).look()
        detected = time.monotonic() - began
        told = list(listener.received)
    with state.store.read() as tx:
        fired = [one for one in alerts.open_ones(tx) if one.state != "pending" and one.subject.startswith(subject)]
    wrong = _wrong([one.rule for one in fired], [one.runbook for one in fired], told, failures, subject)
    if not fired and looked.problems:
        wrong.append(looked.problems[0])
    return {
        "records": run["records"], "failures": failures, "fired": [one.rule for one in fired], "messages": len(told),
        "runbooks": sorted({one.runbook for one in fired}), "wrong": wrong, "detected": detected,
    }  # fmt: skip


def _wrong(fired: list[str], runbooks: list[str], told: list[str], failures: list[str], about: str) -> list[str]:
    wrong = []
    if not fired:
        wrong.append("every record failed, and no alert fired: nobody would know")
    elif not any(about in text and rule in text for text in told for rule in fired):
        wrong.append(f"{', '.join(fired)} fired, and no message about it arrived at a channel")
    unhelped = [code for code in (*runbooks, *failures) if not _helps(code)]
    return [*wrong, *(f"{code} leads to no runbook that says what to do" for code in unhelped)]


def _helps(code: str) -> bool:
    from nightcrew.readiness import runbook

    if "://" in code:
        return True
    return runbook.exists(code) and bool(runbook.find(code).sections.get("Fix"))


def _at_any_hour(document: dict[str, Any]) -> dict[str, Any]:
    """Settings without quiet hours: what comes of the drill must not hang on when it is done."""
    alerts = document.get("alerts")
    if not isinstance(alerts, dict):
        return document
    kept = {name: value for name, value in alerts.items() if name not in ("quiet_from", "quiet_until")}
    return {**document, "alerts": kept}


def _point(found: "Settings", address: str) -> None:
    """Let every channel that names a variable lead to the listener."""
    for variable in (found.notify.urls_env, *(one.urls_env for one in found.channel if one.urls_env)):
        os.environ[variable] = address


DRILL = FailingRecords()
