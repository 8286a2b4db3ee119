"""Issues of a GitLab project, by label, as tickets.

Sources: https://docs.gitlab.com/ee/api/issues.html ("List project issues").
"""

import re
from collections.abc import Iterable
from urllib.parse import quote

from pydantic import BaseModel, TypeAdapter

from nightcrew.crew.forge.api import Api
from nightcrew.crew.importing import filing, labels
from nightcrew.crew.importing.imported import Imported
from nightcrew.crew.importing.outcome import REFUSED, Filed, ImportReport
from nightcrew.crew.importing.steps import filing_steps, run, withdrawing_steps
from nightcrew.crew.project import Project
from nightcrew.model.errors import UsageError
from nightcrew.model.severity import Severity
from nightcrew.model.ticket import Kind, Priority

_PROJECT = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_./-]{0,254}")


class _Issue(BaseModel):
    """The fields of an issue that are read; others are ignored."""

    iid: int
    title: str
    description: str | None = None
    state: str
    labels: list[str]
    web_url: str
    issue_type: str | None = None
    severity: str | None = None
    confidential: bool = False


_ISSUES: TypeAdapter[list[_Issue]] = TypeAdapter(list[_Issue])


def import_gitlab(
    project: Project,
    api: Api,
    path: str,
    *,
    wanted: Iterable[str] = ("nightcrew",),
    kind: Kind | None = None,
    priority: Priority | None = None,
    again: bool = False,
    dry_run: bool = False,
) -> ImportReport:
    """File the open issues of the GitLab project ``path`` (GROUP/NAME) that have one of the labels ``wanted``.

    ``kind`` and ``priority`` are for issues whose labels say none.

    Confidential issues are refused: what a ticket says is given to agents and may stand in commits. The ticket of an
    issue that was closed is set aside. Raises UsageError, ForgeAway, ForgeRefused.
    """
    if not _PROJECT.fullmatch(path):
        raise UsageError(f"{path!r} does not name a project", hint="Give it as GROUP/NAME.")
    address = f"/projects/{quote(path, safe='')}/issues"
    found: dict[int, _Issue] = {}
    for label in dict.fromkeys(wanted):
        # One label at a time: GitLab takes a list of labels as all of them.
        query = {"labels": label, "state": "opened", "scope": "all", "order_by": "created_at", "sort": "asc"}
        found.update((issue.iid, issue) for issue in api.every(address, _ISSUES, query=query))
    source = f"gitlab:{path}"
    listed = [found[number] for number in sorted(found)]
    items = [_imported(source, one, kind, priority) for one in listed if not one.confidential]
    secret = tuple(
        Filed(ref=str(one.iid), what=REFUSED, title=f"#{one.iid}", reason="it is confidential")
        for one in listed
        if one.confidential
    )
    with project.store.read() as tx:
        missing = [int(ref) for ref in filing.live(tx, source) if ref.isdigit() and int(ref) not in found]
    gone = _gone(api, address, missing)
    steps = [*filing_steps(project, items, again=again), *withdrawing_steps(source, gone)]
    done = run(project, source, steps, dry_run=dry_run)
    return done.model_copy(update={"things": (*done.things, *secret)})


def _gone(api: Api, address: str, missing: list[int]) -> dict[str, str]:
    """Which of the issues are closed; one that merely has another label stays, another import may have brought it."""
    gone = {}
    for number in sorted(missing):
        found = list(api.every(address, _ISSUES, query={"iids[]": str(number), "scope": "all"}))
        if not found or found[0].state == "closed":
            gone[str(number)] = f"issue {number} is {'closed' if found else 'not there any more'}"
    return gone


def _imported(source: str, issue: _Issue, kind: Kind | None, priority: Priority | None) -> Imported:
    incident = issue.issue_type == "incident"
    return Imported.of(
        source=source,
        ref=str(issue.iid),
        title=issue.title,
        body=issue.description or "",
        kind=labels.kind_of(issue.labels) or kind or (Kind.BUG if incident else Kind.FEATURE),
        priority=labels.priority_of(issue.labels) or priority or Priority.P2,
        url=issue.web_url,
        severity=_severity(issue) if incident else labels.severity_of(issue.labels),
    )


def _severity(issue: _Issue) -> Severity | None:
    """An incident states its own (``CRITICAL`` to ``LOW``, ``UNKNOWN``); its labels may say more."""
    said = (issue.severity or "").lower()
    own = Severity(said) if said in set(Severity) else None
    named = labels.severity_of(issue.labels)
    return named if own is None else own.raised_to(named)
