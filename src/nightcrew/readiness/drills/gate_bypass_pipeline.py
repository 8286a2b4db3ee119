"""Attempts to get a record past a gate without a person: unsure answers, rows that say it was approved, a stranger."""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nightcrew.readiness.boxes import Box
from nightcrew.readiness.drills.judging import ANSWERED, asked, judged, on_bench
from nightcrew.readiness.drills.protocol import Observed, On, Place
from nightcrew.readiness.drills.samples import COUNT, known
from nightcrew.readiness.target import Target

if TYPE_CHECKING:
    from nightcrew.approvals import Signer
    from nightcrew.pipeline import Pipeline
    from nightcrew.pipeline.chain import Step
    from nightcrew.readiness.drills.bench import Bench

_PAST = "2026-01-01T00:00:00.000000Z"
_SCRYPT = 2**10
_MOST = 2_000
_SECONDS = 20.0
"""How many records are looked at, and for how long, for one that the gate holds."""


@dataclass(frozen=True)
class GateBypassPipeline:
    """See ``Drill``."""

    name: str = "gate-bypass"
    title: str = "without a person's signature nothing passes the gate"
    boxes: tuple[Box, ...] = (Box.REVIEWS,)
    on: frozenset[On] = frozenset({"pipeline"})
    injects: str = (
        "answers without any confidence; then, for a record that the gate holds, forged approvals: a row that says it"
        " may go on, an approval made up in the row, a signature of somebody who is no reviewer"
    )
    expects: str = (
        "the gate holds what is unsure; a forged approval lets nothing through to later steps or"
        " results; with a reviewer's signature the record goes on"
    )

    def applies(self, target: Target) -> str:  # noqa: ARG002 - whether there is a gate is known when it is loaded
        """See ``Drill``."""
        return ""

    def run(self, place: Place) -> Observed:
        """See ``Drill``."""
        answer = asked(place, f"{__name__}:inject", _MOST)
        right = (
            f"the gate held {answer['held']} of {answer['records']} records; {len(answer['ways'])} forged approvals of"
            " one of them let nothing through; a reviewer's signature did"
        )
        return judged(
            answer, answer["wrong"], right, detected=answer["detected"],
            recovered=None if answer["wrong"] else answer["recovered"],
        )  # fmt: skip


def inject(pipeline: "Pipeline", spec: Mapping[str, Any]) -> dict[str, Any]:
    """In the child: unsure answers, then forgeries."""
    from nightcrew.pipeline.chain import Hold

    if not any(isinstance(stage, Hold) for stage in pipeline._stages):
        return {"not": "the pipeline has no gate"}
    stages = list(pipeline.chain.stages)
    sample = known(pipeline, {**spec, "count": _MOST if spec["samples"]["given"] or spec["samples"]["last"] else COUNT})
    return on_bench(pipeline, spec, lambda bench: _Forger(bench, stages, sample).forge())


