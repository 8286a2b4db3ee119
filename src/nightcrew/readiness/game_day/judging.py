"""What became of each fault of a game day: whether it was noticed, whether work went on, and after what time."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from nightcrew.readiness.game_day.timeline import Planned

WELL = frozenset({"accepted", "in_review"})
Events = Sequence[Mapping[str, Any]]
_WAITED_OUT = "slow-model", "store-unavailable"


@dataclass(frozen=True)
class Seen:
    """One fault; ``detected`` and ``recovered`` are seconds from its injection, None if it was not."""

    fault: str
    injected: str
    at: float
    detected: float | None
    recovered: float | None
    happened: str
    passed: bool

    def plain(self) -> dict[str, Any]:
        """As JSON has a form for."""
        return asdict(self)


def seen(faults: Sequence[Planned], events: Events, *, rate: float, steps: int, until: float) -> list[Seen]:
    """What became of each. ``steps``: calls of a record that nothing befell; ``until``: the end of the day."""
    ends = [*(one.at for one in faults[1:]), until]
    firsts = _firsts(events)
    return [_seen(one, end, firsts, rate, steps) for one, end in zip(faults, ends, strict=True)]


def over(faults: Sequence[Planned], until: float) -> list[Planned]:
    """Those for which the time to recover was over by then: the next had come."""
    return [one for one, then in pairwise(faults) if then.at <= until]


def unquiet(events: Events, *, before: float, steps: int) -> str:
    """What befell records before the first fault, by itself: empty if nothing did."""
    rows = [row for event in events if event["time"] < before for row in event.get("rows", ())]
    troubled = sum(state not in WELL or attempts > steps for _, state, attempts in rows)
    if not troubled:
        return ""
    return (
        f"{troubled} of {len(rows)} records before the first fault were not accepted at the first attempt: what a"
        " fault does cannot be told from that. Give records that go through: --input FILE"
    )


def _firsts(events: Events) -> list[Mapping[str, Any]]:
    """The events, with each record only when it first came to something: a later retry is of an earlier fault."""
    known: set[int] = set()
    found: list[Mapping[str, Any]] = []
    for event in events:
        rows = [row for row in event.get("rows", ()) if row[0] not in known]
        known.update(row[0] for row in rows)
        found.append({**event, "rows": rows})
    return found


def _seen(fault: Planned, until: float, events: Events, rate: float, steps: int) -> Seen:
    mine = [event for event in events if fault.at <= event["time"] < until]
    rows = [(event["time"], *row) for event in mine for row in event.get("rows", ())]
    troubled = [row for row in rows if row[2] not in WELL or row[3] > steps]
    if fault.kind == "kill-mid-step":
        detected = next((event["time"] for event in mine if event.get("began")), None)
    else:
        detected = troubled[0][0] if troubled else None
    last = troubled[-1][0] if troubled else fault.end
    well = [when for when, at, state, _ in rows if state in WELL and when >= last and (at - 1) / rate >= fault.at]
    if fault.kind == "kill-mid-step":
        well = [when for when in well if detected is not None and when >= detected]
    recovered = next((when for when in well if when >= fault.end), None)
    states = Counter(row[2] for row in troubled)
    problem = _problem(fault, detected, recovered, states, rows, rate)
    happened = problem or _said(fault, states, troubled)
    return Seen(
        fault.kind, fault.injected, fault.at, _since(fault, detected), _since(fault, recovered), happened, not problem
    )


def _since(fault: Planned, when: float | None) -> float | None:
    return None if when is None else round(max(0.0, when - fault.at), 3)


def _problem(
    fault: Planned,
    detected: float | None,
    recovered: float | None,
    states: Mapping[str, int],
    rows: Sequence[tuple[Any, ...]],
    rate: float,
) -> str:
    """What is wrong; empty if nothing is."""
    if fault.kind == "kill-mid-step" and detected is None:
        return "the run was not taken up again"
    if fault.kind == "corrupt-record":
        taken = [at for _, at, state, _ in rows if fault.holds((at - 1) / rate) and state != "quarantined"]
        if taken:
            return f"{len(taken)} records that were cut off were not quarantined"
    if fault.kind in ("transient-storm", "rate-limit") and states.get("quarantined"):
        return f"{states['quarantined']} records were given up, although what they met passes by itself"
    if detected is None and fault.kind == "slow-model":
        return "nothing noticed that calls hang: the step has no timeout, or one that is longer"
    if detected is None and fault.kind not in _WAITED_OUT:
        return "nothing was noticed: no record shows that anything befell it"
    if recovered is None:
        return "no record was well again before the next fault came, or the day ended"
    return ""


def _said(fault: Planned, states: Mapping[str, int], troubled: Sequence[tuple[Any, ...]]) -> str:
    if fault.kind == "kill-mid-step":
        return "the run was started again and went on where it stood"
    if not troubled:
        return "it was waited out"
    parts = [f"{count} {state.replace('_', ' ')}" for state, count in sorted(states.items()) if state not in WELL]
    if again := sum(count for state, count in states.items() if state in WELL):
        parts.append(f"{again} answered after more attempts")
    return f"of the records that met it {', '.join(parts)}"


def unaccounted(stored: Mapping[str, Any], count: int) -> list[str]:
    """What is wrong with the records of the whole day: each must have one outcome, and the ledger must fit."""
    found = {int(key.rpartition("@")[2]) for key in stored["outcomes"]}
    wrong = []
    if missing := count - len(found):
        wrong.append(f"{missing} of {count} records have no outcome: they are lost")
    if stored["double"]:
        wrong.append(f"{len(stored['double'])} records have two outcomes")
    if waiting := sum(state == "waiting_retry" for state in stored["outcomes"].values()):
        wrong.append(f"{waiting} records still wait, although nothing is wrong any more")
    return [*wrong, *stored["problems"][:3]]
