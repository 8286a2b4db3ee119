"""What became of an imported issue, said in it: one comment that is edited, and one label.

An issue is closed by the pull request that is merged for it. Only where there are no pull requests does nightcrew close
it, when its ticket is done.

Sources: https://docs.github.com/en/rest/issues/comments, .../labels (adding a label that does not exist makes it) and
.../issues#update-an-issue (``state_reason``).
"""

from typing import Any
from urllib.parse import quote

from pydantic import TypeAdapter

from nightcrew.crew.forge.repository import WITH_RIGHTS, Answered, Forge
from nightcrew.model.document import Document
from nightcrew.model.ticket import State

PREFIX = "nightcrew: "
"""How the labels of states begin."""


_OURS = frozenset(f"{PREFIX}{state}".replace("_", " ") for state in State)


class Spoken(Document):
    """What issue ``number`` shall say; ``mark`` is in the comment, so that it is found again."""

    number: int
    ticket: str
    label: str
    body: str
    mark: str
    close: bool = False


class _User(Answered):
    type: str = ""


class _Comment(Answered):
    id: int
    body: str | None = None
    user: _User | None = None
    author_association: str = ""

    @property
    def is_of_the_house(self) -> bool:
        """Whether who may write in the repository wrote it; an App is there only if it was let in."""
        return self.author_association in WITH_RIGHTS or (self.user is not None and self.user.type == "Bot")


class _Label(Answered):
    name: str


class _Issue(Answered):
    number: int
    state: str
    repository_url: str


_COMMENT: TypeAdapter[_Comment] = TypeAdapter(_Comment)
_COMMENTS: TypeAdapter[list[_Comment]] = TypeAdapter(list[_Comment])
_LABELS: TypeAdapter[list[_Label]] = TypeAdapter(list[_Label])
_ISSUE: TypeAdapter[_Issue] = TypeAdapter(_Issue)


def bring(forge: Forge, spoken: Spoken) -> dict[str, Any]:
    """See to it that the issue says so; gives the ``comment``'s id. Raises ForgeAway, ForgeRefused."""
    issue = forge.at(f"/issues/{spoken.number}")
    there = forge.api.get(issue, _ISSUE, absent=(404, 410))
    if there is None or there.number != spoken.number or not forge.has(there.repository_url):
        return {"comment": 0, "gone": True}  # deleted, or in another repository now
    comment = _comment(forge, issue, spoken)
    labels = [label.name for label in forge.api.every(f"{issue}/labels", _LABELS)]
    if spoken.label not in labels:
        forge.api.post(f"{issue}/labels", {"labels": [spoken.label]}, _LABELS, repeatable=True)
    for old in labels:
        if old in _OURS and old != spoken.label:
            forge.api.delete(f"{issue}/labels/{quote(old, safe='')}")
    if spoken.close:
        forge.api.patch(issue, {"state": "closed", "state_reason": "completed"}, _ISSUE)
    return {"comment": comment}


def _comment(forge: Forge, issue: str, spoken: Spoken) -> int:
    wanted = f"{spoken.mark}\n{spoken.body}"
    for comment in forge.api.every(f"{issue}/comments", _COMMENTS):
        # Anybody may have copied the mark, and could write what we seem to say.
        if comment.is_of_the_house and spoken.mark in (comment.body or ""):
            if (comment.body or "").replace("\r\n", "\n").strip() == wanted.strip():
                return comment.id
            path = forge.at(f"/issues/comments/{comment.id}")
            # It may be of somebody whose comment this token may not edit.
            if forge.api.patch(path, {"body": wanted}, _COMMENT, absent={403, 404}) is not None:
                return comment.id
    made = forge.api.post(f"{issue}/comments", {"body": wanted}, _COMMENT)
    return made.id if made else 0
