"""Questions that reviewers asked back, answered by the agent's desk in sessions of their own; they decide nothing."""

from dataclasses import replace
from typing import Any

from nightcrew.brains import MECHANICAL, Chain, Piece, brains
from nightcrew.crew import loreconvo_queue, measuring, memory, planning
from nightcrew.crew.asking import open_questions
from nightcrew.crew.delivery import fresh_workspace, put_away, tidy
from nightcrew.crew.desk import Desk, MustStop
from nightcrew.crew.project import Project
from nightcrew.crew.tasks import task_of
from nightcrew.crew.workspace import diff_text, inspect
from nightcrew.model.errors import NightcrewError
from nightcrew.model.handoff import HUMAN, Handoff, HandoffKind
from nightcrew.model.manifest import Line, Manifest, render
from nightcrew.store import handoffs, ids, manifests, sessions, tickets
from nightcrew.store.store import Tx


def thinking(project: Project, agent: str) -> list[str]:
    """The brains of an agent that can answer a question."""
    return [name for name in planning.brain_names(project, agent) if name != MECHANICAL]


def next_question(project: Project, tx: Tx, shift: str) -> dict[str, str] | None:
    """Open a session for the first question that this shift has not tried to answer; None if there is none left.

    Questions to a desk without a brain that thinks stay with their review, which says so.
    """
    tried = {
        row.ticket for session in sessions.list(tx, shift=shift) for row in session.tickets if row.outcome in _DONE
    }
    for question in open_questions(tx):
        agent, name = question.to, question.ticket
        if name is None or name in tried or agent not in planning.agents_of(project) or not thinking(project, agent):
            continue
        ticket = tickets.get(tx, name)
        budget = planning.budget_of(project, agent)
        line = Line(
            ticket=ticket.id, title=f"Answer {question.id}: {ticket.title}"[:300], kind=ticket.kind,
            priority=ticket.priority, turns=budget.soft, head=ticket.head, work_digest=ticket.work_digest,
        )  # fmt: skip
        manifest = Manifest(agent=agent, playbook=project.playbook_sha256, budget=budget, tickets=(line,))
        planned = manifests.put(tx, agent, render(manifest))
        session = sessions.create(
            tx,
            shift=shift,
            agent=agent,
            manifest=planned,
            budget=budget,
            brain=thinking(project, agent)[0],
            tickets=[ticket.id],
        )
        sessions.start(tx, session)
        return {"session": session, "question": question.id, "manifest": planned}
    return None


def answer(project: Project, session_id: str, question_id: str) -> dict[str, Any]:
    """Have the question answered: ``text``, and ``brain``, or None with the reason in ``text``."""
    try:
        return _answered(project, session_id, question_id)
    except (MustStop, NightcrewError) as error:
        return {"text": f"No answer: {error}", "brain": None}


def _answered(project: Project, session_id: str, question_id: str) -> dict[str, Any]:
    with project.store.read() as tx:
        session = sessions.get(tx, session_id)
        question = handoffs.verify(tx, question_id)
        ticket = tickets.get(tx, session.tickets[0].ticket)
        context = memory.context_for(project, tx, session.agent, ticket)
    context = memory.with_elsewhere(project, ticket, context)
    desk = Desk.of(project, session, ticket)
    commit = ticket.head or str(inspect(project.root).head)
    extra = [Piece(f"question {question.id}", f"{question.done}\n\n{question.questions}")]
    if ticket.base and ticket.head:
        extra.append(Piece("diff", diff_text(project.root, ticket.base, ticket.head, limit=120_000)))
    workspace = fresh_workspace(desk, "answer", commit=commit, branch=None)
    task = task_of(desk, workspace, context=replace(context, extra=tuple(extra)), kind="answer")
    try:
        with project.measures.at(desk):
            made = Chain([*brains(thinking(project, session.agent), project.settings)]).work(task)
        desk.flush()
        said = made.done if made.finished else f"No answer: {made.next or made.done}"
        return {"text": said, "brain": made.brain if made.finished else None}
    finally:
        put_away(desk, workspace, throwaway=True)
        tidy(desk.place)


def settle(tx: Tx, project: Project, session_id: str, question_id: str, made: dict[str, Any]) -> str:
    """Hand the answer to the human desk and end the session; gives the handoff's id. The review is left as it is."""
    session = sessions.get(tx, session_id)
    question = handoffs.get(tx, question_id)[0]
    handoff = Handoff.read(
        {
            "id": ids.next_id(tx, "H", width=6),
            "from": session.agent,
            "to": HUMAN,
            "ticket": question.ticket,
            "session": session.id,
            "kind": HandoffKind.QUESTION,
            "brain": made["brain"],
            "created": tx.now(),
            "supersedes": question.id,
            "done": made["text"] or "No answer.",
            "questions": "",
            "next": "Decide the review.",
        },
        source=f"the answer to {question.id}",
    )
    handoffs.put(tx, handoff)
    handoffs.mark_routed(tx, handoff.id)
    outcome = "answered" if made["brain"] else "not_answered"
    sessions.set_ticket_outcome(tx, session.id, str(question.ticket), outcome=outcome, handoff=handoff.id)
    memory.leave_record(tx, sessions.get(tx, session.id))
    loreconvo_queue.queue_record(project, tx, session.id)
    measuring.session_ended(tx, sessions.end(tx, session.id, outcome="done", note=f"{outcome} {question.id}"))
    return handoff.id


_DONE = ("answered", "not_answered")
