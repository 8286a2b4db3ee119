"""Decisions written down and signed in one go, by any key: what a reviewer does, and what a forger tries."""

from collections.abc import Callable, Sequence
from typing import Any

from nightcrew.approvals import Signer, TrustAnchor, decision_statement, sign_statement
from nightcrew.model.clock import Clock
from nightcrew.model.review import Decision
from nightcrew.model.statement import Envelope
from nightcrew.pipeline import parked
from nightcrew.store.store import Store


def sign_decision(signer: Signer, **said: Any) -> Envelope:
    """``decision_statement`` of ``said``, signed."""
    return sign_statement(signer, decision_statement(**said))


def decide_records(
    store: Store,
    names: Sequence[str],
    decision: Decision,
    *,
    anchor: TrustAnchor,
    repository: str,
    reviewer: str,
    open_signer: Callable[[], Signer],
    clock: Clock,
    comment: str = "",
) -> int:
    """Decide held records by any key: ``open_signer`` is called between preparing and finishing."""
    statement = parked.prepare(
        store, names, decision, repository=repository, reviewer=reviewer, clock=clock, comment=comment
    )
    envelope = sign_statement(open_signer(), statement)
    return parked.finish(store, names, envelope, anchor=anchor, repository=repository, clock=clock)
