"""A chain of brains: the first that can do the work does it, and the answer says who it was and why."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from nightcrew.brains.protocol import Answer, Brain, BrainUnavailable, Journal, Piece, Task
from nightcrew.reliability import Breaker, FailureClass

LEFT_ALONE_SECONDS = 300.0
"""How long a brain that could not work is not asked again."""


class Chain:
    """Brains in the order in which they are tried.

    A brain that is unavailable, not authenticated, overloaded past its retries or out of money hands over to the next;
    what it had begun stays in the workspace. A ticket's own command is for the mechanical brain, wherever that stands.
    """

    def __init__(self, brains: Sequence[Brain]) -> None:
        self._brains = tuple(brains)

    @property
    def name(self) -> str:
        """All names, in order."""
        return " > ".join(brain.name for brain in self._brains)

    def work(self, task: Task) -> Answer:
        """See Brain; gives an unfinished answer if no brain could work."""
        reasons: dict[str, str] = dict(task.journal.get("unavailable") or {})
        for level, brain in enumerate(self._ordered(task)):
            if brain.name in reasons:
                continue
            breaker = _breaker(brain.name)
            if not breaker.allow():
                reasons[brain.name] = "it could not work a moment ago"
                continue
            task.journal.put("brain", brain.name)
            try:
                answer = brain.work(_for(brain, task, reasons))
            except BrainUnavailable as error:
                if error.failure.kind.transient or error.failure.kind is FailureClass.AUTH:
                    breaker.failed()  # It says something of the brain, not of this ticket.
                reasons[brain.name] = f"{error.failure.kind}: {error.failure.message}"
                task.journal.put("unavailable", reasons)
                continue
            breaker.succeeded()
            if level:
                task.watch.fell_back(brain.name, level)
            return replace(answer, brain=brain.name, why=_words(reasons))
        return Answer(
            False,
            f"No brain could do the work. {_words(reasons)}".strip(),
            "See why with nightcrew doctor; the ticket is taken up again by the next shift.",
            why=_words(reasons),
        )

    def _ordered(self, task: Task) -> Sequence[Brain]:
        if not task.ticket.command:
            return self._brains
        return sorted(self._brains, key=lambda brain: brain.name != "mechanical")


def _for(brain: Brain, task: Task, reasons: dict[str, str]) -> Task:
    journal = _Prefixed(task.journal, f"{brain.name}/")
    if not reasons:
        return replace(task, journal=journal)
    begun = Piece(
        "nightcrew", f"Another brain was asked before ({_words(reasons)}). What it began is in the workspace."
    )
    context = replace(task.context, extra=(*task.context.extra, begun))
    return replace(task, journal=journal, context=context)


def _words(reasons: dict[str, str]) -> str:
    return "; ".join(f"{name} could not: {reason}" for name, reason in reasons.items())


_breakers: dict[str, Breaker] = {}
"""One a brain, for the life of the process: what one ticket found out is known to the next."""


def _breaker(name: str) -> Breaker:
    if name not in _breakers:
        _breakers[name] = Breaker(name, failures=1, window=LEFT_ALONE_SECONDS, reset=LEFT_ALONE_SECONDS)
    return _breakers[name]


class _Prefixed:
    """The part of a journal that belongs to one brain."""

    def __init__(self, journal: Journal, prefix: str) -> None:
        self._journal = journal
        self._prefix = prefix

    def get(self, key: str) -> Any | None:
        """See Journal."""
        return self._journal.get(self._prefix + key)

    def put(self, key: str, value: Any) -> None:
        """See Journal."""
        self._journal.put(self._prefix + key, value)

    def put_soon(self, key: str, value: Any) -> None:
        """See Journal."""
        self._journal.put_soon(self._prefix + key, value)

    def forget(self, prefix: str) -> None:
        """See Journal."""
        self._journal.forget(self._prefix + prefix)
