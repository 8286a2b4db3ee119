"""The inbox: what waits for a person, and everything needed to decide it without leaving."""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nightcrew.crew import admission, answering, planning, rules
from nightcrew.crew.alerting import alert
from nightcrew.crew.asking import INBOX, desk_of
from nightcrew.crew.deciding import MAX_GROUP, subjects_of
from nightcrew.crew.hiding import hide_lines
from nightcrew.crew.memory import is_genuine
from nightcrew.crew.project import Project
from nightcrew.crew.settle import ask_for_work
from nightcrew.crew.workspace import diff_text
from nightcrew.model.deciding import Needs
from nightcrew.model.errors import IntegrityError, NightcrewError
from nightcrew.model.finding import Category, Finding
from nightcrew.model.handoff import HUMAN, Handoff
from nightcrew.model.review import ENDING, WAITING, Review, ReviewState
from nightcrew.model.statement import subject_digest
from nightcrew.model.ticket import Event, State, Ticket, next_state
from nightcrew.pipeline import parked
from nightcrew.store import browsing, handoffs, parking, reviews, tickets
from nightcrew.store.browsing import ReviewRow as Listed
from nightcrew.store.reviews import Signed
from nightcrew.store.store import Tx

_WORDS = {State.OPEN: "open", State.IN_SECURITY: "checked by security", State.READY: "ready to be merged"}
_LOOKED_BACK = 500
"""Reviews, the latest, in which earlier decisions on the same finding are looked for."""
_EARLIER = 20
_AT_ONCE = 25
_PLAIN_RULE = re.compile(r"[\w./@:+-]+", re.ASCII)


@dataclass(frozen=True)
class Earlier:
    """A decision of before about the same finding (``fingerprint``), or about another of the same rule."""

    review: str
    ticket: str
    decision: str
    reviewer: str
    at: datetime
    comment: str
    rule: str
    fingerprint: str | None


@dataclass(frozen=True)
class ReviewView:
    """Everything needed to decide one review.

    ``effects`` says what each decision does; ``decisions`` are those signed so far, ``needs`` what is asked for;
    ``group`` other reviews that wait under the same rule; ``digest`` stands for exactly what is looked at, None with
    ``problem`` if what lies here is not what was asked for. ``obstacle`` says why nobody can decide it as things are.
    """

    review: Review
    ticket: Ticket
    handoffs: list[Handoff]
    diff: str
    effects: dict[str, str]
    findings: list[Finding]
    earlier: list[Earlier]
    decisions: list[Signed]
    needs: Needs
    group: list[str]
    digest: str | None
    problem: str | None
    obstacle: str | None

    @property
    def unlisted(self) -> int:
        """How many of its ticket's findings are not among ``findings``: the ledger keeps the first of very many."""
        return max(0, len(self.ticket.findings) - len(self.findings)) if self.review.handoff is None else 0

    @property
    def questions(self) -> list[tuple[Handoff, Handoff | None]]:
        """The questions asked back, each with its answer, None while there is none."""
        asked = [one for one in self.handoffs if one.session == INBOX]
        answers = [one for one in self.handoffs if one.to == HUMAN and one.session != INBOX]
        return [(one, next((a for a in answers if a.supersedes == one.id), None)) for one in asked]


def pending(project: Project) -> list[Review]:
    """Reviews that wait for a person; those past their deadline are escalated first. Damaged rows are left out."""
    broken: list[str] = []
    with project.store.read() as tx:
        found = reviews.list(tx, states=WAITING, broken=broken)
        now = tx.now()
    if broken or any(review.deadline <= now for review in found):
        with project.store.begin() as tx:
            late = escalate_overdue(project, tx)
            found = reviews.list(tx, states=WAITING, broken=[])
        tell_late(project, late)
    return found


def listed(project: Project, states: Collection[ReviewState] | None) -> list[Listed]:
    """Reviews in ``states`` (None: all), oldest first, as a list filters them; overdue ones are escalated first."""
    waiting_count(project)
    with project.store.read() as tx:
        return browsing.review_rows(tx, states)


def some(project: Project, names: Sequence[str]) -> list[Review]:
    """These reviews, in this order; a damaged row is left out, and logged if it waits."""
    broken: list[str] = []
    with project.store.read() as tx:
        found = reviews.some(tx, names, broken=broken)
    if broken:
        pending(project)
    return found


def waiting_count(project: Project) -> int:
    """How many reviews and held records wait for a person; overdue reviews are escalated first."""
    with project.store.read() as tx:
        count, first = browsing.waiting_reviews(tx, WAITING)
        held = parking.in_state(tx, "in_review")
        overdue = first is not None and first <= tx.stamp()
    if overdue:
        count = len(pending(project))
    return count + held


