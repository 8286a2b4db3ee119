"""Pull-request reviews on GitHub taken as approvals: by enrolled logins, on exactly the head commit that waits."""

from collections.abc import Iterator, Sequence

from nightcrew.approvals import Reviewer, sign_statement
from nightcrew.approvals.github import GithubKey, GithubReview, GithubSigner, find
from nightcrew.crew import deciding
from nightcrew.crew.project import Project
from nightcrew.model.errors import NightcrewError
from nightcrew.model.review import WAITING, Decision, Review
from nightcrew.model.statement import SignerKind
from nightcrew.model.ticket import Event
from nightcrew.store import ledger, reviews, tickets

SUBJECT = "github"
"""What the ledger calls the looking."""


def collect(project: Project) -> list[str]:
    """Look whether enrolled people approved on GitHub what waits here, and decide it so; gives one line for each.

    A service that does not answer costs nothing but a line: the review goes on waiting.
    """
    keys = [
        reviewer
        for reviewer in project.anchor.reviewers(project.repository_id)
        if reviewer.active and reviewer.kind is SignerKind.GITHUB
    ]
    if not keys:
        return []
    lines = [*_looked(project, keys)]
    if lines:
        with project.store.begin() as tx:
            ledger.append(tx, actor="nightcrew", action="github.look", subject=SUBJECT, data={"lines": lines})
    return lines


def _looked(project: Project, keys: Sequence[Reviewer]) -> Iterator[str]:
    for reviewer in keys:
        key = GithubKey.read(reviewer.public_key)
        for review, head in _waiting(project, reviewer.name):
            try:
                found = find(key, head)
            except NightcrewError as error:
                yield f"{reviewer.name} on GitHub: {error}"
                break  # What refuses one question refuses the next.
            # What was approved before the review was asked for was approved without knowing of it.
            if found is not None and found.submitted_at > review.created:
                yield _decided(project, review, reviewer.name, GithubSigner(key, found), found)


def _decided(project: Project, review: Review, name: str, signer: GithubSigner, found: GithubReview) -> str:
    try:
        statement = deciding.prepare(
            project,
            [review.id],
            Decision.APPROVE,
            reviewer=name,
            comment=found.html_url,
            clock=lambda: found.submitted_at,
        )
        deciding.finish(project, sign_statement(signer, statement))
    except NightcrewError as error:
        return f"{review.id}: {name} on GitHub: {error}"
    return f"{review.id}: {name} approved it in pull request {found.pull}"


def _waiting(project: Project, name: str) -> list[tuple[Review, str]]:
    with project.store.read() as tx:
        found = []
        for review in reviews.list(tx, states=WAITING, broken=[]):
            head = tickets.get(tx, review.ticket).head
            done = any(one.reviewer == name for one in reviews.approvals(tx, review.id))
            if head is not None and review.on_approve is not Event.APPROVE_WORK and not done:
                found.append((review, head))
        return found
