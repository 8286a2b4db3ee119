"""Of what kind a field is: a number, a name of few, a text, a list, an object, a map; or a key, which tells nothing.

A batch that is given as a whole is judged as a whole (:func:`at_once`). What comes in small pieces is judged when
enough is there (:func:`settled`), and more strictly: what is taken for a name will be stored.
"""

import dataclasses
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import Enum
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["number", "name", "text", "list", "object", "map", "none"]

SURE = 50
"""So many values decide what kind a field is."""

ENOUGH = 500
"""So many decide it if the first were not clear."""

OTHER = "(other)"
"""The name under which values are counted that are not to be stored."""

MAX_INNER = 50
"""An object of more fields than this that are always there is taken for a map."""

NUMBERS = (int, float, Decimal, np.integer, np.floating)
_LONG = 40
_FEW = 20
_PROSE = 200
_DIGITS = 6
_FEWEST = 8
_RISING, _LEVEL = 0.9, 0.5
# From 2010 to 2039, in seconds; a field whose values all lie so near to one another is a time, in whatever unit.
_TIMES, _TIME_SPAN, _UNITS = (1.26e9, 2.2e9), 1.6e8, (1.0, 1e3, 1e6, 1e9)
_PERSONAL = re.compile(r"[@\x00-\x1f\x7f\ud800-\udfff]|://|^www\.", re.IGNORECASE)


def at_once(values: Sequence[Any]) -> Kind:
    """The kind of a field of which these are all values (None: missing)."""
    there = [value for value in values if value is not None]
    if not there:
        return "none"
    kind = _most(there)
    if kind == "text":
        return _text_at_once([value for value in there if isinstance(value, str)])
    if kind == "number":
        return numbers_at_once(as_numbers(values))
    return "map" if kind == "object" and inner_fields(there) is None else kind


def numbers_at_once(values: NDArray[Any]) -> Kind:
    """The same of an array of numbers: whole ones that rise, and times, are keys."""
    found = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    if is_time(found):
        return "none"
    whole = len(found) >= SURE and bool((np.floor(found) == found).all())
    if whole and len(np.unique(found)) > 0.95 * len(found) and abs(rank_correlation(found)) >= _RISING:
        return "none"
    return "number"


def settled(there: Sequence[Any]) -> Kind | None:
    """The kind of a field of which these values came so far, without missing ones; None if that is not clear yet."""
    if not there:
        return None
    kind, many = _most(there), len(there)
    types = set(map(type, there))
    alike = all(kind_of(one) == kind for one in types)
    if kind == "text":
        return _text_settled([value for value in there if isinstance(value, str)])
    if kind == "number":
        return _number_settled(as_numbers(there))
    if kind == "object":
        models = not any(issubclass(one, Mapping) for one in types)
        same = many >= _FEWEST and len({frozenset(fields_of(one) or ()) for one in there}) == 1
        if many >= SURE or (alike and (models or same)):
            return "object" if inner_fields(there) is not None else "map"
        return None
    return kind if alike or many >= SURE else None


def inner_fields(objects: Sequence[Any]) -> list[str] | None:
    """The fields that most of these objects have; None if they are maps: what keys they have is ever different."""
    counted: Counter[str] = Counter()
    many = 0
    for one in objects:
        found = fields_of(one)
        if found is not None:
            many += 1
            counted.update(map(str, found))
    common = [name for name, times in counted.items() if 2 * times >= many]
    if not common or len(common) > MAX_INNER or 2 * sum(counted[name] for name in common) < counted.total():
        return None
    return common


def kind_of(one: type) -> Kind:
    """What a value of that type is."""
    if issubclass(one, Enum) or one is bool or one is np.bool_:
        return "name"
    if issubclass(one, NUMBERS):
        return "number"
    if issubclass(one, str):
        return "text"
    if issubclass(one, list | tuple | set) and not hasattr(one, "_asdict"):
        return "list"
    if issubclass(one, Mapping) or hasattr(one, "_asdict") or dataclasses.is_dataclass(one):
        return "object"
    # A model of pydantic; not a time, bytes or what hides its value.
    return "object" if hasattr(one, "model_fields") else "none"


