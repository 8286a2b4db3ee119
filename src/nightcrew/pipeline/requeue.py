"""The durable retry queue's schedule: when a record that failed for now is tried again, and when to give up."""

import random
from dataclasses import dataclass, field
from datetime import timedelta

from nightcrew.model.clock import Clock, isoformat, system_clock
from nightcrew.pipeline.chain import Made
from nightcrew.pipeline.outcome import Origin, Writing
from nightcrew.store.outcomes import Row


@dataclass(frozen=True)
class Requeue:
    """At most ``rounds`` further rounds, ``base`` seconds doubled each time up to ``cap``, with full jitter.

    A round is what the step's own Retry does in one go. Never sooner than the service's Retry-After. After the last
    round the record is quarantined with its last failure.
    """

    rounds: int = 5
    base: float = 60.0
    cap: float = 3600.0
    clock: Clock = system_clock
    rng: random.Random = field(default_factory=random.Random, compare=False)

    def row(self, writing: Writing, origin: Origin, made: Made, *, rounds: int, extra: str = "") -> Row:
        """The row of a record that failed again after ``rounds`` further rounds; ``extra`` is added to its document."""
        if rounds >= self.rounds:
            made.state = "quarantined"
            made.reason = f"after {rounds} further rounds: {made.reason}"
            return writing.row(origin, made, rounds=rounds, extra=extra)
        after = made.failure.retry_after if made.failure is not None else None
        wait = max(self.rng.uniform(0, min(self.cap, self.base * 2**rounds)), after or 0.0)
        next_at = isoformat(self.clock() + timedelta(seconds=wait))
        return writing.row(origin, made, rounds=rounds, next_at=next_at, extra=extra)
