"""Values that fit a JSON Schema: plain ones, each a little different, for a drill that has no real records."""

import re
import sys
from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any]
_MAX_DEPTH = 12
_DEEP = 6
_FORMATS = {
    "date": "2026-01-{day:02d}",
    "date-time": "2026-01-{day:02d}T02:00:00Z",
    "time": "02:00:{day:02d}Z",
    "duration": "PT{day}S",
    "email": "drill-{number}@example.com",
    "uri": "https://example.com/{number}",
    "hostname": "drill-{number}.example.com",
    "ipv4": "192.0.2.{day}",
    "ipv6": "2001:db8::{day}",
    "ipvanyaddress": "192.0.2.{day}",
    "uuid": "00000000-0000-4000-8000-{number:012d}",
    "decimal": "{number}.5",
}


def made(schema: Schema, number: int, *, whole: bool = True, root: Schema | None = None, depth: int = 0) -> Any:
    """The ``number``-th value (from 1) for ``schema``; without its optional fields unless ``whole``.

    It is an attempt: rules that a schema cannot say, and some that it can, are for the contract to check.
    """
    root = schema if root is None else root
    if depth > _DEEP and any(one.get("type") == "null" for one in schema.get("anyOf", ())):
        return None  # So that what may hold another of its kind comes to an end.
    schema = resolved(schema, root)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][(number - 1) % len(schema["enum"])]
    if schema.get("examples"):
        return schema["examples"][(number - 1) % len(schema["examples"])]
    match kind_of(schema):
        case "object":
            return {} if depth > _MAX_DEPTH else _object(schema, number, whole, root, depth)
        case "array":
            return [] if depth > _MAX_DEPTH else _array(schema, number, whole, root, depth)
        case "string":
            return _text(schema, number)
        case "integer":
            return _integer(schema, number)
        case "number":
            return _number(schema, number)
        case "boolean":
            return number % 2 == 0
        case "null":
            return None
    return f"drill-{number}"


def resolved(schema: Schema, root: Schema, record: Any = None) -> Schema:
    """A schema with references followed and the parts of allOf together, and one of its alternatives.

    It is the one that ``record`` may be of, else the first that is no null.
    """
    for _ in range(_MAX_DEPTH):
        if "$ref" in schema:
            schema = _followed(schema, root)
        elif "allOf" in schema:
            merged: dict[str, Any] = {name: value for name, value in schema.items() if name != "allOf"}
            for part in schema["allOf"]:
                found = resolved(part, root, record)
                fields = {**merged.get("properties", {}), **found.get("properties", {})}
                required = [*merged.get("required", ()), *found.get("required", ())]
                merged.update({**found, **({"properties": fields, "required": required} if fields else {})})
            schema = merged
        elif some := schema.get("anyOf") or schema.get("oneOf"):
            chosen = next((one for one in some if one.get("type") != "null"), some[0])
            if isinstance(record, Mapping):
                chosen = next((one for one in some if _may_be(record, resolved(one, root, record))), chosen)
            schema = {**{name: value for name, value in schema.items() if name not in ("anyOf", "oneOf")}, **chosen}
        else:
            break
    return schema


def _may_be(record: Mapping[str, Any], schema: Schema) -> bool:
    """Whether an object has what a schema requires, and the constants that tell it from others."""
    fields = schema.get("properties", {}).items()
    told = [(name, field.get("enum", [field.get("const")])) for name, field in fields if {"const", "enum"} & set(field)]
    return (
        kind_of(schema) == "object"
        and all(name in record for name in schema.get("required", ()))
        and all(record[name] in values for name, values in told if name in record)
    )


def kinds_of(schema: Schema, root: Schema, depth: int = 0) -> set[str]:
    """The JSON types of what a schema describes, in all of its alternatives; an empty one: it may be anything."""
    if depth > _MAX_DEPTH:
        return {""}
    if "$ref" in schema:
        return kinds_of(_followed(schema, root), root, depth + 1)
    if some := schema.get("anyOf") or schema.get("oneOf"):
        return {kind for one in some for kind in kinds_of(one, root, depth + 1)}
    if isinstance(named := schema.get("type"), list):
        return {str(one) for one in named}
    return {kind_of(resolved(schema, root))}


def _followed(schema: Schema, root: Schema) -> Schema:
    found: Any = root
    for part in str(schema["$ref"]).removeprefix("#/").split("/"):
        found = found.get(part, {}) if isinstance(found, Mapping) else {}
    return {**found, **{name: value for name, value in schema.items() if name != "$ref"}}


