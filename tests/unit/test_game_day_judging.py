"""What is said of a game day: the seed that holds it again, a day that was cut short, trouble that no fault made."""

import json
from pathlib import Path
from typing import Any

import pytest

from nightcrew.readiness.drills.protocol import NotApplicable
from nightcrew.readiness.game_day.holding import _Day
from nightcrew.readiness.game_day.refereeing import events_of
from nightcrew.readiness.game_day.timeline import Planned, drawn, slot_of, whole_seed

DAY = [Planned("transient-storm", "score", 2.0, 1.0), Planned("permanent-error", "score", 10.0, 1.0)]
RATE = 1.0


def events(until: int, troubled: dict[int, str]) -> list[dict[str, Any]]:
    """One record a second, worked when it is due; ``troubled``: what befell those that are not accepted."""
    found = []
    for second in range(until):
        state = troubled.get(second, "accepted")
        found.append({"time": second + 0.1, "rows": [[second + 1, state, 1 if state == "accepted" else 3]]})
    return found


def test_seed_that_is_named_holds_the_same_day_however_long_the_code_takes_to_start() -> None:
    fast, slow = whole_seed(7, 0.4), whole_seed(7, 5.0)
    assert slot_of(fast) == 8
    assert slot_of(slow) == 16
    assert drawn(fast, 60, ["a"], slot_of(fast)) != drawn(slow, 60, ["a"], slot_of(slow))
    assert whole_seed(slow, 0.4) == slow
    kinds = [[one.kind for one in drawn(seed, 60, ["a"], slot_of(seed))] for seed in (fast, slow)]
    assert kinds[0][: len(kinds[1])] == kinds[1]


def test_interrupted_day_tells_of_the_faults_that_were_over(tmp_path: Path) -> None:
    day = _Day(DAY, RATE, 1, 7, "")
    seen = events(12, {2: "waiting_retry"})
    (tmp_path / "events").write_text("".join(json.dumps(one) + "\n" for one in seen) + '{"time": 99')
    (tmp_path / "begun").write_text("0.0")
    came = day.as_far_as(events_of({"events": tmp_path / "events", "begun": tmp_path / "begun"}))
    assert not came.passed
    assert came.happened.startswith("interrupted after 11 s; until then: 1 faults were survived")
    assert [one["fault"] for one in came.evidence["faults"]] == ["transient-storm"]
    with pytest.raises(KeyboardInterrupt):
        day.as_far_as(events(9, {}))


def test_day_is_not_judged_where_records_fail_before_the_first_fault() -> None:
    day = _Day(DAY, RATE, 1, 7, "")
    answer = {"events": events(20, {1: "quarantined", 2: "waiting_retry", 10: "quarantined"}), "broke": []}
    with pytest.raises(NotApplicable, match="1 of 2 records before the first fault"):
        day.observed(answer, 20.0)
