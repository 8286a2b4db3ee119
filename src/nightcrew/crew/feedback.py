"""What decisions teach: each is a labelled example, for statistics and for thresholds."""

from collections.abc import Iterator

from nightcrew.crew import rules
from nightcrew.crew.agreement import Label, Stats, stats
from nightcrew.crew.asking import desk_of
from nightcrew.crew.inbox import rule_names
from nightcrew.crew.project import Project
from nightcrew.model.review import Review, ReviewState
from nightcrew.model.ticket import Event
from nightcrew.store import handoffs, reviews, tickets
from nightcrew.store.store import Tx


def stats_of(project: Project, *, alpha: float, delta: float) -> Stats:
    """Agreement per agent and rule, time to decide, and what thresholds on confidence would have done."""
    with project.store.read() as tx:
        return stats(list(labels(tx)), alpha=alpha, delta=delta)


def labels(tx: Tx) -> Iterator[Label]:
    """Every review that people ended, as a labelled example; one that was voided later was decided all the same."""
    for review in reviews.list(tx, states=[ReviewState.APPROVED, ReviewState.REJECTED, ReviewState.VOID], broken=[]):
        if review.decided is not None:
            yield _label(tx, review)


def _label(tx: Tx, review: Review) -> Label:
    ticket = tickets.get(tx, review.ticket)
    asked_by = handoffs.get(tx, review.handoff)[0] if review.handoff else None
    names = rule_names(rules.findings_of(tx, ticket, asked_by))
    rejected = review.state is ReviewState.REJECTED
    of_finding = review.on_approve is Event.APPROVE_WORK
    return Label(
        agent=desk_of(ticket, asked_by),
        rule=names[0] if names else "no finding",
        # A change that is let through in spite of a finding says nothing of whether the finding is one.
        confidence=review.confidence if of_finding else None,
        severity=review.severity.value,
        decision="reject" if rejected else "approve",
        asked=review.created,
        decided=review.decided or review.created,
        reviewer=review.reviewer or "",
        overruled=rejected if of_finding else not rejected,
    )
