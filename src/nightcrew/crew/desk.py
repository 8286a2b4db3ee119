"""What an agent has at its desk: one ticket, a sandboxed way to run commands, a budget that is charged first."""

import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Self

from nightcrew.brains import MustStop
from nightcrew.crew import measuring
from nightcrew.crew.project import Project
from nightcrew.model.budget import Budget
from nightcrew.model.errors import BudgetError
from nightcrew.model.finding import Finding
from nightcrew.model.manifest import Line
from nightcrew.model.ticket import Ticket
from nightcrew.sandbox import Completed, Live, Policy, Sandbox, live, named, run, scrubbed_environment
from nightcrew.store import findings, sessions, shifts, turns
from nightcrew.store.findings import FindingState
from nightcrew.store.sessions import Session
from nightcrew.store.store import Tx

_GIB = 1 << 30
_PLENTY = float("inf")


def place_of(project: Project, session: str, ticket: str) -> Path:
    """The private folder of one session's work on one ticket."""
    return project.work_dir / "workspaces" / f"{session}-{ticket}"


@dataclass
class Desk:
    """One ticket of one session.

    ``place`` is the private folder of this work: its workspaces and temporary files. ``later`` is how many turns the
    manifest allots to the tickets that come after this one.
    """

    project: Project
    session: str
    agent: str
    shift: str | None
    ticket: Ticket
    line: Line | None
    budget: Budget
    place: Path
    later: int = 0
    last_event: datetime = field(init=False)
    stalled: bool = False
    _used: int | None = field(default=None, init=False)
    _waiting: list[Callable[[Tx], object]] = field(default_factory=list, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    @classmethod
    def of(cls, project: Project, session: Session, ticket: Ticket, line: Line | None = None, later: int = 0) -> Self:
        """The desk at which ``session`` works ``ticket``."""
        return cls(
            project=project,
            session=session.id,
            agent=session.agent,
            shift=session.shift,
            ticket=ticket,
            line=line,
            budget=session.budget,
            later=later,
            place=place_of(project, session.id, ticket.id),
        )

    def __post_init__(self) -> None:
        self.last_event = self.project.clock()

    def charge(self, key: str, *, brain: str = "") -> None:
        """Charge one turn, in the store, before it is taken; ``brain`` takes it.

        Raises BudgetError at one of the session's caps, MustStop if the shift was told to stop or its time is over.
        """
        with self.begin() as tx:
            if reason := self._why_stop(tx):
                raise MustStop(reason)
            self._check_caps(tx)
            before = turns.used(tx, self.session)
            self._used = turns.charge(tx, self.session, f"{self.ticket.id}/{key}", self.ticket.id, self.budget.hard)
            if self._used > before:  # Else it was charged before the process died.
                measuring.charged(tx, self.agent, brain)
        self.last_event = self.project.clock()

    @contextmanager
    def begin(self) -> Iterator[Tx]:
        """A transaction, in which what was to be written ``soon`` is written too."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        writing = False
        try:
            with self.project.store.begin() as tx:
                writing = True
                for write in waiting:
                    write(tx)
                writing = False
                yield tx
        except BaseException:
            if not writing:  # A write that fails by itself would fail each later transaction as well.
                with self._lock:
                    self._waiting = [*waiting, *self._waiting]
            raise

    def soon(self, write: Callable[[Tx], object]) -> None:
        """Have something written with the next transaction, at the latest by ``flush``; it may be run twice."""
        with self._lock:
            self._waiting.append(write)

    def flush(self) -> None:
        """Write what waits."""
        if self._waiting:
            with self.begin():
                pass

    def _check_caps(self, tx: Tx) -> None:
        """The optional caps; turns are looked at when they are charged."""
        caps = self.project.settings.budget
        if caps.tokens is None and caps.dollars is None and caps.minutes is None:
            return
        took = turns.usage(tx, self.session)
        started = sessions.get(tx, self.session).started
        minutes = (tx.now() - started).total_seconds() / 60 if started else 0.0
        for name, cap, value in (
            ("tokens", caps.tokens, took.tokens),
            ("dollars", caps.dollars, took.microdollars / 1e6),
            ("minutes", caps.minutes, minutes),
        ):
            if cap is not None and value >= cap:
                raise BudgetError(f"session {self.session} has used {value:,.6g} of {cap:,} {name}")

    def check_stop(self) -> None:
        """Raises MustStop if the session must not go on."""
        if reason := self.stop_reason():
            raise MustStop(reason)

    def stop_reason(self) -> str | None:
        """Why the session must stop now, or None."""
        with self.project.store.read() as tx:
            return self._why_stop(tx)

    def _why_stop(self, tx: Tx) -> str | None:
        idle = self.project.clock() - self.last_event
        if idle > timedelta(minutes=self.project.settings.limits.stall_minutes):
            self.stalled = True
            return f"stalled: nothing happened for {int(idle.total_seconds() // 60)} minutes"
        free = shutil.disk_usage(self.project.work_dir).free / _GIB if self.project.work_dir.is_dir() else _PLENTY
        if free < self.project.settings.limits.min_free_gib:
            return f"stopped: only {free:.1f} GiB are free on the disk of its workspace"
        if self.shift is None:
            return None
        shift = shifts.get(tx, self.shift)
        if shift.stop_requested:
            return "stopped: somebody asked the shift to stop"
        if shift.deadline is not None and self.project.clock() >= shift.deadline:
            return "stopped: the shift's time is over"
        return None

    def _private(self) -> tuple[tuple[Path, Path], bool, Sandbox | None]:
        """The private folders of this work (temporary files, home), whether the sandbox is off, and which it is."""
        folders = (self.place / "tmp", self.place / "home")
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        mode = self.project.settings.sandbox.mode
        return folders, mode == "off", named(mode)

    def runner(self, workspace: Path, *, readable: Sequence[Path] = ()) -> Callable[..., Completed]:
        """A function that runs commands at ``workspace`` in the sandbox, in a scrubbed environment."""
        (temp, home), off, sandbox = self._private()
        borrowed = tuple(readable)

        def call(
            argv: Sequence[str],
            *,
            cwd: Path | None = None,
            environment: Mapping[str, str] | None = None,
            timeout: float | None = None,
            writable: Sequence[Path] = (),
            readable: Sequence[Path] = (),
            network: bool = False,
        ) -> Completed:
            policy = Policy(
                writable=(workspace, temp, home, *writable), readable=(*borrowed, *readable), network=network, off=off
            )
            self.last_event = self.project.clock()
            ended = run(
                argv,
                cwd=cwd or workspace,
                policy=policy,
                environment={**scrubbed_environment(temp=temp, home=home), **(environment or {})},
                timeout=timeout or 60 * self.project.settings.limits.command_minutes,
                should_stop=lambda: self.stop_reason() is not None,
                sandbox=sandbox,
            )
            self.last_event = self.project.clock()
            if ended.stopped:
                self.check_stop()
            return ended

        return call

    def opener(self, workspace: Path, *, readable: Sequence[Path] = ()) -> Callable[..., AbstractContextManager[Live]]:
        """A function that starts a program at ``workspace`` in the sandbox, to be talked to; see ``brains.Open``."""
        (temp, home), off, sandbox = self._private()
        borrowed = tuple(readable)

        def call(
            argv: Sequence[str], *, environment: Mapping[str, str], readable: Sequence[Path], port: int
        ) -> AbstractContextManager[Live]:
            policy = Policy(writable=(workspace, temp, home), readable=(*borrowed, *readable), port=port, off=off)
            return live(
                argv,
                cwd=workspace,
                policy=policy,
                environment={**scrubbed_environment(temp=temp, home=home), **environment},
                timeout=60 * self.project.settings.limits.shift_minutes,
                should_stop=self.stop_reason,
                sandbox=sandbox,
            )

        return call

    def without_false_positives(self, found: Sequence[Finding]) -> list[Finding]:
        """``found`` without what a person rejected as a false positive; changed code has another fingerprint."""
        with self.project.store.read() as tx:
            known = findings.known(tx, [finding.fingerprint for finding in found])
            rejected = {
                name
                for name, state in known.items()
                if state is FindingState.FALSE_POSITIVE and findings.is_rejected(tx, name)
            }
        return [finding for finding in found if finding.fingerprint not in rejected]

    @property
    def used(self) -> int:
        """Turns that the session has been charged."""
        if self._used is None:
            with self.project.store.read() as tx:
                self._used = turns.used(tx, self.session)
        return self._used


__all__ = ["BudgetError", "Desk", "MustStop"]
