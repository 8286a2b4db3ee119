"""A scripted GitHub on loopback: the three endpoints of reviews, with the fields and statuses that GitHub documents.

``GET /repos/{owner}/{repo}/commits/{sha}/pulls``, ``GET /repos/{owner}/{repo}/pulls/{number}/reviews`` and
``GET /repos/{owner}/{repo}/pulls/{number}/reviews/{id}``: https://docs.github.com/en/rest/commits/commits and
https://docs.github.com/en/rest/pulls/reviews. Lists come in pages with a ``Link`` header; what goes wrong is scripted
as a fault for the next request whose path contains a word.
"""

import json
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit


@dataclass
class Review:
    """One review of a pull request; ``state`` as GitHub spells it."""

    id: int
    login: str
    state: Literal["APPROVED", "CHANGES_REQUESTED", "COMMENTED", "DISMISSED", "PENDING"]
    commit_id: str | None
    submitted_at: str = "2026-01-31T02:00:00Z"
    body: str = ""
    type: str = "User"
    ghost: bool = False  # its author's account is gone


@dataclass
class Pull:
    """One pull request, its reviews in the order in which they were submitted."""

    number: int
    head: str
    reviews: list[Review] = field(default_factory=list)
    state: Literal["open", "closed"] = "open"
    base: str = "main"


@dataclass(frozen=True)
class Fault:
    """What the next request (of this ``method``, if one is given) to a path that contains ``path`` gets.

    ``how``: ``status`` answers with ``status``, ``headers`` and ``message``; ``reset`` resets the connection; ``cut``
    ends it in the middle of the answer; ``silent`` does not answer for ``seconds``; ``drip`` sends a byte of the answer
    every ``seconds``; ``raw`` sends ``raw`` as the body. All but ``cut`` and ``drip`` come in place of what was asked
    for, unless ``done``: then it is done, and its answer alone is lost.
    ``times``: how many requests get it.
    """

    how: Literal["status", "reset", "cut", "silent", "drip", "raw"] = "status"
    path: str = "/"
    method: str = ""
    done: bool = False
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    message: str = ""
    raw: bytes = b""
    seconds: float = 0.0
    times: int = 1


@dataclass
class Asked:
    """One request that came."""

    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    method: str = "GET"
    body: Any = None


class Github:
    """The server's state: change it as you like while it runs."""

    def __init__(self, repository: str, token: str) -> None:
        self.repository = repository
        self.token = token
        self.commits: set[str] = set()
        self.pulls: list[Pull] = []
        self.page_size = 100
        self.next_link: str | None = None  # in place of the true one
        self.url = ""
        self.asked: list[Asked] = []
        self._faults: list[list[Any]] = []
        self._lock = threading.Lock()

    def fail(self, fault: Fault) -> None:
        self._faults.append([fault, fault.times])

    def add(self, pull: Pull) -> Pull:
        self.commits |= {pull.head, *(review.commit_id for review in pull.reviews if review.commit_id)}
        self.pulls.append(pull)
        return pull

    def take_fault(self, path: str, method: str = "GET") -> Fault | None:
        with self._lock:
            for entry in self._faults:
                if entry[1] > 0 and entry[0].path in path and entry[0].method in ("", method):
                    entry[1] -= 1
                    fault: Fault = entry[0]
                    return fault
        return None


