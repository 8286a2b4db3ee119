"""The eight boxes of production readiness, and what can be known of each."""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Literal

from nightcrew.model.document import Document


class Box(StrEnum):
    """One thing that work which runs unattended must have."""

    INPUTS = "inputs"
    RETRIES = "retries"
    MONITORING = "monitoring"
    STATE = "state"
    REVIEWS = "reviews"
    FALLBACKS = "fallbacks"
    TESTS = "tests"
    RUNBOOKS = "runbooks"

    @property
    def asks(self) -> str:
        """What it asks for, in one line."""
        return _ASKS[self]


_ASKS = {
    Box.INPUTS: "input contracts: nothing is worked that a contract has not passed",
    Box.RETRIES: "retry policies that tell transient from permanent on every external call",
    Box.MONITORING: "metrics exposed, with alert thresholds that reach a person",
    Box.STATE: "workflow state in a durable store that survives restarts and more than one worker",
    Box.REVIEWS: "review gates with thresholds and an audit-ready record",
    Box.FALLBACKS: "a fallback for each critical function",
    Box.TESTS: "tests from unit to load, with an end-to-end smoke run in CI",
    Box.RUNBOOKS: "failure modes documented with runbooks",
}


class Status(StrEnum):
    """How much is known of a box.

    ``proven``: a drill injected the fault and passed, on this very target. ``configured``: it is there, and nothing has
    shown that it works. ``missing``: it, or a part of it, is not there. ``not_applicable``: the target has no use for
    it; the reason says why.
    """

    PROVEN = "proven"
    CONFIGURED = "configured"
    MISSING = "missing"
    NOT_APPLICABLE = "not_applicable"


class Gap(Document):
    """One thing that a box lacks: what, what to do, and where (``path`` is relative to the target; ``line`` from 1)."""

    what: str
    fix: str
    path: str = ""
    line: int = 0

    @property
    def where(self) -> str:
        """``path:line`` as far as it is known."""
        return f"{self.path}:{self.line}" if self.line else self.path


class Evidence(Document):
    """One thing that speaks for a box.

    ``kind``: a ``drill`` that passed, a ``setting``, ``code`` that was read, a ``file`` that is there, an entry of the
    ``ledger``. ``at`` is when it was so; ``entry`` the number of the ledger's entry that says so, ``sha256`` its hash.
    """

    kind: Literal["drill", "setting", "code", "file", "ledger"]
    detail: str
    at: datetime | None = None
    entry: int | None = None
    sha256: str = ""


class BoxState(Document):
    """What is known of one box of one target. ``reason`` says in a line why it has its status."""

    box: Box
    status: Status
    reason: str
    evidence: tuple[Evidence, ...] = ()
    gaps: tuple[Gap, ...] = ()


def is_ready(states: Iterable[BoxState]) -> bool:
    """Whether nothing is left to do: every box is proven, or does not apply."""
    return all(state.status in (Status.PROVEN, Status.NOT_APPLICABLE) for state in states)