def tell_late(project: Project, lines: Sequence[str]) -> None:
    """Alert people to reviews whose deadline passed."""
    if lines:
        alert(
            project, f"nightcrew: {len(lines)} reviews passed their deadline", lines, runbook="AL-REVIEW-DEADLINE"
        )  # fmt: skip


def all_reviews(project: Project) -> list[Review]:
    """Every review ever asked for, oldest first."""
    with project.store.read() as tx:
        return reviews.list(tx, broken=[])


def row(review: Review) -> dict[str, Any]:
    """A review as ``inbox --json`` gives it."""
    plain = review.plain()
    names = ("id", "ticket", "reason", "severity", "confidence", "deadline", "state", "assigned", "subject_digest")
    return {name: plain[name] for name in names}


def view(project: Project, review_id: str) -> ReviewView:
    """One review with everything around it; raises NotFoundError."""
    with project.store.read() as tx:
        review = reviews.get(tx, review_id)
        ticket = tickets.get(tx, review.ticket)
        asked_by = handoffs.get(tx, review.handoff)[0] if review.handoff else None
        digest, problem, needed = _as_asked(project, tx, review)
        found = _findings(tx, review)
        seen = ReviewView(
            review=review,
            ticket=ticket,
            handoffs=[one for one in handoffs.list(tx, ticket=ticket.id) if is_genuine(tx, one)],
            diff="",
            effects=effects(project, ticket, review, asked_by, needed),
            findings=found,
            earlier=_earlier(tx, review, found),
            decisions=reviews.vouched(tx, review_id),
            needs=needed,
            obstacle=rules.obstacle(project, needed) if review.state in WAITING else None,
            group=_group(tx, review, found),
            digest=digest,
            problem=problem,
        )
    if not (ticket.base and ticket.head and review.on_approve is not Event.APPROVE_WORK):
        return seen
    patch = hide_lines(diff_text(project.root, ticket.base, ticket.head), secret_lines(found))
    return ReviewView(**{**seen.__dict__, "diff": patch})


def secret_lines(found: Iterable[Finding]) -> dict[str, set[int]]:
    """The lines that findings say hold a secret, by file."""
    lines: dict[str, set[int]] = {}
    for one in found:
        if one.category is Category.SECRET and one.path and one.line:
            lines.setdefault(one.path, set()).update(range(one.line, (one.end_line or one.line) + 1))
    return lines


def effects(
    project: Project, ticket: Ticket, review: Review, asked_by: Handoff | None, needed: Needs
) -> dict[str, str]:
    """What each decision does to the ticket, in a few words."""
    desk = desk_of(ticket, asked_by)
    known = desk in planning.agents_of(project) and bool(answering.thinking(project, desk))
    answers = "" if known else f"; no brain is configured that could answer it (agents.{desk}.brains)"
    to = next_state(ticket.state, review.on_approve) if review.state in WAITING else None
    means = {
        Event.APPROVE_WORK: "the ticket may be worked",
        Event.APPROVE_TO_SECURITY: "this commit goes on to the security desk",
        Event.APPROVE_CHANGE: "this commit may be merged",
    }[review.on_approve]
    if needed.approvals > 1:
        means = f"once {needed.approvals} people have, {means}"
    hides = review.on_approve is Event.APPROVE_WORK and needed.approvals == 1
    not_again = ", and its findings are not raised again while the code under them stays as it is" if hides else ""
    return {
        "approve": f"{means}: {ticket.id} becomes {_WORDS.get(to, to.value)}" if to else means,
        "reject": f"{ticket.id} becomes rejected{not_again}",
        "escalate": "the next reviewer is asked; nothing else changes",
        "ask": f"the question goes to the {desk} desk for the next shift; the review goes on waiting{answers}",
    }


def waiting_records(project: Project, *, limit: int | None) -> list[parked.Parked]:
    """Records of pipelines that a gate holds, oldest first, at most ``limit`` of them."""
    return parked.listed(project.store, states=["in_review"], limit=limit)


def record_row(record: parked.Parked) -> dict[str, Any]:
    """A held record with the same names as a review has in ``inbox --json``."""
    return {
        "id": record.name,
        "ticket": None,
        "reason": record.reason,
        "severity": None,
        "confidence": record.confidence,
        "deadline": None,
        "state": record.state,
        "assigned": None,
        "subject_digest": record.digest,
    }


def escalate_overdue(project: Project, tx: Tx) -> list[str]:
    """Escalate reviews past their deadline to the next reviewer, again at each deadline; gives one line for each.

    None approves itself, and none blocks the night.
    """
    broken: list[str] = []
    overdue = [one for one in reviews.list(tx, states=WAITING, broken=broken) if one.deadline <= tx.now()]
    for problem in broken:
        admission.log_refusal(tx, "reviews", problem, actor=rules.CLOCK, action="review.refuse")
    lines = [*_lost(project, tx)]
    for review in overdue:
        try:
            reviews.verify_row(tx, review.id)
            to = rules.hand_on(project, tx, review, reason="its deadline passed", actor=rules.CLOCK)
        except NightcrewError as error:  # One that somebody changed must not keep the others from being seen.
            admission.log_refusal(tx, review.id, str(error), actor=rules.CLOCK, action="review.refuse")
            continue
        lines.append(
            f"{review.id} ({review.severity}) of {review.ticket} passed its deadline; asked now: {to or 'all'}"
        )
    return lines


