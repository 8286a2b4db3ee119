"""How long it takes to calibrate a threshold from many decisions.

Run: python bench/calibrate.py. The fastest of several rounds counts, since noise only adds. Prints a table and writes
bench/results/calibrate.json.
"""

import json
import random
import time
from pathlib import Path

import nightcrew as nc

SIZES = (1_000, 100_000, 1_000_000)
ROUNDS = 5


def sample(size: int) -> list[tuple[float, bool]]:
    """Decisions that are wrong the more often the less confidence there was."""
    dice = random.Random(size)
    return [
        (confidence, dice.random() >= 0.3 * (1 - confidence)) for confidence in (dice.random() for _ in range(size))
    ]


def main() -> None:
    """Measure all."""
    results = []
    print(f"{'decisions':>10} {'ms':>8} {'threshold':>10}")
    for size in SIZES:
        labels, best = sample(size), float("inf")
        for _ in range(ROUNDS):
            began = time.perf_counter()
            found = nc.calibrate(labels, alpha=0.05)
            best = min(best, time.perf_counter() - began)
        print(f"{size:>10,} {best * 1e3:>8.1f} {found.threshold!s:>10}")
        results.append({"decisions": size, "seconds": best, "threshold": found.threshold})
    target = Path(__file__).parent / "results" / "calibrate.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
