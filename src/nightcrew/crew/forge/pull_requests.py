"""Pull requests: one for a ticket's branch, looked for before it is opened, so that a lost answer opens no second one.

Sources: https://docs.github.com/en/rest/pulls/pulls (list with ``head=OWNER:BRANCH``, create, update) and
https://docs.github.com/en/graphql/reference/mutations (``markPullRequestReadyForReview``,
``convertPullRequestToDraft``: the REST API cannot change whether one is a draft).
"""

from typing import Any
from urllib.parse import urlsplit

from pydantic import Field, TypeAdapter

from nightcrew.crew.forge.errors import ForgeRefused
from nightcrew.crew.forge.repository import Answered, Forge
from nightcrew.model.document import Document
from nightcrew.reliability import Failure, FailureClass


class Wanted(Document):
    """How a ticket's pull request shall be. ``head`` is the commit; ``owner`` that of the branch's repository."""

    branch: str
    owner: str
    base: str
    head: str
    title: str
    body: str
    draft: bool = False
    closed: bool = False


class _Side(Answered):
    ref: str
    sha: str


class _Pull(Answered):
    number: int = Field(ge=1)
    node_id: str
    state: str
    title: str
    body: str | None = None
    html_url: str
    draft: bool = False
    merged_at: str | None = None
    head: _Side


_PULL: TypeAdapter[_Pull] = TypeAdapter(_Pull)
_PULLS: TypeAdapter[list[_Pull]] = TypeAdapter(list[_Pull])
_GRAPHQL: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, Any])
_MUTATION = "mutation($id: ID!) {{ {name}(input: {{pullRequestId: $id}}) {{ pullRequest {{ isDraft }} }} }}"


def bring(forge: Forge, wanted: Wanted) -> dict[str, Any]:
    """See to it that the pull request is as wanted; gives its ``number``, ``url`` and ``state``.

    One that a person closed or merged stays so; only another commit gets a new one. Raises ForgeAway, ForgeRefused.
    """
    found = _newest(forge, wanted)
    if found is None or (found.state == "closed" and found.head.sha != wanted.head and not wanted.closed):
        if wanted.closed:
            return {"number": 0, "url": "", "state": "none"}
        found = _open(forge, wanted)
    if found.state == "closed":
        return _told(found)
    return _told(_changed(forge, found, wanted))


def _newest(forge: Forge, wanted: Wanted) -> _Pull | None:
    """The pull request of this branch that was opened last: an open one before all others."""
    query = {"head": f"{wanted.owner}:{wanted.branch}", "state": "all"}
    # Another repository's branch may have the same name: GitHub ignores a head that it cannot read.
    pulls = [p for p in forge.api.every(forge.at("/pulls"), _PULLS, query=query) if p.head.ref == wanted.branch]
    return max(pulls, key=lambda pull: (pull.state == "open", pull.number), default=None)


def _open(forge: Forge, wanted: Wanted) -> _Pull:
    branch = wanted.branch if wanted.owner == forge.owner else f"{wanted.owner}:{wanted.branch}"
    body = {"title": wanted.title, "head": branch, "base": wanted.base, "body": wanted.body, "draft": wanted.draft}
    try:
        made = forge.api.post(forge.at("/pulls"), body, _PULL)
    except ForgeRefused as error:
        if error.status != 422:
            raise
        if "already exists" in str(error).lower():
            made = _newest(forge, wanted)
        elif wanted.draft and "draft" in str(error).lower():  # the plan of this account has no drafts
            made = forge.api.post(forge.at("/pulls"), {**body, "draft": False}, _PULL)
        else:
            raise
        if made is None:
            raise
    if made is None:
        raise _nothing("it was not opened")
    return made


def _changed(forge: Forge, pull: _Pull, wanted: Wanted) -> _Pull:
    # Its base is not set again: a person may have chosen another.
    if (pull.title, _lines(pull.body)) != (wanted.title, _lines(wanted.body)) or wanted.closed:
        # Its state is left out unless it is to be closed: a person may close it at this moment.
        body = {"title": wanted.title, "body": wanted.body, **({"state": "closed"} if wanted.closed else {})}
        pull = forge.api.patch(forge.at(f"/pulls/{pull.number}"), body, _PULL) or pull
    if pull.draft != wanted.draft and not wanted.closed:
        name = "convertPullRequestToDraft" if wanted.draft else "markPullRequestReadyForReview"
        answer = forge.api.post(
            graphql(forge.api.base),
            {"query": _MUTATION.format(name=name), "variables": {"id": pull.node_id}},
            _GRAPHQL,
            repeatable=True,
        )
        # An account without drafts refuses to make one: it is open for review then, and merging waits all the same.
        if not wanted.draft and (answer or {}).get("errors"):
            raise _nothing(f"pull request {pull.number} stays a draft: the token may not change that")
    return pull


def graphql(base: str) -> str:
    """The address of GraphQL beside a REST API: ``/graphql`` on github.com, ``/api/graphql`` on an own server."""
    parts = urlsplit(base)
    return f"{parts.scheme}://{parts.netloc}{parts.path.removesuffix('/v3')}/graphql"


def _lines(text: str | None) -> str:
    """GitHub gives texts back with line ends of its own."""
    return (text or "").replace("\r\n", "\n").strip()


def _told(pull: _Pull) -> dict[str, Any]:
    state = "merged" if pull.merged_at else pull.state
    return {"number": pull.number, "url": pull.html_url, "state": state}


def _nothing(what: str) -> ForgeRefused:
    return ForgeRefused(what, failure=Failure(FailureClass.AUTH, "Draft", what))
