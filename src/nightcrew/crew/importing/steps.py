"""An import in steps, each a transaction: a large one lets other writers have their turn, and can be killed.

What a step filed is known to the next run, so that the same import again goes on where it stopped.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial

from nightcrew.crew.importing.filing import file_all, withdraw
from nightcrew.crew.importing.imported import Imported
from nightcrew.crew.importing.outcome import ACTOR, CREATED, UPDATED, WITHDRAWN, Filed, ImportReport, counted
from nightcrew.crew.project import Project
from nightcrew.store import ledger
from nightcrew.store.store import Tx

AT_ONCE = 500
"""So many tickets are filed in one transaction: half a second."""

Step = Callable[[Tx], list[Filed]]


class _DryRunError(Exception):
    """Undoes what a dry run did."""


def run(
    project: Project, source: str, steps: Iterable[Step], *, dry_run: bool = False, notes: Iterable[str] = ()
) -> ImportReport:
    """Do the steps, and say in the ledger what came of each; a dry run does the same, and undoes each at its end."""
    things: list[Filed] = []
    for step in steps:
        try:
            with project.store.begin() as tx:
                done = step(tx)
                log(tx, source, done)
                if dry_run:
                    raise _DryRunError
                things += done
        except _DryRunError:
            # The number that a ticket would have is known only when it is filed.
            things += [one.model_copy(update={"ticket": None}) if one.what == CREATED else one for one in done]
    return ImportReport(source=source, dry_run=dry_run, things=tuple(things), notes=tuple(notes))


def log(tx: Tx, source: str, things: list[Filed], *, actor: str = ACTOR) -> None:
    """Say in the ledger what was changed; nothing if nothing was."""
    if any(one.what in (CREATED, UPDATED, WITHDRAWN) for one in things):
        ledger.append(
            tx, actor=actor, action="import.file", subject=f"import:{source}", data={"counts": counted(things)}
        )


def filing_steps(project: Project, items: Iterable[Imported], *, again: bool = False) -> Iterator[Step]:
    """Steps that file ``items``: what others depend on first, so that no ticket is there without what it waits for."""
    listed = _in_order([*items])
    coming = frozenset((item.source, item.ref) for item in listed)
    for start in range(0, len(listed), AT_ONCE):
        some = listed[start : start + AT_ONCE]
        yield partial(_file, project, some, again=again, coming=coming)
    # Of things that depend on each other, one came before what it depends on.
    places = {(item.source, item.ref): place for place, item in enumerate(listed)}
    late = [
        item
        for place, item in enumerate(listed)
        if any(places.get((item.source, ref), -1) // AT_ONCE > place // AT_ONCE for ref in item.depends)
    ]
    if late:
        yield partial(_depend, project, late)


def withdrawing_steps(source: str, gone: Mapping[str, str]) -> Iterator[Step]:
    """Steps that set aside the tickets of things that are gone (ref: why)."""
    listed = [*gone.items()]
    for start in range(0, len(listed), AT_ONCE):
        yield partial(_withdraw, source, dict(listed[start : start + AT_ONCE]))


def _withdraw(source: str, gone: Mapping[str, str], tx: Tx) -> list[Filed]:
    return withdraw(tx, source, gone)


def _file(
    project: Project, items: list[Imported], tx: Tx, *, again: bool, coming: frozenset[tuple[str, str]]
) -> list[Filed]:
    return file_all(project, tx, items, again=again, coming=coming)


def _depend(project: Project, items: list[Imported], tx: Tx) -> list[Filed]:
    """Add what is still missing to tickets that are told of already."""
    file_all(project, tx, items)
    return []


def _in_order(items: list[Imported]) -> list[Imported]:
    """``items`` with what each depends on before it, otherwise in their order; a circle begins anywhere."""
    by_ref = {(item.source, item.ref): item for item in items}
    ordered: dict[tuple[str, str], Imported] = {}
    entered: set[tuple[str, str]] = set()
    for item in items:
        waiting = [item]
        while waiting:
            key = (waiting[-1].source, waiting[-1].ref)
            before = [(key[0], ref) for ref in waiting[-1].depends if (key[0], ref) in by_ref]
            new = [name for name in before if name not in entered]
            entered.add(key)
            if key in ordered or not new:
                ordered.setdefault(key, waiting.pop())
            else:
                waiting.extend(by_ref[name] for name in reversed(new))
    return [*ordered.values()]
