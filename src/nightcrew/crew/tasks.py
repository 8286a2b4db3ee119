"""A task for a brain: the desk's ticket, sandbox, budget and journal behind the seam that brains know."""

import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Literal

from nightcrew.brains import Context, Left, MustStop, Spent, Task
from nightcrew.crew import measuring, memory
from nightcrew.crew.desk import Desk
from nightcrew.crew.workspace import Workspace
from nightcrew.model.finding import Finding
from nightcrew.sandbox import Completed
from nightcrew.store import journal, ledger, shifts, turns
from nightcrew.store.store import Tx

_POLL_SECONDS = 0.5
_TO_WORK_AFTER = timedelta(minutes=2)
"""Waiting for a service is of use only if this much of the night is left after it."""


def task_of(
    desk: Desk,
    workspace: Workspace,
    *,
    context: Context,
    findings: Sequence[Finding] = (),
    kind: Literal["build", "review", "answer"] = "build",
    resumed: bool = False,
    instructions: str = "",
) -> Task:
    """The task of working ``desk``'s ticket in ``workspace``."""
    call = desk.runner(workspace.path, readable=workspace.borrowed)
    longest = 60 * desk.project.settings.limits.command_minutes

    def run(argv: Sequence[str], *, timeout: float | None = None) -> Completed:
        return call(argv, timeout=min(timeout or longest, longest))

    def recall(query: str) -> str:
        return memory.recalled_text(desk.project, query)

    kept = DeskJournal(desk)
    return Task(
        ticket=desk.ticket,
        workspace=workspace.path,
        findings=findings,
        context=context,
        run=run,
        turns=DeskTurns(desk, kept),
        agent=desk.agent,
        session=desk.session,
        kind=kind,
        place=desk.place,
        open=desk.opener(workspace.path, readable=workspace.borrowed),
        journal=kept,
        watch=desk.project.measures,
        recall=recall,
        instructions=instructions,
        resumed=resumed,
    )


class DeskTurns:
    """The session's budget, as brains see it: see ``brains.Turns``."""

    def __init__(self, desk: Desk, kept: "DeskJournal | None" = None) -> None:
        self._desk = desk
        self._kept = kept

    @property
    def _brain(self) -> str:
        """Who is at work."""
        return str((self._kept and self._kept.get("brain")) or "")

    def charge(self, key: str) -> None:
        """Charge one turn before it is taken."""
        self._desk.charge(key, brain=self._brain)

    def spent(self, key: str, spent: Spent) -> None:
        """Note what a turn took."""
        desk = self._desk
        usage = turns.Usage(spent.input_tokens, spent.output_tokens, round((spent.dollars or 0.0) * 1e6))
        brain = self._brain

        def note(tx: Tx) -> None:
            turns.note_usage(tx, desk.session, f"{desk.ticket.id}/{key}", usage)
            measuring.took(tx, desk.agent, brain, usage)

        desk.soon(note)
        self.alive()

    def left(self) -> Left:
        """Until wrapping up: what the session's soft cap leaves beside the tickets that come later."""
        desk = self._desk
        used = desk.used
        return Left(max(0, desk.budget.soft - desk.later - used), max(0, desk.budget.hard - used))

    def stop_reason(self) -> str | None:
        """Why the session must stop now."""
        return self._desk.stop_reason()

    def alive(self) -> None:
        """Something happened."""
        self._desk.last_event = self._desk.project.clock()

    def park(self, seconds: float, why: str) -> bool:
        """Wait, if the night is long enough."""
        desk = self._desk
        until = desk.project.clock() + timedelta(seconds=seconds)
        with desk.project.store.begin() as tx:
            shift = shifts.get(tx, desk.shift) if desk.shift else None
            if shift is not None and shift.deadline is not None and until + _TO_WORK_AFTER > shift.deadline:
                return False
            data = {"until": until.isoformat(), "why": why[:500], "ticket": desk.ticket.id}
            ledger.append(tx, actor="crew", action="session.park", subject=f"session:{desk.session}", data=data)
        while desk.project.clock() < until:
            self.alive()
            if reason := self.stop_reason():
                raise MustStop(reason)
            time.sleep(_POLL_SECONDS)
        self.alive()
        return True


class DeskJournal:
    """What a brain keeps of this ticket in this session: see ``brains.Journal``."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._of = (desk.session, desk.ticket.id)
        with desk.project.store.read() as tx:
            self._known = journal.all_of(tx, *self._of)

    def get(self, key: str) -> Any | None:
        """The value kept under ``key``."""
        return self._known.get(key)

    def put(self, key: str, value: Any) -> None:
        """Keep a value."""
        self._known[key] = value
        with self._desk.begin() as tx:
            journal.put(tx, *self._of, key, value)

    def put_soon(self, key: str, value: Any) -> None:
        """Keep a value with the next transaction."""
        self._known[key] = value
        self._desk.soon(lambda tx: journal.put(tx, *self._of, key, value))

    def forget(self, prefix: str) -> None:
        """Drop values."""
        for key in [key for key in self._known if key.startswith(prefix)]:
            del self._known[key]
        with self._desk.begin() as tx:
            journal.forget(tx, *self._of, prefix)
