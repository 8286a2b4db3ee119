"""In the child: records that are damaged so that their contract must refuse them."""

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from nightcrew.readiness.drills.making import Schema, kind_of, resolved

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
    count = 0

    def following() -> Any:
        nonlocal count
        count += 1
        return copy.deepcopy(records[(count - 1) % len(records)])

    text = json.dumps(following()).encode()
    yield Damaged("cut off in the middle", text[: max(1, len(text) // 2)] + b"\n", False)
    text = json.dumps(following()).encode()
    yield Damaged("with bytes that are no text", text[:-1] + b', "\xff\xfe": 1}\n', False)
    schema = resolved(schema, schema)
    fields = schema.get("properties", {})
    for name in list(schema.get("required", ()))[:_MOST]:
        record = following()
        if isinstance(record, dict) and record.pop(name, None) is not None:
            yield Damaged(f"without its field {name}", _line(record), True)
    typed = [(name, wrong) for name, field in fields.items() if (wrong := _wrong(resolved(field, schema))) is not None]
    for name, wrong in typed[:_MOST]:
        record = following()
        if isinstance(record, dict):
            yield Damaged(f"with {_named(wrong)} as its field {name}", _line({**record, name: wrong}), True)


def _wrong(field: Mapping[str, Any]) -> Any:
    """A value that a field of this schema cannot be; None if it may be anything, or cannot be told."""
    if "anyOf" in field or "oneOf" in field or isinstance(field.get("type"), list):
        return None
    match kind_of(field):
        case "string" | "integer" | "number" | "boolean":
            return {"damaged": "by a drill"}
        case "object" | "array":
            return "damaged by a drill"
    return None


def _named(wrong: Any) -> str:
    return "a text" if isinstance(wrong, str) else "an object"


def _line(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record).encode() + b"\n"
