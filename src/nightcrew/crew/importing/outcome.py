"""What became of the things that were brought in, one by one and in all."""

from collections import Counter

from nightcrew.model.document import Document
from nightcrew.model.ticket import State

ACTOR = "import"
"""Who the ledger says it was."""

CREATED = "created"
UPDATED = "updated"
UNCHANGED = "unchanged"
KEPT = "kept"  # it changed there, and somebody works on it here
ENDED_HERE = "ended"  # its ticket is done or rejected
WITHDRAWN = "withdrawn"  # it is gone there, and set aside here
REFUSED = "refused"


class Filed(Document):
    """What became of one thing: ``what`` is one of the words above, ``reason`` says why or which fields changed."""

    ref: str
    what: str
    ticket: str | None = None
    title: str = ""
    state: str = ""
    reason: str = ""


class ImportReport(Document):
    """What became of everything that was brought in; ``notes`` is what a person should know of it as a whole."""

    source: str
    dry_run: bool
    things: tuple[Filed, ...]
    notes: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """How many things there are of each word."""
        return counted(self.things)

    @property
    def needs_person(self) -> bool:
        """Whether something was refused or set aside, or waits in the inbox because of this."""
        return any(
            one.what in (REFUSED, WITHDRAWN) or (one.what in (CREATED, UPDATED) and one.state == State.IN_REVIEW)
            for one in self.things
        )


def counted(things: tuple[Filed, ...] | list[Filed]) -> dict[str, int]:
    """How many things there are of each word."""
    return dict(sorted(Counter(one.what for one in things).items()))
