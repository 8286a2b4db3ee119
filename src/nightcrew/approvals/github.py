"""A review on GitHub as a signature: a listed person approved a pull request at exactly the commit in question.

Nothing is signed with a key here. The "public key" says whose reviews count and where to ask; the "signature" names one
review; ``verify`` asks GitHub each time, so that a review dismissed or changed since counts no longer.

Sources: https://docs.github.com/en/rest/commits/commits#list-pull-requests-associated-with-a-commit,
https://docs.github.com/en/rest/pulls/reviews#list-reviews-for-a-pull-request and #get-a-review-for-a-pull-request.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter

from nightcrew.approvals.github_api import GithubApi, api_url
from nightcrew.approvals.signer import key_id_of
from nightcrew.model.canonical import canonical_json
from nightcrew.model.document import Document
from nightcrew.model.errors import DocumentError
from nightcrew.model.review import Decision
from nightcrew.model.statement import PAYLOAD_TYPE, ApprovalStatement, SignerKind, pae, read_json, read_statement

DEFAULT_API = "https://api.github.com"
"""The API of github.com; that of GitHub Enterprise Server is ``https://HOST/api/v3``."""

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_PAE = re.compile(rb"DSSEv1 (0|[1-9][0-9]{0,9}) ")

_DECISIVE = frozenset({"APPROVED", "CHANGES_REQUESTED", "DISMISSED"})
"""Of the states of a review those that say something; COMMENTED and PENDING change nothing."""


def _not_a_path(repository: str) -> str:
    if repository.endswith(("/.", "/..")):
        raise ValueError("expected owner/name")
    return repository


Repository = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,99}/[A-Za-z0-9._-]{1,100}$"),
    AfterValidator(_not_a_path),
]
Login = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$")]
Variable = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")]


class GithubKey(Document):
    """Whose reviews count, in which repository, asked where and with which token; it holds no secret."""

    api: Annotated[str, StringConstraints(max_length=300), AfterValidator(api_url)] = DEFAULT_API
    repository: Repository
    login: Login
    token_env: Variable
    v: Literal[1] = 1

    def encode(self) -> bytes:
        """The public key's bytes: canonical JSON."""
        return canonical_json(self.plain())

    @classmethod
    def read(cls, value: Any, *, source: str = "GitHub key") -> Self:
        """Read what ``encode`` gives, or the parsed object; raises DocumentError, also for another spelling of it."""
        if not isinstance(value, bytes):
            return super().read(value, source=source)
        key = super().read(read_json(value, source=source), source=source)
        if key.encode() != value:
            raise DocumentError(f"{source}: not in its canonical encoding")
        return key


@dataclass(frozen=True)
class GithubReview:
    """An approving review: of pull request ``pull`` into branch ``base``, by ``login``, with the words ``body``."""

    pull: int
    review: int
    submitted_at: datetime
    login: str
    html_url: str
    body: str
    base: str


@dataclass(frozen=True)
class GithubSigner:
    """Signs by naming a review; whether that review approves what is signed is for ``verify`` to find out."""

    key: GithubKey
    review: GithubReview

    @property
    def kind(self) -> SignerKind:
        """Always github."""
        return SignerKind.GITHUB

    @property
    def key_id(self) -> str:
        """SHA-256 of the public key."""
        return key_id_of(self.public_key)

    @property
    def public_key(self) -> bytes:
        """``key.encode()``."""
        return self.key.encode()

    def sign(self, pae: bytes) -> bytes:  # noqa: ARG002 - every signer takes what the Signer protocol gives
        """The numbers of the pull request and of the review, as canonical JSON."""
        return canonical_json({"pull": self.review.pull, "review": self.review.review})


