"""Thresholds from decisions: exact numbers, a guarantee that holds in simulation, and refusal where data is thin."""

import math
import random
from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nightcrew as nc
from nightcrew.reliability.calibrate import GRID, STARTS, binomial_tail, calibrate, smallest_sample

NEEDED = 77  # 0.95 ** 76 > 0.1 / 5 >= 0.95 ** 77
LABELS = st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=60)


def direct_tail(k: int, n: int, p: float) -> Fraction:
    exact = Fraction(p)
    terms = (math.comb(n, i) * exact**i * (1 - exact) ** (n - i) for i in range(min(k, n) + 1))
    return sum(terms, Fraction(0))


@given(st.integers(0, 60), st.integers(0, 60), st.sampled_from([1e-9, 0.01, 0.05, 0.25, 0.5, 0.9, 1 - 1e-9]))
def test_tail_is_the_sum_of_the_binomial(k: int, n: int, p: float) -> None:
    assert binomial_tail(k, n, p) == pytest.approx(float(direct_tail(k, n, p)), rel=1e-9)


@pytest.mark.parametrize(
    ("k", "n", "p", "tail"),  # from scipy.stats.binom.cdf
    [
        (49_500, 1_000_000, 0.05, 0.01087217658964579),
        (50_000, 1_000_000, 0.05, 0.501189804228123),
        (50_500, 1_000_000, 0.05, 0.9890910762719398),
        (45_000, 1_000_000, 0.05, 1.4922070272294053e-120),
        (899_000, 1_000_000, 0.9, 0.00043861997629483464),
        (5, 100_000, 1e-4, 0.06707650449736074),
    ],
)
def test_tail_of_many_is_exact_too(k: int, n: int, p: float, tail: float) -> None:
    assert binomial_tail(k, n, p) == pytest.approx(tail, rel=1e-8)


def test_tail_too_small_for_a_float_is_zero() -> None:
    assert binomial_tail(0, 1_000_000, 0.05) == 0.0
    assert binomial_tail(1_000_000, 1_000_000, 0.05) == 1.0


@given(st.floats(1e-4, 0.9), st.floats(1e-4, 0.9))
def test_smallest_sample_is_where_the_test_first_passes(alpha: float, level: float) -> None:
    n = smallest_sample(alpha, level)
    assert binomial_tail(0, n, alpha) <= level
    assert n == 1 or binomial_tail(0, n - 1, alpha) > level


@pytest.mark.parametrize("n", range(1, 30))
def test_smallest_sample_of_an_exact_tie(n: int) -> None:
    assert smallest_sample(0.5, 0.5**n) == n


@pytest.mark.parametrize("n", [0, 1, NEEDED - 1])
def test_thin_data_is_refused_with_what_is_missing(n: int) -> None:
    found = calibrate([(1.0, True)] * n, alpha=0.05, delta=0.1)
    assert (found.threshold, found.accepted, found.automated) == (None, 0, 0.0)
    assert found.needed == NEEDED
    assert found.reason.startswith(f"Too few: {n} of {n} decisions")
    assert f"at least {NEEDED} without an error" in found.reason


def test_just_enough_without_an_error_is_enough() -> None:
    found = calibrate([(1.0, True)] * NEEDED, alpha=0.05, delta=0.1)
    assert found.threshold == 0.0
    assert found.automated == 1.0


def test_many_decisions_about_unsure_items_only_are_too_few() -> None:
    found = calibrate([(0.55, True)] * 1000, alpha=0.05)
    assert found.threshold is None
    assert found.reason.startswith("Too few: 0 of 1000 decisions have a confidence of 0.6 or more")


def test_threshold_lies_where_errors_begin() -> None:
    labels = [(0.95, True)] * 400 + [(0.7, n % 2 == 0) for n in range(200)]
    found = calibrate(labels, alpha=0.05, delta=0.1)
    assert found.threshold == pytest.approx(0.71)
    assert (found.n, found.accepted, found.wrong) == (600, 400, 0)
    assert found.reason == (
        "At or above 0.71 at most 5% are wrong, with 90% confidence: 0 of 400 were, out of 600 decisions."
    )


