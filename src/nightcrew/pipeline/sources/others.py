"""Directories of files, and iterables of the user's own."""

import base64
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sized
from pathlib import Path
from typing import Any

from nightcrew.model.canonical import digest
from nightcrew.model.errors import UsageError
from nightcrew.pipeline.sources.base import Malformed


class DirectorySource:
    """The files of a directory and of those below it, by name. Positions are their numbers.

    A record is ``{"path", "name", "size", "text"}``, or ``"base64"`` in place of ``"text"`` for what is not UTF-8. A
    link that leads out of the directory, and a file that cannot be read, are malformed.
    """

    def __init__(self, path: str | Path, *, pattern: str = "**/*") -> None:
        self.path = Path(path)
        self.name = self.path.resolve().name
        self._pattern = pattern
        if not self.path.is_dir():
            raise UsageError(f"there is no directory {self.path}")

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, Any]]:
        """Each file."""
        for number, path in enumerate(self._files(), 1):
            if number > start and (stop is None or number <= stop):
                yield number, self._record(path)

    def _files(self) -> list[Path]:
        return sorted(path for path in self.path.glob(self._pattern) if path.is_symlink() or path.is_file())

    def _record(self, path: Path) -> dict[str, Any] | Malformed:
        where = path.relative_to(self.path).as_posix()
        if not path.resolve().is_relative_to(self.path.resolve()):
            return Malformed(where.encode(errors="replace"), f"{where} is a link that leads out of the directory")
        try:
            data = path.read_bytes()
        except OSError as error:
            return Malformed(where.encode(errors="replace"), f"{where} cannot be read: {error.strerror}")
        record: dict[str, Any] = {"path": where, "name": path.name, "size": len(data)}
        try:
            record["text"] = data.decode()
        except UnicodeDecodeError:
            record["base64"] = base64.b64encode(data).decode()
        return record

    def split(self, parts: int) -> list[tuple[int, int | None]]:
        """Ranges of files."""
        total = self.total()
        cuts = sorted({total * part // parts for part in range(parts)})
        return list(zip(cuts, [*cuts[1:], None], strict=True))

    def total(self) -> int:
        """The number of files."""
        return len(self._files())

    def fingerprint(self) -> str:
        """Of names and sizes."""
        return digest([[str(path.relative_to(self.path)), path.lstat().st_size] for path in self._files()])[:32]


class IterableSource:
    """Any iterable. Positions count its records; to be resumed it must give the same ones again.

    An iterator can be read only once, so that a run over it cannot be resumed in the same process.
    """

    def __init__(self, records: Iterable[Any], *, name: str = "records") -> None:
        self.name = name
        self._records = records
        self._once = isinstance(records, Iterator)
        self._read = False

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, Any]]:
        """Each record as it is; a dict, bytes (JSON), or an object."""
        if self._once and self._read:
            raise UsageError(f"{self.name} is an iterator and was read already", hint="Give a list, or a file.")
        self._read = True
        for position, record in enumerate(self._records, 1):
            if position > start:
                yield position, record
            if stop is not None and position >= stop:
                return

    def split(self, parts: int) -> list[tuple[int, int | None]]:
        """One range."""
        return [(0, None)]

    def total(self) -> int | None:
        """Its length, where it has one."""
        return len(self._records) if isinstance(self._records, Sized) else None

    def fingerprint(self) -> str:
        """Its length: what it holds is not looked at."""
        return f"iterable:{self.total()}"


class AsyncIterableSource:
    """Any async iterable; as IterableSource."""

    def __init__(self, records: AsyncIterable[Any], *, name: str = "records") -> None:
        self.name = name
        self._records = records

    async def aread(self, start: int = 0) -> AsyncIterator[tuple[int, Any]]:
        """Each record as it is."""
        position = 0
        async for record in self._records:
            position += 1
            if position > start:
                yield position, record

    def total(self) -> int | None:
        """Not known."""
        return None

    def fingerprint(self) -> str:
        """It has none."""
        return "async iterable"
