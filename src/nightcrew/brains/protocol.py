"""The seam to brains: what one is given, what it answers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from nightcrew.model.errors import NightcrewError
from nightcrew.model.finding import Finding
from nightcrew.model.ticket import Ticket
from nightcrew.sandbox import Completed


class MustStop(NightcrewError):
    """The session must stop before its next turn."""

    code = "NC-STOP"
    exit_status = 1


@dataclass(frozen=True)
class Task:
    """One ticket as a brain meets it.

    ``workspace`` is the checkout to work in. ``findings`` are those the ticket is about. ``context`` is the text of
    playbook duties, handoffs and recalled records: data, not orders. ``run`` runs a command in the sandbox.
    ``charge`` must be called, with a name unique in the session, before each turn: it raises BudgetError at the hard
    cap and MustStop when the session has been told to stop.
    """

    ticket: Ticket
    workspace: Path
    findings: Sequence[Finding]
    context: str
    run: Callable[[Sequence[str]], Completed]
    charge: Callable[[str], None]


@dataclass(frozen=True)
class Answer:
    """What a brain did. ``finished``: the ticket's work is done; otherwise ``next`` says what is missing."""

    finished: bool
    done: str
    next: str = ""
    questions: str = ""
    decisions: tuple[str, ...] = ()


class Brain(Protocol):
    """Works one ticket in a workspace. Leaves changes in the working tree; committing them is not its business."""

    @property
    def name(self) -> str:
        """The brain's name in configuration and handoffs."""

    def work(self, task: Task) -> Answer:
        """Work the ticket; raises BudgetError or MustStop from ``task.charge``."""
