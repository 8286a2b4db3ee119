"""Which findings a merged change mended, as far as that is proven: the others stay open."""

from nightcrew.checks.located import evidence_of
from nightcrew.crew.project import Project
from nightcrew.crew.workspace import read_file
from nightcrew.model.errors import RepositoryError
from nightcrew.model.finding import Category, Finding
from nightcrew.model.handoff import HandoffKind
from nightcrew.model.ticket import Ticket
from nightcrew.store import findings, handoffs
from nightcrew.store.findings import FindingState
from nightcrew.store.store import Tx


def mended(project: Project, tx: Tx, ticket: Ticket, commit: str) -> list[str]:
    """The fingerprints of the ticket's open findings that are gone in the merged ``commit``.

    One is gone if the desk that reported it looked again, at everything, and reports it no more; or if the line that
    it was found in was in the file at the change's base, and is not in the file now. That a ticket is done proves
    nothing: it may have mended two of three. A secret is not mended by taking it out of the code.
    """
    broken: list[str] = []
    written = handoffs.list(tx, ticket=ticket.id, broken=broken)
    if broken:
        return []
    told = [handoff for handoff in written if handoff.kind is HandoffKind.VERDICT]
    last = {handoff.sender: handoff for handoff in told}
    still = {finding.fingerprint for handoff in last.values() for finding in handoff.findings}
    looked = {desk for desk, handoff in last.items() if all(check.status != "not_checked" for check in handoff.checks)}
    earlier = {finding.fingerprint for handoff in told if handoff.sender in looked for finding in handoff.findings}
    return [
        known.finding.fingerprint
        for known in findings.list(tx, states=[FindingState.OPEN], ticket=ticket.id, broken=broken)
        if known.finding.fingerprint not in still
        and known.finding.category is not Category.SECRET
        and (known.finding.fingerprint in earlier or _is_gone(project, ticket.base, commit, known.finding))
    ]


def _is_gone(project: Project, base: str | None, commit: str, finding: Finding) -> bool:
    if base is None or finding.path is None or finding.line is None or not finding.evidence:
        return False
    try:
        return _has(project, base, finding.path, finding) and not _has(project, commit, finding.path, finding)
    except RepositoryError:  # it cannot be read: nothing is proven
        return False


def _has(project: Project, commit: str, path: str, finding: Finding) -> bool:
    """Whether a line of the file is the one that the finding shows."""
    data = read_file(project.root, commit, path)
    lines = [] if data is None else data.decode("utf-8-sig", "replace").replace("\r\n", "\n").split("\n")
    return any(evidence_of(line) == finding.evidence for line in lines)
