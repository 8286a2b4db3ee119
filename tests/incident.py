"""A scripted incident in a real pipeline: after a deployment its input drifts, the model slows, fails, and is mended.

It runs in a process of its own: ``python incident.py BEGIN`` in the repository, where BEGIN is when its hour begins
(RFC 3339). The hour is played at speed: the pipeline's clock is moved on, a run a minute, as a timer would start them.
"""

import json
import random
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import BaseModel

import nightcrew as nc

MINUTES = 60
DRIFTS, SLOWS, FAILS, MENDED = 26, 34, 42, 50
"""The minutes at which the second version with other input comes, slows down, begins to fail, and is replaced."""
A_MINUTE = 24


@dataclass
class Played:
    """When the incident was, and where in it the failures lie: from ``fails`` to ``mended``."""

    start: datetime
    end: datetime
    drifts: datetime
    fails: datetime
    mended: datetime

    def minute(self, moment: datetime) -> int:
        """Which minute of it that is."""
        return int((moment - self.start) / timedelta(minutes=1))


class Payment(BaseModel):
    """A record of it."""

    id: str
    amount: float
    country: str


class Moved:
    """The time that the script says, going on at its own speed from there."""

    def __init__(self, begin: datetime) -> None:
        self._begin, self.minute = begin, 0
        self._since = time.monotonic()

    def to(self, minute: int) -> None:
        self.minute, self._since = minute, time.monotonic()

    def __call__(self) -> datetime:
        return self._begin + timedelta(minutes=self.minute, seconds=min(55.0, time.monotonic() - self._since))


def pipeline(clock: Moved, version: str, state: Path) -> nc.Pipeline:
    """The pipeline in one of its versions: the model is as slow, and as broken, as the minute says."""
    made = nc.Pipeline("payments", record=Payment, key="id", version=version, state=state, clock=clock,
                       commit_seconds=0.05, requeue=nc.Requeue(base=1e6, cap=1e6, clock=clock))  # fmt: skip
    rng = random.Random(version)

    @made.step(retry=None)
    def score(payment: Payment) -> nc.Prediction:
        slow = 0.012 * (clock.minute - SLOWS + 1) if SLOWS <= clock.minute < MENDED and payment.amount > 90 else 0.0
        time.sleep(0.0006 + abs(rng.gauss(0, 0.0004)) + min(slow, 0.06))
        if FAILS <= clock.minute < MENDED and payment.amount > 110:
            raise TimeoutError("the model server gave no answer in time")
        if FAILS + 3 <= clock.minute < MENDED and payment.country == "XX":
            raise ValueError("no embedding for country XX")
        return nc.Prediction(round(payment.amount / 400, 4), confidence=0.95 if payment.amount < 90 else 0.7)

    return made


def records(minute: int) -> list[dict[str, object]]:
    """A minute's input; from DRIFTS on amounts are in another currency, and a country comes that there never was."""
    rng = random.Random(minute)
    drifted = minute >= DRIFTS
    found: list[dict[str, object]] = []
    for number in range(A_MINUTE + rng.randrange(5)):
        country = "XX" if drifted and rng.random() < 0.15 else rng.choice(("DE", "FR", "IT"))
        amount = round(rng.gauss(100, 22) if drifted else rng.gauss(52, 11), 2)
        found.append({"id": f"p-{minute:02}-{number:02}", "amount": amount, "country": country})
    return found


def work(begin: datetime, state: Path) -> None:
    """Play the hour."""
    clock = Moved(begin)
    for version, first, last in (("v1", 0, DRIFTS), ("v2", DRIFTS, MENDED), ("v3", MENDED, MINUTES)):
        made = pipeline(clock, version, state)
        for minute in range(first, last):
            clock.to(minute)
            run(made, records(minute), state / "inputs" / f"{minute:02}.jsonl")
        made.close()


def work_now(state: Path) -> None:
    """One more minute, now, of the version that works."""
    made = pipeline(Moved(datetime.now(UTC)), "v3", state)
    found = [{**one, "id": f"now-{one['id']}"} for one in records(0)]
    run(made, found, state / "inputs" / "now.jsonl")
    made.close()


def run(made: nc.Pipeline, found: list[dict[str, object]], source: Path) -> None:
    source.parent.mkdir(exist_ok=True)
    source.write_text("".join(json.dumps(one) + "\n" for one in found))
    made.run(source)


def play(repository: Path, environment: Mapping[str, str], begin: datetime) -> Played:
    """The incident in ``repository``, in a process of its own."""
    _process(repository, environment, begin.isoformat())
    at = {name: begin + timedelta(minutes=minute) for name, minute in
          (("end", MINUTES), ("drifts", DRIFTS), ("fails", FAILS), ("mended", MENDED))}  # fmt: skip
    return Played(start=begin, **at)


def one_more(repository: Path, environment: Mapping[str, str]) -> None:
    """One more minute of it, now, in a process of its own."""
    _process(repository, environment, "now")


def _process(repository: Path, environment: Mapping[str, str], what: str) -> None:
    subprocess.run([sys.executable, __file__, what], cwd=repository, env=dict(environment), check=True, timeout=240)


if __name__ == "__main__":
    if sys.argv[1] == "now":
        work_now(Path.cwd())
    else:
        work(datetime.fromisoformat(sys.argv[1]), Path.cwd())
