"""Schema drift: fields that are new, missing or of another type, counted without keeping a value."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from nightcrew.pipeline.fields import FieldWatch


def learned(*records: dict[str, Any]) -> FieldWatch:
    """A watch whose reference is what these records look like."""
    first = FieldWatch()
    for record in records:
        first.see(record)
    return FieldWatch.from_json(first.to_json())


def changes(watch: FieldWatch, record: dict[str, Any], times: int = 10) -> dict[str, tuple[str, str, str]]:
    for _ in range(times):
        watch.see(record)
    return {one.field: (one.change, one.was, one.now) for one in watch.changes()}


BASE = {"id": "a", "amount": 1.5, "count": 1, "address": {"zip": "1"}, "note": None}


def test_same_fields_are_no_change() -> None:
    assert changes(learned(BASE), BASE) == {}
    assert changes(learned(BASE), {**BASE, "amount": 2}) == {}, "an integer is a number"
    assert changes(learned(BASE), {**BASE, "note": None}) == {}


def test_new_missing_and_retyped_fields_are_named() -> None:
    now = {"id": 7, "count": 1, "address": {"city": "x"}, "note": "n", "extra": True}
    assert changes(learned(BASE), now) == {
        "id": ("retyped", "string", "integer"),
        "amount": ("missing", "number", "missing"),
        "address.zip": ("missing", "string", "missing"),
        "address.city": ("new", "absent", "string"),
        "note": ("retyped", "null", "string"),
        "extra": ("new", "absent", "boolean"),
    }


def test_null_where_there_never_was_one_is_missing() -> None:
    assert changes(learned(BASE), {**BASE, "id": None}) == {"id": ("missing", "string", "missing")}


def test_field_that_was_not_always_there_may_be_absent() -> None:
    watch = learned(BASE, {**BASE, "tag": "x"})
    assert changes(watch, BASE) == {}
    assert changes(watch, {**BASE, "tag": 1}) == {}


def test_rare_change_is_not_told() -> None:
    watch = learned(BASE)
    for number in range(2000):
        watch.see({**BASE, "extra": 1} if number < 4 else BASE)
    assert watch.changes() == []


def test_only_names_known_takes_any_type() -> None:
    watch = FieldWatch.of_names(["id", "amount"])
    assert changes(watch, {"id": 1, "other": 2}) == {
        "amount": ("missing", "any", "missing"),
        "other": ("new", "absent", "integer"),
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(st.text(max_size=5), JSON, max_size=5), min_size=1, max_size=20))
def test_what_was_learned_is_no_change(records: list[dict[str, Any]]) -> None:
    watch = learned(*records)
    for record in records * 5:
        watch.see(record)
    assert watch.changes() == []


def test_no_value_is_kept() -> None:
    watch = learned({"id": "hunter2"})
    changes(watch, {"id": "hunter3"})
    assert "hunter" not in watch.to_json()