def _lost(project: Project, tx: Tx) -> Iterable[str]:
    """Tickets that wait for a person and whose review does not: somebody made it vanish. They are asked for again."""
    waiting = {one.ticket for one in reviews.list(tx, states=WAITING, broken=[])}
    for ticket in tickets.all(tx, states=[State.IN_REVIEW], broken=[]):
        if ticket.id in waiting:
            continue
        try:
            tickets.verify_row(tx, ticket.id)
        except IntegrityError as error:
            admission.log_refusal(tx, ticket.id, str(error), actor=rules.CLOCK, action="review.refuse")
            continue
        reason = f"its review ({ticket.review}) is no longer there"
        again = ask_for_work(project, tx, ticket, reason)
        yield f"{ticket.id} waits for a person and {reason}: asked again as {again.id}"


def rule_names(found: Iterable[Finding]) -> list[str]:
    """The rules that findings are of, each as ``tool rule``."""
    return sorted({f"{one.tool} {one.rule}" for one in found})


def _as_asked(project: Project, tx: Tx, review: Review) -> tuple[str | None, str | None, Needs]:
    """The digest of the subjects, or why there is none to sign; and what the decision needs."""
    try:
        needed = rules.needs_of(project, tx, review)
        if review.state not in WAITING:
            return review.subject_digest, None, needed
        return subject_digest(subjects_of(tx, review)), None, needed
    except NightcrewError as error:
        return None, str(error), Needs(approvals=1, deadline_hours=project.playbook.review.deadline_hours)


def _earlier(tx: Tx, review: Review, found: Sequence[Finding]) -> list[Earlier]:
    """What was decided before about these findings or their rules, the latest first."""
    marks = {one.fingerprint for one in found}
    names = set(rule_names(found))
    decided = reviews.latest(tx, (ReviewState.APPROVED, ReviewState.REJECTED), _LOOKED_BACK)
    earlier: list[Earlier] = []
    for other in _alike(tx, review, found, decided):
        theirs = _findings(tx, other)
        same = next((one for one in theirs if one.fingerprint in marks), None)
        like = same or next((one for one in theirs if f"{one.tool} {one.rule}" in names), None)
        if like is None:
            continue
        for signed in reviews.vouched(tx, other.id):
            if signed.decision in ENDING:
                earlier.append(_as_earlier(other, signed, like, same is not None))
        if len(earlier) >= _EARLIER:
            break
    return earlier[:_EARLIER]


def _alike(tx: Tx, review: Review, found: Sequence[Finding], others: Sequence[str]) -> Iterator[Review]:
    """Those of ``others`` that may be about the same findings or rules, which is cheap to tell; not ``review``."""
    rules_of = {one.rule for one in found}
    wanted = {one.fingerprint for one in found} | rules_of
    names = [one for one in others if one != review.id]
    if not wanted or not names:
        return
    if all(_PLAIN_RULE.fullmatch(rule) for rule in rules_of):  # Others may be stored with escapes in them.
        kept = reviews.naming(tx, names, wanted)
        names = [one for one in names if one in kept]
    for start in range(0, len(names), _AT_ONCE):
        yield from reviews.some(tx, names[start : start + _AT_ONCE], broken=[])


def _as_earlier(review: Review, signed: Signed, finding: Finding, same: bool) -> Earlier:
    return Earlier(
        review=review.id,
        ticket=review.ticket,
        decision=signed.decision.value,
        reviewer=signed.reviewer,
        at=signed.at,
        comment=signed.comment,
        rule=f"{finding.tool} {finding.rule}",
        fingerprint=finding.fingerprint if same else None,
    )


def _group(tx: Tx, review: Review, found: Sequence[Finding]) -> list[str]:
    """The first other reviews that wait for the same decision under one of the same rules."""
    names = set(rule_names(found))
    if review.state not in WAITING or not names:
        return []
    waiting = reviews.waiting_for(tx, review.on_approve.value)
    alike: list[str] = []
    for one in _alike(tx, review, found, waiting):
        if names & set(rule_names(_findings(tx, one))):
            alike.append(one.id)
        if len(alike) >= MAX_GROUP:
            break
    return alike


def _findings(tx: Tx, review: Review) -> list[Finding]:
    """The findings that the review was asked for; none if what lies here is damaged, which another place says."""
    try:
        return rules.findings_asked(tx, review)
    except NightcrewError:
        return []
