"""Take the store away in the middle of a run: it says so and ends, and the same command goes on when it is back."""

from dataclasses import dataclass, replace

from nightcrew.readiness.boxes import Box
from nightcrew.readiness.drills.accounted import judged, prepared
from nightcrew.readiness.drills.protocol import ChildError, Observed, On, Place
from nightcrew.readiness.target import Target

PATIENCE_MS = 500
_SAYS_SO = ("BusyError", "TransientError")


@dataclass(frozen=True)
class StorePipeline:
    """See ``Drill``."""

    name: str = "store-unavailable"
    title: str = "a store that cannot be written is an error that is said, never a success, and loses nothing"
    boxes: tuple[Box, ...] = (Box.STATE,)
    on: frozenset[On] = frozenset({"pipeline"})
    injects: str = "the state database cannot be written from the middle of a run on: another process holds it"
    expects: str = (
        "the run ends with an error that names the store, and reports no success; when the store is back, the same"
        " command works what is left, and each record has one outcome"
    )

    def applies(self, target: Target) -> str:  # noqa: ARG002 - every pipeline has a store
        """See ``Drill``."""
        return ""

    def run(self, place: Place) -> Observed:
        """See ``Drill``."""
        records, spec = prepared(place)
        place.say("running until the middle, taking the store away, giving it back, running again")
        more = {**spec, "patience_ms": PATIENCE_MS}
        seen = place.child("nightcrew.readiness.drills.supervising:locked_and_again", more, loads=False)
        if seen["problem"]:
            raise ChildError(seen["problem"], kind="not_begun", hint=seen["hint"])
        stood_in = f"the store was waited for {PATIENCE_MS / 1000} s, not 30"
        if "error" not in seen["first"]:
            said = "the run reported success although its store could not be written"
            return Observed(False, said, evidence=seen, stood_in=stood_in)
        if seen["first"]["kind"] not in _SAYS_SO:
            said = f"the run ended with an error that does not say that its store is away: {seen['first']['error']}"
            return Observed(False, said, seen["detected_seconds"], evidence=seen, stood_in=stood_in)
        found = judged(records, seen, broken_off="loss of the store")
        happened = f"the run ended with {seen['first']['error']!r}; {found.happened}"
        return replace(
            found, happened=happened, detected_seconds=seen["detected_seconds"], stood_in=stood_in,
            evidence={**found.evidence, "said": seen["first"]["error"], "class": seen["first"]["kind"]},
        )  # fmt: skip


DRILL = StorePipeline()
