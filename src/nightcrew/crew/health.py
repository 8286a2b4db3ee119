"""Whether each agent of the crew is well: silent, stalled, failing, over its budget, or doing worse than it used to."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise, takewhile
from typing import Any, Literal

from nightcrew.crew.planning import agents_of
from nightcrew.crew.project import Project
from nightcrew.crew.worsening import LATEST, Worsening, worsening
from nightcrew.model.clock import isoformat
from nightcrew.model.ticket import State
from nightcrew.store import agents, locks
from nightcrew.store.agents import Changed, Decided, Night, Ran
from nightcrew.store.store import Tx

Kind = Literal["silent", "stalled", "failing", "over-budget", "quality"]
KINDS: tuple[Kind, ...] = ("silent", "stalled", "failing", "over-budget", "quality")

LOOKED_AT = 6 * LATEST
"""The last sessions, changes and reviews of an agent that are looked at."""
ROW = 3
"""Failures in a row that are no bad luck any more."""
LAST = 10
"""The last sessions of which shares are made."""
FEWEST = 5
"""Of fewer sessions no share is made."""
CAPPED = 3
"""Of the last ones so many at a hard cap are too many."""
_RHYTHM = 21
_MEASURES = 4
_DESKS = {"qa": State.IN_QA, "security": State.IN_SECURITY}
_LOCK = "shift"


@dataclass(frozen=True)
class Problem:
    """What is wrong with an agent: a sentence for people, the numbers behind it, since when, and the runbook."""

    kind: Kind
    message: str
    numbers: dict[str, float]
    since: datetime | None

    @property
    def runbook(self) -> str:
        """The code of its runbook."""
        return f"AL-AGENT-{self.kind.upper()}"

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        since = isoformat(self.since) if self.since else None
        return {
            "problem": self.kind, "message": self.message, "numbers": self.numbers, "since": since,
            "runbook": self.runbook,
        }  # fmt: skip


@dataclass(frozen=True)
class AgentHealth:
    """One agent: its last session and when that began, how many were looked at, and what is wrong."""

    agent: str
    session: str | None
    began: datetime | None
    sessions: int
    problems: tuple[Problem, ...] = field(default=())

    @property
    def well(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "agent": self.agent, "well": self.well, "session": self.session,
            "began": isoformat(self.began) if self.began else None, "sessions": self.sessions,
            "problems": [problem.plain() for problem in self.problems],
        }  # fmt: skip


def health(project: Project, now: datetime) -> list[AgentHealth]:
    """The health of every agent, as of ``now``."""
    with project.store.read() as tx:
        return health_in(project, tx, now)


def health_in(project: Project, tx: Tx, now: datetime) -> list[AgentHealth]:
    """As ``health``, within a transaction of the caller's."""
    names = agents_of(project)
    nights = agents.nights(tx, limit=_RHYTHM)
    # One look a night: what comes in between two shifts is judged with the next, so that looks are not repeated.
    until = next((night.ended for night in nights if night.ended is not None), None)
    decided = agents.decided(tx, limit=LOOKED_AT * len(names))
    found = []
    for name in names:
        ran = agents.ran(tx, name, limit=LOOKED_AT)
        reviewed = [one for one in decided if one.agent == name and until and one.at <= until]
        changes = agents.changed(tx, name, limit=LOOKED_AT) if name in project.settings.builders else []
        problems = (
            *_silent(tx, name, ran, nights, now),
            *_stalled(project, tx, name, ran, now),
            *_failing(name, ran),
            *_over_budget(project, name, ran, until, tests=_MEASURES * len(names)),
            *_quality(name, ran, changes, reviewed, until, tests=_MEASURES * len(names)),
        )
        last = ran[0] if ran else None
        found.append(AgentHealth(name, last and last.id, last and (last.started or last.created), len(ran), problems))
    return found


