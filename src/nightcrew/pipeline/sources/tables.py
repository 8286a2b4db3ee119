"""Rows of CSV and Parquet files and of SQL queries, as dicts."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nightcrew.model.canonical import sha256_hex
from nightcrew.model.errors import ConfigurationError, DocumentError, UsageError
from nightcrew.pipeline.sources.base import Malformed, file_fingerprint, opened

_MAX_ROW = 16 << 20


class CsvSource:
    """A CSV file with a header (RFC 4180). Values stay text. Positions are bytes; it is read as one range."""

    def __init__(self, path: str | Path, *, delimiter: str = ",") -> None:
        self.path = Path(path)
        self.name = self.path.name
        self._delimiter = delimiter

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, Any]]:
        """Each row as a dict of text; one that does not fit the header is malformed."""
        with opened(self.path) as file:
            rows = _rows(file)
            header, end = self._header(rows)
            if header is None:
                return
            if stop is not None and start >= stop:
                return
            if start > end:
                file.seek(start)
                rows = _rows(file, start)
            for end, data in rows:
                if data.strip(b"\r\n"):
                    yield end, self._row(header, data)
                if stop is not None and end >= stop:
                    return

    def _header(self, rows: Iterator[tuple[int, bytes]]) -> tuple[list[str] | None, int]:
        for end, data in rows:
            text = data.removeprefix(b"\xef\xbb\xbf").strip(b"\r\n")
            if not text:
                continue
            try:
                header = self._parse(text)
            except ValueError as error:
                raise DocumentError(f"{self.path}: the header cannot be read: {error}") from None
            if len(set(header)) != len(header):
                raise DocumentError(f"{self.path}: a column stands twice in the header: {', '.join(header)[:200]}")
            return header, end
        return None, 0

    def _row(self, header: list[str], data: bytes) -> dict[str, str] | Malformed:
        try:
            values = self._parse(data)
        except ValueError as error:
            return Malformed(data, f"a row cannot be read: {error}")
        if len(values) != len(header):
            return Malformed(data, f"a row has {len(values)} values, the header {len(header)} columns")
        return dict(zip(header, values, strict=True))

    def _parse(self, data: bytes) -> list[str]:
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            raise ValueError(f"not UTF-8 at byte {error.start}") from None
        if "\0" in text:
            raise ValueError("it holds a NUL character")
        try:
            return next(csv.reader(io.StringIO(text, newline=""), delimiter=self._delimiter, strict=True), [])
        except csv.Error as error:
            raise ValueError(str(error)) from None

    def split(self, parts: int) -> list[tuple[int, int | None]]:
        """One range: where a row begins is only known from the beginning."""
        return [(0, None)]

    def total(self) -> int:
        """The size of the file."""
        with opened(self.path) as file:
            size: int = file.seek(0, 2)
            return size

    def fingerprint(self) -> str:
        """Of its size, beginning and end."""
        return file_fingerprint(self.path)


def _rows(file: Any, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """Rows as bytes with the position after each: a line break within quotes does not end a row."""
    position, row, quotes = start, b"", 0
    while line := file.readline(_MAX_ROW):
        position += len(line)
        row += line
        quotes += line.count(b'"')
        if quotes % 2 == 0 or len(row) > _MAX_ROW:
            yield position, row
            row, quotes = b"", 0
    if row:
        yield position, row


class ParquetSource:
    """A Parquet file; needs pyarrow. Positions are rows; it is split by row groups."""

    def __init__(self, path: str | Path, *, batch_rows: int = 4096) -> None:
        self.path = Path(path)
        self.name = self.path.name
        self._batch_rows = batch_rows

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, Any]]:
        """Each row as a dict."""
        file = self._file()
        begin = 0
        for group in range(file.num_row_groups):
            size = file.metadata.row_group(group).num_rows
            if begin + size > start and (stop is None or begin < stop):
                yield from self._group(file, group, begin, start, stop)
            begin += size

    def _group(self, file: Any, group: int, begin: int, start: int, stop: int | None) -> Iterator[tuple[int, Any]]:
        position = begin
        for batch in file.iter_batches(batch_size=self._batch_rows, row_groups=[group]):
            if position + batch.num_rows > start:
                for row in batch.to_pylist():
                    position += 1
                    if position > start and (stop is None or position <= stop):
                        yield position, row
            else:
                position += batch.num_rows

    def split(self, parts: int) -> list[tuple[int, int | None]]:
        """Ranges of whole row groups."""
        file = self._file()
        ends, total = [], 0
        for group in range(file.num_row_groups):
            total += file.metadata.row_group(group).num_rows
            ends.append(total)
        cuts = [0]
        for part in range(1, parts):
            cut = next((end for end in ends if end >= total * part // parts), total)
            if cuts[-1] < cut < total:
                cuts.append(cut)
        return list(zip(cuts, [*cuts[1:], None], strict=True))

    def total(self) -> int:
        """The number of rows."""
        rows: int = self._file().metadata.num_rows
        return rows

    def fingerprint(self) -> str:
        """Of its size, beginning and end."""
        return file_fingerprint(self.path)

    def _file(self) -> Any:
        parquet = require_parquet()
        opened(self.path).close()
        try:
            return parquet.ParquetFile(self.path)
        except Exception as error:
            raise DocumentError(f"{self.path} is not a Parquet file: {str(error).splitlines()[0]}") from None


def require_parquet() -> Any:
    """The module; raises ConfigurationError if it is not installed."""
    try:
        import pyarrow.parquet
    except ImportError:
        raise ConfigurationError("Parquet needs pyarrow", hint="pip install 'nightcrew[parquet]'") from None
    return pyarrow.parquet


class SqlSource:
    """The rows of a query, as dicts. Positions are row numbers, so the query must have an ORDER BY that decides all."""

    def __init__(self, url: str, query: str, *, name: str = "query") -> None:
        if "order by" not in " ".join(query.lower().split()):
            raise UsageError(f"the query of {name} has no ORDER BY: a run could not go on where it stood")
        self.name = name
        self._url = url
        self._query = query

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, Any]]:
        """Each row as a dict, streamed."""
        from nightcrew.store.query import rows

        for position, row in enumerate(rows(self._url, self._query), 1):
            if position > start:
                yield position, row
            if stop is not None and position >= stop:
                return

    def split(self, parts: int) -> list[tuple[int, int | None]]:
        """One range."""
        return [(0, None)]

    def total(self) -> int | None:
        """Not known before it has run."""
        return None

    def fingerprint(self) -> str:
        """Of the query's text: what its tables hold may grow."""
        return sha256_hex(self._query.encode())[:32]
