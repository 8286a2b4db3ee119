"""What sample records look like: their fields, types and limits; and that as the source of a TypedDict.

A TypedDict and no model: the steps go on to get the dicts that they were written for.
"""

import keyword
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

ENOUGH = 100
"""From so many values on, what was never seen is taken to be wrong: a number below zero, an empty text."""

_RANGE_SHOWN = 1_000_000
_MAX_DEPTH = 6


@dataclass
class Shape:
    """The values seen in one place."""

    kinds: Counter[str] = field(default_factory=Counter)
    """How many values were of which type: null, bool, int, float, str, object, list."""
    low: float | None = None
    high: float | None = None
    empty: int = 0
    """How many texts were empty."""
    fields: "dict[str, Shape]" = field(default_factory=dict)
    """Of objects: each field."""
    items: "Shape | None" = None
    """Of lists: what is in them."""

    @property
    def count(self) -> int:
        """How many values were seen."""
        return self.kinds.total()

    def see(self, value: Any, depth: int = 0) -> None:
        """Take one value in."""
        kind = _kind(value)
        self.kinds[kind] += 1
        if kind in ("int", "float"):
            self.low = value if self.low is None else min(self.low, value)
            self.high = value if self.high is None else max(self.high, value)
        elif kind == "str":
            self.empty += not value
        elif kind == "object" and depth < _MAX_DEPTH:
            for name, inner in value.items():
                self.fields.setdefault(str(name), Shape()).see(inner, depth + 1)
        elif kind == "list" and depth < _MAX_DEPTH:
            self.items = self.items or Shape()
            for inner in value:
                self.items.see(inner, depth + 1)


def shape_of(records: Iterable[Mapping[str, Any]]) -> Shape:
    """The shape of records."""
    shape = Shape()
    for record in records:
        shape.see(record)
    return shape


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind.__name__
    return "object" if isinstance(value, Mapping) else "list"


@dataclass(frozen=True)
class Written:
    """The source of a contract: its classes, and the names that they need from elsewhere."""

    source: str
    needs: frozenset[tuple[str, str]]


def contract_source(shape: Shape, name: str) -> Written:
    """The source of a TypedDict called ``name`` for records of this shape."""
    writing = _Writing()
    writing.typed_dict(shape, name)
    return Written("\n\n\n".join(writing.classes), frozenset(writing.needs))


class _Writing:
    def __init__(self) -> None:
        self.classes: list[str] = []
        self._names: dict[int, str] = {}
        self.needs: set[tuple[str, str]] = {("typing_extensions", "TypedDict"), ("pydantic", "ConfigDict")}

    def typed_dict(self, shape: Shape, name: str) -> None:
        total = shape.kinds["object"]
        lines = {field: self._field(inner, name, field, total) for field, inner in shape.fields.items()}
        config = '__pydantic_config__ = ConfigDict(extra="allow")'
        if all(one.isidentifier() and not keyword.iskeyword(one) and not one.startswith("__") for one in lines):
            body = [f"    {config}  # type: ignore[misc]", ""]
            body += [f"    {one}: {kind}{said}" for one, (kind, said) in lines.items()]
            self.classes.append("\n".join([f"class {name}(TypedDict):", *body]))
            return
        body = [f"        {one!r}: {kind},{said}" for one, (kind, said) in lines.items()]
        made = [f"{name} = TypedDict(", f"    {name!r},", "    {", *body, "    },", ")"]
        self.classes.append("\n".join([*made, f"{name}.{config}  # type: ignore[attr-defined]"]))

    def _field(self, shape: Shape, owner: str, name: str, total: int) -> tuple[str, str]:
        kind = self._type(shape, owner + _camel(name))
        if shape.count < total:
            self.needs.add(("typing_extensions", "NotRequired"))
            kind = f"NotRequired[{kind}]"
        shown = shape.low is not None and max(abs(shape.low), abs(shape.high or 0)) <= _RANGE_SHOWN
        return kind, f"  # seen: {shape.low:g} to {shape.high:g}" if shown else ""

    def _type(self, shape: Shape, name: str) -> str:
        found = [self._one(kind, shape, name) for kind in shape.kinds if kind != "null"]
        if "int" in shape.kinds and "float" in shape.kinds:
            found.remove(self._one("int", shape, name))
        if not found:
            self.needs.add(("typing", "Any"))
            return "Any"
        if shape.kinds["null"]:
            found.append("None")
        return " | ".join(dict.fromkeys(found))

    def _one(self, kind: str, shape: Shape, name: str) -> str:
        match kind:
            case "int" | "float":
                many = shape.kinds["int"] + shape.kinds["float"] >= ENOUGH
                return self._limited(kind, "ge=0") if many and shape.low is not None and shape.low >= 0 else kind
            case "str":
                return self._limited(kind, "min_length=1") if shape.kinds[kind] >= ENOUGH and not shape.empty else kind
            case "object" if shape.fields:
                return self._inner(shape, name)
            case "list" if shape.items is not None and shape.items.count:
                return f"list[{self._type(shape.items, name)}]"
            case "object" | "list":
                self.needs.add(("typing", "Any"))
                return "dict[str, Any]" if kind == "object" else "list[Any]"
        return kind

    def _inner(self, shape: Shape, name: str) -> str:
        """The name of the class of objects inside a record; two fields may want the same one."""
        if id(shape) not in self._names:
            while name in self._names.values():
                name += "1"
            self._names[id(shape)] = name
            self.typed_dict(shape, name)
        return self._names[id(shape)]

    def _limited(self, kind: str, limit: str) -> str:
        self.needs.update({("typing", "Annotated"), ("pydantic", "Field")})
        return f"Annotated[{kind}, Field({limit})]"


def _camel(name: str) -> str:
    parts = "".join(letter if letter.isalnum() and letter.isascii() else " " for letter in name).split()
    return "".join(part[:1].upper() + part[1:] for part in parts) or "Field"


def class_name(pipeline: str) -> str:
    """The name of the contract of a pipeline: ``FraudRecord``."""
    made = _camel(pipeline)
    return f"{made if made[0].isalpha() else 'P' + made}Record"
