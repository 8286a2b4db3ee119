"""The merger: brings a ready commit into the integration branch, after verifying everything again."""

from nightcrew.crew import admission, mending
from nightcrew.crew.forge.wording import inert
from nightcrew.crew.project import Project
from nightcrew.crew.workspace import MergeStatus, merge
from nightcrew.model.errors import IntegrityError, NotVerifiedError, RepositoryError
from nightcrew.model.ticket import Event, State
from nightcrew.store import findings, shifts, tickets
from nightcrew.store.findings import FindingState
from nightcrew.store.store import Tx


def ready(tx: Tx) -> list[str]:
    """The ids of tickets that wait to be merged."""
    return [ticket.id for ticket in tickets.all(tx, states=[State.READY])]


def try_merge(project: Project, ticket_id: str, shift_id: str) -> dict[str, object]:
    """Merge one ticket's commit, if every signature it needs verifies now. The same merge again is none.

    Gives ``status`` (merged, conflict, refused, not_admitted), ``reason``, ``commit``, ``files`` and ``mended``
    (fingerprints of findings) as JSON values.
    """
    with project.store.read() as tx:
        ticket = tickets.get(tx, ticket_id)
        try:
            reasons = list(admission.refusals(project, tx, ticket))
        except NotVerifiedError as error:  # No answer is no refusal: it stays ready, and is looked at again.
            return {"status": "not_verified", "reason": str(error), "commit": None, "files": []}
        started = shifts.get(tx, shift_id).started
    if reasons:
        return {"status": "not_admitted", "reason": "; ".join(reasons), "commit": None, "files": []}
    settings = project.settings.merge
    if ticket.head is None:  # refusals() has said so already
        raise RepositoryError(f"{ticket.id} names no commit")
    result = merge(
        project.root,
        into=settings.into,
        head=ticket.head,
        message=f"Merge {ticket.id}: {inert(ticket.title)}\n\nTicket: {ticket.id}\nVerified-Commit: {ticket.head}\n",
        when=started,
        start=project.git.ref(f"refs/heads/{settings.from_branch}") if settings.from_branch else None,
    )
    status = "merged" if result.ok else str(result.status)
    mended: list[str] = []
    if result.ok and result.commit is not None:
        with project.store.read() as tx:
            mended = mending.mended(project, tx, ticket, result.commit)
    files = list(result.files)
    return {"status": status, "reason": result.reason, "commit": result.commit, "files": files, "mended": mended}


def record_merge(tx: Tx, ticket_id: str, result: dict[str, object]) -> None:
    """Write down how the merge went: done, sent back for a conflict, or still ready with the reason.

    A row that is not what the ledger says stays as it is: to move it would be to vouch for it.
    """
    status, reason = result["status"], str(result["reason"])
    if status == "not_admitted":
        admission.log_refusal(tx, ticket_id, reason, actor="merger", action="merge.refuse")
    try:
        tickets.verify_row(tx, ticket_id)
    except IntegrityError as error:
        said = f"{status}: {error}"
        if status != "not_admitted":
            admission.log_refusal(tx, ticket_id, said, actor="merger", action="merge.refuse")
        return
    if status == "merged":
        tickets.apply(tx, ticket_id, Event.MERGE, actor="merger", reason=reason, note=f"merged: {reason}")
        _record_mended(tx, ticket_id, result)
    elif status == MergeStatus.CONFLICT:
        tickets.apply(
            tx, ticket_id, Event.SEND_BACK, actor="merger", reason=reason, note=reason[:500], base=None, head=None
        )
    elif status == "not_admitted":
        tickets.apply(
            tx, ticket_id, Event.QUARANTINE, actor="merger", reason=reason, note=f"not merged: {reason}"[:500]
        )
    else:
        tickets.edit(tx, ticket_id, actor="merger", changes={"note": f"not merged: {reason}"[:500]})


def _record_mended(tx: Tx, ticket_id: str, result: dict[str, object]) -> None:
    """What the merged commit mended is fixed: a check that finds it again opens it again."""
    mended = result.get("mended", [])
    for name in mended if isinstance(mended, list) else []:
        known = findings.find(tx, str(name))
        if known is not None and known.ticket == ticket_id and known.state is FindingState.OPEN:
            reason = f"merged as {result['commit']}"
            findings.set_state(tx, str(name), FindingState.FIXED, actor="merger", reason=reason)
