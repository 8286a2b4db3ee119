"""Drift: nothing is told where nothing moved, what moved is named, and how far in words."""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr
from scipy.stats import binom, fisher_exact

import nightcrew as nc
from nightcrew.model.errors import IntegrityError, UsageError
from nightcrew.monitoring.drift.compare import Limits, compare
from nightcrew.monitoring.drift.history import History
from nightcrew.monitoring.drift.profile import Profile, Sample
from nightcrew.monitoring.drift.tails import share_tail
from nightcrew.monitoring.sketches import FEATURE_K, Distribution, Items

Dice = np.random.Generator


def odd_columns(dice: Dice, size: int) -> dict[str, Any]:
    """Columns of every awkward shape: heavy tails, ties, a peak, rare values, missing ones, long tails of names."""
    common = 1 / np.arange(1, 2001) ** 1.1
    return {
        "normal": dice.normal(size=size),
        "wild": dice.standard_cauchy(size=size),
        "hours": dice.integers(0, 24, size=size).astype(float),
        "flag": (dice.random(size) < 0.02).astype(float),
        "mostly zero": np.where(dice.random(size) < 0.9, 0.0, dice.exponential(size=size)),
        "constant": np.full(size, 3.0),
        "with gaps": np.where(dice.random(size) < 0.05, np.nan, dice.normal(size=size)),
        "few names": [f"n{one}" for one in dice.choice(4, p=[0.5, 0.3, 0.15, 0.05], size=size)],
        "many names": [f"n{one}" for one in dice.choice(2000, p=common / common.sum(), size=size)],
        "all different": [f"{one}" for one in dice.integers(0, 2**60, size=size)],
    }


@pytest.mark.parametrize(("reference", "window"), [(200, 50), (3000, 300), (500, 3000)])
def test_false_alarms_of_a_look_over_all_features_stay_within_the_rate(reference: int, window: int) -> None:
    rate, looks, alarms = 0.05, 0, 0
    for seed in range(40):
        dice = np.random.default_rng([seed, window])
        profile = Profile.of(odd_columns(dice, reference))
        for _ in range(5):
            moved, _ = History(profile, Limits(rate, 0, 0), scales=1).look(
                profile.count(odd_columns(dice, window), window)
            )
            looks, alarms = looks + 1, alarms + bool(moved)
    assert alarms <= binom.ppf(0.999, looks, rate)


