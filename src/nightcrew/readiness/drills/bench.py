"""In the child: the pipeline with its gates open and something that answers for each step; runs of it with faults."""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightcrew.model.errors import NightcrewError
from nightcrew.pipeline.chain import Step
from nightcrew.readiness.drills.injecting import Fault, OpenChain, digest, guard_of, put
from nightcrew.readiness.drills.reached import calls_of
from nightcrew.readiness.drills.samples import known
from nightcrew.readiness.drills.standing_in import Answering, NoAnswer, answering
from nightcrew.store import outcomes, runs

if TYPE_CHECKING:
    from nightcrew.pipeline import Pipeline
    from nightcrew.pipeline.summary import Summary

PROBED = 6
"""Records that each step is tried with before anything is injected."""


class Bench:
    """A pipeline to be drilled. Raises NoAnswer if it cannot be: no records, or a step that nothing answers for."""

    def __init__(self, pipeline: "Pipeline", spec: Mapping[str, Any], *, wanted: int = PROBED) -> None:
        self.pipeline = pipeline
        pipeline.limits = replace(pipeline.limits, rate=None)  # A sample is no load, and the drill's time is short.
        self._scratch = Path(spec["scratch"])
        self._spec = spec
        self.steps = [stage for stage in pipeline.chain.stages if isinstance(stage, Step)]
        self.gates = len(pipeline.chain.stages) - len(self.steps)
        self.records = known(pipeline, {**spec, "count": wanted})
        if not self.records:
            raise NoAnswer("there are no records to drill with: give some with --input FILE")
        self._answers: dict[str, Answering] = {}
        self._probe()
        pipeline.__dict__["chain"] = OpenChain(self.steps)
        self.calls = calls_of(
            [(step.name, function) for step, function in zip(self.steps, self._originals, strict=True)],
            Path(spec["entry"]), Path(spec["root"]),
        )  # fmt: skip

    def _probe(self) -> None:
        self._originals = [guard_of(step)._function for step in self.steps]
        parsed = [self.parsed(record) for record in self.records]
        values = list(parsed)
        for step in self.steps:
            given = [
                (record, value) if step.takes_both else (value,) for record, value in zip(parsed, values, strict=True)
            ]
            found = self._answers[step.name] = answering(step, given)
            self.records = [one for one, fits in zip(self.records, found.fits, strict=True) if fits]
            parsed = [one for one, fits in zip(parsed, found.fits, strict=True) if fits]
            values = [one for one, fits in zip(found.values, found.fits, strict=True) if fits]

    def parsed(self, record: Any) -> Any:
        """A record as the steps are given it."""
        contract = self.pipeline.contract
        text = json.dumps(record)
        return json.loads(text) if contract is None else contract.validate_json(text)

    @property
    def stood_in(self) -> str:
        """What was not the real thing, in words."""
        said = [found.stood_in for found in self._answers.values() if found.stood_in]
        if self.gates:
            said.append("its gates stood open")
        return "; ".join(said)

    def facts(self, step: Step) -> dict[str, Any]:
        """What is declared of a step."""
        guard = guard_of(step)
        return {
            "step": step.name,
            "attempts": guard._retry.attempts,
            "fallbacks": [level.name for level in guard._levels],
            "timeout": guard._timeout,
            "breaker": None if guard._breaker is None else guard._breaker._limit,
            "truncate": guard._shrink is not None,
            "calls": self.calls[step.name],
        }

    def work(
        self, name: str, faults: Mapping[str, Fault], lines: Sequence[Any], *, file: str = "input.jsonl"
    ) -> dict[str, Any]:
        """One run in a state of its own, called ``name``; ``lines`` are records, or bytes to be read as they are."""
        folder = self.folder(name)
        source = folder / file
        source.write_bytes(
            b"".join(one if isinstance(one, bytes) else json.dumps(one).encode() + b"\n" for one in lines)
        )
        self.arm(faults)
        return self._done(lambda: self.pipeline.run(str(source)), lines)

    def again(self, faults: Mapping[str, Fault], lines: Sequence[Any]) -> dict[str, Any]:
        """Work what waits, as if its time had come, in the state of the last run."""
        self.arm(faults)
        return self._done(lambda: self.pipeline.retry(everything=True), lines)

    def folder(self, name: str) -> Path:
        """Let the pipeline keep its outcomes in a folder of this name from now on."""
        folder = self._scratch / name
        if not folder.exists():
            (folder / ".nightcrew").mkdir(parents=True)
        self.pipeline.close()
        self.pipeline.use(state=folder, database_url=f"sqlite:///{folder / '.nightcrew' / 'nightcrew.db'}")
        return folder

    def arm(self, faults: Mapping[str, Fault]) -> None:
        """Put these faults into the steps named, and what answers into all."""
        for step in self.steps:
            put(step, self._answers[step.name].function, faults.get(step.name))

    def _done(self, work: Any, lines: Sequence[Any]) -> dict[str, Any]:
        began = time.monotonic()
        summary: Summary | None = None
        error = None
        try:
            summary = work()
        except NightcrewError as problem:
            error = {"code": problem.code, "message": str(problem)}
        return {
            "seconds": time.monotonic() - began,
            "error": error,
            "adds_up": summary is not None and summary.adds_up,
            "changes": [] if summary is None else [change._asdict() for change in summary.changes],
            "records": len(lines),
            "outcomes": self.stored(),
        }

    def stored(self) -> list[dict[str, Any]]:
        """The outcomes in the order of the input."""
        with self.pipeline.state.store.read() as tx:
            if self.pipeline.name not in {row.name for row in runs.all_pipelines(tx)}:
                return []
            found = list(outcomes.list(tx, runs.pipeline(tx, self.pipeline.name).id))
        docs = [{**outcomes.document(one), "next_at": one.next_at} for one in found]
        return [_short(doc) for doc in sorted(docs, key=lambda doc: doc["at"])]

    def digests(self, records: Iterable[Any]) -> list[str]:
        """The names of records, as calls have them."""
        return [digest(self.parsed(record)) for record in records]


def _short(doc: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("key", "state", "status", "level", "made_by", "attempts", "rounds", "reason", "notice", "next_at")
    failure = doc["failure"] or {}
    return {**{name: doc[name] for name in kept}, "kind": failure.get("kind"), "message": failure.get("message", "")}
