"""What fields records have and of what types, and how that differs from before: schema drift."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
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


Path = tuple[str, ...]
"""A field's name, or its name and that of a field within."""


class FieldWatch:
    """Counts the fields of records, two levels deep (``address.zip``), and their JSON types; never keeps a value.

    ``reference`` maps a field to the types it had; an empty set of types takes any. Without one, what is seen is only
    learned. An integer where a number was is no change; null in a field counts as missing only where it never was null.
    """

    def __init__(self, reference: Mapping[Path, frozenset[str]] | None = None) -> None:
        self.reference = None if reference is None else dict(reference)
        self.seen = 0
        self._types: dict[Path, Counter[str]] = {}

    @classmethod
    def of_names(cls, names: Iterable[str]) -> "FieldWatch":
        """With the names of fields as the reference, and any types."""
        return cls({(name,): frozenset() for name in names})

    def see(self, record: Mapping[str, Any]) -> None:
        """Look at one record."""
        self.seen += 1
        for name, value in record.items():
            self._count((str(name),), value)
            if isinstance(value, Mapping):
                for inner, deeper in value.items():
                    self._count((str(name), str(inner)), deeper)

    def _count(self, path: Path, value: Any) -> None:
        counter = self._types.get(path)
        if counter is None:
            counter = self._types[path] = Counter()
        counter[_kind(value)] += 1

    def changes(self, *, min_rate: float = MIN_RATE, min_seen: int = MIN_SEEN) -> list[FieldChange]:
        """What differs in at least ``min_rate`` (0..1) of the records, and in at least ``min_seen`` of them."""
        if self.reference is None or not self.seen:
            return []
        found = [*self._gone(self.reference), *self._other(self.reference)]
        enough = [one for one in found if one.rate >= min_rate and one.rate * self.seen >= min_seen]
        return sorted(enough, key=lambda change: (-change.rate, change.field))

    def _gone(self, reference: Mapping[Path, frozenset[str]]) -> Iterator[FieldChange]:
        for path, was in reference.items():
            kinds = self._types.get(path, Counter())
            there = sum(kinds.values()) - (kinds["null"] if was and "null" not in was else 0)
            missing = self._parents(path) - there
            if missing > 0 and was != _OPTIONAL:
                yield FieldChange(".".join(path), "missing", missing / self.seen, self.seen, _names(was), "missing")

    def _other(self, reference: Mapping[Path, frozenset[str]]) -> Iterator[FieldChange]:
        # The fields of an object are looked at only where the reference knows fields of it.
        known = {path[0] for path in reference if len(path) > 1}
        for path, kinds in self._types.items():
            was = reference.get(path)
            if was is None:
                if len(path) == 1 or path[0] in known:
                    rate = sum(kinds.values()) / self.seen
                    yield FieldChange(".".join(path), "new", rate, self.seen, "absent", _names(frozenset(kinds)))
                continue
            strange = {kind: n for kind, n in kinds.items() if was and kind != "null" and not _fits(kind, was)}
            if strange and was != _OPTIONAL:
                rate, now = sum(strange.values()) / self.seen, _names(frozenset(strange))
                yield FieldChange(".".join(path), "retyped", rate, self.seen, _names(was), now)

    def _parents(self, path: Path) -> int:
        """In how many records the field could have been."""
        return self.seen if len(path) == 1 else self._types.get(path[:1], Counter())["object"]

    def to_json(self) -> str:
        """What was seen, as the reference for another time; the reference itself if nothing was."""
        if not self.seen:
            learned = self.reference or {}
        else:
            learned = {
                path: frozenset(kinds) if sum(kinds.values()) >= self._parents(path) * (1 - MIN_RATE) else _OPTIONAL
                for path, kinds in self._types.items()
            }
        return json.dumps(sorted([list(path), sorted(kinds)] for path, kinds in learned.items()))

    @classmethod
    def from_json(cls, text: str) -> "FieldWatch":
        """With a reference that ``to_json`` gave."""
        return cls({tuple(path): frozenset(kinds) for path, kinds in json.loads(text)})


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
