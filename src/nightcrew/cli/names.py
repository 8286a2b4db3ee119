"""Ids as people type them: ``T-7`` and ``t7`` are T-0007."""

import re

from nightcrew.model.errors import UsageError


def ticket_id(text: str) -> str:
    """A ticket's id; raises UsageError for text that is none."""
    return _id(text, "T", "a ticket", "T-0007")


def review_id(text: str) -> str:
    """A review's id; raises UsageError for text that is none."""
    return _id(text, "R", "a review", "R-0007")


def ticket_ids(text: str | None) -> tuple[str, ...]:
    """Ids separated by commas."""
    return tuple(ticket_id(part.strip()) for part in (text or "").split(",") if part.strip())


def _id(text: str, letter: str, what: str, example: str) -> str:
    found = re.fullmatch(rf"{letter}-?([0-9]{{1,12}})", text.strip(), re.IGNORECASE)
    if found is None:
        raise UsageError(f"{text!r} does not name {what}", hint=f"An id looks like {example}.")
    return f"{letter}-{int(found[1]):04d}"
