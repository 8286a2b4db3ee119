"""Who may decide a review, how many of them must, and who is asked: pure rules of the playbook."""

from collections.abc import Collection, Sequence
from datetime import datetime
from fnmatch import fnmatchcase

from pydantic import Field

from nightcrew.model.document import Document
from nightcrew.model.finding import Category
from nightcrew.model.playbook import ReviewRule, ReviewRules, ReviewWhen
from nightcrew.model.severity import Severity


class ReviewFacts(Document):
    """What the rules look at: how severe it is, the paths it touches, the desk that asks, the sorts of findings."""

    severity: Severity
    paths: tuple[str, ...] = ()
    sender: str | None = None
    categories: tuple[Category, ...] = ()


class Needs(Document):
    """What a review needs: how many people must approve, who may (empty: every enrolled reviewer), within how long."""

    approvals: int = Field(ge=1)
    may: tuple[str, ...] = ()
    deadline_hours: float

    def allows(self, reviewer: str) -> bool:
        """Whether the reviewer may approve or reject."""
        return not self.may or reviewer in self.may


def needs(rules: ReviewRules, facts: ReviewFacts, *, people: int) -> Needs:
    """What a review needs by the playbook; ``people`` is how many reviewers are enrolled.

    Four eyes take two people: as long as one only is enrolled, that one decides. A rule that asks for more asks for it
    whoever is enrolled.
    """
    rule = next((rule for rule in rules.rules if _fits(rule.when, facts)), ReviewRule())
    four_eyes = rules.four_eyes_from is not None and facts.severity.at_least(rules.four_eyes_from)
    eyes = 2 if four_eyes and people >= 2 else 1
    return Needs(
        approvals=max(rule.approvals, eyes),
        may=rule.reviewers,
        deadline_hours=rule.deadline_hours or rules.deadline_hours,
    )


def stricter(asked: Needs, now: Needs) -> Needs:
    """What counts where a review was asked for under other rules: today's people, and never fewer of them than then."""
    return now.model_copy(update={"approvals": max(asked.approvals, now.approvals)})


def next_reviewer(
    rules: ReviewRules,
    needed: Needs,
    *,
    people: Sequence[str],
    current: str | None,
    at: datetime,
    done: Collection[str] = (),
) -> str | None:
    """Who is asked after ``current``, in the playbook's order and round again; None if there is nobody.

    ``people`` are those who are enrolled; whom the playbook does not name come last. It is someone who may decide it,
    is not ``done`` with it and not away; if all are away, the next in order.
    """
    named = dict.fromkeys((*rules.reviewers, *needed.may, *people))
    order = [name for name in named if name in people and needed.allows(name) and name not in done]
    if current in order:
        start = order.index(current) + 1
        order = order[start:] + order[: start - 1]
    here = [name for name in order if not is_away(rules, name, at)]
    return next(iter(here or order), None)


def is_away(rules: ReviewRules, reviewer: str, at: datetime) -> bool:
    """Whether the reviewer is out of office on the day of ``at`` (UTC)."""
    return any(one.reviewer == reviewer and one.begin <= at.date() <= one.until for one in rules.away)


def _fits(when: ReviewWhen, facts: ReviewFacts) -> bool:
    checks = (
        when.severity_at_least is None or facts.severity.at_least(when.severity_at_least),
        when.sender is None or when.sender == facts.sender,
        when.category is None or when.category in facts.categories,
        when.path is None or any(fnmatchcase(path, when.path) for path in facts.paths),
    )
    return all(checks)
