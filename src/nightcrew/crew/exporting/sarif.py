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

    One counts as mended or as set aside only if the sealed ledger says so: its row alone proves nothing.
    """
    with project.store.read() as tx:
        known = findings.list(tx, ticket=ticket)
        said = {one.finding.fingerprint: one.state for one in known if _is_said(tx, one)}
    aside = {name: _ASIDE[state] for name, state in said.items() if state in _ASIDE}
    mended = {name for name, state in said.items() if state is FindingState.FIXED}
    shown = [one.finding for one in known if fixed or one.finding.fingerprint not in mended]
    return write_sarif(shown, suppressed=aside, absent=mended)


def _is_said(tx: Tx, known: findings.KnownFinding) -> bool:
    return known.state is not FindingState.OPEN and findings.is_said(tx, known.finding.fingerprint, known.state)
