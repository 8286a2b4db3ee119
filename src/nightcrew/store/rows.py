"""How values lie in a row: times, lists and documents as text, and back."""

import json
from datetime import UTC, datetime
from typing import Any

from nightcrew.model.canonical import canonical_json
from nightcrew.model.clock import isoformat
from nightcrew.model.errors import DocumentError, IntegrityError


def to_json(value: Any) -> str:
    """Canonical JSON text."""
    return canonical_json(value).decode()


def from_json(text: str, *, where: str) -> Any:
    """The value of JSON text; raises IntegrityError naming ``where`` if it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise IntegrityError(f"{where}: what is stored is not JSON") from None


def to_time(moment: datetime | None) -> str | None:
    """A time as it is stored."""
    return None if moment is None else isoformat(moment)


def from_time(text: str) -> datetime:
    """A stored time, in UTC; raises IntegrityError if it is none."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (TypeError, ValueError):
        raise IntegrityError(f"{text!r} is stored where a time should be") from None


def from_optional_time(text: str | None) -> datetime | None:
    """A stored time or None."""
    return None if text is None else from_time(text)


def storable(text: str | None, *, where: str) -> str | None:
    """``text``; raises DocumentError for what a database cannot hold: a NUL character, half of a surrogate pair."""
    if text is not None and ("\0" in text or any("\ud800" <= character <= "\udfff" for character in text)):
        raise DocumentError(f"{where}: holds a character that is not text")
    return text
