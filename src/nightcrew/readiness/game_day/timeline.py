"""Which fault comes when: drawn by a seed, so that a game day can be held again as it was."""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

FIRST = 2.0
"""Seconds of calm in which it is seen what is usual."""
SLOT = 8.0
"""Seconds for each fault and the recovery from it, on average; a multiple of it where starting again takes long."""
_STARTS = 3
_SLOTS = 1_000_000
_SHORTEST, _LONGEST = 1.0, 2.5

STEP_FAULTS: Mapping[str, str] = {
    "transient-storm": "connections are reset, time out and answer 503 in step {step} for {seconds:.1f} s",
    "rate-limit": "every call in step {step} is answered by 429, Retry-After: 1, for {seconds:.1f} s",
    "permanent-error": "every call in step {step} is answered by 401 for {seconds:.1f} s",
    "slow-model": "calls in step {step} hang for {seconds:.1f} s",
}
OTHER_FAULTS: Mapping[str, str] = {
    "corrupt-record": "every record that comes for {seconds:.1f} s is cut off in its middle",
    "store-unavailable": "another process holds the state database for {seconds:.1f} s",
    "kill-mid-step": "kill -9 of the run",
}
KINDS = (*STEP_FAULTS, *OTHER_FAULTS)


@dataclass(frozen=True)
class Planned:
    """One fault: what, in which step, when (seconds from the beginning) and for how long."""

    kind: str
    step: str
    at: float
    seconds: float

    @property
    def injected(self) -> str:
        """What it is, in words."""
        words = STEP_FAULTS.get(self.kind) or OTHER_FAULTS[self.kind]
        return words.format(step=self.step, seconds=self.seconds)

    @property
    def end(self) -> float:
        """When it is over."""
        return self.at + self.seconds

    def holds(self, now: float) -> bool:
        """Whether it is on, so many seconds from the beginning."""
        return self.at <= now < self.end


def whole_seed(seed: int, start_seconds: float) -> int:
    """The seed with the time for each fault in it, where a process of the pipeline takes so long to start.

    How long it takes differs from one time to the next. A seed that was given back by this stays as it is.
    """
    return seed if seed >= _SLOTS else seed + _SLOTS * max(1, math.ceil(_STARTS * start_seconds / SLOT))


def slot_of(seed: int) -> float:
    """Seconds for each fault, which a whole seed says."""
    return SLOT * max(1, seed // _SLOTS)


def slots(seconds: float, slot: float = SLOT) -> int:
    """How many faults a game day has."""
    return max(1, math.floor((seconds - FIRST) / slot))


def drawn(seed: int, seconds: float, steps: Sequence[str], slot: float = SLOT) -> list[Planned]:
    """The faults of a game day: each kind once before any comes again, at a random time in its part of the day."""
    chance = random.Random(seed % _SLOTS)  # noqa: S311 - it is to be repeated, not to be secret
    kinds: list[str] = []
    found = []
    for number in range(slots(seconds, slot)):
        if not kinds:
            kinds = chance.sample(KINDS, len(KINDS))
        kind = kinds.pop()
        at = FIRST + number * slot + chance.uniform(0.0, 1.5)
        lasts = 0.0 if kind == "kill-mid-step" else chance.uniform(_SHORTEST, _LONGEST)
        step = chance.choice(list(steps))
        found.append(Planned(kind, step if kind in STEP_FAULTS else "", round(at, 2), round(lasts, 2)))
    return found
