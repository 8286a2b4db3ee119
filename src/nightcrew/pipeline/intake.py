"""From a raw record to one that may be worked: its key, its bytes, its contract; refused where it does not fit."""

import json
import operator
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

from pydantic_core import from_json

from nightcrew.model.canonical import sha256_hex
from nightcrew.pipeline.outcome import Origin, Writing, input_bytes
from nightcrew.pipeline.sources import Malformed
from nightcrew.pipeline.writer import conflict_key
from nightcrew.reliability import Contract, CorruptError, Failure, FailureClass, classify
from nightcrew.store import outcomes
from nightcrew.store.outcomes import Row
from nightcrew.store.store import Store

Key = str | Callable[[Any], Any] | None
MAX_KEY = 500
"""Characters of a key at most: an index of Postgres takes no longer ones."""
WINDOW = 500
"""Records that are looked up together."""


class Ready(NamedTuple):
    """A record of the input between positions ``start`` and ``end``.

    ``row`` is its outcome if it is refused. ``skip`` says why it needs no work: ``foreign`` (another chunk's),
    ``repeated`` (a record like it has an outcome) or ``ours`` (this very one was committed before a crash).
    """

    start: int
    end: int
    origin: Origin | None
    record: Any
    row: Row | None
    skip: str = ""


class Intake:
    """Prepares the records of one source for one pipeline."""

    def __init__(
        self, *, contract: Contract | None, key: Key, source: str, writing: Writing, ordered_by: Key = None
    ) -> None:
        self._parse: Callable[[bytes], Any] = from_json if contract is None else contract.validate_json
        self._check: Callable[[Any], Any] = _as_it_is if contract is None else contract.validate
        self._key = reader(key)
        self._loose_key = key if isinstance(key, str) else None
        self._ordered_by = reader(ordered_by)
        self._source = source
        self._writing = writing

    def prepare(self, start: int, end: int, raw: Any) -> Ready:
        """Parse, validate and name one record."""
        if isinstance(raw, Malformed):
            return self._refuse(
                start, end, raw.data, None, Failure(FailureClass.CORRUPT, "Malformed", raw.reason, None)
            )
        data = input_bytes(raw)
        try:
            record = self._parse(data) if isinstance(raw, bytes) else self._check(raw)
        except Exception as error:
            return self._refuse(start, end, data, raw, _failure_of(error))
        try:
            key = f"{self._source}@{end}" if self._key is None else str(self._key(record))
        except Exception as error:
            return self._refuse(start, end, data, None, _no_key(error))
        if not key or len(key) > MAX_KEY or "\0" in key or not (key.isascii() or _is_text(key)):
            return self._refuse(start, end, data, None, _bad_key(key))
        return Ready(start, end, Origin(key, sha256_hex(data), end, data), record, None)

    def give_up(self, start: int, end: int, raw: Any, failure: Failure) -> Ready:
        """One record that is refused before anything of the pipeline's has looked at it."""
        data = raw.data if isinstance(raw, Malformed) else input_bytes(raw)
        return self._refuse(start, end, data, raw, failure)

    def reread(self, data: bytes) -> Any:
        """The record of stored bytes; raises what the contract raises."""
        return self._parse(data)

    def lane(self, record: Any) -> str | None:
        """What must stay in order: records with the same lane are worked one after the other."""
        try:
            return None if self._ordered_by is None else str(self._ordered_by(record))
        except Exception:  # A record without it has a lane of its own.
            return None

    def _refuse(self, start: int, end: int, data: bytes, raw: Any, failure: Failure) -> Ready:
        key = self._key_of_refused(raw) or f"{self._source}@{end}"
        origin = Origin(key, sha256_hex(data), end, data)
        return Ready(start, end, origin, None, self._writing.refused(origin, failure))

    def _key_of_refused(self, raw: Any) -> str | None:
        """The key as it stands in a record that does not fit, if it can be told: better than a position."""
        if self._loose_key is None or raw is None:
            return None
        try:
            value = json.loads(raw) if isinstance(raw, bytes) else raw
        except (ValueError, RecursionError):
            return None
        found = value.get(self._loose_key) if isinstance(value, Mapping) else None
        key = str(found) if isinstance(found, str | int) and not isinstance(found, bool) else ""
        return key if 0 < len(key) <= MAX_KEY and "\0" not in key and _is_text(key) else None


