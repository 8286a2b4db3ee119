"""JSON lines: one document a line; plain, or compressed with gzip."""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from nightcrew.pipeline.sources.base import Malformed, file_fingerprint, opened

MAX_LINE = 16 << 20
_BOM = b"\xef\xbb\xbf"


class JsonlSource:
    """A file of JSON lines. Positions are bytes; blank lines are skipped; a line over ``max_line`` is malformed."""

    def __init__(self, path: str | Path, *, max_line: int = MAX_LINE) -> None:
        self.path = Path(path)
        self.name = self.path.name
        self._max_line = max_line
        self._total: int | None = None

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, Any]]:
        """Each line as bytes."""
        with opened(self.path) as file:
            yield from _lines(file, start, stop, self._max_line)

    def split(self, parts: int) -> list[tuple[int, int | None]]:
        """Ranges of about the same size that end with a line."""
        size = self.total()
        cuts = [0]
        with opened(self.path) as file:
            for part in range(1, parts):
                file.seek(max(size * part // parts, cuts[-1]))
                file.readline()
                if cuts[-1] < file.tell() < size:
                    cuts.append(file.tell())
        return list(zip(cuts, [*cuts[1:], None], strict=True))

    def total(self) -> int:
        """The size of the file."""
        if self._total is None:
            with opened(self.path) as file:
                self._total = file.seek(0, 2)
        return self._total

    def fingerprint(self) -> str:
        """Of its size, beginning and end."""
        return file_fingerprint(self.path)


class GzipJsonlSource:
    """The same compressed. Positions are bytes of what is within; it cannot be split."""

    def __init__(self, path: str | Path, *, max_line: int = MAX_LINE) -> None:
        self.path = Path(path)
        self.name = self.path.name
        self._max_line = max_line

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, Any]]:
        """Each line as bytes; a damaged file gives what could be read, and then a malformed record."""
        with opened(self.path) as raw, gzip.open(raw) as file:
            end = start
            try:
                for end, line in _lines(file, start, stop, self._max_line):  # type: ignore[arg-type]
                    yield end, line
            except (OSError, EOFError, zlib.error) as error:
                yield end + 1, Malformed(b"", f"the compressed file is damaged from here on: {error}")

    def split(self, parts: int) -> list[tuple[int, int | None]]:
        """One range."""
        return [(0, None)]

    def total(self) -> int | None:
        """Not known before it is read."""
        return None

    def fingerprint(self) -> str:
        """Of its size, beginning and end."""
        return file_fingerprint(self.path)


class StreamSource:
    """JSON lines from a stream that can be read once, such as standard input."""

    def __init__(self, stream: BinaryIO, name: str = "stdin") -> None:
        self.name = name
        self._stream = stream

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, Any]]:
        """Each line as bytes; a resumed run leaves out the first ``start`` bytes of a stream that is given again."""
        for end, line in _lines(self._stream, 0, stop, MAX_LINE, seekable=False):
            if end > start:
                yield end, line

    def split(self, parts: int) -> list[tuple[int, int | None]]:
        """One range."""
        return [(0, None)]

    def total(self) -> int | None:
        """Not known."""
        return None

    def fingerprint(self) -> str:
        """A stream has none: what is given again is taken for the same."""
        return "stream"


def _lines(
    file: BinaryIO, start: int, stop: int | None, limit: int, *, seekable: bool = True
) -> Iterator[tuple[int, bytes | Malformed]]:
    if stop is not None and start >= stop:
        return  # A part that is through but for the word of it: the next line is another part's.
    if seekable and start:
        file.seek(start)
    position = start
    for line in _bounded(file, limit):
        position += abs(line[0])
        content = line[1]
        if line[0] < 0:
            yield position, Malformed(content, f"a line of {-line[0]} bytes is longer than {limit}")
        elif content[:3] == _BOM and position == line[0]:
            if content[3:].strip():
                yield position, content[3:]
        elif content != b"\n" and content.strip():
            yield position, content
        if stop is not None and position >= stop:
            return


def _bounded(file: BinaryIO, limit: int) -> Iterator[tuple[int, bytes]]:
    """Lines with their length; one over the limit with its negative length and its beginning, never held whole."""
    read = file.readline
    while line := read(limit + 1):
        if len(line) <= limit or line.endswith(b"\n"):
            yield len(line), line
            continue
        length, begin = len(line), line[:1000]
        while not line.endswith(b"\n") and (line := read(1 << 20)):
            length += len(line)
        yield -length, begin
