"""What the crew measures of itself: sessions, turns, requests to models, checks, reviews.

What is a row of the store is counted in the transaction that writes the row: a kill loses none of it and counts none
twice. The rest (how long requests and checks took) is kept in memory and written every few seconds; a kill loses
that much of it. No measure holds text of anybody's.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

from nightcrew.brains import MustStop
from nightcrew.model.clock import Clock, isoformat
from nightcrew.model.errors import NightcrewError
from nightcrew.model.review import Review
from nightcrew.reliability import FailureClass
from nightcrew.store import agents, journal, series
from nightcrew.store.sessions import Session
from nightcrew.store.shifts import Shift
from nightcrew.store.store import Store, Tx
from nightcrew.store.turns import Usage

if TYPE_CHECKING:
    from nightcrew.crew.desk import Desk
    from nightcrew.monitoring.metrics import Recorder

T = TypeVar("T")
WRITE_SECONDS = 3.0
"""How often what is kept in memory is written, at most."""


def charged(tx: Tx, agent: str, brain: str) -> None:
    """Count a turn that is charged in ``tx``."""
    series.count(tx, "turns", f"agent:{agent}", brain=brain)


def took(tx: Tx, agent: str, brain: str, usage: Usage) -> None:
    """Count what a turn took, in the transaction that notes it."""
    if usage.tokens:
        series.count(tx, "tokens", f"agent:{agent}", usage.tokens, brain=brain)
    if usage.microdollars:
        series.count(tx, "dollars", f"agent:{agent}", usage.microdollars / 1e6, brain=brain)


def session_ended(tx: Tx, session: Session) -> None:
    """Count a session that ends in ``tx``."""
    series.count(tx, "sessions", f"agent:{session.agent}", outcome=session.outcome or "")
    if session.started is not None and session.ended is not None:
        seconds = (session.ended - session.started).total_seconds()
        _observe(tx, session.id, "seconds", f"agent:{session.agent}", seconds)


def shift_ended(tx: Tx, shift: Shift) -> None:
    """Count a shift that ends in ``tx``."""
    series.count(tx, "shifts", "crew", outcome=shift.outcome or "")


def review_decided(tx: Tx, review: Review) -> None:
    """Note how long a review waited that is decided in ``tx``."""
    if review.decided is not None:
        seconds = (review.decided - review.created).total_seconds()
        _observe(tx, review.id, "review.seconds", "desk:human", seconds)


def _observe(tx: Tx, writer: str, name: str, subject: str, value: float) -> None:
    from nightcrew.monitoring.metrics import Recorder

    recorder = Recorder(tx.clock, writer=writer)
    recorder.observe(name, subject, value)
    recorder.write(tx)


class Measures:
    """What this process measures that is no row. Threads may share it; nothing that it does fails the night."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._kept: Recorder | None = None
        self._desks: dict[int, _Watched] = {}
        self._lock = Lock()
        self._due = 0.0

    @property
    def recorder(self) -> "Recorder":
        """Where measures are kept until they are written."""
        with self._lock:
            if self._kept is None:
                from nightcrew.monitoring.metrics import Recorder

                self._kept = Recorder(self._clock)
            return self._kept

    def request(self, brain: str, seconds: float, failure: FailureClass | None) -> None:
        """See ``brains.Watch``."""
        subject = f"brain:{brain}"
        self.recorder.observe("seconds", subject, seconds)
        self.recorder.count("calls", subject, status="ok" if failure is None else "failed")
        if failure is not None:
            self.recorder.count("errors", subject, 1, **{"class": failure.value})

    def fell_back(self, brain: str, level: int) -> None:
        """See ``brains.Watch``."""
        self.recorder.count("fallbacks", f"brain:{brain}", level=str(level))

    def check(self, name: str, look: Callable[[], T], problem: Callable[[T], FailureClass | None]) -> T:
        """Run a check and measure it; ``problem`` says why it could not be made, None if it was."""
        began = time.monotonic()
        try:
            made = look()
        except MustStop:
            raise  # It says nothing of the check.
        except Exception:
            self._checked(name, began, FailureClass.BUG)
            raise
        self._checked(name, began, problem(made))
        return made

    def _checked(self, name: str, began: float, failure: FailureClass | None) -> None:
        self.recorder.observe("seconds", f"check:{name}", time.monotonic() - began)
        if failure is not None:
            self.recorder.count("errors", f"check:{name}", 1, **{"class": failure.value})

    @contextmanager
    def at(self, desk: "Desk") -> Iterator[None]:
        """While a session works at ``desk``: its signs of life are written where other processes see them."""
        with self._lock:
            self._desks[id(desk)] = _Watched(desk)
        try:
            yield
        finally:
            self.flush()
            with self._lock:
                self._desks.pop(id(desk), None)
            if desk.stalled:
                self._write(lambda tx: journal.put(tx, desk.session, desk.ticket.id, agents.STALLED, True))

    def flush_if_due(self) -> None:
        """Write if the last time is some seconds ago."""
        if time.monotonic() >= self._due:
            self.flush()

    def flush(self) -> None:
        """Write what there is. A store that is busy gets it the next time."""
        with self._lock:
            watched, kept = [*self._desks.values()], self._kept
        for one in watched:
            if one.desk.last_event != one.written and self._write(one.write):
                one.written = one.desk.last_event
        if kept is not None:
            with suppress(NightcrewError):  # It keeps what it has.
                kept.flush(self._store)
        self._due = time.monotonic() + WRITE_SECONDS

    def _write(self, write: Callable[[Tx], object]) -> bool:
        try:
            with self._store.begin() as tx:
                write(tx)
        except NightcrewError:
            return False
        return True


class _Watched:
    """A desk at work, and up to when its signs of life are written."""

    def __init__(self, desk: "Desk") -> None:
        self.desk = desk
        self.written: datetime | None = None

    def write(self, tx: Tx) -> None:
        journal.put(tx, self.desk.session, self.desk.ticket.id, agents.ALIVE, isoformat(self.desk.last_event))