def _silent(tx: Tx, name: str, ran: Sequence[Ran], nights: Sequence[Night], now: datetime) -> Iterator[Problem]:
    """Work waits at its desk, its usual time has passed, and it had no session."""
    if not nights or (ran and ran[0].state != "ended"):
        return
    last = ran[0].created if ran else nights[-1].started
    firsts = {one.shift: one.created for one in ran}  # Newest first: the first session of each shift stays.
    own = sorted(firsts.values())[-_RHYTHM:]
    usual = _usual(own, last) or _usual(sorted(night.started for night in nights), last)
    if usual is None or now - last <= usual:
        return
    waits = agents.at_desk(tx, _DESKS.get(name, State.OPEN))
    since = [night for night in nights if night.started > last]
    if not waits or any(name in night.agents and night.outcome in ("quiet", "done") for night in since):
        return  # Nothing to do, or nothing that the planner lets it do.
    if since:
        why = f"{len(since)} shifts have begun since, and none came to it ({', '.join(_ends(since))})"
    else:
        why = "no shift has begun since"
    yield Problem(
        "silent",
        f"{name} has had no session for {_words(now - last)}, and {waits} tickets wait at its desk: {why}.",
        {"hours": _hours(now - last), "usual_hours": _hours(usual), "waiting": waits, "shifts": len(since)},
        last,
    )


def _ends(nights: Sequence[Night]) -> list[str]:
    return sorted({(night.outcome or night.state).replace("_", " ") for night in nights})


