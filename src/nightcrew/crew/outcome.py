"""What an agent made of one ticket, before it becomes a handoff."""

from nightcrew.model.document import Document
from nightcrew.model.finding import Finding
from nightcrew.model.handoff import Change, Check, HandoffKind, Verdict
from nightcrew.model.severity import Severity


class Outcome(Document):
    """The result of one ticket at one desk: the content of the handoff that follows."""

    kind: HandoffKind
    done: str
    questions: str = ""
    next: str = ""
    verdict: Verdict | None = None
    severity: Severity | None = None
    breaks_build: bool = False
    brain: str | None = None
    change: Change | None = None
    checks: tuple[Check, ...] = ()
    findings: tuple[Finding, ...] = ()
    decisions: tuple[str, ...] = ()
    failure: str | None = None
