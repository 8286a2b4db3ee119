"""What a shift does at GitHub: issues in before it plans, branches, pull requests, checks and states out at its end.

Neither can fail the night. One process at a time does it; what is left undone waits in the outbox.
"""

import time
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import cache

from pydantic import Field

from nightcrew.crew.forge import effects as working
from nightcrew.crew.forge import planned
from nightcrew.crew.forge.effects import Worked
from nightcrew.crew.forge.errors import ForgeAway, ForgeRefused
from nightcrew.crew.forge.planned import Place
from nightcrew.crew.forge.pushing import Pusher, remote_of
from nightcrew.crew.forge.repository import Forge, connect
from nightcrew.crew.project import Project
from nightcrew.key_hosts import KeyNotAllowed
from nightcrew.model.document import Document
from nightcrew.model.errors import NightcrewError
from nightcrew.model.ticket import Ticket
from nightcrew.monitoring.redaction import Redaction
from nightcrew.store import effects, ledger, locks
from nightcrew.store.effects import Effect
from nightcrew.store.shifts import Shift
from nightcrew.store.store import Tx

LOCK = "forge"
SUBJECT = "forge"
"""What the ledger calls the runs."""

OUT_SECONDS = 180.0
"""After this no further effect is begun."""

_PATIENCE_SECONDS = 5.0


class Synced(Document):
    """What a run did: issues imported (counts by word), effects done and waiting, and the problems there were.

    ``withheld`` are the changes that are not shown there, and why.
    """

    issues: dict[str, int] = Field(default_factory=dict)
    planned: int = 0
    done: tuple[str, ...] = ()
    waiting: tuple[dict[str, object], ...] = ()
    withheld: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def begin(project: Project) -> list[str]:
    """At the shift's begin: bring issues in as tickets. Gives the problems, and raises nothing."""
    settings = project.settings.github
    if not settings.repository or not settings.issues:
        return []
    return _safely(project, lambda: _brought_in(project))


def end(project: Project) -> list[str]:
    """At the shift's end: bring out what became of its work. Gives the problems, and raises nothing."""
    if not project.settings.github.repository:
        return []
    return _safely(project, lambda: list(sync(project, issues=False).problems))


def sync(project: Project, *, issues: bool = True, dry_run: bool = False) -> Synced:
    """Import issues (unless ``issues`` is off), plan what is to be at GitHub, and do it.

    With ``dry_run`` nothing is asked for but what can be read, and nothing is kept: ``waiting`` is what would be done.
    Raises ConfigurationError if GitHub is not used here, BusyError if another process is at it.
    """
    hint = "Another process is at it: wait for it to end."
    with (
        connect(project.settings.github) as forge,
        locks.held(project.store, LOCK, hint=hint, patience_seconds=_PATIENCE_SECONDS),
    ):
        counts: dict[str, int] = {}
        problems: list[str] = []
        if issues and not dry_run:
            counts, problems = _issues_in(project)
        worked = Worked(problems=problems)
        try:
            count, left = _out(project, forge, worked, dry_run=dry_run)
        except (ForgeAway, ForgeRefused) as error:
            count, left = 0, _waiting(project)
            worked.problems.append(str(error))
        found = Synced(
            issues=counts,
            planned=count,
            done=tuple(worked.done),
            waiting=tuple(effect.plain() for effect in left),
            withheld=tuple(worked.withheld),
            problems=tuple(dict.fromkeys(worked.problems)),
        )
        if not dry_run and (found.done or found.withheld or found.problems):
            _say(project, found)
        return found


def notes(tx: Tx, shift: Shift) -> list[str]:
    """What the morning report says of it: what was brought out in this shift, and what was not and why."""
    lines: list[str] = []
    done = 0
    for entry in ledger.entries(tx, subject=SUBJECT):
        at = datetime.fromisoformat(entry.at)
        if entry.action == "forge.sync" and at >= shift.started and (shift.ended is None or at <= shift.ended):
            said = ledger.data(entry)
            done += int(said["done"])
            lines += [f"GitHub: {line}" for line in (*said.get("withheld", ()), *said["problems"])]
    return [*([f"GitHub: {done} things brought up to date there"] if done else []), *dict.fromkeys(lines)]


def _brought_in(project: Project) -> list[str]:
    _, problems = _issues_in(project)
    if problems:
        _say(project, Synced(problems=tuple(problems)))
    return problems