def _usual(times: Sequence[datetime], last: datetime) -> timedelta | None:
    """How long after ``last`` what happened at ``times`` is late; None if they are too few to say.

    By the eighth of ten gaps, and the latest that began on the same day of a week: a crew that works on weekdays is not
    silent at weekends. More where gaps differ.
    """
    gaps = {earlier: later - earlier for earlier, later in pairwise(times)}
    if len(gaps) < 3:
        return None
    ordered = sorted(gaps.values())
    alike = [gap for begun, gap in gaps.items() if begun.weekday() == last.weekday()]
    long, middle = ordered[int(0.8 * (len(ordered) - 1))], ordered[len(ordered) // 2]
    long = max([long, *alike[-1:]])
    return 1.1 * long + (long - middle) + timedelta(hours=1)


def _stalled(project: Project, tx: Tx, name: str, ran: Sequence[Ran], now: datetime) -> Iterator[Problem]:
    """A session runs and nothing has happened in it, or the last one was ended for that."""
    limit = timedelta(minutes=project.settings.limits.stall_minutes)
    if not ran:
        return
    last = ran[0]
    if last.state == "running":
        signs = (agents.last_sign(tx, last.id), last.started)
        seen = max((one for one in signs if one is not None), default=last.created)
        if now - seen > limit:
            held = locks.find(tx, _LOCK)
            gone = held is None or held.expires <= now
            why = "; the process that ran it is gone: go on with nightcrew shift" if gone else ""
            message = f"{name} runs {last.id}, and nothing has happened in it for {_words(now - seen)}{why}."
            yield Problem("stalled", message, {"minutes": _minutes(now - seen), "gone": float(gone)}, seen)
    elif last.stalled:
        message = f"{last.id} of {name} was stopped, since nothing happened in it for {_words(limit)}."
        yield Problem("stalled", message, {"minutes": _minutes(limit), "gone": 0.0}, last.ended)


def _failing(name: str, ran: Sequence[Ran]) -> Iterator[Problem]:
    """Its sessions break, or nothing that they take up comes to anything: several in a row, or most of the last."""
    ended = [one for one in ran if one.state == "ended" and (one.worked or one.outcome == "failed")]
    row = [*takewhile(_failed, ended)]
    last = ended[:LAST]
    bad = [one for one in last if _failed(one)]
    if len(row) >= ROW:
        message, since = f"The last {len(row)} sessions of {name} failed.", row[-1]
    elif len(last) >= FEWEST and 2 * len(bad) > len(last):
        message, since = f"{len(bad)} of the last {len(last)} sessions of {name} failed.", bad[-1]
    else:
        return
    numbers = {"failed": float(len(bad)), "of": float(len(last)), "in_a_row": float(len(row))}
    yield Problem("failing", message, numbers, since.created)


def _failed(one: Ran) -> bool:
    return one.outcome == "failed" or (one.worked > 0 and one.failed == one.worked)


def _over_budget(
    project: Project, name: str, ran: Sequence[Ran], until: datetime | None, *, tests: int
) -> Iterator[Problem]:
    """It comes to its hard caps again and again, or its sessions take more than they used to."""
    last = [one for one in ran if one.state == "ended"][:LAST]
    hit = [one for one in last if _capped(project, one)]
    if len(hit) >= CAPPED:
        message = f"{len(hit)} of the last {len(last)} sessions of {name} used all of their budget."
        yield Problem("over-budget", message, {"capped": len(hit), "of": len(last)}, hit[-1].created)
        return
    done = _until(ran, until)
    measure, unit = _spending(done)
    worse = worsening([measure(one) for one in done], tests=tests)
    if worse is not None:
        yield _worse("over-budget", name, f"{unit} a session", worse, done[worse.n - 1].created)


def _capped(project: Project, one: Ran) -> bool:
    caps = project.settings.budget
    minutes = _minutes(one.ended - one.started) if one.ended and one.started else 0.0
    return (
        one.turns >= one.hard
        or (caps.tokens is not None and one.tokens >= caps.tokens)
        or (caps.dollars is not None and one.dollars >= caps.dollars)
        or (caps.minutes is not None and minutes >= caps.minutes)
    )


def _spending(done: Sequence[Ran]) -> tuple[Any, str]:
    """What its sessions spend, in the best unit that is known of them."""
    if any(one.dollars for one in done):
        return (lambda one: one.dollars), "dollars"
    if any(one.tokens for one in done):
        return (lambda one: float(one.tokens)), "tokens"
    return (lambda one: float(one.turns)), "turns"


def _quality(
    name: str,
    ran: Sequence[Ran],
    changes: Sequence[Changed],
    reviewed: Sequence[Decided],
    until: datetime | None,
    *,
    tests: int,
) -> Iterator[Problem]:
    """Reviewers decide against it, findings a change, tickets put off: more than there used to be."""
    done = [one for one in _until(ran, until) if one.worked]
    changes = [one for one in changes if until and one.at <= until]
    measured: list[tuple[str, list[float], list[datetime]]] = [
        (
            "of its reviews decided against it",
            [float(one.against) for one in reviewed],
            [one.at for one in reviewed],
        ),
        ("findings a change", [float(one.findings) for one in changes], [one.at for one in changes]),
        ("of a session's tickets put off", [one.deferred / one.worked for one in done], [one.created for one in done]),
    ]
    for what, values, times in measured:
        worse = worsening(values, tests=tests)
        if worse is not None:
            yield _worse("quality", name, what, worse, times[worse.n - 1])


def _worse(kind: Kind, name: str, what: str, found: Worsening, since: datetime | None) -> Problem:
    share = what.startswith("of ")
    now, before = (f"{value:.0%}" if share else f"{value:,.3g}" for value in (found.latest, found.past))
    message = (
        f"{name} does worse than it used to: {now} {what} in the last {found.n}, {before} in the {found.of} before"
        f" (the chance of that being luck: {found.p:.1g})."
    )
    numbers = {
        "latest": found.latest, "past": found.past, "latest_n": found.n, "past_n": found.of, "p": found.p,
    }  # fmt: skip
    return Problem(kind, message, numbers, since)


def _until(ran: Sequence[Ran], until: datetime | None) -> list[Ran]:
    return [one for one in ran if one.ended is not None and until is not None and one.ended <= until]


def _minutes(span: timedelta) -> float:
    return round(span.total_seconds() / 60, 1)


def _hours(span: timedelta) -> float:
    return round(span.total_seconds() / 3600, 1)


def _words(span: timedelta) -> str:
    minutes = int(span.total_seconds() // 60)
    if minutes < 120:
        return f"{minutes} minutes"
    return f"{minutes // 60} hours" if minutes < 48 * 60 else f"{minutes // 1440} days"