def kind_of(schema: Schema) -> str:
    """The JSON type of what a schema describes; empty if it may be anything."""
    named = schema.get("type")
    if isinstance(named, list):
        named = next((one for one in named if one != "null"), "null")
    if named is not None:
        return str(named)
    if "properties" in schema:
        return "object"
    return "array" if "items" in schema else "string" if "pattern" in schema or "format" in schema else ""


def _object(schema: Schema, number: int, whole: bool, root: Schema, depth: int) -> dict[str, Any]:
    required = schema.get("required", ())
    return {
        name: made(inner, number, whole=whole, root=root, depth=depth + 1)
        for name, inner in schema.get("properties", {}).items()
        if whole or name in required
    }


def _array(schema: Schema, number: int, whole: bool, root: Schema, depth: int) -> list[Any]:
    parts = schema.get("prefixItems", ())
    values = [made(part, number, whole=whole, root=root, depth=depth + 1) for part in parts]
    items = schema.get("items", {})
    wanted = max(schema.get("minItems", 0), min(1, schema.get("maxItems", 1)))
    while len(values) < wanted and isinstance(items, Mapping):
        step = len(values) if schema.get("uniqueItems") else 0
        values.append(made(items, number + step, whole=whole, root=root, depth=depth + 1))
    return values


def _text(schema: Schema, number: int) -> str:
    if pattern := schema.get("pattern"):
        return matching(pattern, number)
    if (form := _FORMATS.get(schema.get("format", ""))) is not None:
        return form.format(number=number, day=(number - 1) % 28 + 1)
    text = f"drill-{number}"
    low, high = schema.get("minLength", 0), schema.get("maxLength")
    text = text.ljust(low, "x")
    return text if high is None or len(text) <= high else text[len(text) - high :]


def _integer(schema: Schema, number: int) -> int:
    step = int(schema.get("multipleOf", 1)) or 1
    low, high = _bounds(schema, 1)
    first = -(-int(low) // step) * step if low is not None else (step if high is None or high >= step else int(high))
    room = (int(high) - first) // step + 1 if high is not None else sys.maxsize
    return first + (number % max(1, room)) * step


def _number(schema: Schema, number: int) -> float:
    low, high = _bounds(schema, 0)
    if step := schema.get("multipleOf"):
        return float(number * step)
    if low is not None and high is not None and high - low < 1000:
        return float(low + (high - low) * (number % 9 + 1) / 10)
    if low is None and high is not None and high < number:
        return float(high - number)
    return float((low or 0) + number)


def _bounds(schema: Schema, smallest: int) -> tuple[float | None, float | None]:
    """The least and greatest value; ``smallest`` is the distance that an exclusive one keeps."""
    low, high = schema.get("minimum"), schema.get("maximum")
    below, above = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if below is not None:
        low = below + smallest if low is None else max(low, below + smallest)
    if above is not None:
        high = above - smallest if high is None else min(high, above - smallest)
    return low, high


def matching(pattern: str, number: int) -> str:
    """A text that matches a plain regular expression; digits and letters in it count up with ``number``."""
    from re import _parser  # type: ignore[attr-defined]

    try:
        tree = _parser.parse(pattern)
    except re.error:
        return f"drill-{number}"
    return "".join(_Places(number).text(tree))


class _Places:
    """The places of a pattern, filled from the right with the digits of a number."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._filled = 0

    def text(self, tree: Any) -> list[str]:
        return [self._one(str(operation), argument) for operation, argument in reversed(list(tree))][::-1]

    def _one(self, operation: str, argument: Any) -> str:
        match operation:
            case "LITERAL":
                return chr(argument)
            case "IN":
                return self._of(argument)
            case "ANY":
                return self._digit("0123456789")
            case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
                low, high, inner = argument
                count = int(low) if low == high else min(int(high), max(int(low), 6))
                return "".join(["".join(self.text(inner)) for _ in range(count)][::-1])
            case "SUBPATTERN":
                return "".join(self.text(argument[3]))
            case "BRANCH":
                return "".join(self.text(argument[1][0]))
        return ""  # Anchors and looks around take no place.

    def _of(self, choices: Any) -> str:
        allowed: list[str] = []
        for kind, value in choices:
            match str(kind):
                case "NEGATE":
                    return self._digit("0123456789")
                case "LITERAL":
                    allowed.append(chr(value))
                case "RANGE":
                    allowed += [chr(code) for code in range(value[0], min(value[1], value[0] + 63) + 1)]
                case "CATEGORY":
                    allowed += " " if "SPACE" in str(value) and "NOT" not in str(value) else "0123456789"
        return self._digit("".join(allowed) or "x")

    def _digit(self, alphabet: str) -> str:
        """The next digit of the number from the right, in this alphabet."""
        rest = self._number // len(alphabet) ** self._filled if self._filled < 12 else 0
        self._filled += 1
        return alphabet[rest % len(alphabet)]