def test_wrong_everywhere_is_refused_however_much_there_is() -> None:
    found = calibrate([(0.99, n % 10 != 0) for n in range(5000)], alpha=0.05)
    assert found.threshold is None
    assert "500 of 5000" in found.reason
    assert "More decisions" not in found.reason


def test_few_errors_in_few_decisions_may_need_more_of_them() -> None:
    found = calibrate([(0.9, n != 0) for n in range(80)], alpha=0.05)
    assert found.threshold is None
    assert "1 of 80 decisions were wrong. More decisions may show it." in found.reason


def test_errors_among_the_surest_do_not_hide_a_threshold_below() -> None:
    labels = [(0.995, False)] * 3 + [(0.9, True)] * 1000
    assert calibrate(labels, alpha=0.05).threshold == 0.0


def test_an_unbroken_run_carries_what_it_has_not_spent() -> None:
    # At or above 0.9: 78 without an error, p = 0.018, one part of five. From 0.8 on 1 of 90: p = 0.057, three parts.
    # From 0.5 on 3 of 137: p = 0.084, all that began at 0.99, 0.95, 0.9, 0.8 and 0.6.
    labels = [(0.99, True)] * 78 + [(0.85, n != 0) for n in range(12)] + [(0.5, n > 1) for n in range(47)]
    assert 0.1 * 4 / 5 < binomial_tail(3, 137, 0.05) < 0.1
    assert calibrate(labels, alpha=0.05).threshold == 0.0
    without_the_start = [(min(confidence, 0.94), right) for confidence, right in labels]
    assert calibrate(without_the_start, alpha=0.05).threshold == pytest.approx(0.86)


def test_candidates_of_ones_own_need_fewer() -> None:
    found = calibrate([(0.9, True)] * 45, alpha=0.05, delta=0.1, candidates=[0.5, 0.9, 0.9])
    assert (found.threshold, found.needed) == (0.5, math.ceil(math.log(0.1) / math.log(0.95)))
    assert calibrate([(0.9, True)] * 44, alpha=0.05, delta=0.1, candidates=[0.5, 0.9]).threshold is None
    strict = calibrate([(0.9, True)] * 1000, alpha=0.05, candidates=[0.955])
    assert strict.threshold is None
    assert "0 of 1000 decisions have a confidence of 0.955 or more" in strict.reason


@pytest.mark.parametrize(
    ("alpha", "delta", "labels"),
    [
        (0, 0.1, []),
        (1, 0.1, []),
        (math.nan, 0.1, []),
        (0.1, 0, []),
        (0.1, 1, []),
        (0.1, math.nan, []),
        (0.1, 0.1, [(math.nan, True)]),
        (0.1, 0.1, [(1.1, True)]),
        (0.1, 0.1, [(-0.1, True)]),
    ],
)
def test_values_out_of_range_are_refused(alpha: float, delta: float, labels: list[tuple[float, bool]]) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        calibrate(labels, alpha=alpha, delta=delta)


@pytest.mark.parametrize("candidates", [[], [1.1], [0.5, math.nan]])
def test_candidates_out_of_range_are_refused(candidates: list[float]) -> None:
    with pytest.raises(ValueError, match="candidates"):
        calibrate([], alpha=0.1, candidates=candidates)


def test_labels_may_come_one_by_one_and_in_any_order() -> None:
    labels = [(n % 101 / 100, n % 7 != 0 or n % 101 > 50) for n in range(2000)]
    found = calibrate(labels, alpha=0.1)
    assert found.threshold is not None
    assert calibrate((one for one in reversed(labels)), alpha=0.1) == found
    assert nc.calibrate(labels, alpha=0.1) == found
    assert isinstance(found, nc.Calibration)


def by_the_book(labels: list[tuple[float, bool]], alpha: float, delta: float) -> float | None:
    """The fallback procedure as it is defined, with weights for all hypotheses and exact fractions."""
    lowest, carried = None, 0.0
    for threshold in GRID:
        above = [right for confidence, right in labels if confidence >= threshold]
        level = carried + (delta / len(STARTS) if threshold in STARTS else 0.0)
        if direct_tail(above.count(False), len(above), alpha) <= level:
            lowest, carried = threshold, level
        else:
            carried = 0.0
    return lowest


