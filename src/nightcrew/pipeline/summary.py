"""What a run came to, and what it tells while it runs."""

from dataclasses import dataclass
from typing import Any

from nightcrew.pipeline.fields import FieldChange

STATES = ("accepted", "fallback", "in_review", "quarantined", "waiting_retry", "rejected", "discarded")
"""Every state of an outcome. The first two have a result; the last two were decided by a person."""


@dataclass(frozen=True)
class ProgressReport:
    """How far a run is: ``position`` of ``total`` (None if unknown) in the source's unit, records seen and a second."""

    seen: int
    position: int
    total: int | None
    seconds: float
    rate: float
    eta: float | None
    rejected: int


@dataclass(frozen=True)
class Summary:
    """The result of a run. ``seen`` is every record of the input: what became of each adds up to it (``adds_up``).

    ``repeated`` counts records whose key and content had an outcome already, from this input or an earlier run.
    ``commits`` and ``seconds`` are of this process only; the numbers are of the run, however often it was killed.
    """

    pipeline: str
    run: int
    seen: int
    states: dict[str, int]
    repeated: int
    delivered: int = 0
    changes: tuple[FieldChange, ...] = ()
    commits: int = 0
    seconds: float = 0.0
    worked: int = 0
    version: str = ""

    @property
    def adds_up(self) -> bool:
        """Whether every record seen is accounted for."""
        return self.seen == sum(self.states.values()) + self.repeated

    @property
    def rate(self) -> float:
        """Records a second that this process worked."""
        return self.worked / self.seconds if self.seconds else 0.0

    @property
    def needs_a_person(self) -> bool:
        """Whether something waits in review or quarantine."""
        return bool(self.states.get("in_review") or self.states.get("quarantined"))

    def plain(self) -> dict[str, Any]:
        """As JSON values: every state with its count, and whether it adds up."""
        return {
            "pipeline": self.pipeline,
            "run": self.run,
            "seen": self.seen,
            **{state: self.states.get(state, 0) for state in STATES},
            "repeated": self.repeated,
            "adds_up": self.adds_up,
            "delivered": self.delivered,
            "changes": [change._asdict() for change in self.changes],
            "commits": self.commits,
            "worked": self.worked,
            "seconds": round(self.seconds, 3),
            "rate": round(self.rate, 1),
            "version": self.version,
        }
