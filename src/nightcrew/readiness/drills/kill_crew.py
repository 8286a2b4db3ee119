"""Kill a shift in the middle of a session, and run it again: nothing is lost, nothing is there twice."""

import time
from dataclasses import dataclass

from nightcrew.readiness.boxes import Box
from nightcrew.readiness.drills.night import POLL_SECONDS, begun, entries, judged
from nightcrew.readiness.drills.protocol import Observed, On, Place
from nightcrew.readiness.target import Target


@dataclass(frozen=True)
class KillCrew:
    """See ``Drill``."""

    name: str = "kill-mid-step"
    title: str = "work that is killed in the middle loses nothing, does nothing twice, and goes on"
    boxes: tuple[Box, ...] = (Box.STATE,)
    on: frozenset[On] = frozenset({"crew"})
    injects: str = "kill -9 of a shift, and of all it started, while an agent works a ticket"
    expects: str = (
        "the same command again goes on: each ticket is done once, no turn is charged twice, each handoff and commit is"
        " there once, and the ledger fits"
    )

    def applies(self, target: Target) -> str:  # noqa: ARG002 - every crew can be killed
        """See ``Drill``."""
        return ""

    def run(self, place: Place) -> Observed:
        """See ``Drill``."""
        files, shift = begun(place)
        shift.kill()
        killed, last = place.elapsed(), entries(place)
        place.say("killed; running the shift again")
        again = place.start("shift")
        detected = None
        while again.running and place.left() > 0.2:
            if detected is None and entries(place) > last:
                detected = place.elapsed() - killed
            time.sleep(POLL_SECONDS)
        done = again.wait()
        if done.status not in (0, 1):
            return Observed(False, f"after the kill the shift does not go on: {done.tail()}", detected)
        return judged(place, files, "the second shift went on", detected, place.elapsed() - killed)


DRILL = KillCrew()
