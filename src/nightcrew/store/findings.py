"""Findings that are known, by fingerprint, so that none is filed twice; a severity only rises."""

import builtins
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import insert, select, update

from nightcrew.model.errors import DocumentError, IntegrityError, NotFoundError
from nightcrew.model.finding import Finding
from nightcrew.store import ledger, rows
from nightcrew.store.schema import findings
from nightcrew.store.store import Tx


class FindingState(StrEnum):
    """What became of a finding."""

    OPEN = "open"
    FIXED = "fixed"
    FALSE_POSITIVE = "false_positive"
    ACCEPTED = "accepted"


@dataclass(frozen=True)
class KnownFinding:
    """A finding as it is stored; ``ticket`` is the one that was filed for it."""

    finding: Finding
    ticket: str | None
    state: FindingState
    first_seen: datetime
    last_seen: datetime


def record(tx: Tx, finding: Finding, *, ticket: str | None = None, actor: str = "nightcrew") -> bool:
    """Store a finding; whether it is new. A known one is noted as seen, and its severity can only rise.

    One that was fixed and is seen again is open again, and ``ticket`` is the one for it then. Merely seeing it once
    more leaves no entry in the ledger.
    """
    known = find(tx, finding.fingerprint)
    if known is None:
        row = {"fingerprint": finding.fingerprint, "doc": rows.to_json(finding.plain()), "ticket": ticket}
        seen = tx.stamp()
        tx.connection.execute(insert(findings).values(**row, state="open", first_seen=seen, last_seen=seen))
        _log(tx, finding.fingerprint, "record", actor, severity=finding.severity.value, ticket=ticket)
        return True
    _see_again(tx, known, finding, ticket, actor)
    return False


def _see_again(tx: Tx, known: KnownFinding, finding: Finding, ticket: str | None, actor: str) -> None:
    severity = known.finding.severity.raised_to(finding.severity)
    breaks = known.finding.breaks_build or finding.breaks_build
    state = FindingState.OPEN if known.state is FindingState.FIXED else known.state
    owner = (ticket or known.ticket) if known.state is FindingState.FIXED else (known.ticket or ticket)
    doc = finding.model_copy(update={"severity": severity, "breaks_build": breaks})
    _set(tx, finding.fingerprint, doc=rows.to_json(doc.plain()), ticket=owner, state=state.value, last_seen=tx.stamp())
    before = (known.finding.severity, known.finding.breaks_build, known.state, known.ticket)
    if before != (severity, breaks, state, owner):
        data = {"severity": severity.value, "breaks_build": breaks, "state": state.value, "ticket": owner}
        _log(tx, finding.fingerprint, "change", actor, **data)


def find(tx: Tx, fingerprint: str) -> KnownFinding | None:
    """The finding with this fingerprint, None if it is not known."""
    row = tx.connection.execute(select(findings).where(findings.c.fingerprint == fingerprint)).mappings().first()
    return None if row is None else known_from(row)


def known(tx: Tx, fingerprints: Iterable[str]) -> dict[str, FindingState]:
    """The states of those of ``fingerprints`` that are known."""
    wanted = builtins.list(dict.fromkeys(fingerprints))
    found: dict[str, FindingState] = {}
    for start in range(0, len(wanted), 500):
        query = select(findings.c.fingerprint, findings.c.state)
        some = query.where(findings.c.fingerprint.in_(wanted[start : start + 500]))
        found.update((row[0], FindingState(row[1])) for row in tx.connection.execute(some))
    return found


def is_rejected(tx: Tx, fingerprint: str) -> bool:
    """Whether the sealed ledger says that the finding became a false positive; its row alone proves nothing."""
    return is_said(tx, fingerprint, FindingState.FALSE_POSITIVE)


def is_said(tx: Tx, fingerprint: str, state: FindingState) -> bool:
    """Whether the sealed ledger says that the finding was put into this state, and was not seen again since."""
    entries = builtins.list(ledger.entries(tx, subject=f"finding:{fingerprint}"))
    said = [entry for entry in entries if entry.action == "finding.state"]
    if not said:
        return False
    try:
        ledger.check(tx, said[-1])
        later = [entry for entry in entries if entry.seq > said[-1].seq and entry.action == "finding.change"]
        stays = all(ledger.data(entry).get("state") == state.value for entry in later)
        return stays and bool(ledger.data(said[-1]).get("to") == state.value)
    except IntegrityError:
        return False


def set_state(tx: Tx, fingerprint: str, state: FindingState | str, *, actor: str, reason: str = "") -> None:
    """Say what became of a finding; raises NotFoundError."""
    state = FindingState(state)
    before = find(tx, fingerprint)
    if before is None:
        raise NotFoundError(f"there is no finding {fingerprint}")
    if before.state is not state:
        _set(tx, fingerprint, state=state.value)
        _log(tx, fingerprint, "state", actor, **{"from": before.state.value, "to": state.value, "reason": reason})


def give(tx: Tx, fingerprint: str, ticket: str, *, actor: str) -> None:
    """Say that a known finding is the work of ``ticket`` from now on: the one it had is done."""
    before = find(tx, fingerprint)
    if before is not None and before.ticket != ticket:
        _set(tx, fingerprint, ticket=ticket)
        _log(tx, fingerprint, "give", actor, **{"from": before.ticket, "ticket": ticket})


def list(
    tx: Tx,
    *,
    states: Iterable[FindingState] | None = None,
    ticket: str | None = None,
    broken: builtins.list[str] | None = None,
) -> builtins.list[KnownFinding]:
    """Known findings, first seen first; what is wrong with a row that holds none goes to ``broken`` if it is given."""
    query = select(findings).order_by(findings.c.first_seen, findings.c.fingerprint)
    if states is not None:
        query = query.where(findings.c.state.in_([state.value for state in states]))
    if ticket is not None:
        query = query.where(findings.c.ticket == ticket)
    found = []
    for row in tx.connection.execute(query).mappings():
        try:
            found.append(known_from(row))
        except IntegrityError as error:
            if broken is None:
                raise
            broken.append(str(error))
    return found


def _set(tx: Tx, fingerprint: str, **values: Any) -> None:
    tx.connection.execute(update(findings).where(findings.c.fingerprint == fingerprint).values(values))


def _log(tx: Tx, fingerprint: str, what: str, actor: str, **data: Any) -> None:
    ledger.append(tx, actor=actor, action=f"finding.{what}", subject=f"finding:{fingerprint}", data=data)


def known_from(row: Mapping[Any, Any]) -> KnownFinding:
    """The finding of a row; raises IntegrityError if it holds none."""
    where = f"finding {row['fingerprint']}"
    try:
        finding = Finding.read(rows.from_json(row["doc"], where=where), source=where)
    except DocumentError as error:
        raise IntegrityError(str(error)) from None
    times = rows.from_time(row["first_seen"]), rows.from_time(row["last_seen"])
    return KnownFinding(finding, row["ticket"], FindingState(row["state"]), *times)
