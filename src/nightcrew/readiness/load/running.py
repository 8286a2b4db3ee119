"""Running a load test on an isolated copy of a pipeline, and keeping its curve."""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from nightcrew.model.clock import Clock, isoformat, system_clock
from nightcrew.model.errors import UsageError
from nightcrew.readiness.drills.place import Given, LocalPlace, made
from nightcrew.readiness.drills.protocol import NotApplicable
from nightcrew.readiness.drills.running import opened
from nightcrew.readiness.drills.samples import records_for
from nightcrew.readiness.load.curve import MOST_RECORDS, Climb, Plan, Step, knee, missed, why_no_more
from nightcrew.readiness.target import PipelineTarget, Target
from nightcrew.store import drills as stored

if TYPE_CHECKING:
    from nightcrew.store.drills import LoadRun

DRIVE = "nightcrew.readiness.load.driving:drive"
_ASIDE = 90.0
"""Seconds for what is not the load itself: loading the code, trying its steps, waiting for the last records."""
_POLL_SECONDS = 0.1
_MADE_UP = 200
INTERRUPTED = "it was interrupted"
_NO_PIPELINE = "a load test needs a pipeline"
_NAME_ONE = "Name one: nightcrew load APP.py:NAME --input FILE"


@dataclass(frozen=True)
class Load:
    """A load test, as it is stored. ``knee``: records a second; None if no rate held. ``steps``: the curve."""

    target: str
    started: datetime
    seconds: float
    plan: Plan
    steps: tuple[Step, ...]
    limit: float | None
    ended_by: str
    stood_in: str
    machine: Mapping[str, Any]
    settings: Mapping[str, Any]
    fingerprint: str
    entry: int | None = None
    """The number of the ledger's entry that holds it."""

    @property
    def knee(self) -> float | None:
        """The highest rate that held, in records a second."""
        return knee(list(self.steps))

    @property
    def capacity(self) -> float:
        """The most records a second that were stored at any rate."""
        return max((step.throughput for step in self.steps), default=0.0)

    @property
    def why_no_more(self) -> str:
        """Why the next rate did not hold; empty if every rate held."""
        return why_no_more(list(self.steps))

    @property
    def missed(self) -> Step | None:
        """The lowest rate above the knee that did not hold."""
        return missed(list(self.steps))

    @property
    def in_review(self) -> float:
        """Which part (0..1) of what was stored was held for a person to review."""
        stored = sum(step.stored for step in self.steps)
        return sum(step.states.get("in_review", 0) for step in self.steps) / stored if stored else 0.0

    def plain(self) -> dict[str, Any]:
        """As JSON has a form for."""
        return {
            "target": self.target, "started": isoformat(self.started), "seconds": self.seconds, "knee": self.knee,
            "capacity": round(self.capacity, 3), "why_no_more": self.why_no_more, "limit": self.limit,
            "ended_by": self.ended_by, "stood_in": self.stood_in, "machine": dict(self.machine),
            "settings": dict(self.settings), "plan": asdict(self.plan), "fingerprint": self.fingerprint,
            "steps": [step.plain() for step in self.steps], "entry": self.entry,
        }  # fmt: skip

    @classmethod
    def of(cls, run: "LoadRun") -> Self:
        """From what was stored."""
        doc = run.doc
        return cls(
            target=run.target, started=run.started, seconds=doc["seconds"], plan=Plan(**doc["plan"]),
            steps=tuple(Step.of(step) for step in doc["steps"]), limit=doc["limit"], ended_by=doc["ended_by"],
            stood_in=doc["stood_in"], machine=doc["machine"], settings=doc["settings"], fingerprint=run.fingerprint,
            entry=run.entry,
        )  # fmt: skip


