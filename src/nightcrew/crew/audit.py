"""Audit: ledger, database and files checked against each other and against what was last seen."""

from collections.abc import Iterator

from nightcrew.crew.project import Project
from nightcrew.crew.published import handoff_path
from nightcrew.model.canonical import canonical_json
from nightcrew.model.document import Document
from nightcrew.model.errors import IntegrityError, NotFoundError
from nightcrew.pipeline import overview
from nightcrew.pipeline.state import State
from nightcrew.store import audit as stored
from nightcrew.store import handoffs, ledger
from nightcrew.store.store import Tx


class Broken(Document):
    """One thing that does not fit: ``seq`` of the ledger entry (0 if none), ``where`` and what the ``problem`` is."""

    seq: int
    where: str
    problem: str


class AuditReport(Document):
    """What an audit found; ``entries`` is how many ledger entries were checked."""

    ok: bool
    entries: int
    broken: tuple[Broken, ...]


def verify(project: Project) -> AuditReport:
    """Check the chain and its seals, the pinned head, each row, each handoff, each outcome, and the reviewers."""
    with project.store.read() as tx:
        count, chain = ledger.verify(tx)
        broken = [Broken(seq=seq, where="ledger", problem=problem) for seq, problem in chain]
        broken += [Broken(seq=0, where=where, problem=problem) for where, problem in stored.problems(tx)]
        broken += [Broken(seq=0, where=where, problem=problem) for where, problem in overview.problems(tx)]
        broken += list(_files(project, tx))
    for where, check in (
        ("anchor", project.check_ledger),
        ("reviewers", lambda: project.anchor.reviewers(project.repository_id)),
    ):
        try:
            check()
        except IntegrityError as error:
            broken.append(Broken(seq=0, where=where, problem=str(error)))
    return AuditReport(ok=not broken, entries=count, broken=tuple(broken))


def verify_state(state: State) -> AuditReport:
    """As ``verify``, of a state that only pipelines keep theirs in."""
    with state.store.read() as tx:
        count, chain = ledger.verify(tx)
        broken = [Broken(seq=seq, where="ledger", problem=problem) for seq, problem in chain]
        broken += [Broken(seq=0, where=where, problem=problem) for where, problem in overview.problems(tx)]
    try:
        state.check_ledger()
    except IntegrityError as error:
        broken.append(Broken(seq=0, where="anchor", problem=str(error)))
    return AuditReport(ok=not broken, entries=count, broken=tuple(broken))


def entry(of: Project | State, number: int) -> ledger.Entry:
    """The entry with this number; raises NotFoundError, and IntegrityError if nightcrew did not write it."""
    with of.store.read() as tx:
        for found in ledger.entries(tx, after=number - 1, limit=1):
            if found.seq == number:
                ledger.check(tx, found)
                return found
    raise NotFoundError(f"the ledger has no entry {number}", hint="See all of it: nightcrew audit show")


def show(of: Project | State, *, limit: int = 50, subject: str | None = None) -> list[ledger.Entry]:
    """The last ``limit`` entries of the ledger, oldest first; those of one ``subject`` if given."""
    with of.store.read() as tx:
        head = ledger.head(tx)
        after = max(0, (head.seq if head else 0) - limit) if subject is None else 0
        return list(ledger.entries(tx, after=after, subject=subject))[-limit:]


def export(of: Project | State) -> Iterator[bytes]:
    """All entries as JSON lines, each as it was hashed, for an auditor's own tools."""
    with of.store.read() as tx:
        for entry in ledger.entries(tx):
            yield canonical_json(entry._asdict()) + b"\n"


def _files(project: Project, tx: Tx) -> Iterator[Broken]:
    for handoff in handoffs.list(tx):
        path = handoff_path(project, handoff.id)
        if not path.exists():
            yield Broken(seq=0, where=str(path.name), problem="the file is missing")
        elif path.read_bytes() != handoffs.get(tx, handoff.id)[1]:
            yield Broken(seq=0, where=str(path.name), problem="the file is not the handoff that was written")
