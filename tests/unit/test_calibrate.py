"""Thresholds from decisions: exact numbers, a guarantee that holds in simulation, and refusal where data is thin."""

import math
import random
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightcrew.reliability.calibrate import GRID, binomial_tail, calibrate, smallest_sample


@given(st.integers(0, 60), st.integers(0, 60), st.sampled_from([0.01, 0.05, 0.25, 0.5, 0.9]))
def test_tail_is_the_sum_of_the_binomial(k: int, n: int, p: float) -> None:
    exact = Fraction(p)
    direct = sum((math.comb(n, i) * exact**i * (1 - exact) ** (n - i) for i in range(min(k, n) + 1)), Fraction(0))
    assert binomial_tail(k, n, p) == pytest.approx(float(direct), rel=1e-9)


def test_tail_of_a_million_is_finite_and_near_a_half() -> None:
    assert binomial_tail(50_000, 1_000_000, 0.05) == pytest.approx(0.5, abs=0.01)
    assert 0 <= binomial_tail(40_000, 1_000_000, 0.05) < 1e-100


@pytest.mark.parametrize("n", [0, 1, smallest_sample(0.05, 0.1) - 1])
def test_thin_data_is_refused_with_what_is_missing(n: int) -> None:
    found = calibrate([(1.0, True)] * n, alpha=0.05, delta=0.1)
    assert found.threshold is None
    assert found.accepted == 0
    assert f"at least {smallest_sample(0.05, 0.1)} without an error" in found.reason


def test_just_enough_without_an_error_is_enough() -> None:
    found = calibrate([(1.0, True)] * smallest_sample(0.05, 0.1), alpha=0.05, delta=0.1)
    assert found.threshold == 0.0
    assert found.automated == 1.0


def test_threshold_lies_where_errors_begin() -> None:
    labels = [(0.95, True)] * 400 + [(0.7, n % 2 == 0) for n in range(200)]
    found = calibrate(labels, alpha=0.05, delta=0.1)
    assert found.threshold == pytest.approx(0.71)
    assert (found.accepted, found.wrong) == (400, 0)


def test_wrong_everywhere_is_refused_however_much_there_is() -> None:
    found = calibrate([(0.99, n % 10 != 0) for n in range(5000)], alpha=0.05)
    assert found.threshold is None
    assert "500 of 5000" in found.reason


@pytest.mark.parametrize(
    ("alpha", "delta", "labels"),
    [(0, 0.1, []), (1, 0.1, []), (0.1, 0, []), (0.1, 1, []), (0.1, 0.1, [(math.nan, True)]), (0.1, 0.1, [(1.1, True)])],
)
def test_values_out_of_range_are_refused(alpha: float, delta: float, labels: list[tuple[float, bool]]) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        calibrate(labels, alpha=alpha, delta=delta)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=300))
@settings(max_examples=50)
def test_what_is_given_is_what_the_sample_says(labels: list[tuple[float, bool]]) -> None:
    found = calibrate(labels, alpha=0.3, delta=0.2)
    if found.threshold is not None:
        above = [right for confidence, right in labels if confidence >= found.threshold]
        assert (found.accepted, found.wrong) == (len(above), above.count(False))
        assert found.threshold in GRID
        assert found.wrong <= 0.3 * found.accepted


def _risk(threshold: float, rises: float) -> float:
    """The true share of wrong items at or above a threshold, with P(wrong | c) = rises * (1 - c), c uniform."""
    return rises * (1 - threshold) / 2


@pytest.mark.parametrize("rises", [0.15, 0.3, 1.0])
def test_guarantee_holds_in_simulation(rises: float) -> None:
    alpha, delta, trials = 0.05, 0.1, 400
    dice = random.Random(17)
    broken = 0
    for _ in range(trials):
        confidences = [dice.random() for _ in range(400)]
        found = calibrate([(c, dice.random() >= rises * (1 - c)) for c in confidences], alpha=alpha, delta=delta)
        broken += found.threshold is not None and _risk(found.threshold, rises) > alpha
    assert broken <= delta * trials + 3 * math.sqrt(trials * delta * (1 - delta))


def test_risk_just_above_what_is_allowed_everywhere_passes_seldom() -> None:
    dice = random.Random(5)
    trials, delta = 400, 0.1
    given_out = sum(
        calibrate([(dice.random(), dice.random() >= 0.055) for _ in range(400)], alpha=0.05, delta=delta).threshold
        is not None
        for _ in range(trials)
    )
    assert given_out <= delta * trials + 3 * math.sqrt(trials * delta * (1 - delta))