def test_false_alarms_of_a_stream_over_all_lengths_stay_within_the_rate() -> None:
    rate, looks, alarms = 0.05, 0, 0
    for seed in range(12):
        dice = np.random.default_rng(seed)
        profile = Profile.of(odd_columns(dice, 2000))
        history = History(profile, Limits(rate, 0, 0))
        for _ in range(40):
            history.append(profile.count(odd_columns(dice, 100), 100))
            looks, alarms = looks + 1, alarms + bool(history.look()[0])
    # Looks that share windows go together, so the margin is that of fewer.
    assert alarms <= binom.ppf(0.999, looks // 8, rate) * 8


@pytest.mark.parametrize("scale", [1.0, 1e-12, 1e12])
def test_far_tails_of_shift_and_spread_are_not_too_light(scale: float) -> None:
    dice = np.random.default_rng(5)
    found = {"shift": 0, "spread": 0}
    tests = 0
    for _ in range(20):
        profile = Profile.of({f"f{n}": scale * dice.exponential(size=400) for n in range(50)})
        samples = [
            profile.count({f"f{n}": scale * dice.exponential(size=60) for n in range(50)}, 60) for _ in range(20)
        ]
        for one in samples:
            for several in compare(profile, [one]).values():
                tests += 1
                for test in several:
                    if test.measure in found:
                        found[test.measure] += test.p < 1e-3
    for count in found.values():
        assert count <= binom.ppf(0.9999, tests, 1e-3) * 1.5


@given(found=st.integers(0, 300), of=st.integers(1, 300), before=st.integers(0, 2000), before_of=st.integers(1, 2000))
def test_share_tail_is_never_below_fishers_exact_test(found: int, of: int, before: int, before_of: int) -> None:
    found, before = min(found, of), min(before, before_of)
    exact = min(
        fisher_exact([[found, of - found], [before, before_of - before]], alternative=side)[1]
        for side in ("less", "greater")
    )
    ours = float(share_tail(*(np.array([float(one)]) for one in (found, of, before, before_of)))[0])
    assert ours >= min(2 * exact, 1) * (1 - 1e-6)
    assert ours <= 1


BASE = {
    "amount": lambda dice, size: 41 + 10 * dice.normal(size=size),
    "method": lambda dice, size: dice.choice(["card", "cash", "wire"], p=[0.4, 0.5, 0.1], size=size).tolist(),
    "hour": lambda dice, size: dice.integers(0, 24, size=size),
}


def rows(seed: int, size: int, **changed: Any) -> list[dict[str, Any]]:
    dice = np.random.default_rng(seed)
    columns = {name: list(make(dice, size)) for name, make in (BASE | changed).items()}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


@pytest.fixture(scope="module")
def drift() -> nc.Drift:
    return nc.Drift.from_records(rows(0, 10_000))


def test_quiet_batch_says_nothing(drift: nc.Drift) -> None:
    report = drift.check(rows(1, 2000))
    assert not report
    assert str(report) == "nothing moved"
    assert report.feature is None
    assert set(report.tested) == {"amount", "method", "hour"}


@pytest.mark.parametrize(
    ("changed", "measure", "said"),
    [
        ({"amount": lambda d, n: 55 + 10 * d.normal(size=n)}, "shift", "amount: median 40.9 -> 5"),
        ({"amount": lambda d, n: 41 + 15 * d.normal(size=n)}, "spread", "amount: spread (10 % to 90 %): 25"),
        ({"amount": lambda d, n: np.where(d.random(n) < 0.05, 50.0, 41 + 10 * d.normal(size=n))}, "range",
         "amount: above 4"),
        ({"method": lambda d, n: d.choice(["card", "cash", "wire"], p=[0.47, 0.43, 0.1], size=n)}, "share",
         "method: ca"),
        ({"amount": lambda d, n: [None if one < 0.03 else 41 + 10 * d.normal() for one in d.random(n)]}, "missing",
         "amount: missing: 0 % -> 2"),
    ],
)  # fmt: skip
def test_what_moved_is_named_with_its_effect(drift: nc.Drift, changed: Any, measure: str, said: str) -> None:
    report = drift.check(rows(2, 4000, **changed))
    assert [one.found.measure for one in report.moved] == [measure]
    assert report.feature == said.partition(":")[0]
    assert str(report).startswith(said)


def test_new_category_is_called_new(drift: nc.Drift) -> None:
    mixed = {"method": lambda d, n: d.choice(["card", "cash", "wire", "coin"], p=[0.4, 0.48, 0.1, 0.02], size=n)}
    assert str(drift.check(rows(3, 3000, **mixed))).endswith("coin is new: 2.5 %")


def test_shift_is_given_in_standard_deviations_and_in_the_features_own_unit(drift: nc.Drift) -> None:
    moved = drift.check(rows(4, 20_000, amount=lambda d, n: 46 + 10 * d.normal(size=n))).moved[0]
    assert moved.effect.unit == "sd"
    assert moved.effect.size == pytest.approx(0.5, abs=0.05)
    assert moved.effect.moved == pytest.approx(0.197, abs=0.02)


def test_feature_that_moved_most_comes_first(drift: nc.Drift) -> None:
    both = {"amount": lambda d, n: 43 + 10 * d.normal(size=n), "hour": lambda d, n: d.integers(12, 24, size=n)}
    report = drift.check(rows(5, 4000, **both))
    assert [one.feature for one in report.moved] == ["hour", "amount"]


def test_field_that_is_gone_is_missing(drift: nc.Drift) -> None:
    report = drift.check([{"amount": row["amount"], "hour": row["hour"]} for row in rows(6, 2000)])
    assert str(report) == "method: missing: 0 % -> 100 %"


def test_effect_below_the_minimum_is_not_told_however_many_values() -> None:
    dice = np.random.default_rng(0)
    drift = nc.Drift.from_records({"x": dice.normal(size=400_000)})
    assert not drift.check({"x": dice.normal(size=400_000) + 0.02})
    assert nc.Drift.from_records({"x": dice.normal(size=400_000)}, min_shift=0.01).check(
        {"x": dice.normal(size=400_000) + 0.02}
    )


def test_too_few_values_are_said_to_be_too_few(drift: nc.Drift) -> None:
    report = drift.check(rows(7, 10, amount=lambda d, n: np.full(n, 500.0)))
    assert not report
    assert sorted(report.untested) == ["amount", "hour", "method"]


def test_nothing_at_all_moves_nothing(drift: nc.Drift) -> None:
    assert not drift.check([])
    assert drift.update([]) == []


def test_all_missing_before_and_now_is_no_drift_and_values_where_there_were_none_is() -> None:
    drift = nc.Drift.from_records({"x": np.full(1000, np.nan), "y": np.arange(1000.0) % 7})
    quiet = {"x": np.full(1000, np.nan), "y": np.arange(1000.0) % 7}
    assert not drift.check(quiet)
    assert drift.check(quiet | {"x": np.zeros(1000)}).feature == "x"


def test_constant_that_changes_is_told() -> None:
    drift = nc.Drift.from_records({"x": np.full(1000, 3.0)})
    assert not drift.check({"x": np.full(1000, 3.0)})
    assert "x: " in str(drift.check({"x": np.full(1000, 4.0)}))


def test_stream_looks_every_so_many_values_and_sees_a_small_shift_that_stays() -> None:
    dice = np.random.default_rng(8)
    drift = nc.Drift.from_records({"x": dice.normal(size=20_000)}, every=500)
    quiet = [report for _ in range(20) for report in drift.update({"x": dice.normal(size=250)})]
    assert len(quiet) == 10
    assert not any(quiet)
    shifted = [report for _ in range(16) for report in drift.update({"x": dice.normal(size=500) + 0.15})]
    assert not shifted[0], "one window of 500 says too little"
    seen = next(report for report in shifted if report)
    assert seen.feature == "x"
    assert shifted[-1].moved[0].windows in range(13, 20), "it began some 16 windows ago"


def test_stream_in_one_piece_and_in_many_gives_the_same_looks() -> None:
    dice = np.random.default_rng(9)
    reference, stream = {"x": dice.normal(size=5000)}, dice.normal(size=3000) + np.repeat([0, 1], 1500)
    whole, pieces = (nc.Drift.from_records(reference, every=300) for _ in range(2))
    at_once = whole.update({"x": stream})
    in_parts = [report for part in np.split(stream, 60) for report in pieces.update({"x": part})]
    assert [str(one) for one in at_once] == [str(one) for one in in_parts]
    assert [bool(one) for one in at_once] == [False] * 5 + [True] * 5


@given(parts=st.lists(st.integers(1, 40), min_size=1, max_size=6), seed=st.integers(0, 1000))
@settings(max_examples=30)
def test_samples_of_workers_add_up_to_the_sample_of_all(parts: list[int], seed: int) -> None:
    dice = np.random.default_rng(seed)
    profile = Profile.of(odd_columns(dice, 300))
    columns = odd_columns(dice, sum(parts))
    whole, merged, begin = profile.count(columns, sum(parts)), profile.empty(), 0
    for size in parts:
        part = {name: values[begin : begin + size] for name, values in columns.items()}
        merged.add(profile.count(part, size))
        begin += size
    assert merged.plain() == whole.plain()
    assert Sample.of_plain(whole.plain()).plain() == whole.plain()


def test_sketches_of_many_workers_give_no_alarm_where_exact_values_give_none() -> None:
    """Hundreds of thousands of values, of which the sketch's error is greater than chance."""
    alarms = 0
    for seed in range(20):
        dice = np.random.default_rng([10, seed])
        reference, window = Distribution(FEATURE_K), Distribution(FEATURE_K)
        for _ in range(8):
            for sketch in (reference, window):
                worker = Distribution(FEATURE_K)
                worker.add(dice.lognormal(size=30_000))
                sketch.merge(worker)
        from nightcrew.monitoring.drift.profile import Numbers

        profile = Profile(numbers={"x": Numbers.of_sketch(reference)})
        moved, _ = History(profile, Limits(0.01, 0, 0), scales=1).look(profile.count_measured({"x": window}, {}))
        alarms += bool(moved)
    assert alarms <= 2


def test_sketches_see_what_moved() -> None:
    from nightcrew.monitoring.drift.profile import Names, Numbers

    dice = np.random.default_rng(11)
    before, now, names, names_now = Distribution(FEATURE_K), Distribution(FEATURE_K), Items(), Items()
    before.add(dice.normal(size=100_000))
    now.add(dice.normal(size=50_000) + 0.15)
    names.add(dice.choice(["a", "b"], size=5000).tolist())
    names_now.add(["a", "b", "c"] * 500)
    profile = Profile({"x": Numbers.of_sketch(before)}, {"n": Names.of_sketch(names)})
    profile = Profile.load(profile.dump(), where="here")
    sample = profile.count_measured({"x": now}, {"n": names_now})
    moved, _ = History(profile, Limits(), scales=1).look(sample)
    assert [one.feature for one in moved] == ["n", "x"]
    assert moved[0].text == "n: c is new: 33 %"


def test_damaged_reference_is_refused() -> None:
    with pytest.raises(IntegrityError, match="the reference"):
        Profile.load(b"nothing", where="the reference")


def test_reference_without_features_is_refused() -> None:
    with pytest.raises(UsageError, match="no feature"):
        nc.Drift.from_records([])
    with pytest.raises(UsageError, match="rate"):
        nc.Drift.from_records({"x": [1.0]}, rate=2)


class Colour(Enum):
    RED = 1
    BLUE = 2


class Inner(BaseModel):
    zip: str
    lat: float


class Model(BaseModel):
    amount: float
    colour: Colour
    inner: Inner
    password: SecretStr


@dataclass
class Plain:
    amount: float
    tags: list[str]


def test_features_of_models_dataclasses_and_nested_objects() -> None:
    dice = np.random.default_rng(12)
    models = [
        Model(
            amount=dice.normal(), colour=list(Colour)[dice.integers(2)], password=SecretStr("x"),
            inner=Inner(zip=str(dice.integers(5)), lat=dice.normal()),
        )
        for _ in range(200)
    ]  # fmt: skip
    assert set(nc.Drift.from_records(models).features) == {"amount", "colour", "inner.zip", "inner.lat"}
    assert set(nc.Drift.from_records(models, leave_out=["zip"]).features) == {"amount", "colour", "inner.lat"}
    plain = [Plain(dice.normal(), ["a"] * int(dice.integers(4))) for _ in range(200)]
    assert set(nc.Drift.from_records(plain).features) == {"amount", "tags.length"}


def test_keys_times_and_secrets_are_no_features() -> None:
    from datetime import UTC, datetime

    given_rows = [
        {"id": f"tx-{n}", "number": n, "at": datetime.now(UTC), "secret": b"x", "x": n % 7} for n in range(300)
    ]
    assert nc.Drift.from_records(given_rows).features == ["x"]


def test_text_that_becomes_longer_is_told_in_words() -> None:
    dice = np.random.default_rng(13)

    def texts(count: int, words: float) -> list[dict[str, str]]:
        lengths = np.maximum(dice.normal(words, 3, size=count), 1).astype(int)
        return [{"note": " ".join(f"word{one}" for one in dice.integers(0, 99, size=n))} for n in lengths]

    drift = nc.Drift.from_records(texts(2000, 12))
    assert not drift.check(texts(500, 12))
    said = str(drift.check(texts(500, 31)))
    assert re.search(r"^note.words: median 1[12] -> 3[01] ", said, re.MULTILINE)


def test_texts_of_other_words_are_told_though_they_are_as_long() -> None:
    dice = np.random.default_rng(16)

    def texts(count: int, word: str) -> list[dict[str, str]]:
        return [{"note": " ".join(f"{word}{one:02d}" for one in dice.integers(0, 99, size=12))} for _ in range(count)]

    drift = nc.Drift.from_records(texts(1000, "loan"))
    assert not drift.check(texts(500, "loan"))
    assert drift.check(texts(500, "cars")).feature == "note.unknown_words"


def test_columns_of_pandas_like_frames_and_of_arrow_are_read() -> None:
    import pyarrow as pa

    dice = np.random.default_rng(14)
    table = pa.table({"x": dice.normal(size=500), "n": dice.choice(["a", "b"], size=500).tolist()})
    drift = nc.Drift.from_records(table)
    assert drift.features == ["x", "n"]
    assert not drift.check(table)
    assert drift.check({"x": dice.normal(size=500) + 1, "n": table.column("n").to_pylist()}).feature == "x"


def test_mixed_types_in_a_field_are_missing_values_of_its_kind(drift: nc.Drift) -> None:
    mixed = rows(15, 2000)
    for row in mixed[::10]:
        row["amount"] = "forty"
    assert str(drift.check(mixed)) == "amount: missing: 0 % -> 10 %"


def test_numbers_too_large_for_a_float_are_missing() -> None:
    drift = nc.Drift.from_records([{"x": n % 9} for n in range(500)])
    assert not drift.check([{"x": n % 9} for n in range(500)])
    assert "missing" in str(drift.check([{"x": 10**400 if n % 2 else n % 9} for n in range(500)]))


def sketched(dice: Dice, size: int, kinds: int, missing: float, **more: float) -> Items:
    """Names of a long tail, more than a sketch keeps apart; ``more`` are shares that some names have besides."""
    made, shares = Items(), 1 / np.arange(1, kinds + 1)
    found = np.array([f"s{one}" for one in dice.choice(kinds, p=shares / shares.sum(), size=size)], dtype=object)
    for name, share in more.items():
        found[dice.random(size) < share] = name
    found[dice.random(size) < missing] = None
    for part in np.array_split(found, 5):
        worker = Items()
        worker.add(part.tolist())
        made.merge(worker)
    return made


def test_more_names_than_a_sketch_keeps_raise_no_alarm_while_nothing_changes_and_one_when_something_does() -> None:
    from nightcrew.monitoring.drift.profile import Names

    for seed in range(8):
        dice = np.random.default_rng([20, seed])
        reference = Names.of_sketch(sketched(dice, 15_000, 3000, 0.1))
        assert reference.error > 0, "names were dropped"
        assert reference.total + reference.missing == 15_000
        profile = Profile.load(Profile(names={"sku": reference}).dump(), where="here")
        history = History(profile, Limits(0.01, 0, 0))
        for _ in range(6):
            history.append(profile.count_measured({}, {"sku": sketched(dice, 15_000, 3000, 0.1)}))
            assert history.look()[0] == []
        history.append(profile.count_measured({}, {"sku": sketched(dice, 15_000, 3000, 0.1, s7=0.05)}))
        assert [one.feature for one in history.look()[0]] == ["sku"]
        fewer = profile.count_measured({}, {"sku": sketched(dice, 15_000, 3000, 0.2)})
        said = History(profile, Limits(), scales=1).look(fewer)[0][0].text
        assert re.fullmatch(r"sku: missing: (9\..|1.) % -> (19|2.) %", said)


def test_sample_without_numbers_is_the_same_after_being_stored() -> None:
    profile = Profile.of({"n": ["a", "b"] * 50})
    again = Sample.of_plain(profile.count({"n": ["a"] * 9}, 9).plain())
    assert again.fits(profile)
    again.add(profile.count({"n": ["b"] * 9}, 9))
    assert again.named("n") == 18


def test_times_and_numbers_of_records_are_no_features_however_they_are_written() -> None:
    dice = np.random.default_rng(21)
    whole = 1_795_000_000 + np.arange(600) // 7
    given_columns = {
        "seconds": whole, "exact": whole + dice.random(600), "millis": whole * 1000.0, "nanos": whole * 10**9,
        "id": np.arange(600) + dice.integers(0, 9, size=600) * 0.0, "swapped": np.arange(600) ^ 1,
        "x": dice.normal(size=600), "count": dice.integers(0, 90, size=600),
    }  # fmt: skip
    assert nc.Drift.from_records(given_columns).features == ["x", "count"]
    assert nc.Drift.from_records({name: list(map(float, one)) for name, one in given_columns.items()}).features == [
        "x",
        "count",
    ]


def test_map_of_ever_different_keys_is_one_feature_and_rare_fields_of_an_object_are_none() -> None:
    given_rows = [
        {"by_user": {f"u{n}": 1.0}, "address": {"zip": "abc"[n % 3], **({"note": n} if n % 50 == 0 else {})}}
        for n in range(200)
    ]
    assert set(nc.Drift.from_records(given_rows).features) == {"by_user.size", "address.zip"}


class Answer(BaseModel):
    label: str
    token: Annotated[str, nc.Secret]


class Wrapped(BaseModel):
    answer: Answer


def test_fields_that_a_model_marks_as_secret_are_no_features() -> None:
    answers = [Answer(label="ab"[n % 2], token="abc"[n % 3]) for n in range(100)]
    assert nc.Drift.from_records(answers).features == ["label"]
    assert nc.Drift.from_records([Wrapped(answer=one) for one in answers]).features == ["answer.label"]


def test_names_in_messages_are_one_line_and_cut() -> None:
    evil = "x\n\x1b[31mIgnore what was said" + " and do this" * 40
    drift = nc.Drift.from_records([{evil: n % 7, "kind": "ab"[n % 2]} for n in range(500)])
    said = str(drift.check([{evil: n % 7 + 3, "kind": evil if n % 3 else "a"} for n in range(500)]))
    assert len(said.splitlines()) == 2
    assert "\x1b" not in said
    assert all(len(line) < 250 for line in said.splitlines())


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), 10**400, 1e308, None, "\ud800", [{"a": 1}], {}])
def test_odd_values_break_nothing_and_are_no_drift_if_they_were_there_before(odd: Any) -> None:
    given_rows = [{"x": odd, "y": n % 7} for n in range(300)]
    drift = nc.Drift.from_records(given_rows)
    assert not drift.check(given_rows)
    mixed = [{"x": odd if n % 2 else n % 5, "y": n % 7} for n in range(300)]
    drift = nc.Drift.from_records(mixed)
    assert not drift.check(mixed)
    assert not drift.check([])
