"""What is not brought to a forge: a commit with a secret in it to none, the fix of a hole to no public repository.

What was pushed cannot be taken back: it is copied within seconds. A person can still push it by hand.
"""

from collections.abc import Iterator

from nightcrew.crew.project import Project
from nightcrew.model.finding import Category
from nightcrew.model.ticket import Kind, Ticket
from nightcrew.store import findings, handoffs, ledger
from nightcrew.store.store import Tx

VERDICT_ACTION = "verdict.sign"
"""What the ledger calls the verdict of a desk on a commit."""


def why(project: Project, tx: Tx, ticket: Ticket, *, public: bool) -> str:
    """Why nothing of the ticket's change may be seen there, as the rest of a sentence; empty if it may."""
    if public and ticket.kind is Kind.SECURITY and not project.settings.github.publish_security:
        return "is the fix of a security hole, and the repository is public"
    if any(_holds_secret(project, tx, ticket)):
        return "has a commit in which a check found a secret"
    return ""


def _holds_secret(project: Project, tx: Tx, ticket: Ticket) -> Iterator[bool]:
    """For each verdict on the ticket: whether it found a secret in a commit that the change still contains."""
    for entry in ledger.entries(tx, subject=f"verdict:{ticket.id}"):
        said = ledger.data(entry)
        checked = said.get("head")
        if entry.action != VERDICT_ACTION or not checked or ticket.head is None:
            continue
        found = [one for one in handoffs.verify(tx, str(said["handoff"])).findings if one.category is Category.SECRET]
        if all(findings.is_rejected(tx, one.fingerprint) for one in found):
            continue
        # A later commit takes the secret out of the files, and leaves it in the history.
        git = project.git
        yield not git.exists(ticket.head) or (  # made on another machine: what cannot be looked at is not shown
            git.exists(str(checked)) and git.is_ancestor(str(checked), ticket.head)
        )
