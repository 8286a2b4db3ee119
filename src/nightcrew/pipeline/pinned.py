"""A ledger and its remembered head: compared, and moved on only to one that goes on from what was seen before."""

from collections.abc import Callable

from nightcrew.approvals.ledger_pin import LedgerHead, LedgerPin
from nightcrew.model.errors import IntegrityError
from nightcrew.store import ledger
from nightcrew.store.store import Store, Tx


def check(store: Store, pin: LedgerPin) -> None:
    """Raises IntegrityError if the ledger is older than, or differs from, what was last seen of it."""
    with store.read() as tx:
        pin.check(lambda seq: hash_of(tx, seq))


def verify(store: Store, pin: LedgerPin) -> None:
    """As ``check``, and every entry is in its place in the chain, under nightcrew's seal."""
    check(store, pin)
    with store.read() as tx:
        _, broken = ledger.verify(tx)
    _require_whole(broken)


def continued(store: Store) -> Callable[[LedgerHead], tuple[int, str]]:
    """For ``LedgerPin.follow``: looks at the ledger of ``store`` as it is then.

    Raises IntegrityError if what was seen is not in it any more, or what follows is no chain under nightcrew's seal.
    """

    def look(seen: LedgerHead) -> tuple[int, str]:
        with store.read() as tx:
            LedgerPin.compare(seen, lambda seq: hash_of(tx, seq))
            _, broken = ledger.verify(tx, after=(seen.sequence, seen.head) if seen.sequence else None)
            head = ledger.head(tx)
        _require_whole(broken)
        return (head.seq, head.hash) if head is not None else (0, "")

    return look


def hash_of(tx: Tx, seq: int) -> str | None:
    """The hash of an entry of the ledger (0 and 1 are its first), None if there is none."""
    wanted = max(seq, 1)
    found = next(ledger.entries(tx, after=wanted - 1, limit=1), None)
    return found.hash if found is not None and found.seq == wanted else None


def _require_whole(broken: list[tuple[int, str]]) -> None:
    """Raises IntegrityError for the first of the problems that ``ledger.verify`` found."""
    for seq, problem in broken:
        raise IntegrityError(f"entry {seq} of the ledger: {problem}", hint="See all of it: nightcrew audit verify")
