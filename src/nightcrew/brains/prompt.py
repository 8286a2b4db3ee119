"""What a brain is told: templates filled with a task. Everything that others wrote is framed as data."""

import re
from collections.abc import Iterable
from functools import cache
from importlib import resources
from string import Template

from nightcrew.brains.protocol import Piece, Task

MAX_PIECE = 12_000
"""Characters of one piece at most; what is left out is said in its place."""
MAX_DIFF = 120_000

_TAG = re.compile(r"<(/?)data\b", re.IGNORECASE)


def rules(task: Task) -> str:
    """The rules that hold for every agent, for the system prompt."""
    left = task.turns.left()
    return _filled(
        "rules", agent=task.agent, session=task.session, ticket=task.ticket.id, soft=left.soft, hard=left.hard
    )


def request(task: Task, *, with_records: bool = True) -> str:
    """What is asked of the brain: the ticket, the duties and the material."""
    text = _filled(
        f"review_{task.agent}" if task.kind == "review" else task.kind,
        agent=task.agent,
        ticket_text=framed(Piece(f"ticket {task.ticket.id}", ticket_text(task))),
        duties="\n".join(f"- {duty}" for duty in task.context.duties) or "- none beside the rules",
        material=material(task, with_records=with_records),
    )
    return f"{task.instructions.strip()}\n\n{text}" if task.instructions.strip() else text


def finish(task: Task) -> str:
    """How a brain without a tool for it ends its work."""
    return _filled("finish_build" if task.kind == "build" else "finish_review")


def wrap_up(hard: int) -> str:
    """What is said at the soft cap, ``hard`` turns before the end."""
    return _filled("wrap_up", hard=hard)


def go_on() -> str:
    """What a model is told that says something and calls nothing."""
    return _filled("go_on")


def cut_off() -> str:
    """What a model is told whose answer was longer than it may be."""
    return _filled("cut_off")


def resumed() -> str:
    """What is said after a crash."""
    return _filled("resumed")


def ticket_text(task: Task) -> str:
    """The ticket and the findings it is about."""
    ticket = task.ticket
    parts = [f"{ticket.kind}, {ticket.priority}: {ticket.title}", ticket.body]
    for finding in task.findings:
        where = f"{finding.path}:{finding.line}" if finding.path else "no place"
        parts.append(f"Finding ({finding.severity}, {finding.tool} {finding.rule}) at {where}: {finding.message}")
    if ticket.note:
        parts.append(f"Last note: {ticket.note}")
    return "\n\n".join(part for part in parts if part)


def material(task: Task, *, with_records: bool = True) -> str:
    """Handoffs, what is to be looked at, and recalled records."""
    context = task.context
    pieces = [*context.handoffs, *context.extra, *(context.records if with_records else ())]
    return "\n\n".join(framed(piece) for piece in pieces)


def framed(piece: Piece) -> str:
    """A piece as data: its text cannot end the frame or open another."""
    limit = MAX_DIFF if piece.source == "diff" else MAX_PIECE
    text = _TAG.sub(r"<\1 data", piece.text)
    if len(text) > limit:
        text = f"{text[: limit // 2]}\n[... {len(text) - limit} characters left out ...]\n{text[-limit // 2 :]}"
    source = piece.source.replace('"', "'").replace("\n", " ")
    return f'<data source="{source}">\n{text}\n</data>'


def joined(texts: Iterable[str]) -> str:
    """Paragraphs that are not empty."""
    return "\n\n".join(text.strip() for text in texts if text.strip())


@cache
def _template(name: str) -> Template:
    return Template(resources.files("nightcrew.brains.prompts").joinpath(f"{name}.md").read_text(encoding="utf-8"))


def _filled(name: str, **values: object) -> str:
    return _template(name).substitute(values).strip()
