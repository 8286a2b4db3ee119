"""Who may decide: enrolling and revoking reviewers, by signatures that lead back to the first."""

from collections.abc import Callable

from nightcrew.approvals import Reviewer, create_key, fresh_nonce, open_key
from nightcrew.approvals.signer import Signer
from nightcrew.crew.project import Project
from nightcrew.model.canonical import sha256_hex
from nightcrew.model.errors import UsageError
from nightcrew.store import ledger


def list_reviewers(project: Project) -> tuple[Reviewer, ...]:
    """Everyone ever enrolled for this repository; the chain of signatures is verified."""
    return project.anchor.reviewers(project.repository_id)


def add(project: Project, name: str, *, passphrase: Callable[[str], str], by: str | None = None) -> Reviewer:
    """Enrol a reviewer with a new key sealed by a passphrase.

    ``passphrase(prompt)`` asks a person. The first reviewer is enrolled by his own signature; each later one by that
    of an enrolled one, ``by``. Raises UsageError, ApprovalError.
    """
    repository, anchor = project.repository_id, project.anchor
    if not anchor.begun(repository):
        sealed, signer = create_key(passphrase(f"New passphrase for {name}: "), clock=project.clock)
        anchor.keep_key(sealed)
        enrolled = anchor.enrol_first(repository, name, signer, nonce=fresh_nonce(), clock=project.clock)
    else:
        signed_by = _signer(project, by, passphrase)
        sealed, signer = create_key(passphrase(f"New passphrase for {name}: "), clock=project.clock)
        anchor.keep_key(sealed)
        enrolled = anchor.enrol(
            repository,
            name,
            kind=signer.kind,
            public_key=signer.public_key,
            by=signed_by,
            nonce=fresh_nonce(),
            clock=project.clock,
        )
    _record(project, "reviewer.add", name, by or name)
    return enrolled


def revoke(project: Project, name: str, *, by: str | None, passphrase: Callable[[str], str]) -> Reviewer:
    """Revoke a reviewer, signed by ``by``: his unused approvals are void. Raises NotFoundError, ApprovalError."""
    signer = _signer(project, by, passphrase)
    revoked = project.anchor.revoke(project.repository_id, name, by=signer, nonce=fresh_nonce(), clock=project.clock)
    _record(project, "reviewer.revoke", name, by or name)
    return revoked


def _signer(project: Project, by: str | None, passphrase: Callable[[str], str]) -> Signer:
    active = [reviewer for reviewer in list_reviewers(project) if reviewer.active]
    if by is None and len(active) != 1:
        raise UsageError(f"say who signs, with --by: {', '.join(reviewer.name for reviewer in active)}")
    reviewer = project.anchor.reviewer(project.repository_id, by or active[0].name)
    return open_key(project.anchor.sealed_key(reviewer.key_id), passphrase(f"Passphrase of {reviewer.name}: "))


def _record(project: Project, action: str, name: str, by: str) -> None:
    chain = project.anchor.statements(project.repository_id)
    data = {"name": name, "chain": [sha256_hex(entry) for entry in chain]}
    with project.store.begin() as tx:
        ledger.append(tx, actor=f"reviewer:{by}", action=action, subject=f"reviewer:{name}", data=data)
    project.pin_ledger()
