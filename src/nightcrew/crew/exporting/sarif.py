"""Findings as SARIF 2.1.0: what people set aside is suppressed in it, with the reason."""

from nightcrew.checks.sarif_write import write_sarif
from nightcrew.crew.project import Project
from nightcrew.store import findings
from nightcrew.store.findings import FindingState
from nightcrew.store.store import Tx

_ASIDE = {
    FindingState.FALSE_POSITIVE: "a reviewer rejected it: a false positive",
    FindingState.ACCEPTED: "a reviewer accepted it",
}


def export_sarif(project: Project, *, ticket: str | None = None, fixed: bool = False) -> bytes:
    """The findings (of one ticket, if given) as one SARIF log; with ``fixed`` also those that are mended, as absent.

    A false positive counts as one only if the sealed ledger says so.
    """
    with project.store.read() as tx:
        wanted = [state for state in FindingState if fixed or state is not FindingState.FIXED]
        known = findings.list(tx, states=wanted, ticket=ticket)
        aside = {one.finding.fingerprint: _ASIDE[one.state] for one in known if _is_aside(tx, one)}
    mended = {one.finding.fingerprint for one in known if one.state is FindingState.FIXED}
    return write_sarif([one.finding for one in known], suppressed=aside, absent=mended)


def _is_aside(tx: Tx, known: findings.KnownFinding) -> bool:
    if known.state is FindingState.FALSE_POSITIVE:
        return findings.is_rejected(tx, known.finding.fingerprint)
    return known.state in _ASIDE
