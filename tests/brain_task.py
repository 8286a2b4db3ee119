"""A task for a brain without a shift around it: a real workspace and a real sandbox, a budget that a test can read."""

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from nightcrew.brains import Context, Left, MustStop, Spent, Task
from nightcrew.brains.protocol import Notes
from nightcrew.model.errors import BudgetError
from nightcrew.model.ticket import Ticket
from nightcrew.sandbox import Completed, Live, Policy, live, run, scrubbed_environment


@dataclass
class Purse:
    """A budget in memory: see ``brains.Turns``. ``parks``: whether the night is long enough to wait."""

    soft: int = 10
    hard: int = 20
    parks: bool = True
    charged: list[str] = field(default_factory=list)
    took: dict[str, Spent] = field(default_factory=dict)
    parked: list[float] = field(default_factory=list)
    stop: str | None = None

    def charge(self, key: str) -> None:
        if self.stop:
            raise MustStop(self.stop)
        if len(self.charged) >= self.hard:
            raise BudgetError(f"all {self.hard} turns are used")
        assert key not in self.charged
        self.charged.append(key)

    def spent(self, key: str, spent: Spent) -> None:
        assert key in self.charged
        self.took[key] = spent

    def left(self) -> Left:
        return Left(max(0, self.soft - len(self.charged)), max(0, self.hard - len(self.charged)))

    def stop_reason(self) -> str | None:
        return self.stop

    def alive(self) -> None:
        pass

    def park(self, seconds: float, why: str) -> bool:
        self.parked.append(seconds)
        if self.parks:
            time.sleep(min(seconds, 0.2))
        return self.parks


def task(
    folder: Path,
    purse: Purse,
    *,
    context: Context | None = None,
    journal: Any = None,
    kind: Literal["build", "review"] = "build",
    agent: str = "build",
    resumed: bool = False,
) -> Task:
    """A task in ``folder``/work; its private folders lie beside it."""
    for name in ("work", "home", "tmp"):
        (folder / name).mkdir(exist_ok=True, parents=True)
    work, home, temp = folder / "work", folder / "home", folder / "tmp"

    def call(argv: Sequence[str], *, timeout: float | None = None) -> Completed:
        policy = Policy(writable=(work, home, temp))
        return run(
            argv, cwd=work, policy=policy, environment=scrubbed_environment(temp=temp, home=home), timeout=timeout or 60
        )

    def start(
        argv: Sequence[str], *, environment: Mapping[str, str], readable: Sequence[Path], port: int
    ) -> AbstractContextManager[Live]:
        policy = Policy(writable=(work, home, temp), readable=tuple(readable), port=port)
        given = {**scrubbed_environment(temp=temp, home=home), **environment}
        return live(argv, cwd=work, policy=policy, environment=given, timeout=120, should_stop=purse.stop_reason)

    ticket = Ticket(
        id="T-0001", title="Add triple", body="In other.py.", created=datetime(2026, 11, 27, 2, 0, tzinfo=UTC)
    )
    return Task(
        ticket=ticket,
        workspace=work,
        findings=(),
        context=context or Context(duties=("Test what you change.",)),
        run=call,
        turns=purse,
        agent=agent,
        session="S-0001",
        kind=kind,
        place=folder,
        open=start,
        journal=journal or Notes(),
        resumed=resumed,
    )