@given(LABELS)
@settings(max_examples=40, deadline=None)
def test_threshold_is_that_of_the_procedure_as_defined(labels: list[tuple[float, bool]]) -> None:
    sure = [(max(confidence, 0.55), right or confidence > 0.2) for confidence, right in labels]  # or all are refused
    for alpha, sample in ((0.3, labels), (0.3, sure), (0.15, sure)):
        assert calibrate(sample, alpha=alpha, delta=0.2).threshold == by_the_book(sample, alpha, 0.2)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=300))
@settings(max_examples=50)
def test_what_is_given_is_what_the_sample_says(labels: list[tuple[float, bool]]) -> None:
    found = calibrate(labels, alpha=0.3, delta=0.2)
    if found.threshold is not None:
        above = [right for confidence, right in labels if confidence >= found.threshold]
        assert (found.accepted, found.wrong) == (len(above), above.count(False))
        assert found.threshold in GRID
        assert found.wrong <= 0.3 * found.accepted


@given(LABELS, st.floats(0, 1))
@settings(max_examples=100)
def test_one_more_right_label_never_raises_it_and_one_more_wrong_never_lowers_it(
    labels: list[tuple[float, bool]], confidence: float
) -> None:
    def threshold(extra: list[tuple[float, bool]]) -> float:
        found = calibrate([*labels, *extra], alpha=0.4, delta=0.2).threshold
        return math.inf if found is None else found

    assert threshold([(confidence, True)]) <= threshold([]) <= threshold([(confidence, False)])


def constant(risk: float) -> tuple[Callable[[float], float], Callable[[float], float]]:
    return lambda confidence: risk, lambda threshold: risk


def falling(rises: float) -> tuple[Callable[[float], float], Callable[[float], float]]:
    """Wrong with rises * (1 - c), c uniform: the share at or above t is half of that at t."""
    return lambda confidence: rises * (1 - confidence), lambda threshold: rises * (1 - threshold) / 2


def cliff(edge: float) -> tuple[Callable[[float], float], Callable[[float], float]]:
    """Right down to ``edge``, wrong below: testing gets far, with all that it may err, before it must stop."""
    return lambda confidence: float(confidence < edge), lambda threshold: max(0.0, edge - threshold) / (1 - threshold)


@pytest.mark.parametrize(
    ("world", "alpha", "seldom"),
    [
        pytest.param(falling(0.3), 0.05, 0.0, id="errors rise slowly"),
        pytest.param(falling(1.0), 0.05, 0.0, id="errors rise fast"),
        pytest.param(constant(0.0505), 0.05, 0.005, id="just above what is allowed everywhere"),
        pytest.param(cliff(0.5), 0.2, 0.02, id="just above what is allowed after a long run"),
    ],
)
def test_guarantee_holds_in_simulation(
    world: tuple[Callable[[float], float], Callable[[float], float]], alpha: float, seldom: float
) -> None:
    """``seldom``: a hard case is one only if the guarantee is broken now and then."""
    wrong_at, risk_above = world
    dice, delta, trials = random.Random(17), 0.1, 2000
    broken = 0
    for _ in range(trials):
        labels = [(c, dice.random() >= wrong_at(c)) for c in (dice.random() for _ in range(300))]
        found = calibrate(labels, alpha=alpha, delta=delta)
        broken += found.threshold is not None and risk_above(found.threshold) > alpha
    assert seldom * trials <= broken <= delta * trials + 3 * math.sqrt(trials * delta * (1 - delta))


def test_guarantee_of_one_candidate_spends_all_that_may_be_erred_and_no_more() -> None:
    dice, trials, needless = random.Random(23), 2000, 0
    for _ in range(trials):
        labels = [(dice.random(), dice.random() >= 0.2005) for _ in range(300)]
        needless += calibrate(labels, alpha=0.2, delta=0.1, candidates=[0.0]).threshold is not None
    assert 0.05 * trials <= needless <= 0.1 * trials + 3 * math.sqrt(trials * 0.1 * 0.9)
