"""Sample records for drills of pipelines: the user's, or of the last run's input, or made from the contract."""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json, to_json

from nightcrew.model.errors import NightcrewError
from nightcrew.pipeline.sources import Malformed, Source, open_source
from nightcrew.pipeline.state import find_state
from nightcrew.readiness.drills.making import made
from nightcrew.readiness.drills.protocol import NotApplicable, Place
from nightcrew.readiness.target import PipelineTarget
from nightcrew.reliability import Contract
from nightcrew.store.connection import sqlite_path

if TYPE_CHECKING:
    from nightcrew.pipeline import Pipeline

COUNT = 24
"""Records that a drill works with, unless it asks for another number."""
_MAX_BYTES = 8_000_000
"""Of JSON, after which no more records of a file are taken."""
_SETS = {"JsonlSource", "GzipJsonlSource", "CsvSource", "ParquetSource"}
_NONE = "there are no records to drill with: give some with --input FILE"


def records_for(place: Place, count: int = COUNT) -> list[Any]:
    """Records that the pipeline is drilled with, as JSON values. Raises NotApplicable if there are none to be had."""
    samples = offered(place, count)
    if samples["given"]:
        return list(samples["given"])
    found = place.child("nightcrew.readiness.drills.samples:known", {"samples": samples, "count": count})
    if not found:
        raise NotApplicable(_NONE)
    return list(found)


def offered(place: Place, count: int = COUNT) -> dict[str, Any]:
    """What the child chooses records from: ``given``, else what each pipeline's last run read (``last``).

    Raises NotApplicable if the file that the user gave holds no record.
    """
    if place.input is not None:
        given = _of_file(place.input, count)
        if not given:
            raise NotApplicable(f"{place.input.name} holds no record")
        return {"given": given, "last": {}}
    live = place.live
    return {"given": [], "last": _last_inputs(live, count) if isinstance(live, PipelineTarget) else {}}


def known(pipeline: "Pipeline", spec: Mapping[str, Any]) -> list[Any]:
    """In the child: records that satisfy the contract, each once, from the best source; empty if there are none."""
    samples, count = spec["samples"], spec["count"]
    for some in (samples["given"], samples["last"].get(pipeline.name, [])):
        if fitting := list(islice(_fitting(pipeline, some), count)):
            return fitting
    if given := len(samples["given"]):
        raise NotApplicable(f"the contract or the key takes none of the first {given} records of the file given")
    if pipeline.contract is None or not (schema := pipeline.contract.json_schema()):
        return []
    tries = (made(schema, number, whole=whole) for whole in (True, False) for number in range(1, count + 1))
    return list(islice(_fitting(pipeline, tries), count))


def _fitting(pipeline: "Pipeline", records: Iterable[Any]) -> Iterable[Any]:
    from nightcrew.pipeline.intake import reader
    from nightcrew.readiness.drills.injecting import digest

    contract, key, seen = pipeline.contract, reader(pipeline.key), set()
    for record in records:
        text = to_json(record)
        try:
            parsed = from_json(text) if contract is None else contract.validate_json(text)
            name = digest(parsed) if key is None else str(key(parsed))
        except Exception:  # noqa: S112 - a record that does not fit is no sample, whatever the contract raises
            continue
        if name not in seen:
            seen.add(name)
            yield record


def value_for(schema: Any, number: int = 1) -> Any:
    """A value that satisfies a contract or type, as the contract gives it. Raises what the contract raises."""
    contract = Contract.of(schema)
    return contract.validate_json(to_json(made(contract.json_schema(), number)))


def _of_file(path: Path, count: int) -> list[Any]:
    source = open_source(path)
    if not isinstance(source, Source):
        return []
    found, size = [], 0
    for _, raw in source.read():
        text = b"" if isinstance(raw, Malformed) else raw if isinstance(raw, bytes) else to_json(raw)
        try:
            value = json.loads(text)
        except ValueError:
            continue
        if value is not None:
            found.append(value)
            size += len(text)
        if len(found) >= count or size > _MAX_BYTES:
            break
    return found


def _last_inputs(live: PipelineTarget, count: int) -> dict[str, list[Any]]:
    """By the name of each pipeline in the live state, records of the newest input that can be found.

    A run remembers the name of its file alone: it is looked for where runs are begun, and beside the application.
    """
    found: dict[str, list[Any]] = {}
    folders = [live.home, Path.cwd(), live.root]
    folders += [inner for inner in sorted(live.root.iterdir()) if inner.is_dir() and not inner.name.startswith(".")]
    for name, kind, source in _runs(live.home):
        path = next((at for folder in folders if (at := folder / Path(source).name).is_file()), None)
        if name in found or kind not in _SETS or path is None:
            continue
        try:
            found[name] = _of_file(path, count)
        except (OSError, ValueError, NightcrewError):
            continue  # It is only one place to look in.
    return found


def _runs(home: Path) -> list[tuple[str, str, str]]:
    """Pipeline, kind and name of the input of each run in the live state, newest first.

    The file of the database is read as it lies there, without a lock: SQLite's own way of reading one that nobody
    writes would make files beside it. What a writer has not put there yet is not seen.
    """
    query = "SELECT p.name, r.kind, r.source FROM runs r JOIN pipelines p ON p.id = r.pipeline ORDER BY r.id DESC"
    try:
        state = find_state(home)
        if not state.on_sqlite or not state.exists():
            return []
        address = f"{sqlite_path(state.database_url).resolve().as_uri()}?mode=ro&immutable=1"
        with closing(sqlite3.connect(address, uri=True)) as database:
            return database.execute(f"{query} LIMIT 100").fetchall()
    except (sqlite3.Error, OSError, NightcrewError):
        return []