class _Forger:
    """Somebody who can write the database, and is no reviewer."""

    def __init__(self, bench: "Bench", stages: list[Any], sample: list[Any]) -> None:
        from nightcrew.pipeline.chain import Hold
        from nightcrew.readiness.drills.injecting import Fault, OpenChain

        self.bench, self.pipeline = bench, bench.pipeline
        self.first_gate = next(index for index, stage in enumerate(stages) if isinstance(stage, Hold))
        self.faults = {stage.name: Fault(lambda _: None) for stage in stages if not isinstance(stage, Hold)}
        self.later = [stage.name for stage in stages[self.first_gate :] if not isinstance(stage, Hold)]
        self.pipeline.__dict__["chain"] = OpenChain(stages)
        self.predicts = False
        self.sample = sample  # With what a step cannot answer: some gates are for that.
        bench.gates = 0  # They are in their place here.
        self.folder = bench.folder("gated")
        self.sink = self.folder / "results.jsonl"

    def forge(self) -> dict[str, Any]:
        """Run, forge, approve; what was seen."""
        import time

        began = time.monotonic()
        for start in range(0, len(self.sample), COUNT):
            self._run(start)
            held = [one["key"] for one in self.bench.stored() if one["state"] == "in_review"]
            if held or self.predicts or time.monotonic() - began > _SECONDS:
                break
        answer: dict[str, Any] = {
            "records": min(start + COUNT, len(self.sample)), "held": len(held), "wrong": [], "ways": [],
            "recovered": None, "detected": time.monotonic() - began,
        }  # fmt: skip
        if not held:
            if not self.predicts:
                none = f"the gate holds none of {answer['records']} records of the sample"
                return {"not": f"{none}: give records that it holds with --input FILE"}
            answer["wrong"] = ["answers without any confidence passed the gate, and nobody was asked"]
            return answer
        key = held[0]
        for way, forged in self._ways(key):
            forged()
            answer["ways"].append(way)
            answer["wrong"] += [f"{way}: {problem}" for problem in self._passed(key)]
        began = time.monotonic()
        answer["wrong"] += self._approved(key)
        answer["recovered"] = time.monotonic() - began
        return answer

    def _run(self, start: int) -> None:
        self.sink = self.folder / f"results-{start}.jsonl"
        source = self.folder / f"input-{start}.jsonl"
        source.write_text("".join(json.dumps(record) + "\n" for record in self.sample[start : start + COUNT]))
        self._arm()
        self.pipeline.run(str(source), sink=str(self.sink), max_rejected=1.0)

    def _arm(self) -> None:
        """Every step answers as it does; what comes before the gate says that it is wholly unsure."""
        from nightcrew.readiness.drills.injecting import guard_of, put

        for step in self.bench.steps:
            put(step, self.bench._answers[step.name].function, self.faults[step.name])
            if step.name not in self.later:
                guard_of(step)._function = self._unsure(step, guard_of(step)._function)

    def _unsure(self, step: "Step", function: Any) -> Any:
        from nightcrew.reliability.result import Prediction

        def without(value: Any) -> Any:
            if isinstance(value, Prediction):
                self.predicts = True
                return Prediction(value.value, confidence=0.0)
            return value

        def call(*args: Any) -> Any:
            return without(function(*args))

        async def call_async(*args: Any) -> Any:
            return without(await function(*args))

        return call_async if step.is_async else call

    def _ways(self, key: str) -> Iterator[tuple[str, Any]]:
        yield "a row that says it may go on", lambda: self._write(key, {})
        yield "an approval made up in the row", lambda: self._write(key, {"review": self._made_up(key)})
        yield "a signature of somebody who is no reviewer", lambda: self._decide(key, _signer("a stranger"))

    def _made_up(self, key: str) -> dict[str, Any]:
        return {"decision": "D-0001", "by": "drill", "verdict": "approve", "held": json.dumps(self._doc(key))}

    def _write(self, key: str, more: Mapping[str, Any]) -> None:
        doc = json.dumps({**self._doc(key), **more, "state": "waiting_retry"})
        self.pipeline.close()
        with sqlite3.connect(self.sink.parent / ".nightcrew" / "nightcrew.db") as database:
            database.execute(
                "UPDATE outcomes SET state = 'waiting_retry', kind = NULL, next_at = ?, doc = ? WHERE key = ?",
                (_PAST, doc, key),
            )
        database.close()

    def _doc(self, key: str) -> dict[str, Any]:
        from nightcrew.store import outcomes, runs

        with self.pipeline.state.store.read() as tx:
            return outcomes.document(outcomes.get(tx, runs.pipeline(tx, self.pipeline.name).id, key))

    def _decide(self, key: str, signer: "Signer", *, enrolled: bool = False) -> str:
        """Approve the record with this key; gives why it was refused, empty if it was not."""
        from nightcrew.approvals import fresh_nonce, sign_statement
        from nightcrew.model.errors import NightcrewError
        from nightcrew.model.review import Decision
        from nightcrew.pipeline import parked

        state, names, clock = self.pipeline.state, [f"{self.pipeline.name}/{key}"], self.pipeline.clock
        repository = state.repository_id
        try:
            if enrolled:
                state.anchor.enrol_first(repository, "drill", signer, nonce=fresh_nonce(), clock=clock)
            statement = parked.prepare(
                state.store, names, Decision.APPROVE, repository=repository, reviewer="drill", clock=clock
            )
            signed = sign_statement(signer, statement)
            parked.finish(state.store, names, signed, anchor=state.anchor, repository=repository, clock=clock)
        except NightcrewError as error:
            return str(error)
        return ""

    def _passed(self, key: str) -> list[str]:
        """What a forged approval came to, once what waits was worked."""
        before = {name: len(self.faults[name].calls) for name in self.later}
        self._retry()
        found = [
            f"the step {name}, which lies behind the gate, was called"
            for name in self.later
            if len(self.faults[name].calls) > before[name]
        ]
        if self._doc(key)["state"] in ANSWERED:
            found.append("the record is reported as done")
        if key in self._delivered():
            found.append("its result was delivered")
        return found

    def _approved(self, key: str) -> list[str]:
        stage = self._doc(key)["stage"]
        if refused := self._decide(key, _signer("the reviewer of the drill"), enrolled=True):
            return [f"the signature of a true reviewer was refused: {refused}"]
        self._retry()
        doc = self._doc(key)
        if doc["state"] in ANSWERED or doc["stage"] > stage:
            return []
        return [f"the record that was truly approved is {doc['state']}: {doc['reason']}"]

    def _retry(self) -> None:
        self._arm()
        self.pipeline.retry(everything=True, sink=str(self.sink.with_name("later.jsonl")))

    def _delivered(self) -> set[str]:
        """The keys of what was delivered."""
        files = (self.sink, self.sink.with_name("later.jsonl"))
        return {json.loads(line)["key"] for file in files if file.exists() for line in file.read_text().splitlines()}


def _signer(passphrase: str) -> "Signer":
    from nightcrew.approvals import ScryptParameters, create_key
    from nightcrew.model.clock import system_clock

    return create_key(passphrase, scrypt=ScryptParameters(n=_SCRYPT), clock=system_clock)[1]


DRILL = GateBypassPipeline()
