"""The test of an agent against its own past: exact for small numbers, and quiet where nothing changed."""

import random
from itertools import combinations

import pytest

from nightcrew.crew.worsening import FALSE_ALARMS, at_least, chance, worsening

TESTS = 12


def by_counting(latest: list[float], past: list[float], middle: float) -> float:
    """The chance by trying every way to choose the latest from all."""
    both = [*latest, *past]
    seen = sum(value > middle for value in latest)
    ways = [sum(both[i] > middle for i in chosen) for chosen in combinations(range(len(both)), len(latest))]
    return sum(high >= seen for high in ways) / len(ways)


def test_chance_is_what_counting_every_way_gives() -> None:
    latest, past = [3.0, 4.0, 0.0, 5.0], [0.0, 1.0, 0.0, 2.0, 1.0, 0.0]
    assert chance(latest, past) == pytest.approx(by_counting(latest, past, middle=1.0))
    assert at_least(0, drawn=4, marked=3, of=10) == 1.0


def test_values_that_are_all_alike_say_nothing() -> None:
    assert chance([1.0] * 10, [1.0] * 30) == 1.0
    assert worsening([0.0] * 200, tests=TESTS) is None


def test_few_values_say_nothing_however_bad() -> None:
    assert worsening([1.0] * 7 + [0.0] * 8, tests=TESTS) is None


def test_share_that_rose_is_found_and_one_that_fell_is_not() -> None:
    rose = [1.0, 0.0] * 10 + ([1.0] + [0.0] * 19) * 5
    found = worsening(rose, tests=TESTS)
    assert found is not None
    assert (found.latest, found.past, found.n, found.of) == (0.5, 0.05, 20, 100)
    assert found.p < FALSE_ALARMS / TESTS
    assert worsening([0.0] * 20 + [1.0, 0.0] * 50, tests=TESTS) is None


def test_what_was_always_bad_and_grew_worse_is_found() -> None:
    """Most values are at the top already: what is below tells them apart."""
    assert worsening([1.0] * 20 + [1.0, 1.0, 0.0] * 33, tests=1) is not None


def test_one_clump_is_no_change() -> None:
    """A single change with a hundred findings: a test of counts would take it for a fall in quality."""
    assert worsening([100.0] + [0.0] * 19 + [0.0, 1.0] * 50, tests=TESTS) is None


@pytest.mark.parametrize("kind", ["shares", "clumps"])
def test_quiet_looks_give_false_alarms_no_more_often_than_stated(kind: str) -> None:
    """4,000 looks at agents that never change, at the chance that one measure alone has for its look."""
    rng = random.Random(7)

    def value() -> float:
        if kind == "shares":
            return float(rng.random() < 0.3)
        return float(int(rng.expovariate(0.3))) if rng.random() < 0.4 else 0.0

    looks = [worsening([value() for _ in range(120)], tests=1) for _ in range(4000)]
    alarms = sum(found is not None for found in looks) / len(looks)
    assert 0 < alarms <= FALSE_ALARMS, "exact tests of few values keep below what is allowed, and are not mute"
