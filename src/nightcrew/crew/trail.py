"""The ledger as people read it: a page at a time, one entry with its neighbours, and whether all of it fits."""

import re
import threading
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from nightcrew.crew.project import Project
from nightcrew.model.errors import NightcrewError, NotFoundError
from nightcrew.store import browsing, ledger
from nightcrew.store.ledger import Entry

AGAIN_AFTER = timedelta(minutes=10)
"""How long a look at the whole ledger counts; what came since is looked at each time."""
_NAMES = {"T": "ticket", "S": "session", "H": "handoff", "R": "review", "N": "shift", "Q": "quarantine"}
_ID = re.compile(r"([TSHRNQ])-\d+", re.ASCII)
MAX_PROBLEMS = 20


@dataclass(frozen=True)
class Trail:
    """A page of entries, last first; ``following`` is where the next page begins, None at the end."""

    entries: list[Entry]
    following: int | None
    actions: list[str]
    head: int


@dataclass(frozen=True)
class Verified:
    """How far the chain and its seals were looked at: up to entry ``seq`` of ``head``, with what does not fit."""

    seq: int = 0
    hash: str = ""
    head: int = 0
    at: datetime | None = None
    running: bool = False
    problems: tuple[tuple[int, str], ...] = ()

    @property
    def whole(self) -> bool:
        """Whether everything that is there was looked at."""
        return not self.running and self.at is not None and self.seq >= self.head


def page(project: Project, *, before: int | None = None, subject: str = "", action: str = "") -> Trail:
    """Entries, last first; ``subject`` is ``noun:id`` or an id alone (``T-0001``)."""
    with project.store.read() as tx:
        about, end = subject_of(subject) or None, ledger.head(tx)
        found = browsing.entries_page(tx, before=before, subject=about, action=action, limit=browsing.PAGE + 1)
        shown, last = browsing.cut([Entry(*row) for row in found])
        return Trail(shown, last.seq if last else None, browsing.actions(tx), end.seq if end else 0)


def subject_of(text: str) -> str:
    """The subject that somebody means: an id alone names what it is the id of."""
    text = text.strip()
    match = _ID.fullmatch(text.upper())
    return f"{_NAMES[match[1]]}:{text.upper()}" if match else text


def last(project: Project) -> int:
    """The number of the last entry; 0 for none."""
    with project.store.read() as tx:
        head = ledger.head(tx)
    return 0 if head is None else head.seq


def entry(project: Project, seq: int) -> tuple[Entry, str | None]:
    """One entry, and what is wrong with it by itself, None if it fits its hash and its seal. Raises NotFoundError."""
    with project.store.read() as tx:
        found = next(ledger.entries(tx, after=seq - 1, limit=1), None)
        if found is None or found.seq != seq:
            raise NotFoundError(f"there is no entry {seq} in the ledger", hint="See the last ones: /ledger")
        try:
            ledger.check(tx, found)
        except NightcrewError as error:
            return found, str(error)
        return found, None


@dataclass
class Watch:
    """Looks at the whole ledger in a thread of its own, and from then on at what comes, as pages ask for it."""

    _state: Verified = field(default_factory=Verified)
    _whole_at: datetime | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def state(self, project: Project) -> Verified:
        """What is known now; what is not known yet is being looked at from here on."""
        with project.store.read() as tx:
            end = ledger.head(tx)
        head, hashed = (end.seq, end.hash) if end else (0, "")
        now = project.clock()
        with self._lock:
            if self._state.running:
                return replace(self._state, head=head)
            old = self._whole_at is None or now - self._whole_at > AGAIN_AFTER
            known = self._state.at is not None and (self._state.seq, self._state.hash) == (head, hashed)
            if known and not old:
                return replace(self._state, head=head)
            self._state = replace(self._state, running=True, head=head)
            thread = threading.Thread(target=self._look, args=(project, old), daemon=True, name="ledger-check")
        thread.start()
        thread.join(0.03)  # What came since is looked at within this, and the page says so at once.
        with self._lock:
            return replace(self._state, head=head)

    def _look(self, project: Project, whole: bool) -> None:
        before = self._state
        after = None if whole or not before.hash or before.problems else (before.seq, before.hash)
        try:
            with project.store.read() as tx:
                _, broken = ledger.verify(tx, after)
                end = ledger.head(tx)
            problems = tuple(broken[:MAX_PROBLEMS])
            try:
                project.check_ledger()
            except NightcrewError as error:
                problems = (*problems, (0, str(error)))
            seq, hashed = (end.seq, end.hash) if end else (0, "")
        except Exception as error:  # A thread has nobody above it: what went wrong is what the page says.
            seq, hashed, problems = before.seq, "", ((0, f"it could not be looked at: {error}"),)
        now = project.clock()
        with self._lock:
            if after is None:
                self._whole_at = now
            self._state = Verified(seq, hashed, seq, now, False, problems)
