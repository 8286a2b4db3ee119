"""Pull-request reviews on GitHub taken as approvals: by enrolled logins, on exactly the head commit that waits."""

from nightcrew.approvals import sign_statement
from nightcrew.approvals.github import GithubKey, GithubReview, GithubSigner, find
from nightcrew.crew import deciding
from nightcrew.crew.project import Project
from nightcrew.model.errors import NightcrewError
from nightcrew.model.review import WAITING, Decision, Review
from nightcrew.model.statement import SignerKind
from nightcrew.model.ticket import Event
from nightcrew.store import reviews, tickets


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
    lines = []
    for reviewer in keys:
        key = GithubKey.read(reviewer.public_key)
        for review, head in _waiting(project):
            try:
                found = find(key, head)
            except NightcrewError as error:
                lines.append(f"{reviewer.name} on GitHub: {error}")
                break  # What refuses one question refuses the next.
            if found is not None:
                lines.append(_decided(project, review, reviewer.name, GithubSigner(key, found), found))
    return lines


def _decided(project: Project, review: Review, name: str, signer: GithubSigner, found: GithubReview) -> str:
    try:
        statement = deciding.prepare(project, [review.id], Decision.APPROVE, reviewer=name, comment=found.html_url)
        deciding.finish(project, sign_statement(signer, statement))
    except NightcrewError as error:
        return f"{review.id}: {name} on GitHub: {error}"
    return f"{review.id}: {name} approved it in pull request {found.pull}"


def _waiting(project: Project) -> list[tuple[Review, str]]:
    with project.store.read() as tx:
        found = []
        for review in reviews.list(tx, states=WAITING):
            head = tickets.get(tx, review.ticket).head
            if head is not None and review.on_approve is not Event.APPROVE_WORK:
                found.append((review, head))
        return found
