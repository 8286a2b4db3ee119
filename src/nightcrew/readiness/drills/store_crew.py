"""Take the store away in the middle of a shift for a while: the shift waits, goes on, and nothing is lost."""

import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass

from nightcrew.readiness.boxes import Box
from nightcrew.readiness.drills.night import POLL_SECONDS, begun, judged, project_of
from nightcrew.readiness.drills.protocol import NotDone, Observed, On, Place
from nightcrew.readiness.target import Target

_HELD_SECONDS = 3.0
"""For how long the store is held after the agent has done its work, which the shift then wants to store."""
_MOST_SECONDS = 20.0
"""How long that may take: the shift waits for its store for 30."""


@dataclass(frozen=True)
class StoreCrew:
    """See ``Drill``."""

    name: str = "store-unavailable"
    title: str = "a store that cannot be written is an error that is said, never a success, and loses nothing"
    boxes: tuple[Box, ...] = (Box.STATE,)
    on: frozenset[On] = frozenset({"crew"})
    injects: str = (
        "the state database cannot be written while an agent works a ticket, until"
        f" {_HELD_SECONDS:.0f} s after the agent has done it"
    )
    expects: str = (
        "the shift waits for it and goes on: each ticket is done once, no turn is charged twice, each handoff and"
        " commit is there once, and the ledger fits"
    )

    def applies(self, target: Target) -> str:  # noqa: ARG002 - every crew has a store
        """See ``Drill``."""
        return ""

    def run(self, place: Place) -> Observed:
        """See ``Drill``."""
        files, shift = begun(place, 1)
        database = project_of(place).state_dir / "nightcrew.db"
        with closing(sqlite3.connect(database, isolation_level=None, timeout=10)) as writer:
            writer.execute("BEGIN IMMEDIATE")
            taken = place.elapsed()
            place.say("the store is taken")
            _worked(place, files[0], taken + _MOST_SECONDS)
            time.sleep(_HELD_SECONDS)
            writer.execute("ROLLBACK")
        done = shift.wait()
        if done.status not in (0, 1):
            said = f"the shift did not wait for its store, and ended with {done.status}: {done.tail()}"
            return Observed(False, said, evidence={"status": done.status})
        return judged(place, files, "the shift waited and went on", None, place.elapsed() - taken)


def _worked(place: Place, file: str, end: float) -> None:
    """Wait until the agent has written its file: before that, the shift may have nothing to store."""
    workspaces = project_of(place).work_dir
    while not any(workspaces.rglob(file)):
        if place.elapsed() > end:
            raise NotDone(f"the agent did not come to its end within {_MOST_SECONDS:.0f} s: the store was not missed")
        time.sleep(POLL_SECONDS)


DRILL = StoreCrew()