def reader(key: Key) -> Callable[[Any], Any] | None:
    """A function that reads ``key`` off a record: an attribute, or an item where the record is a mapping."""
    if key is None or callable(key):
        return key
    attribute, item = operator.attrgetter(key), operator.itemgetter(key)

    def read(record: Any) -> Any:
        return item(record) if isinstance(record, dict) else attribute(record)

    return read


def of_part(ready: Iterable[Ready], intake: Intake, part: int, parts: int) -> Iterator[Ready]:
    """Only what belongs to one part of ``parts``, by lane; the rest is marked as foreign."""
    for one in ready:
        if one.origin is None:
            yield one
            continue
        lane = one.origin.key if one.row is not None else intake.lane(one.record) or one.origin.key
        mine = zlib.crc32(lane.encode(errors="surrogatepass")) % parts == part
        yield one if mine else Ready(one.start, one.end, None, None, None, "foreign")


def unless_stored(
    ready: Iterable[Ready],
    store: Store,
    pipeline: int,
    run: int,
    conflict_row: Callable[[Row], Row],
    writing: Writing,
    window: int = WINDOW,
) -> Iterator[Ready]:
    """Look records up, ``window`` at a time, so that nothing is worked twice."""
    source = iter(ready)
    while some := list(islice(source, window)):
        keys = [one.origin.key for one in some if one.origin is not None]
        with store.read() as tx:
            known = outcomes.existing(tx, pipeline, keys)
            again = [
                conflict_key(one.origin.key, one.origin.sha256)
                for one in some
                if one.origin and one.origin.key in known
            ]
            known.update(outcomes.existing(tx, pipeline, again))
        for one in some:
            yield _looked_up(one, known, run, conflict_row, writing)


def _looked_up(
    one: Ready, known: Mapping[str, outcomes.Stored], run: int, conflict_row: Callable[[Row], Row], writing: Writing
) -> Ready:
    origin = one.origin
    if origin is None or origin.key not in known:
        return one
    stored = known[origin.key]
    doc = outcomes.document(stored)
    if doc.get("input") != origin.sha256:
        stored_again = known.get(conflict_key(origin.key, origin.sha256))
        if stored_again is None:
            refused = writing.refused(origin, Failure(FailureClass.CONTRACT, "DuplicateKey", "", None))
            return one._replace(row=conflict_row(refused))
        doc, stored = outcomes.document(stored_again), stored_again
    ours = stored.run == run and doc.get("at") == one.end
    return Ready(one.start, one.end, None, None, None, "ours" if ours else "repeated")


def _failure_of(error: Exception) -> Failure:
    if isinstance(error, ValueError) and not isinstance(error, CorruptError) and type(error) is ValueError:
        return Failure(FailureClass.CORRUPT, "ValueError", f"not JSON: {str(error)[:200]}", None)
    return classify(error)


def _is_text(key: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in key)


def _as_it_is(value: Any) -> Any:
    return value


def _no_key(error: Exception) -> Failure:
    return Failure(FailureClass.CONTRACT, type(error).__name__, f"the record has no key: {type(error).__name__}", None)


def _bad_key(key: str) -> Failure:
    if len(key) > MAX_KEY:
        problem = f"has {len(key):,} characters; at most {MAX_KEY} are kept, so name it by a hash of them"
    else:
        problem = "is empty" if not key else "holds what is not text"
    return Failure(FailureClass.CONTRACT, "KeyError", f"the record's key {problem}", None)
