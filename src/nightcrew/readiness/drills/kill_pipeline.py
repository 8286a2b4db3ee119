"""Kill a run of records in the middle of a step, and run it again: nothing is lost, nothing is there twice."""

from dataclasses import dataclass

from nightcrew.readiness.boxes import Box
from nightcrew.readiness.drills.accounted import judged, prepared
from nightcrew.readiness.drills.protocol import ChildError, Observed, On, Place
from nightcrew.readiness.target import Target


@dataclass(frozen=True)
class KillPipeline:
    """See ``Drill``."""

    name: str = "kill-mid-step"
    title: str = "work that is killed in the middle loses nothing, does nothing twice, and goes on"
    boxes: tuple[Box, ...] = (Box.STATE,)
    on: frozenset[On] = frozenset({"pipeline"})
    injects: str = "kill -9 of the run while a step has made its answer and it is not stored yet"
    expects: str = (
        "the same command again works what is left: each record has one outcome, each result is delivered once, and"
        " what was stored before the kill is not worked again"
    )

    def applies(self, target: Target) -> str:  # noqa: ARG002 - every pipeline can be killed
        """See ``Drill``."""
        return ""

    def run(self, place: Place) -> Observed:
        """See ``Drill``."""
        records, spec = prepared(place)
        place.say("running until the middle, killing, running again")
        seen = place.child("nightcrew.readiness.drills.supervising:killed_and_again", spec, loads=False)
        if seen["problem"]:
            raise ChildError(seen["problem"], kind="not_begun", hint=seen["hint"])
        return judged(records, seen, broken_off="kill")


DRILL = KillPipeline()
