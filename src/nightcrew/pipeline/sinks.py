"""Sinks: where results go. The store is the truth; a sink is written from it, again where need be."""

import inspect
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol, runtime_checkable

from nightcrew.model.errors import UsageError
from nightcrew.pipeline.loops import run_to_end
from nightcrew.pipeline.sources.tables import require_parquet
from nightcrew.store.connection import database_errors

_PARQUET_ROWS = 8192


class Delivery(NamedTuple):
    """One result: the record's key (idempotency key), the output as a JSON value, and how it came about."""

    key: str
    output: Any
    status: str
    confidence: float | None
    made_by: str
    notice: str
    sequence: int


@runtime_checkable
class Sink(Protocol):
    """Takes results. ``replaces``: it is written as a whole each time; else it is given what is new."""

    name: str
    replaces: bool

    def write(self, deliveries: Iterable[Delivery]) -> int:
        """Write all of them; gives how many."""
        ...


class JsonlSink:
    """A file of JSON lines (``key, status, output, confidence, made_by, notice``), replaced at once or not at all."""

    replaces = True

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.name = self.path.name

    def write(self, deliveries: Iterable[Delivery]) -> int:
        """Write the file anew. Raises ConfigurationError, TransientError (no space left); the old file then stays."""
        count = 0
        with _replacing(self.path) as file:
            for one in deliveries:
                count += 1
                line = json.dumps(_plain(one), ensure_ascii=False, separators=(",", ":"))
                file.write(line.encode("utf-8", "backslashreplace") + b"\n")
        return count


class ParquetSink:
    """A Parquet file: ``key, status, confidence, made_by, notice``, and the output.

    An output that is an object of plain values has a column each (``output.NAME``); anything else is JSON text in the
    column ``output``. The columns and their types are those of the first 8,192 results; what does not fit them later is
    kept as JSON text in the column ``output``.
    """

    replaces = True

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.name = self.path.name
        require_parquet()

    def write(self, deliveries: Iterable[Delivery]) -> int:
        """Write the file anew. Raises ConfigurationError, TransientError (no space left); the old file then stays."""
        parquet = require_parquet()
        import pyarrow

        source = iter(deliveries)
        count = 0
        with _replacing(self.path) as file:
            writer = None
            columns: dict[str, str] = {}
            while batch := list(islice(source, _PARQUET_ROWS)):
                if writer is None:
                    columns = _columns(batch)
                    writer = parquet.ParquetWriter(file, _schema(pyarrow, columns))
                rows = [_parquet_row(one, columns) for one in batch]
                writer.write_table(pyarrow.Table.from_pylist(rows, schema=writer.schema))
                count += len(batch)
            if writer is None:
                writer = parquet.ParquetWriter(file, _schema(pyarrow, {}))
            writer.close()
        return count


class SqlSink:
    """A table: ``key`` (primary), ``status, output`` (JSON text), ``confidence, made_by, notice``; made if missing."""

    replaces = False

    def __init__(self, url: str, table: str) -> None:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,62}", table):
            raise UsageError(f"{table!r} is no name for a table: letters, digits and _ only")
        self.name = table
        self._url = url
        self._table = table

    def write(self, deliveries: Iterable[Delivery]) -> int:
        """Insert each, or update the row of its key: exactly one row a key, however often it is delivered."""
        from nightcrew.store.outward import upsert

        rows = [{**_plain(one), "output": json.dumps(one.output, ensure_ascii=False)} for one in deliveries]
        return upsert(self._url, self._table, rows)


class CallableSink:
    """A function, sync or async, that is given one Delivery at a time.

    After a crash some are given again, with the same ``key``: what it does outside must be idempotent by that.
    """

    replaces = False

    def __init__(self, function: Callable[[Delivery], Any]) -> None:
        self.name = str(getattr(function, "__name__", "function"))
        self._function = function

    def write(self, deliveries: Iterable[Delivery]) -> int:
        """Call it for each. What it raises ends the delivery; the next one goes on from the last full group."""
        if inspect.iscoroutinefunction(self._function):
            return run_to_end(self._write_async(deliveries))
        count = 0
        for one in deliveries:
            self._function(one)
            count += 1
        return count

    async def _write_async(self, deliveries: Iterable[Delivery]) -> int:
        count = 0
        for one in deliveries:
            await self._function(one)
            count += 1
        return count


def open_sink(given: Any) -> Sink:
    """The sink for a path, or what was given as one: a Sink, a function. Raises UsageError."""
    if isinstance(given, str | Path):
        path = Path(given)
        if path.is_dir():
            raise UsageError(f"{path} is a directory; name a .jsonl or .parquet file")
        kinds: dict[str, Callable[[Path], Sink]] = {".jsonl": JsonlSink, ".ndjson": JsonlSink, ".parquet": ParquetSink}
        kind = kinds.get(path.suffix.lower())
        if kind is None:
            raise UsageError(f"{path}: no sink is known for this name", hint="Name a .jsonl or .parquet file.")
        return kind(path)
    if isinstance(given, Sink):
        return given
    if callable(given):
        return CallableSink(given)
    raise UsageError(
        f"a {type(given).__name__} is no sink", hint="Give a .jsonl or .parquet path, a Sink or a function."
    )


def _plain(one: Delivery) -> dict[str, Any]:
    return {
        "key": one.key,
        "status": one.status,
        "output": one.output,
        "confidence": one.confidence,
        "made_by": one.made_by,
        "notice": one.notice,
    }


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of ``path`` when all is written and on the disk."""
    with database_errors(str(path)):
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb", buffering=1 << 20) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.chmod(0o644 & ~_umask())
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


_KINDS: dict[type, str] = {bool: "bool", int: "int", float: "float", str: "str"}


def _columns(batch: Iterable[Delivery]) -> dict[str, str]:
    """The columns for outputs that are objects of plain values: name to kind."""
    found: dict[str, str] = {}
    for one in batch:
        if isinstance(one.output, dict):
            for name, value in one.output.items():
                kind = _KINDS.get(type(value))
                if kind is None:
                    continue
                before = found.setdefault(name, kind)
                if before != kind:
                    found[name] = "float" if {before, kind} == {"int", "float"} else "json"
    return {name: kind for name, kind in found.items() if kind != "json"}


def _schema(pyarrow: Any, columns: dict[str, str]) -> Any:
    kinds = {"bool": pyarrow.bool_(), "int": pyarrow.int64(), "float": pyarrow.float64(), "str": pyarrow.string()}
    text = pyarrow.string()
    fixed = [("key", text), ("status", text), ("confidence", pyarrow.float64()), ("made_by", text), ("notice", text)]
    return pyarrow.schema(
        [*fixed, *((f"output.{name}", kinds[kind]) for name, kind in columns.items()), ("output", text)]
    )


def _parquet_row(one: Delivery, columns: dict[str, str]) -> dict[str, Any]:
    row: dict[str, Any] = {k: v for k, v in _plain(one).items() if k != "output"}
    fits = isinstance(one.output, dict) and all(
        value is None or _fits(value, columns.get(name, "")) for name, value in one.output.items()
    )
    if fits:
        row.update({f"output.{name}": value for name, value in one.output.items() if name in columns})
        return row
    return {**row, "output": json.dumps(one.output, ensure_ascii=False)}


def _fits(value: Any, kind: str) -> bool:
    found = _KINDS.get(type(value))
    if found == "int":
        return kind in ("int", "float") and -(2**63) <= value < 2**63
    return found is not None and found == kind
