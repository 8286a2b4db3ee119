"""Sources: where a pipeline's records come from."""

import sys
from collections.abc import AsyncIterable, Iterable
from pathlib import Path
from typing import Any

from nightcrew.model.errors import UsageError
from nightcrew.pipeline.sources.base import AsyncSource, Malformed, Source
from nightcrew.pipeline.sources.jsonl import GzipJsonlSource, JsonlSource, StreamSource
from nightcrew.pipeline.sources.others import AsyncIterableSource, DirectorySource, IterableSource
from nightcrew.pipeline.sources.tables import CsvSource, ParquetSource, SqlSource

__all__ = [
    "AsyncIterableSource",
    "AsyncSource",
    "CsvSource",
    "DirectorySource",
    "GzipJsonlSource",
    "IterableSource",
    "JsonlSource",
    "Malformed",
    "ParquetSource",
    "Source",
    "SqlSource",
    "StreamSource",
    "open_source",
]

_KNOWN = ".jsonl, .ndjson, .jsonl.gz, .csv, .tsv, .parquet, a directory, or - for JSON lines on standard input"


def open_source(given: Any) -> Source | AsyncSource:
    """The source for a path, or what was given as one: a Source, an iterable, an async iterable. Raises UsageError."""
    if isinstance(given, str | Path):
        return _of_path(given)
    if isinstance(given, Source | AsyncSource):
        return given
    if isinstance(given, AsyncIterable):
        return AsyncIterableSource(given)
    if isinstance(given, Iterable):
        return IterableSource(given)
    raise UsageError(f"a {type(given).__name__} is no source of records", hint=f"Known are {_KNOWN}, and iterables.")


def _of_path(given: str | Path) -> Source:
    if given == "-":
        return StreamSource(sys.stdin.buffer)
    if not str(given):
        raise UsageError("the input has no name", hint=f"Known are {_KNOWN}.")
    path = Path(given)
    if path.is_dir():
        return DirectorySource(path)
    if not path.exists():
        raise UsageError(f"there is no input {path}")
    name = path.name.lower()
    if name.endswith((".jsonl.gz", ".ndjson.gz")):
        return GzipJsonlSource(path)
    if name.endswith((".jsonl", ".ndjson")):
        return JsonlSource(path)
    if name.endswith((".csv", ".tsv")):
        return CsvSource(path, delimiter="\t" if name.endswith(".tsv") else ",")
    if name.endswith(".parquet"):
        return ParquetSource(path)
    raise UsageError(f"{path}: the format is not known by its name", hint=f"Known are {_KNOWN}.")
