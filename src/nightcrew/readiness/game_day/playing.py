"""In the child: the run of a game day. Records arrive at a steady rate; faults come and go by the timeline."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightcrew.pipeline.sources import IterableSource
from nightcrew.readiness.drills.bench import Bench
from nightcrew.readiness.drills.injecting import Call, Decide, Fault, Hang, guard_of, http_error, passing, put
from nightcrew.readiness.drills.standing_in import NoAnswer
from nightcrew.readiness.game_day.timeline import Planned
from nightcrew.readiness.load.arrivals import SeenChain
from nightcrew.store.outcomes import Row

if TYPE_CHECKING:
    from nightcrew.pipeline import Pipeline

_SAMPLE = 24
_CUT = b'{"cut off": '


def described(pipeline: "Pipeline", spec: Mapping[str, Any]) -> dict[str, Any]:
    """What is to be known before: its name, its steps, what stands in for them; ``not``: why there can be none."""
    try:
        bench = Bench(pipeline, spec, wanted=_SAMPLE)
    except NoAnswer as reason:
        return {"not": str(reason)}
    timeouts = {step.name: guard_of(step)._timeout for step in bench.steps}
    return {"name": pipeline.name, "steps": timeouts, "stood_in": bench.stood_in}


def work(pipeline: "Pipeline", spec: Mapping[str, Any]) -> dict[str, Any]:
    """The run, or what is left of it after a kill; every commit is a line in ``events``. Gives the summary."""
    bench = Bench(pipeline, spec, wanted=_SAMPLE)
    seen = _Events(Path(spec["events"]))
    faults = [Planned(**one) for one in spec["timeline"]]
    begun = _begun(Path(spec["begun"]))
    for step in bench.steps:
        retry = guard_of(step)._retry
        mine = [one for one in faults if one.step == step.name]
        put(step, bench._answers[step.name].function, Fault(_decides(mine, begun)))
        guard_of(step)._retry = retry  # Its waits are waited out, as they are at night.
    pipeline.key = None  # Each arrival is a record of its own, named by its position.
    pipeline.__dict__["chain"] = SeenChain(bench.steps, seen)
    corrupt = [one for one in faults if one.kind == "corrupt-record"]
    records = [json.dumps(record).encode() for record in bench.records]
    steady = Steady(records, begun, spec["rate"], spec["seconds"], corrupt)
    alone = pipeline.limits.concurrency == 1 and not pipeline.chain.is_async
    arriving: Any = steady if alone else SteadyAwaited(steady)
    return pipeline.run(arriving, max_rejected=1.0).plain()


def settle(pipeline: "Pipeline", spec: Mapping[str, Any]) -> dict[str, Any]:
    """Work what still waits, as if its time had come, without any fault."""
    bench = Bench(pipeline, spec, wanted=_SAMPLE)
    bench.arm({})
    pipeline.key = None
    return pipeline.retry(everything=True).plain()


class _Events:
    """What a run has come to, written down as it comes to it."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self.note({"began": True})

    def note(self, what: Mapping[str, Any]) -> None:
        os.write(self._file, (json.dumps({"time": time.monotonic(), **what}) + "\n").encode())

    def worked(self, seconds: float) -> None:
        """See ``SeenChain``."""

    def stored(self, rows: Iterable[Row]) -> None:
        """See ``SeenChain``."""
        found = []
        for row in rows:
            doc = json.loads(row.doc)
            found.append([int(row.key.rpartition("@")[2]), row.state, doc["attempts"]])
        if found:
            self.note({"rows": found})


class Steady(IterableSource):
    """Records at a steady rate, whatever becomes of them. A run that goes on after a kill gets those that it missed."""

    def __init__(self, records: list[bytes], begun: float, rate: float, seconds: float, corrupt: list[Planned]) -> None:
        super().__init__(iter(records), name="game day")
        self._given, self._begun, self._rate, self._corrupt = records, begun, rate, corrupt
        self.count = int(seconds * rate)

    def due(self, position: int) -> float:
        """Seconds from the beginning at which the record before ``position`` is due."""
        return (position - 1) / self._rate

    def wait(self, position: int) -> float:
        """Seconds until then; 0 if it is over."""
        return max(0.0, self._begun + self.due(position) - time.monotonic())

    def record(self, position: int) -> bytes:
        """The record before ``position``."""
        if any(one.holds(self.due(position)) for one in self._corrupt):
            return _CUT
        return self._given[position % len(self._given)]

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, Any]]:  # noqa: ARG002 - one range
        """See ``Source``."""
        for position in range(start + 1, self.count + 1):
            time.sleep(self.wait(position))
            yield position, self.record(position)

    def total(self) -> int | None:
        """Not known: it is a live source."""
        return None

    def fingerprint(self) -> str:
        """The same each time."""
        return "game day"


class SteadyAwaited:
    """The same for a pipeline that works many at a time."""

    name = "game day"

    def __init__(self, steady: Steady) -> None:
        self._steady = steady

    async def aread(self, start: int = 0) -> AsyncIterator[tuple[int, Any]]:
        """See ``AsyncSource``."""
        for position in range(start + 1, self._steady.count + 1):
            await asyncio.sleep(self._steady.wait(position))
            yield position, self._steady.record(position)

    def total(self) -> int | None:
        """Not known."""
        return None

    def fingerprint(self) -> str:
        """The same each time."""
        return "game day"


def _begun(path: Path) -> float:
    """When the game day began: when the first run of it was ready."""
    try:
        return float(path.read_text())
    except (FileNotFoundError, ValueError):
        now = time.monotonic()
        path.write_text(str(now))
        return now


def _decides(faults: list[Planned], begun: float) -> Decide:
    def decide(call: Call) -> BaseException | Hang | None:
        now = time.monotonic() - begun
        on = next((one for one in faults if one.holds(now)), None)
        if on is None:
            return None
        if on.kind == "transient-storm":
            return passing(call.number)
        if on.kind == "rate-limit":
            return http_error(429, "Too Many Requests (injected by a drill)", {"Retry-After": "1"})
        if on.kind == "permanent-error":
            return http_error(401, "Unauthorized (injected by a drill)")
        return Hang(max(0.0, on.end - now))

    return decide
