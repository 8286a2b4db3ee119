"""The build agent: takes a person's finished work, or has a brain do the work, and hands the commit to QA."""

from collections.abc import Sequence
from contextlib import suppress

from nightcrew.brains import MECHANICAL, Answer, Brain, Context
from nightcrew.crew.delivery import deliver, fresh_workspace, integration_head, parted_at, put_away, ticket_branch
from nightcrew.crew.desk import BudgetError, Desk, MustStop
from nightcrew.crew.forge.wording import inert
from nightcrew.crew.outcome import Outcome
from nightcrew.crew.project import read_text
from nightcrew.crew.tasks import DeskJournal, task_of
from nightcrew.crew.workspace import Git, Workspace, changed_paths, open_workspace
from nightcrew.model.errors import ConfigurationError, NightcrewError, NotFoundError, SandboxError, TransientError
from nightcrew.model.finding import Finding
from nightcrew.model.handoff import Change, HandoffKind
from nightcrew.store import handoffs

OURS = "@nightcrew.invalid"


def work(desk: Desk, brain: Brain, findings: Sequence[Finding], context: Context) -> Outcome:
    """Work one ticket; whatever was done when it must stop is on the ticket's branch and named in the deferral."""
    journal = DeskJournal(desk)
    if (made := journal.get("outcome")) is not None:
        with suppress(NotFoundError):
            put_away(desk, open_workspace(desk.place / "build"))
        return Outcome.read(made, source="the journal")  # Made, and then the process died.
    brought = _brought_by_a_person(desk) if journal.get("workspace") is None else None
    if brought is not None:
        return Outcome(
            kind=HandoffKind.WORK,
            brain="person",
            change=brought,
            done=f"Took the finished work on {brought.branch} as it stands: {brought.head[:12]}.",
            next="Check this commit.",
        )
    return _with_brain(desk, brain, findings, context)


def _with_brain(desk: Desk, brain: Brain, findings: Sequence[Finding], context: Context) -> Outcome:
    workspace, resumed = _workspace(desk)
    try:
        task = task_of(
            desk, workspace, findings=findings, context=context, resumed=resumed, instructions=_instructions(desk)
        )
        answer = brain.work(task)
    except (BudgetError, MustStop, TransientError, SandboxError, OSError) as error:
        noted = tuple(map(str, _noted(desk)))
        words = f"The session had to stop before the ticket was done: {error}"
        answer = Answer(False, words, "Go on from here.", decisions=noted)
    desk.flush()
    state = "" if answer.finished else " (unfinished)"
    message = f"{inert(desk.ticket.title)}{state}\n\nTicket: {desk.ticket.id}\nSession: {desk.session}"
    change = deliver(desk, workspace, message, onto=integration_head(desk)) or _kept(desk, workspace)
    outcome = _outcome(answer, change)
    DeskJournal(desk).put("outcome", outcome.plain())
    put_away(desk, workspace)
    return outcome


def _noted(desk: Desk) -> Sequence[object]:
    """What the brain at work had decided so far."""
    journal = DeskJournal(desk)
    found = journal.get(f"{journal.get('brain')}/decisions")
    return found if isinstance(found, list) else ()


def _instructions(desk: Desk) -> str:
    """What the user's own prompt file tells this agent. Read from the user's tree, where no agent writes."""
    own = desk.project.settings.agents.get(desk.agent)
    if own is None or not own.prompt:
        return ""
    text = read_text(desk.project.root / own.prompt)
    if text is None:
        raise ConfigurationError(f"agents.{desk.agent}.prompt: there is no file {own.prompt}")
    return text


def _kept(desk: Desk, workspace: Workspace) -> Change | None:
    """The work of earlier sessions as a change, if this one began with it and nobody has found fault with it."""
    onto = integration_head(desk)
    base = parted_at(desk, onto, workspace.base)
    if base == workspace.base or desk.ticket.findings:
        return None
    files = tuple(changed_paths(desk.project.root, base, workspace.base))
    return Change(branch=ticket_branch(desk.ticket.id), base=base, head=workspace.base, files=files)


def _workspace(desk: Desk) -> tuple[Workspace, bool]:
    """The workspace to work in; as a killed run left it if the brain keeps a journal of what it did there."""
    journal = DeskJournal(desk)
    begun = journal.get("workspace")
    if begun is not None and journal.get("brain") not in (None, MECHANICAL):
        try:
            found = open_workspace(desk.place / "build")
            if found.base == begun and found.path.is_dir():
                return found, True
        except NotFoundError:
            pass  # Lost with its machine: the answers are still there, and what they asked for is done again.
    start = _start(desk) if begun is None else str(begun)
    made = fresh_workspace(desk, "build", commit=start, branch=ticket_branch(desk.ticket.id))
    journal.put("workspace", start)
    return made, False


def _start(desk: Desk) -> str:
    """The commit to begin from: what an earlier session left of this ticket, if it is still on top of what is merged.

    A ticket's own command begins anew: it need not bear being run on its own results.
    """
    integration, git = integration_head(desk), Git(desk.project.root)
    kept = git.ref(f"refs/heads/{ticket_branch(desk.ticket.id)}")
    if kept is None or desk.ticket.command or not git.is_ancestor(integration, kept):
        return integration
    return kept


def _outcome(answer: Answer, change: Change | None) -> Outcome:
    finished = answer.finished and change is not None
    done, then = answer.done, answer.next
    if answer.why and answer.brain:
        done = f"{done}\n\nWorked by {answer.brain}, since {answer.why}."
    if answer.finished and change is None:
        done, then = f"{done}\n\nNothing in the repository changed by it.", "See whether the ticket is still needed."
    if not finished and change is not None:
        done = f"{done}\n\nWhat was done is kept as commit {change.head} on {change.branch}."
    return Outcome(
        kind=HandoffKind.WORK if finished else HandoffKind.DEFERRAL,
        brain=answer.brain or None,
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
    if head == start or git.is_ancestor(head, start):
        return None
    if not desk.ticket.branch and (_is_ours(git, head) or _handed_over(desk, head)):
        return None
    base = parted_at(desk, start, head)
    return Change(branch=branch, base=base, head=head, files=tuple(changed_paths(desk.project.root, base, head)))


def _handed_over(desk: Desk, commit: str) -> bool:
    """Whether a session handed this commit over, whatever identity the agent gave it."""
    with desk.project.store.read() as tx:
        written = handoffs.list(tx, ticket=desk.ticket.id)
    return any(handoff.change is not None and handoff.change.head == commit for handoff in written)


def _is_ours(git: Git, commit: str) -> bool:
    """Whether a session of ours made the commit (a salvage, or work whose handoff a kill prevented)."""
    shown = git.must(git.data("log", "-1", "--format=%ce", commit), f"reading {commit[:12]}")
    return shown.decode().strip().endswith(OURS)
