"""A run over several processes whose worker is killed: another takes its records over, and each is worked once."""

from dataclasses import dataclass, replace

from nightcrew.readiness.boxes import Box
from nightcrew.readiness.drills.accounted import judged, prepared
from nightcrew.readiness.drills.protocol import ChildError, Observed, On, Place
from nightcrew.readiness.drills.sharing import WORK
from nightcrew.readiness.target import Target

WORKERS = 2


@dataclass(frozen=True)
class SecondWorker:
    """See ``Drill``."""

    name: str = "second-worker"
    title: str = "a worker that dies is taken over from by another"
    boxes: tuple[Box, ...] = (Box.STATE,)
    on: frozenset[On] = frozenset({"pipeline"})
    injects: str = f"kill -9 of a worker whose {WORKERS} processes have records in hand"
    expects: str = (
        "another worker that is told the same takes over what it left: each record has one outcome, each result is"
        " delivered once, and what was stored before is not worked again"
    )

    def applies(self, target: Target) -> str:  # noqa: ARG002 - every pipeline can be run by several processes
        """See ``Drill``."""
        return ""

    def run(self, place: Place) -> Observed:
        """See ``Drill``."""
        records, spec = prepared(place)
        place.say("a worker begins, is killed, and another is told the same")
        # Each of the processes counts for itself, and one of two has half of the records.
        more = {**spec, "work": WORK, "workers": WORKERS, "hold_at": max(2, len(records) // 4)}
        seen = place.child("nightcrew.readiness.drills.supervising:killed_and_again", more, loads=False)
        if seen["problem"]:
            raise ChildError(seen["problem"], kind="not_begun", hint=seen["hint"])
        found = judged(records, seen, broken_off="death of the worker")
        happened = found.happened.replace("the second run worked", "the other worker took over and worked")
        return replace(found, happened=happened, stood_in="both workers ran on this machine, over SQLite in the copy")


DRILL = SecondWorker()