def find(key: GithubKey, head: str) -> GithubReview | None:
    """The review by which the person of ``key`` approves commit ``head`` (its full name) in an open pull request.

    None if there is none, or if the person's last word on that pull request is another one. Asks GitHub; raises
    ApprovalError if it gives no answer, ValueError if ``head`` is not a full commit name.
    """
    if not _COMMIT.fullmatch(head):
        raise ValueError(f"not a full commit name: {head!r}")
    api = GithubApi(key.api, key.token_env)
    # 422 is GitHub's answer for a commit that was never pushed to it.
    for pull in api.every(f"/repos/{key.repository}/commits/{head}/pulls", _PULLS, absent={422}):
        if pull.state == "open" and pull.head.sha == head:
            review = _last_word(api, key, pull.number)
            if review is not None and review.submitted_at is not None and _approves(review, key, head):
                return GithubReview(
                    pull=pull.number,
                    review=review.id,
                    submitted_at=review.submitted_at,
                    login=key.login if review.user is None else review.user.login,
                    html_url=review.html_url,
                    body=review.body or "",
                    base=pull.base.ref,
                )
    return None


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the review that ``signature`` names approves, now, the head commit of the approval in ``message``.

    The approval's time must be that of the review on GitHub, so that whoever uses it can tell whether the person had
    been asked by then.
    ``message`` is the DSSE pre-authentication encoding of an approval. Asks GitHub; raises ApprovalError if it gives no
    answer, which is not the same as a no.
    """
    try:
        key = GithubKey.read(public_key)
        named = _ReviewName.read(read_json(signature, source="GitHub signature"), source="GitHub signature")
        said = _approved(message)
    except DocumentError:
        return False
    if said is None or canonical_json(named.plain()) != signature:
        return False
    head, time = said
    api = GithubApi(key.api, key.token_env)
    last = _last_word(api, key, named.pull)
    if last is None or last.id != named.review or not _approves(last, key, head) or last.submitted_at != time:
        return False
    # Asked for by its number too: it may have been dismissed while the pages of the list were read.
    asked = api.one(f"{_reviews(key, named.pull)}/{named.review}", _REVIEW, absent={404})
    return asked is not None and asked.id == named.review and _approves(asked, key, head)


def payload_of(message: bytes) -> tuple[str, bytes]:
    """The payload type and payload in a DSSE pre-authentication encoding: the inverse of ``pae``.

    Raises DocumentError for bytes that ``pae`` does not give.
    """
    kind, rest = _take(message, _PAE)
    payload, rest = _take(rest, re.compile(rb" (0|[1-9][0-9]{0,9}) "))
    try:
        payload_type = kind.decode()
    except UnicodeDecodeError:
        payload_type = ""
    if rest or pae(payload_type, payload) != message:
        raise DocumentError("signed bytes: not a DSSE pre-authentication encoding")
    return payload_type, payload


def _take(data: bytes, length: re.Pattern[bytes]) -> tuple[bytes, bytes]:
    found = length.match(data)
    if found is None:
        raise DocumentError("signed bytes: not a DSSE pre-authentication encoding")
    end = found.end() + int(found[1])
    return data[found.end() : end], data[end:]


def _approved(message: bytes) -> tuple[str, datetime] | None:
    """The head commit that the approval in ``message`` is about, and its time; None if it approves no commit."""
    payload_type, payload = payload_of(message)
    if payload_type != PAYLOAD_TYPE:
        return None
    statement = read_statement(payload)
    if not isinstance(statement, ApprovalStatement) or statement.predicate.decision is not Decision.APPROVE:
        return None
    head = next((subject.digest.gitCommit for subject in statement.subject if subject.name == "commit/head"), None)
    return None if head is None else (head, statement.predicate.time)


class _ReviewName(Document):
    """The signature: which review."""

    pull: int = Field(ge=1, le=2**53, strict=True)
    review: int = Field(ge=1, le=2**53, strict=True)


class _Answered(BaseModel):
    """A part of an answer: the fields we use. GitHub adds fields as it likes."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class _User(_Answered):
    login: str
    type: str


class _Review(_Answered):
    id: int
    user: _User | None
    body: str | None = None
    state: str
    html_url: str
    submitted_at: AwareDatetime | None = None  # absent while it is pending
    commit_id: str | None  # null if the commit is gone


class _Head(_Answered):
    sha: str


class _Base(_Answered):
    ref: str


class _Pull(_Answered):
    number: int = Field(ge=1)
    state: str
    head: _Head
    base: _Base


_PULLS: TypeAdapter[list[_Pull]] = TypeAdapter(list[_Pull])
_REVIEWS: TypeAdapter[list[_Review]] = TypeAdapter(list[_Review])
_REVIEW: TypeAdapter[_Review] = TypeAdapter(_Review)


def _reviews(key: GithubKey, pull: int) -> str:
    return f"/repos/{key.repository}/pulls/{pull}/reviews"


def _last_word(api: GithubApi, key: GithubKey, pull: int) -> _Review | None:
    """The last review of the person that says something; GitHub lists reviews in chronological order."""
    said = [review for review in api.every(_reviews(key, pull), _REVIEWS) if _is_by(review, key) and _decides(review)]
    return said[-1] if said else None


def _decides(review: _Review) -> bool:
    return review.state in _DECISIVE


def _approves(review: _Review, key: GithubKey, head: str) -> bool:
    return review.state == "APPROVED" and review.commit_id == head and _is_by(review, key)


def _is_by(review: _Review, key: GithubKey) -> bool:
    """Whether the person wrote it. Logins ignore case; a program's account is no person."""
    user = review.user
    return user is not None and user.type == "User" and user.login.lower() == key.login.lower()
