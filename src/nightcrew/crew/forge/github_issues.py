"""Issues of GitHub by label, as what the importing takes.

Source: https://docs.github.com/en/rest/issues/issues#list-repository-issues ("GitHub's REST API considers every pull
request an issue": those have ``pull_request`` and are left out). Who sets a label may triage the repository; who writes
an issue may be anybody. So it is the label that lets an issue in, and its text stays data. Who wrote it can change it
after that, which GitHub does not tell: ``author_association`` says whether that is somebody with rights there.
"""

from collections.abc import Iterable

from pydantic import TypeAdapter

from nightcrew.crew.forge.repository import WITH_RIGHTS, Answered, Forge
from nightcrew.crew.importing.imported import Imported
from nightcrew.crew.importing.labels import kind_of, priority_of, severity_of
from nightcrew.model.ticket import Kind, Priority


class _Label(Answered):
    name: str | None = None


class _Issue(Answered):
    number: int
    title: str
    body: str | None = None
    html_url: str
    labels: tuple[_Label | str, ...] = ()
    pull_request: dict[str, object] | None = None
    author_association: str = ""


_ISSUES: TypeAdapter[list[_Issue]] = TypeAdapter(list[_Issue])


def fetch(
    forge: Forge, labels: Iterable[str], *, kind: Kind | None = None, priority: Priority | None = None
) -> list[Imported]:
    """The open issues that have one of ``labels``, by number; ``kind`` and ``priority`` where no label says one.

    Raises ForgeAway and ForgeRefused.
    """
    found: dict[int, _Issue] = {}
    for label in dict.fromkeys(labels):
        query = {"labels": label, "state": "open", "sort": "created", "direction": "asc"}
        for issue in forge.api.every(forge.at("/issues"), _ISSUES, query=query):
            if issue.pull_request is None:
                found.setdefault(issue.number, issue)
    return [_imported(forge, found[number], kind, priority) for number in sorted(found)]


def _imported(forge: Forge, issue: _Issue, kind: Kind | None, priority: Priority | None) -> Imported:
    named = [label if isinstance(label, str) else label.name or "" for label in issue.labels]
    return Imported.of(
        source=forge.source,
        ref=str(issue.number),
        title=issue.title,
        body=issue.body or "",
        kind=kind_of(named) or kind or Kind.FEATURE,
        priority=priority_of(named) or priority or Priority.P2,
        severity=severity_of(named),
        url=issue.html_url,
        by_stranger=issue.author_association not in WITH_RIGHTS,
    )