def run(
    target: Target,
    plan: Plan,
    *,
    given: Given | None = None,
    stand_in_seconds: float = 0.0,
    keep: bool = False,
    tell: Callable[[str], None] = lambda _: None,
    seen: Callable[[Step], None] = lambda _: None,
    clock: Clock = system_clock,
) -> Load:
    """Drive a copy of the pipeline; ``seen`` is called with each step as it ends. Nothing is stored.

    Interrupted, it gives the rates that were over by then. Raises UsageError (no pipeline, no records, too many),
    ChildError (its code broke), KeyboardInterrupt (no rate was over), and what making the copy raises.
    """
    if not isinstance(target, PipelineTarget):
        raise UsageError(_NO_PIPELINE, hint=_NAME_ONE)
    climb = Climb(plan, target.pipeline.commit_seconds)
    if plan.rate * climb.length(plan.rate) > MOST_RECORDS:
        raise UsageError(f"{plan.rate:g} records a second are too many: a load test works {MOST_RECORDS:,} at most")
    given = given or Given()
    started, began = clock(), time.monotonic()
    fingerprint = target.fingerprint()
    steps: list[Step] = []
    with made(target, seconds=plan.total + _ASIDE, given=given, keep=keep, tell=tell) as place:
        spec = {
            "input": str(_input(place)), "steps": str(place.scratch / "steps.jsonl"), "plan": asdict(plan),
            "network": given.network, "stand_in_seconds": stand_in_seconds,
        }  # fmt: skip
        place.begin()
        answer: dict[str, Any] = {}
        try:
            for found in _driven(place, spec):
                if isinstance(found, Step):
                    steps.append(found)
                    climb.judge(found)
                    seen(found)
                else:
                    answer.update(found)
        except KeyboardInterrupt:
            if not steps:
                raise
            answer.update(limit=climb.limit, ended_by=INTERRUPTED)
        notes = [note for note in (answer["stood_in"], *place.notes) if note]
    settings = {name: answer[name] for name in ("concurrency", "commit_seconds", "sample")}
    return Load(
        target=target.label, started=started, seconds=round(time.monotonic() - began, 3), plan=plan,
        steps=tuple(steps), limit=answer["limit"], ended_by=answer["ended_by"], stood_in="; ".join(notes),
        machine={"cpus": os.cpu_count()}, settings=settings, fingerprint=fingerprint.digest,
    )  # fmt: skip


def keep_load(target: Target, load: Load) -> Load:
    """Store the curve in the state of the target, with an entry of its ledger; gives it with the entry's number."""
    doc = {name: value for name, value in load.plain().items() if name != "entry"}
    with opened(target) as store, store.begin() as tx:
        found = stored.add_load(
            tx, target=load.target, started=load.started, fingerprint=load.fingerprint, doc=doc
        )  # fmt: skip
    return replace(load, entry=found.entry)


def history(target: Target, limit: int) -> "list[LoadRun]":
    """The load tests of a target, newest first. Raises UsageError if it is no pipeline."""
    if not isinstance(target, PipelineTarget):
        raise UsageError(_NO_PIPELINE, hint=_NAME_ONE)
    if not target.pipeline.state.exists():
        return []
    with opened(target) as store, store.read() as tx:
        return stored.loads(tx, target.label, limit=limit)


def _input(place: LocalPlace) -> Path:
    if place.input is not None:
        return place.input
    try:
        records = records_for(place, _MADE_UP)
    except NotApplicable as reason:
        raise UsageError(str(reason)) from None
    path = place.scratch / "sample.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def _driven(place: LocalPlace, spec: Mapping[str, Any]) -> Iterator[Any]:
    """What it is about, each step as it ends; at last the answer of the child."""
    child = place.start_child(DRIVE, spec)
    steps = Path(spec["steps"])
    read = 0
    while True:
        running = child.running
        lines = steps.read_text().splitlines(keepends=True) if steps.exists() else []
        whole = [line for line in lines if line.endswith("\n")]
        for line in whole[read:]:
            one = json.loads(line)
            yield one["about"] if "about" in one else Step.of(one)
        read = len(whole)
        if not running:
            break
        time.sleep(_POLL_SECONDS)
    yield place.answered(child.wait())
