"""Issues of the GitHub repository in the settings, by label, as tickets: by hand, as a shift does when it begins."""

from collections.abc import Iterable

from pydantic import TypeAdapter

from nightcrew.crew.forge import github_issues
from nightcrew.crew.forge.repository import Answered, Forge, connect
from nightcrew.crew.importing import filing
from nightcrew.crew.importing.outcome import ImportReport
from nightcrew.crew.importing.steps import filing_steps, run, withdrawing_steps
from nightcrew.crew.project import Project
from nightcrew.model.ticket import Kind, Priority


class _Where(Answered):
    state: str


_WHERE: TypeAdapter[_Where] = TypeAdapter(_Where)


def import_github(
    project: Project,
    *,
    wanted: Iterable[str] = (),
    kind: Kind | None = None,
    priority: Priority | None = None,
    again: bool = False,
    dry_run: bool = False,
) -> ImportReport:
    """File the open issues that have one of the labels ``wanted`` (default: those of the settings).

    ``kind`` and ``priority`` are for issues whose labels say none. The ticket of an issue that was closed is set
    aside. Raises ConfigurationError if GitHub is not used here, ForgeAway, ForgeRefused.
    """
    with connect(project.settings.github) as forge:
        names = tuple(wanted) or project.settings.github.labels
        items = github_issues.fetch(forge, names, kind=kind, priority=priority)
        closed = gone(project, forge, {item.ref for item in items})
    steps = [*filing_steps(project, items, again=again), *withdrawing_steps(forge.source, closed)]
    return run(project, forge.source, steps, dry_run=dry_run)


def gone(project: Project, forge: Forge, there: Iterable[str]) -> dict[str, str]:
    """Of the issues that were brought in and are not among ``there``: those that are closed, or gone, and why.

    One that merely has another label stays: another import may have brought it. Raises ForgeAway, ForgeRefused.
    """
    with project.store.read() as tx:
        missing = filing.live(tx, forge.source).keys() - set(there)
    found = {}
    for ref in sorted(name for name in missing if name.isdigit()):
        where = forge.api.get(forge.at(f"/issues/{ref}"), _WHERE, absent=(404, 410))
        if where is None or where.state == "closed":
            found[ref] = f"issue {ref} is {'closed' if where else 'not there any more'}"
    return found