def _issues_in(project: Project) -> tuple[dict[str, int], list[str]]:
    """Import the issues with the labels of the settings; gives counts by word, and the problems."""
    from nightcrew.crew.importing.github import import_github
    from nightcrew.crew.importing.outcome import REFUSED

    if not project.settings.github.issues or not project.settings.github.labels:
        return {}, []
    try:
        report = import_github(project)
    except (ForgeAway, ForgeRefused) as error:
        return {}, [f"issues were not imported: {error}"]
    refused = [f"issue {one.ref} was not imported: {one.reason}" for one in report.things if one.what == REFUSED]
    return report.counts, refused


def _out(project: Project, forge: Forge, worked: Worked, *, dry_run: bool) -> tuple[int, list[Effect]]:
    until = time.monotonic() + OUT_SECONDS

    @cache
    def pusher() -> Pusher:
        settings = project.settings.github
        return Pusher(project.git, remote_of(project.git, settings.remote), settings.api, forge.api.token)

    with project.store.read() as tx:
        names = planned.concerned(project, tx, forge.source)
        waiting = effects.waiting(tx)
    if not names and not waiting:
        return 0, []
    place = _place(project, forge, pusher(), names)
    if dry_run:
        return _would(project, names, place, worked)
    with project.store.begin() as tx:
        effects.try_again(tx)
        count = _plan(names, worked, lambda one: _change(project, tx, one, place, worked))
    working.work(project, forge, pusher, worked, until=until)
    # Issues come second: they tell the address of the pull request.
    with project.store.begin() as tx:
        count += _plan(names, worked, lambda one: planned.plan_issues(project, tx, one, place))
    if not worked.held_up:
        working.work(project, forge, pusher, worked, until=until)
    return count, _waiting(project)


def _place(project: Project, forge: Forge, pusher: Pusher, names: Iterable[Ticket]) -> Place:
    settings = project.settings
    own = "" if settings.merge.into.startswith("nightcrew/") else settings.merge.into
    about = forge.about()
    base = settings.github.base or own or about.default_branch
    head = pusher.heads(f"refs/heads/{base}").get(f"refs/heads/{base}", "")
    git = project.git
    landed: set[str] = set()
    if head and git.exists(head):
        heads = {ticket.head for ticket in names if ticket.head is not None}
        landed = {commit for commit in heads if git.exists(commit) and git.is_ancestor(commit, head)}
    owner = pusher.remote.owner or forge.owner
    if owner.lower() == forge.owner.lower():
        owner = about.owner or owner  # as it is called now: an account may be renamed
    return Place(forge.source, base, owner, frozenset(landed), public=not about.private)


def _change(project: Project, tx: Tx, ticket: Ticket, place: Place, worked: Worked) -> int:
    count, hidden = planned.plan_change(project, tx, ticket, place)
    if hidden:
        worked.withheld.append(f"{ticket.id} is kept on this machine: it {hidden}. To show it all the same, push it.")
    return count


def _plan(names: Iterable[Ticket], worked: Worked, plan: Callable[[Ticket], int]) -> int:
    """Plan for each ticket; one whose documents are damaged is told, and the others go on."""
    count = 0
    for ticket in names:
        try:
            count += plan(ticket)
        except NightcrewError as error:
            worked.problems.append(f"{ticket.id}: {error}")
    return count


def _would(project: Project, names: list[Ticket], place: Place, worked: Worked) -> tuple[int, list[Effect]]:
    """What would be planned: planned, looked at and undone."""
    found: list[Effect] = []
    count = 0
    try:
        with project.store.begin() as tx:
            count = _plan(names, worked, lambda one: _change(project, tx, one, place, worked))
            count += _plan(names, worked, lambda one: planned.plan_issues(project, tx, one, place))
            found = effects.waiting(tx)
            raise _DryRunError
    except _DryRunError:
        return count, found


def _waiting(project: Project) -> list[Effect]:
    with project.store.read() as tx:
        return effects.waiting(tx)


def _safely(project: Project, run: Callable[[], list[str]]) -> list[str]:
    """Run it, whatever happens in it; the problems go to the ledger, where the report finds them."""
    try:
        return run()
    except Exception as error:  # The night's work is done; what is not at GitHub yet goes there another day.
        problem = f"{type(error).__name__}: {error}" if not isinstance(error, NightcrewError) else str(error)
        problem += f" ({error.hint})" if isinstance(error, KeyNotAllowed) else ""
        _say(project, Synced(problems=(problem,)))
        return [problem]


def _say(project: Project, found: Synced) -> None:
    told = {
        name: [Redaction().text(line)[:500] for line in lines[:50]]
        for name, lines in (("withheld", found.withheld), ("problems", found.problems))
    }
    data = {"done": len(found.done), "waiting": len(found.waiting), **told}
    with project.store.begin() as tx:
        ledger.append(tx, actor="forge", action="forge.sync", subject=SUBJECT, data=data)


class _DryRunError(Exception):
    """Undoes what a dry run planned."""
