"""Time to plan backlogs of 1,000, 10,000 and 100,000 tickets with three dependencies each, and how it grows.

The backlog comes as the store gives it, in the order of numbers; the last line has the largest in random order.

Run: python bench/planner.py. Prints a table and writes bench/results/planner.json.
"""

import json
import random
import statistics
import time
from datetime import UTC, datetime
from pathlib import Path

from nightcrew.crew.planner import plan
from nightcrew.model.budget import Budget
from nightcrew.model.manifest import render
from nightcrew.model.ordering import Item
from nightcrew.model.playbook import Playbook
from nightcrew.model.ticket import Kind, Priority, State, Ticket

SIZES = (1_000, 10_000, 100_000)
ROUNDS = 5


def backlog(size: int, seed: int = 7) -> list[Item]:
    """A layered backlog: each ticket depends on up to three earlier ones; the first fifth is done."""
    rng = random.Random(seed)
    kinds, priorities = list(Kind), list(Priority)
    items = []
    for number in range(size):
        earlier = {rng.randrange(number) for _ in range(3)} if number > 3 else set()
        items.append(
            Item(
                f"T-{number:06d}",
                rng.choice(kinds),
                rng.choice(priorities),
                None,
                State.DONE if number < size // 5 else State.OPEN,
                tuple(f"T-{other:06d}" for other in sorted(earlier)),
                f"2026-01-01T{number // 3600 % 24:02d}:{number // 60 % 60:02d}:{number % 60:02d}.000000Z",
                False,
            )
        )
    return items


def _details(name: str) -> Ticket:
    return Ticket(id=name, title=name, created=datetime(2026, 1, 1, tzinfo=UTC))


def measure(items: list[Item]) -> tuple[float, int, int]:
    """Median seconds of a plan, tickets planned, and the manifest's size in bytes."""
    seconds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        manifest = plan(
            "build",
            items,
            budget=Budget(soft=40, hard=60),
            playbook=Playbook(),
            playbook_digest="0" * 64,
            medians={},
            details=_details,
            approval=lambda _: None,
        )
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds), len(manifest.tickets), len(render(manifest))


def main() -> None:
    """Measure all sizes."""
    results = []
    before = None
    print(f"{'tickets':>8} {'edges':>8} {'seconds':>8} {'growth':>7} {'planned':>8} {'manifest':>12}")
    for size, shuffled in [*((size, False) for size in SIZES), (SIZES[-1], True)]:
        items = backlog(size)
        if shuffled:
            random.Random(3).shuffle(items)
        edges = sum(len(item.depends_on) for item in items)
        seconds, planned, written = measure(items)
        growth = "shuffled" if shuffled else f"x{seconds / before:.1f}" if before else ""
        print(f"{size:>8} {edges:>8} {seconds:>8.3f} {growth:>7} {planned:>8} {written:>10} B")
        results.append({"tickets": size, "shuffled": shuffled, "edges": edges, "seconds": seconds, "planned": planned})
        before = seconds
    target = Path(__file__).parent / "results" / "planner.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
