"""What fields records have and of what types, and how that differs from before: schema drift."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

MIN_SEEN = 5
MIN_RATE = 0.01


class FieldChange(NamedTuple):
    """A field that is not as it was: in which part (0..1) of the ``seen`` records, what it was and what it is now."""

    field: str
    change: Literal["new", "missing", "retyped"]
    rate: float
    seen: int
    was: str
    now: str


class FieldWatch:
    """Counts the fields of records, two levels deep (``address.zip``), and their JSON types; never keeps a value.

    ``reference`` maps a field to the types it had; an empty set of types takes any. Without one, what is seen is only
    learned. An integer where a number was is no change; null in a field counts as missing only where it never was null.
    """

    def __init__(self, reference: Mapping[str, frozenset[str]] | None = None) -> None:
        self.reference = None if reference is None else dict(reference)
        self.seen = 0
        self._types: dict[str, Counter[str]] = defaultdict(Counter)

    def see(self, record: Mapping[str, Any]) -> None:
        """Look at one record."""
        self.seen += 1
        for name, value in record.items():
            kind = _kind(value)
            self._types[str(name)][kind] += 1
            if isinstance(value, Mapping):
                for inner, deeper in value.items():
                    self._types[f"{name}.{inner}"][_kind(deeper)] += 1

    def changes(self, *, min_rate: float = MIN_RATE, min_seen: int = MIN_SEEN) -> list[FieldChange]:
        """What differs in at least ``min_rate`` (0..1) of the records, and in at least ``min_seen`` of them."""
        if self.reference is None or not self.seen:
            return []
        found = [*self._gone(), *self._other()]
        enough = [c for c in found if c.rate >= min_rate and c.rate * self.seen >= min_seen]
        return sorted(enough, key=lambda change: (-change.rate, change.field))

    def _gone(self) -> list[FieldChange]:
        assert self.reference is not None  # noqa: S101 - the caller looked
        gone = []
        for name, was in self.reference.items():
            kinds = self._types.get(name, Counter())
            there = sum(kinds.values()) - (kinds["null"] if was and "null" not in was else 0)
            parent = name.rpartition(".")[0]
            of = self._types[parent]["object"] if parent else self.seen
            if of > there and was != _OPTIONAL:
                gone.append(FieldChange(name, "missing", (of - there) / self.seen, self.seen, _names(was), "missing"))
        return gone

    def _other(self) -> list[FieldChange]:
        assert self.reference is not None  # noqa: S101 - the caller looked
        other = []
        for name, kinds in self._types.items():
            was = self.reference.get(name)
            if was is None:
                # The fields of an object whose reference knows only the object are none of ours.
                if "." not in name or any(known.startswith(name.partition(".")[0] + ".") for known in self.reference):
                    count = sum(kinds.values())
                    other.append(
                        FieldChange(name, "new", count / self.seen, self.seen, "absent", _names(frozenset(kinds)))
                    )
                continue
            strange = {kind: n for kind, n in kinds.items() if was and kind != "null" and not _fits(kind, was)}
            if strange and was != _OPTIONAL:
                now = _names(frozenset(strange))
                other.append(
                    FieldChange(name, "retyped", sum(strange.values()) / self.seen, self.seen, _names(was), now)
                )
        return other

    def to_json(self) -> str:
        """What was seen, as the reference for another time; the reference itself if nothing was."""
        if not self.seen:
            return json.dumps({name: sorted(kinds) for name, kinds in (self.reference or {}).items()}, sort_keys=True)
        learned: dict[str, list[str]] = {}
        for name, kinds in self._types.items():
            parent = name.rpartition(".")[0]
            of = self._types[parent]["object"] if parent else self.seen
            if sum(kinds.values()) >= of * (1 - MIN_RATE):
                learned[name] = sorted(kinds)
            else:
                learned[name] = sorted(_OPTIONAL)
        return json.dumps(learned, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "FieldWatch":
        """With a reference that ``to_json`` gave."""
        return cls({name: frozenset(kinds) for name, kinds in json.loads(text).items()})


_OPTIONAL = frozenset({"*"})
"""A field that was not always there: neither its absence nor its type is a change."""


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number"
    if isinstance(value, Mapping):
        return "object"
    return "array" if isinstance(value, list | tuple) else "string"


def _fits(kind: str, was: frozenset[str]) -> bool:
    return kind in was or (kind in ("integer", "number") and bool(was & {"integer", "number"}))


def _names(kinds: frozenset[str]) -> str:
    return " or ".join(sorted(kinds)) or "any"
