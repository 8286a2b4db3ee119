"""One call of a schedule by whatever calls it: run what is due, once, and note what became of it.

It may be called at any time and as often as one likes. What is due is claimed by its row, which is there once; who
runs a schedule holds its lock, so that a row that says *running* while the lock is free was left by a process that was
killed. The next call takes it up where it was.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from nightcrew.model.clock import Clock
from nightcrew.model.errors import BusyError, NightcrewError, TransientError
from nightcrew.model.scheduling import Occurrence, Schedule, jitter
from nightcrew.schedule.due import due, is_held, lock_of, over
from nightcrew.store import firings, locks, schedules
from nightcrew.store.firings import Firing, State
from nightcrew.store.store import Store, Tx

LATE = timedelta(minutes=5)
"""What begins later than that is said to be late."""

_LONGEST_WAIT = 30.0
_PAUSES = (30.0, 60.0, 120.0, 300.0)
_HINT = "Wait for it to end, or end it with: nightcrew stop"


@dataclass(frozen=True)
class Ran:
    """What became of a shift: its id, its outcome, and the exit status of ``nightcrew shift``; None while it runs."""

    shift: str
    outcome: str | None
    exit_status: int | None


class Runner(Protocol):
    """What a schedule runs."""

    def run(self, firing: Firing, schedule: Schedule, note_shift: Callable[[str], None]) -> Ran:
        """Run a shift to its end, or go on with the one that was left unfinished since ``firing.started``.

        ``note_shift`` is told the shift's id as soon as it is known. Raises BusyError if another one runs.
        """
        ...

    def left(self, firing: Firing) -> Ran | None:
        """The shift that a firing whose process was killed had begun; None if it had begun none."""
        ...


@dataclass(frozen=True)
class Firer:
    """What calls need: where schedules are, what they run, which machine this is, the time and how to wait."""

    store: Store
    runner: Runner
    host: str
    clock: Clock
    wait: Callable[[float], object]

    def fire(self, name: str) -> list[Firing]:
        """Finish what was left, then run what is due; gives what ended, and nothing if another process is at it.

        Raises NotFoundError for a schedule that is not there, and what the shift raises, once that is noted.
        """
        with ExitStack() as stack:
            if not self._enter(stack, name):
                return []
            broken: Exception | None = None
            try:
                done = self._finish(name)
            except Exception as error:  # It is noted. Tonight's run is not lost for what breaks of last night's.
                done, broken = [], error
            claimed = self._claim(name)
            if claimed is not None:
                done.append(self._run(claimed))
            if broken is not None:
                raise broken
            return done

    def run_now(self, name: str) -> Firing:
        """Run it now, due or not; raises BusyError if another process runs it."""
        with self._alone(name):
            self._finish(name)
            with self.store.begin() as tx:
                schedules.get(tx, name)
                claimed = firings.claim(tx, name, tx.now(), cause="hand")
            if claimed is None:
                raise BusyError(f"schedule {name} was begun at this very moment", hint=_HINT)
            return self._run(claimed)

    def _enter(self, stack: ExitStack, name: str) -> bool:
        """Take the schedule's lock for as long as ``stack`` lasts; False if another process has it.

        Some schedulers call once a night. So a database that is away, or that another process writes, is waited for.
        """
        pauses = iter(_PAUSES)
        while True:
            try:
                stack.enter_context(self._alone(name))
                return True
            except TransientError as error:
                if isinstance(error, BusyError) and self._is_held(name):
                    return False
                pause = next(pauses, None)
                if pause is None:
                    raise
                self.wait(pause)

    def _is_held(self, name: str) -> bool:
        with self.store.read() as tx:
            return is_held(tx, name)

    @contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        with locks.held(self.store, lock_of(name), hint=_HINT):
            yield

    def _finish(self, name: str) -> list[Firing]:
        """End what killed processes left, and go on with what can be gone on with."""
        with self.store.read() as tx:
            left = firings.running(tx, name)
        return [ended for firing in left if (ended := self._resumed(firing)) is not None]

    def _resumed(self, firing: Firing) -> Firing | None:
        shift = self.runner.left(firing)
        if shift is not None and shift.outcome is not None:
            with self.store.begin() as tx:
                return _end(tx, firing, "done", shift, "its process was killed when the shift had ended")
        if shift is not None:
            try:
                return self._run(firing, again=True)
            except BusyError:
                # Somebody is at it: a person, or its own process, whose hold on the schedule ran out while the machine
                # slept. It stays as it is; once its shift has ended, the next call says so.
                return None
        if self._may_begin(firing):
            return self._run(firing)
        with self.store.begin() as tx:
            state: State = "missed" if firing.cause == "time" else "failed"
            why = "its process was killed before the shift began"
            return firings.end(tx, firing.id, state, outcome="interrupted", detail=_joined(firing.detail, why))

    def _may_begin(self, firing: Firing) -> bool:
        """Whether one that was killed before its shift began is still the latest that was due."""
        with self.store.read() as tx:
            kept = schedules.get(tx, firing.schedule)
            newer = due(tx, kept)
            stale = bool(newer.now or newer.missed) or over(kept.schedule, firing.due, tx.now())
            early = firing.due > tx.now()  # It was begun while the clock was ahead.
        return firing.cause == "time" and not stale and not early

    def _claim(self, name: str) -> Firing | None:
        with self.store.begin() as tx:
            kept = schedules.get(tx, name)
            found = due(tx, kept)
            for index, one in enumerate(found.missed):
                late = found.too_late and index == len(found.missed) - 1
                why = f"it was to end at {kept.schedule.until} and was not called before" if late else "not called"
                more = f"and {found.unlisted} times before it" if found.unlisted and not index else ""
                firings.miss(tx, name, one.due, detail=_joined(one.note, why, more))
            if found.now is None:
                return None
            return firings.claim(tx, name, found.now.due, detail=_said(found.now, tx.now()))

    def _run(self, firing: Firing, *, again: bool = False) -> Firing:
        with self.store.read() as tx:
            schedule = schedules.get(tx, firing.schedule).schedule
        begun = self.clock()
        if firing.cause == "time":
            self._wait(firing.due, jitter(schedule, self.host, firing.due))
        try:
            ran = self.runner.run(firing, schedule, lambda shift: self._note(firing, shift))
        except BusyError as error:
            if again:
                raise
            with self.store.begin() as tx:
                return firings.end(
                    tx, firing.id, "overlapped", outcome="overlapped", exit_status=0,
                    detail=_joined(firing.detail, str(error)),
                )  # fmt: skip
        except Exception as error:
            self._note_failure(firing, error, begun)
            raise
        with self.store.begin() as tx:
            _leave_out(tx, firing.schedule, begun)
            return _end(tx, firing, "done", ran)

    def _wait(self, due: datetime, later: timedelta) -> None:
        # In short pieces by the clock: a machine that slept meanwhile does not wait longer than it has to, and one
        # whose clock is set back no longer than it was to.
        waited = 0.0
        while waited < later.total_seconds() and (left := (due + later - self.clock()).total_seconds()) > 0:
            piece = min(left, _LONGEST_WAIT)
            self.wait(piece)
            waited += piece

    def _note(self, firing: Firing, shift: str) -> None:
        with self.store.begin() as tx:
            firings.set_shift(tx, firing.id, shift)

    def _note_failure(self, firing: Firing, error: Exception, begun: datetime) -> None:
        known = isinstance(error, NightcrewError)
        with self.store.begin() as tx:
            _leave_out(tx, firing.schedule, begun)
            firings.end(
                tx, firing.id, "failed",
                outcome=error.code if isinstance(error, NightcrewError) else "NC-BUG",
                exit_status=error.exit_status if isinstance(error, NightcrewError) else 70,
                detail=_joined(firing.detail, str(error) if known else f"{type(error).__name__}: {error}"),
            )  # fmt: skip


def _end(tx: Tx, firing: Firing, state: State, ran: Ran, why: str = "") -> Firing:
    return firings.end(
        tx, firing.id, state, outcome=ran.outcome or "", exit_status=ran.exit_status, shift=ran.shift,
        detail=_joined(firing.detail, why),
    )  # fmt: skip


def _leave_out(tx: Tx, name: str, begun: datetime) -> None:
    """Note what became due while a run went on that began at ``begun``: who called then found it running, and left.

    What was due before waits for the next call.
    """
    kept = schedules.find(tx, name)
    if kept is None:
        return
    found = due(tx, kept)
    left_out = (*found.missed, *((found.now,) if found.now else ()))
    if left_out and not found.unlisted and left_out[0].due > begun:
        for one in left_out:
            why = "the run before it still went on"
            firings.miss(tx, name, one.due, detail=_joined(one.note, why), state="overlapped")


def _said(one: Occurrence, now: datetime) -> str:
    late = now - one.due
    hours, minutes = divmod(int(late.total_seconds() // 60), 60)
    return _joined(one.note, f"called {hours} h {minutes} min late" if late > LATE else "")


def _joined(*parts: str) -> str:
    return "; ".join(" ".join(part.split())[:500] for part in parts if part)