@contextmanager
def github_server(repository: str = "octo-org/hello.world", token: str = "ghp_secret0123456789") -> Iterator[Github]:
    """Serve on a free port of loopback until the block ends."""
    github = Github(repository, token)
    handler = type("Handler", (_Handler,), {"github": github})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    github.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield github
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    github: Github

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        self.github.asked.append(Asked(parts.path, query, {name.lower(): v for name, v in self.headers.items()}))
        fault = self.github.take_fault(parts.path)
        if fault is not None and fault.how not in ("cut", "drip"):
            self._fail(fault)
            return
        status, value = self._answer(parts.path)
        headers: dict[str, str] = {}
        if isinstance(value, list):
            value, headers = self._page(value, parts.path, query)
        body = json.dumps(value).encode()
        self._send(status, body, headers, fault)

    def _fail(self, fault: Fault) -> None:
        if fault.how == "reset":
            # A close with a linger of 0 sends RST instead of FIN.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.shutdown(socket.SHUT_RD)
            self.close_connection = True
        elif fault.how == "silent":
            time.sleep(fault.seconds)
            self.close_connection = True
        elif fault.how == "raw":
            self._send(fault.status, fault.raw, dict(fault.headers))
        else:
            body = {"message": fault.message, "documentation_url": "https://docs.github.com/rest"}
            self._send(fault.status, json.dumps(body).encode(), dict(fault.headers))

    def _answer(self, path: str) -> tuple[int, Any]:
        if self.headers.get("Authorization") != f"Bearer {self.github.token}":
            return 401, self._problem("Bad credentials", 401)
        repository = re.escape(self.github.repository)
        if found := re.fullmatch(rf"/repos/{repository}/commits/([0-9a-f]+)/pulls", path, re.IGNORECASE):
            if found[1] not in self.github.commits:
                return 422, self._problem(f"No commit found for SHA: {found[1]}", 422)
            # GitHub lists a pull request under each of its commits, not under its head alone.
            of = [p for p in self.github.pulls if found[1] in {p.head, *(r.commit_id for r in p.reviews)}]
            return 200, [self._pull(pull) for pull in of]
        found = re.fullmatch(rf"/repos/{repository}/pulls/(\d+)/reviews(?:/(\d+))?", path, re.IGNORECASE)
        pull = next((p for p in self.github.pulls if found and p.number == int(found[1])), None)
        if found is None or pull is None:
            return 404, self._problem("Not Found", 404)
        reviews = [self._review(pull, review) for review in pull.reviews]
        if found[2] is None:
            return 200, reviews
        one = next((review for review in reviews if review["id"] == int(found[2])), None)
        return (404, self._problem("Not Found", 404)) if one is None else (200, one)

    def _page(self, items: list[Any], path: str, query: dict[str, list[str]]) -> tuple[list[Any], dict[str, str]]:
        size = min(int(query.get("per_page", ["30"])[0]), self.github.page_size)
        page = int(query.get("page", ["1"])[0])
        headers = {}
        if page * size < len(items):
            base = f"{self.github.url}{path}?per_page={size}"
            links = {"first": f"{base}&page=1", "last": f"{base}&page={-(-len(items) // size)}"}
            links["next"] = self.github.next_link or f"{base}&page={page + 1}"
            headers["Link"] = ", ".join(f'<{url}>; rel="{rel}"' for rel, url in links.items())
        return items[(page - 1) * size : page * size], headers

    def _send(self, status: int, body: bytes, headers: Mapping[str, str], fault: Fault | None = None) -> None:
        self.send_response(status)
        own = {
            "Content-Type": "application/json; charset=utf-8",
            "Content-Length": str(len(body)),
            "X-GitHub-Media-Type": "github.v3; format=json",
            "X-RateLimit-Limit": "5000",
            "X-RateLimit-Remaining": "4999",
        }
        for name, content in {**own, **headers}.items():
            self.send_header(name, content)
        self.end_headers()
        if fault is None:
            self.wfile.write(body)
        elif fault.how == "cut":
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
        else:
            self._drip(body, fault.seconds)

    def _drip(self, body: bytes, seconds: float) -> None:
        self.close_connection = True
        with suppress(OSError):  # the client has had enough
            for byte in body:
                self.wfile.write(bytes([byte]))
                time.sleep(seconds)

    @staticmethod
    def _problem(message: str, status: int) -> dict[str, str]:
        return {"message": message, "documentation_url": "https://docs.github.com/rest", "status": str(status)}

    def _user(self, login: str, kind: str) -> dict[str, Any]:
        own = f"{self.github.url}/users/{login}"
        return {
            "login": login,
            "id": 1,
            "node_id": "MDQ6VXNlcjE=",
            "avatar_url": "https://github.com/images/error/octocat_happy.gif",
            "gravatar_id": "",
            "url": own,
            "html_url": f"https://github.com/{login}",
            "followers_url": f"{own}/followers",
            "following_url": own + "/following{/other_user}",
            "gists_url": own + "/gists{/gist_id}",
            "starred_url": own + "/starred{/owner}{/repo}",
            "subscriptions_url": f"{own}/subscriptions",
            "organizations_url": f"{own}/orgs",
            "repos_url": f"{own}/repos",
            "events_url": own + "/events{/privacy}",
            "received_events_url": f"{own}/received_events",
            "type": kind,
            "site_admin": False,
        }

    def _pull(self, pull: Pull) -> dict[str, Any]:
        own = f"{self.github.url}/repos/{self.github.repository}/pulls/{pull.number}"
        owner = self.github.repository.split("/")[0]
        return {
            "url": own,
            "id": pull.number,
            "node_id": "MDExOlB1bGxSZXF1ZXN0MQ==",
            "html_url": f"https://github.com/{self.github.repository}/pull/{pull.number}",
            "number": pull.number,
            "state": pull.state,
            "locked": False,
            "title": "Amazing new feature",
            "user": self._user("crew", "User"),
            "body": "Please pull these awesome changes in!",
            "labels": [],
            "milestone": None,
            "created_at": "2026-01-31T01:00:00Z",
            "updated_at": "2026-01-31T02:00:00Z",
            "closed_at": None if pull.state == "open" else "2026-01-31T03:00:00Z",
            "merged_at": None,
            "merge_commit_sha": None,
            "assignees": [],
            "requested_reviewers": [],
            "head": {"label": f"{owner}:topic", "ref": "topic", "sha": pull.head},
            "base": {"label": f"{owner}:{pull.base}", "ref": pull.base, "sha": "c" * 40},
            "author_association": "OWNER",
            "auto_merge": None,
            "draft": False,
        }

    def _review(self, pull: Pull, review: Review) -> dict[str, Any]:
        html = f"https://github.com/{self.github.repository}/pull/{pull.number}"
        own = f"{self.github.url}/repos/{self.github.repository}/pulls/{pull.number}"
        return {
            "id": review.id,
            "node_id": "MDE3OlB1bGxSZXF1ZXN0UmV2aWV3ODA=",
            "user": None if review.ghost else self._user(review.login, review.type),
            "body": review.body,
            "state": review.state,
            "html_url": f"{html}#pullrequestreview-{review.id}",
            "pull_request_url": own,
            "_links": {
                "html": {"href": f"{html}#pullrequestreview-{review.id}"},
                "pull_request": {"href": own},
            },
            # "Pull request reviews created in the PENDING state ... do not include the submitted_at property".
            **({} if review.state == "PENDING" else {"submitted_at": review.submitted_at}),
            "commit_id": review.commit_id,
            "author_association": "COLLABORATOR",
        }

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""
