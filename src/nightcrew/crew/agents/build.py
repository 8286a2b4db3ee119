"""The build agent: takes a person's finished work, or has a brain do the work, and hands the commit to QA."""

from collections.abc import Sequence

from nightcrew.brains import Answer, Brain, Task
from nightcrew.crew.delivery import deliver, fresh_workspace, integration_head, put_away, ticket_branch
from nightcrew.crew.desk import BudgetError, Desk, MustStop
from nightcrew.crew.outcome import Outcome
from nightcrew.crew.workspace import Git, changed_paths
from nightcrew.model.errors import NightcrewError
from nightcrew.model.finding import Finding
from nightcrew.model.handoff import Change, HandoffKind
from nightcrew.sandbox import Completed

OURS = "@nightcrew.invalid"


def work(desk: Desk, brain: Brain, findings: Sequence[Finding], context: str) -> Outcome:
    """Work one ticket; whatever was done when it must stop is on the ticket's branch and named in the deferral."""
    brought = _brought_by_a_person(desk)
    if brought is not None:
        return Outcome(
            kind=HandoffKind.WORK,
            brain="person",
            change=brought,
            done=f"Took the finished work on {brought.branch} as it stands: {brought.head[:12]}.",
            next="Check this commit.",
        )
    return _with_brain(desk, brain, findings, context)


def _with_brain(desk: Desk, brain: Brain, findings: Sequence[Finding], context: str) -> Outcome:
    workspace = fresh_workspace(desk, "build", commit=integration_head(desk), branch=ticket_branch(desk.ticket.id))
    call = desk.runner(workspace.path, readable=workspace.borrowed)

    def run(argv: Sequence[str]) -> Completed:
        return call(argv)

    stopped = ""
    try:
        answer = brain.work(Task(desk.ticket, workspace.path, findings, context, run, desk.charge))
    except (BudgetError, MustStop) as error:
        stopped = str(error)
        answer = Answer(False, f"The session had to stop before the ticket was done: {stopped}", "Go on from here.")
    state = "" if answer.finished else " (unfinished)"
    change = deliver(
        desk, workspace, f"{desk.ticket.title}{state}\n\nTicket: {desk.ticket.id}\nSession: {desk.session}"
    )
    put_away(desk, workspace)
    return _outcome(brain.name, answer, change)


def _outcome(brain: str, answer: Answer, change: Change | None) -> Outcome:
    finished = answer.finished and change is not None
    done, then = answer.done, answer.next
    if answer.finished and change is None:
        done, then = f"{done}\n\nNothing in the repository changed by it.", "See whether the ticket is still needed."
    if not finished and change is not None:
        done = f"{done}\n\nWhat was done is kept as commit {change.head} on {change.branch}."
    return Outcome(
        kind=HandoffKind.WORK if finished else HandoffKind.DEFERRAL,
        brain=brain,
        done=done,
        questions=answer.questions,
        next="Check this commit." if finished else then,
        change=change,
        decisions=answer.decisions,
    )


def _brought_by_a_person(desk: Desk) -> Change | None:
    """Commits that a person put on the ticket's branch, or on the branch that the ticket names, as a change."""
    git = Git(desk.project.root)
    branch = desk.ticket.branch or ticket_branch(desk.ticket.id)
    head = git.ref(f"refs/heads/{branch}")
    if head is None:
        if desk.ticket.branch:
            raise NightcrewError(f"{desk.ticket.id} names the branch {branch}, which does not exist")
        return None
    start = integration_head(desk)
    if head == start or git.is_ancestor(head, start) or (not desk.ticket.branch and _is_ours(git, head)):
        return None
    base = git.must(git.data("merge-base", start, head), f"comparing {branch} with {start[:12]}").decode().strip()
    return Change(branch=branch, base=base, head=head, files=tuple(changed_paths(desk.project.root, base, head)))


def _is_ours(git: Git, commit: str) -> bool:
    """Whether a session of ours made the commit (a salvage, or work whose handoff a kill prevented)."""
    shown = git.must(git.data("log", "-1", "--format=%ce", commit), f"reading {commit[:12]}")
    return shown.decode().strip().endswith(OURS)