def fields_of(value: Any) -> Mapping[str, Any] | None:
    """What a record, or an object in it, has: of a mapping, a model, a dataclass or a named tuple."""
    if isinstance(value, Mapping):
        return value
    if hasattr(value, "_asdict"):
        found: dict[str, Any] = value._asdict()
        return found
    if dataclasses.is_dataclass(value):
        return {one.name: getattr(value, one.name) for one in dataclasses.fields(value)}
    return getattr(value, "__dict__", None)


def nameable(text: str) -> bool:
    """Whether a text may be stored as the name of a category: it is short and no address, number or date."""
    return len(text) <= _LONG and not _PERSONAL.search(text) and sum(map(str.isdigit, text)) < _DIGITS


def is_time(values: NDArray[Any]) -> bool:
    """Whether these numbers are times since 1970, in seconds, or thousandths, millionths or milliardths of them."""
    if len(values) < _FEWEST:
        return False
    low, high = float(values.min()), float(values.max())
    return any(low >= _TIMES[0] * u and high <= _TIMES[1] * u and high - low <= _TIME_SPAN * u for u in _UNITS)


def rank_correlation(values: NDArray[Any]) -> float:
    """How far (-1..1) values go along with their order (Spearman); 0 if all are the same."""
    ordered = np.sort(values)
    ranks = np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")
    if len(values) < 2 or ranks.min() == ranks.max():
        return 0.0
    return float(np.corrcoef(ranks, np.arange(len(ranks)))[0, 1])


def as_numbers(values: Sequence[Any]) -> NDArray[np.float64]:
    """Numbers as an array; NaN for what is none, or is too large for what is kept of numbers."""
    if set(map(type, values)) <= {int, float}:
        try:
            return within(np.array(values, dtype=np.float64))
        except OverflowError:
            pass
    return within(np.array([_as_number(value) for value in values], dtype=np.float64))


def within(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same numbers; NaN for those that sketches, of floats of 32 bits, have no room for."""
    beyond = np.abs(values) > _LARGEST
    return np.where(beyond, np.nan, values) if beyond.any() else values


_LARGEST = 1e38


def _as_number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, NUMBERS):
        return float("nan")
    try:
        return float(value)
    except (OverflowError, ValueError):
        return float("nan")


def _most(there: Sequence[Any]) -> Kind:
    kinds: Counter[Kind] = Counter()
    for one, times in Counter(map(type, there)).items():
        kinds[kind_of(one)] += times
    return kinds.most_common(1)[0][0]


def _text_at_once(texts: Sequence[str]) -> Kind:
    distinct, short = len(set(texts)), sum(map(len, texts)) <= _LONG * len(texts)
    if short and (distinct <= _FEW or distinct <= len(texts) / 2):
        return "name"
    return "none" if len(texts) >= SURE and short and _keys(texts) else "text"


def _text_settled(texts: Sequence[str]) -> Kind | None:
    many = len(texts)
    if many >= _FEWEST and sum(map(len, texts)) > _PROSE * many:
        return "text"
    if many < SURE:
        return None
    counted = Counter(texts)
    short = sum(map(len, texts)) <= _LONG * many
    allowed = sum(times for text, times in counted.items() if nameable(text))
    once = sum(1 for times in counted.values() if times == 1)
    named = short and allowed >= 0.9 * many and len(counted) <= many / 2
    if named and once <= 0.1 * many:
        return "name"
    if short and _keys(texts):
        return "none"
    if many < ENOUGH and short and allowed >= 0.9 * many:
        return None
    return "name" if named and once <= 0.25 * many else "text"


def _keys(texts: Sequence[str]) -> bool:
    """Whether these are words that never come twice: keys tell nothing about what they name."""
    return len(set(texts)) == len(texts) and not any(" " in text for text in texts)


def _number_settled(values: NDArray[np.float64]) -> Kind | None:
    found = values[np.isfinite(values)]
    if is_time(found):
        return "none"
    level = len(found) >= 2 * _FEWEST and abs(rank_correlation(found)) < _LEVEL and found.min() < found.max()
    if level:
        return "number"
    if len(values) < SURE:
        return None
    along = abs(rank_correlation(found)) if len(found) >= SURE else 0.0
    if along >= _RISING:
        return "none"
    return None if along >= _LEVEL and len(values) < ENOUGH else "number"
