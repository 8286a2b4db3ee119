"""In the child: records that are damaged so that their contract must refuse them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any, NamedTuple

from nightcrew.readiness.drills.making import Schema, kinds_of, resolved

_MOST = 4
"""Fields that are damaged in each way."""


class Damaged(NamedTuple):
    """A line that must be refused, and what was done to it."""

    what: str
    line: bytes
    by_contract: bool
    """Whether only a contract can tell that it is wrong: as text it is a record."""


def damages(records: Sequence[Any], schema: Schema) -> Iterator[Damaged]:
    """Damaged records, each made from another of ``records`` as far as they reach."""
    lines = [json.dumps(record).encode() for record in records]
    yield Damaged("cut off in the middle", lines[0][: max(1, len(lines[0]) // 2)] + b"\n", False)
    yield Damaged("with bytes that are no text", lines[1 % len(lines)][:-1] + b', "\xff\xfe": 1}\n', False)
    if (wrong := _wrong(schema, schema)) is not None:
        # That a record is an object at all says nothing of what is in it.
        yield Damaged(f"that is {_named(wrong)}", _line(wrong), "object" not in kinds_of(schema, schema))
    at = 2
    shaped = [(record, resolved(schema, schema, record)) for record in records if isinstance(record, dict)]
    without = [dict(_without(record, shape)) for record, shape in shaped]
    retyped = [dict(_retyped(record, shape, schema)) for record, shape in shaped]
    for ways in (without, retyped):
        for what in list(dict.fromkeys(what for of in ways for what in of))[:_MOST]:
            at = next(turn for turn in count(at) if what in ways[turn % len(ways)])
            yield Damaged(what, _line(ways[at % len(ways)][what]), True)
            at += 1


def _without(record: Mapping[str, Any], shape: Schema) -> Iterator[tuple[str, Any]]:
    for name in shape.get("required", ()):
        if name in record:
            yield f"without its field {name}", {key: value for key, value in record.items() if key != name}


def _retyped(record: Mapping[str, Any], shape: Schema, root: Schema) -> Iterator[tuple[str, Any]]:
    for name, field in shape.get("properties", {}).items():
        if (wrong := _wrong(field, root)) is not None:
            yield f"with {_named(wrong)} as its field {name}", {**record, name: wrong}


def _wrong(field: Schema, root: Schema) -> Any:
    """A value that a field of this schema cannot be; None if it may be anything, or cannot be told."""
    kinds = kinds_of(field, root)
    if "" in kinds:
        return None
    return {"damaged": "by a drill"} if "object" not in kinds else None if "string" in kinds else "damaged by a drill"


def _named(wrong: Any) -> str:
    return "a text" if isinstance(wrong, str) else "an object"


def _line(record: Any) -> bytes:
    return json.dumps(record).encode() + b"\n"
