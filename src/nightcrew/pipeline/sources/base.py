"""What a source of records is."""

import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from nightcrew.model.errors import ConfigurationError, UsageError


class Malformed(NamedTuple):
    """A record that its format itself cannot read: its bytes, and why."""

    data: bytes
    reason: str


@runtime_checkable
class Source(Protocol):
    """Records in a fixed order, each at a position from which reading can go on.

    ``name`` is for people, and the same each time the same input is opened; it holds no secret.
    """

    name: str

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, Any]]:
        """Records from position ``start`` (0, or one given before) up to ``stop``, each with the position after it.

        A record is bytes (one JSON document), a dict, Malformed, or an object of the user's own.
        """
        ...

    def split(self, parts: int) -> list[tuple[int, int | None]]:
        """At most ``parts`` ranges (start, stop) that hold every record once; one, where it cannot be split."""
        ...

    def total(self) -> int | None:
        """The last position, None if it is not known."""
        ...

    def fingerprint(self) -> str:
        """A text that changes when the input does."""
        ...


@runtime_checkable
class AsyncSource(Protocol):
    """A source that is awaited."""

    name: str

    def aread(self, start: int = 0) -> AsyncIterator[tuple[int, Any]]:
        """As ``Source.read``."""
        ...

    def total(self) -> int | None:
        """The last position, None if it is not known."""
        ...

    def fingerprint(self) -> str:
        """A text that changes when the input does."""
        ...


def file_fingerprint(path: Path) -> str:
    """Of a file: its size and the SHA-256 of its first and last 64 KiB."""
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        digest = hashlib.sha256(file.read(65536))
        file.seek(max(0, size - 65536))
        digest.update(file.read(65536))
    return f"{size}:{digest.hexdigest()[:32]}"


def opened(path: Path) -> Any:
    """The file, to read bytes. Raises UsageError (missing, a directory), ConfigurationError (cannot be read)."""
    try:
        return path.open("rb", buffering=1 << 20)
    except (FileNotFoundError, IsADirectoryError):
        raise UsageError(f"there is no file {path}") from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
