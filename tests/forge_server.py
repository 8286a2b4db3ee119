"""A scripted GitHub with a real git repository behind it: issues, pull requests, checks, code scanning, and pushes.

It follows the published REST schema (https://docs.github.com/en/rest): the fields and statuses of issues, comments,
labels, pulls, check runs, commit statuses and SARIF uploads, and refuses what GitHub refuses (a second pull request of
the same branch, a check of an unknown commit). Pushes come by git's smart HTTP (``git http-backend``).
"""

import base64
import gzip
import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.github_server import Asked, Github, Pull, _Handler

_ENVIRONMENT = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}


@dataclass
class Issue:
    """One issue; its comments are by id."""

    number: int
    title: str
    body: str | None = None
    labels: list[str] = field(default_factory=list)
    state: str = "open"
    comments: dict[int, str] = field(default_factory=dict)
    pull_request: bool = False
    moved: int | None = None
    """The number it has in another repository, which it was transferred to."""
    strangers: set[int] = field(default_factory=set)
    """Those of its comments that somebody without any right in the repository wrote."""
    association: str = "NONE"
    """What the one who wrote it is to the repository."""


@dataclass
class ForgePull(Pull):
    """One pull request with all that is said in it; its head is what the branch is at, while it is open."""

    title: str = ""
    body: str = ""
    draft: bool = False
    branch: str = ""
    merged: bool = False


class Forge(Github):
    """The server's state: change it as you like while it runs."""

    def __init__(self, repository: str, token: str, folder: Path) -> None:
        super().__init__(repository, token)
        self.git_dir = folder / f"{repository}.git"
        self.issues: dict[int, Issue] = {}
        self.runs: list[dict[str, Any]] = []
        self.statuses: list[dict[str, Any]] = []
        self.uploads: list[dict[str, Any]] = []
        self.labels: set[str] = set()
        self.is_app = True
        self.login = "crew"
        self.may_push = True
        self.private = True
        self.scans = True
        self.drafts = True
        self.reached = threading.Event()
        self.hold: tuple[str, str] | None = None
        """Method and a word of the path: such a request is done, ``reached`` is set, and no answer comes."""
        self._number = 100
        folder.mkdir(parents=True, exist_ok=True)
        self.git("init", "--quiet", "--bare", "--initial-branch=main", str(self.git_dir), directory=folder)

    @property
    def remote(self) -> str:
        """The address that is pushed to."""
        return f"{self.url}/{self.repository}.git"

    def git(self, *arguments: str, directory: Path | None = None) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=directory or self.git_dir, env=_ENVIRONMENT, capture_output=True, text=True
        )
        if done.returncode:
            raise AssertionError(done.stderr)
        return done.stdout.strip()

    def branches(self) -> dict[str, str]:
        """The branches and their commits."""
        lines = self.git("for-each-ref", "--format=%(refname:short) %(objectname)", "refs/heads").splitlines()
        return dict(line.split() for line in lines)

    def has(self, commit: str) -> bool:
        return subprocess.run(["git", "cat-file", "-e", commit], cwd=self.git_dir, capture_output=True).returncode == 0

    def issue(self, title: str, *labels: str, body: str | None = None, number: int | None = None) -> Issue:
        made = Issue(number or self.next(), title, body, list(labels))
        self.issues[made.number] = made
        return made

    def next(self) -> int:
        self._number += 1
        return self._number

    def sarif(self, number: int = -1) -> dict[str, Any]:
        """An uploaded log, unpacked."""
        packed = self.uploads[number]["sarif"]
        return dict(json.loads(gzip.decompress(base64.b64decode(packed))))

    def asked_for(self, method: str, word: str) -> list[Asked]:
        """The requests with this method whose path contains a word."""
        return [one for one in self.asked if one.method == method and word in one.path]


@contextmanager
def forge_server(
    folder: Path, repository: str = "octo-org/hello.world", token: str = "ghp_secret0123456789"
) -> Iterator[Forge]:
    """Serve on a free port of loopback until the block ends; the git repository lies in ``folder``."""
    forge = Forge(repository, token, folder)
    handler = type("Handler", (_ForgeHandler,), {"github": forge})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    forge.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield forge
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


Answer = tuple[int, Any]


class _ForgeHandler(_Handler):
    github: Forge

    def do_GET(self) -> None:
        if ".git/" in self.path:
            self._git(b"")
        else:
            self._serve()

    def do_POST(self) -> None:
        self._serve()

    do_PATCH = do_PUT = do_DELETE = do_POST

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        data = self.rfile.read(length)
        if ".git/" in self.path:
            self._git(data)
            return
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        body = json.loads(data) if data else None
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.github.asked.append(Asked(parts.path, query, headers, self.command, body))
        fault = self.github.take_fault(parts.path, self.command)
        if fault is not None and fault.how not in ("cut", "drip"):
            if fault.done:
                self._reply(parts.path, query, body)
            self._fail(fault)
            return
        status, value = self._reply(parts.path, query, body)
        if self.github.hold and self.github.hold[0] == self.command and self.github.hold[1] in parts.path:
            self.github.hold = None
            self.github.reached.set()
            time.sleep(30)
            self.close_connection = True
            return
        more: dict[str, str] = {}
        if isinstance(value, list) and self.command == "GET":
            value, more = self._page(value, parts.path, query)
        self._send(status, b"" if status == 204 else json.dumps(value).encode(), more, fault)

    def _page(self, items: list[Any], path: str, query: dict[str, list[str]]) -> tuple[list[Any], dict[str, str]]:
        page, headers = super()._page(items, path, query)
        kept = "".join(f"&{name}={values[0]}" for name, values in query.items() if name not in ("per_page", "page"))
        return page, {name: value.replace("&page=", f"{kept}&page=") for name, value in headers.items()}

    def _reply(self, path: str, query: dict[str, list[str]], body: Any) -> Answer:
        forge = self.github
        if self.headers.get("Authorization") != f"Bearer {forge.token}":
            return 401, self._problem("Bad credentials", 401)
        if path == "/graphql":
            return self._graphql(body)
        if path == "/user":
            return 200, self._user(forge.login, "User")
        prefix = f"/repos/{forge.repository}"
        if not path.startswith(prefix):
            return 404, self._problem("Not Found", 404)
        parts = [unquote(part) for part in path.removeprefix(prefix).split("/") if part]
        if not parts:
            return 200, self._repository()
        route = f"{self.command} {parts[0]}"
        routes: dict[str, Callable[[list[str], dict[str, list[str]], Any], Answer]] = {
            "GET issues": self._issues,
            "POST issues": self._issues,
            "PATCH issues": self._issues,
            "DELETE issues": self._issues,
            "GET pulls": self._pulls,
            "POST pulls": self._pulls,
            "PATCH pulls": self._pulls,
            "GET commits": self._commits,
            "POST check-runs": self._run,
            "POST statuses": self._status,
            "POST code-scanning": self._upload,
        }
        if route in routes and not (parts[0] == "pulls" and "reviews" in parts):
            return routes[route](parts, query, body)
        return self._answer(path)

    def _invalid(self, message: str, resource: str = "PullRequest") -> Answer:
        errors = [{"resource": resource, "code": "custom", "message": message}]
        return 422, {**self._problem("Validation Failed", 422), "errors": errors}

    def _repository(self) -> dict[str, Any]:
        forge = self.github
        permissions = {"admin": False, "maintain": False, "push": forge.may_push, "triage": True, "pull": True}
        return {
            "id": 1296269,
            "name": forge.repository.split("/")[1],
            "full_name": forge.repository,
            "private": forge.private,
            "visibility": "private" if forge.private else "public",
            "default_branch": "main",
            "permissions": permissions,
        }

    # Issues ---------------------------------------------------------------------------------------------------------

    def _issues(self, parts: list[str], query: dict[str, list[str]], body: Any) -> Answer:
        forge = self.github
        if len(parts) == 1:
            labels = [name for one in query.get("labels", []) for name in one.split(",")]
            state = query.get("state", ["open"])[0]
            found = [i for i in forge.issues.values() if set(labels) <= set(i.labels) and state in ("all", i.state)]
            return 200, [self._issue(issue) for issue in found]
        if parts[1] == "comments":
            return self._edit_comment(int(parts[2]), body)
        issue = forge.issues.get(int(parts[1]))
        if issue is None:
            return 410, self._problem("This issue was deleted", 410)
        if issue.moved is not None:
            return self._moved(issue, parts)
        if parts[2:] == ["comments"]:
            if self.command == "POST":
                number = forge.next()
                issue.comments[number] = body["body"]
                return 201, self._comment(issue, number)
            return 200, [self._comment(issue, number) for number in issue.comments]
        if parts[2:3] == ["labels"]:
            return self._labels(issue, parts, body)
        if self.command == "PATCH":
            issue.state = body.get("state", issue.state)
        return 200, self._issue(issue)

    def _moved(self, issue: Issue, parts: list[str]) -> Answer:
        """GitHub redirects to the repository that the issue is in now."""
        if self.command != "GET" or parts[2:]:
            return 301, {"message": "Moved Permanently", "url": "", "documentation_url": ""}
        there = "octo-org/elsewhere"
        found = self._issue(issue) | {"number": issue.moved, "html_url": f"https://github.com/{there}/issues/1"}
        return 200, found | {"repository_url": f"{self.github.url}/repos/{there}"}

    def _labels(self, issue: Issue, parts: list[str], body: Any) -> Answer:
        if self.command == "DELETE":
            if parts[3] not in issue.labels:
                return 404, self._problem("Label does not exist", 404)
            issue.labels.remove(parts[3])
        elif self.command == "POST":
            issue.labels += [name for name in body["labels"] if name not in issue.labels]
        return 200, [self._label(name) for name in issue.labels]

    def _edit_comment(self, number: int, body: Any) -> Answer:
        for issue in self.github.issues.values():
            if number in issue.comments:
                issue.comments[number] = body["body"]
                return 200, self._comment(issue, number)
        return 404, self._problem("Not Found", 404)

    def _label(self, name: str) -> dict[str, Any]:
        return {"id": 1, "node_id": "L", "url": "", "name": name, "color": "ededed", "default": False}

    def _comment(self, issue: Issue, number: int) -> dict[str, Any]:
        html = f"https://github.com/{self.github.repository}/issues/{issue.number}#issuecomment-{number}"
        stranger = number in issue.strangers
        return {
            "id": number,
            "body": issue.comments[number],
            "html_url": html,
            "user": self._user("eve" if stranger else "crew", "User"),
            "author_association": "NONE" if stranger else "COLLABORATOR",
        }

    def _issue(self, issue: Issue) -> dict[str, Any]:
        own = f"https://github.com/{self.github.repository}/issues/{issue.number}"
        pull = {"pull_request": {"url": own, "html_url": own}} if issue.pull_request else {}
        return {
            "id": issue.number,
            "node_id": "I",
            "number": issue.number,
            "title": issue.title,
            "body": issue.body,
            "html_url": own,
            "repository_url": f"{self.github.url}/repos/{self.github.repository}",
            "state": issue.state,
            "user": self._user("grace", "User"),
            "author_association": issue.association,
            "labels": [self._label(name) for name in issue.labels],
            "comments": len(issue.comments),
            **pull,
        }

    # Pull requests --------------------------------------------------------------------------------------------------

    def _pulls(self, parts: list[str], query: dict[str, list[str]], body: Any) -> Answer:
        forge = self.github
        if len(parts) == 1 and self.command == "POST":
            return self._open(body)
        if len(parts) == 1:
            owner, _, branch = query.get("head", [":"])[0].partition(":")
            state = query.get("state", ["open"])[0]
            own = owner == forge.repository.split("/")[0]
            found = [p for p in forge.pulls if state in ("all", p.state) and (not branch or (own and _of(p) == branch))]
            return 200, [self._pull(pull) for pull in reversed(found)]
        pull = next((one for one in forge.pulls if str(one.number) == parts[1]), None)
        if pull is None:
            return 404, self._problem("Not Found", 404)
        if self.command == "PATCH" and isinstance(pull, ForgePull):
            pull.title, pull.body = body.get("title", pull.title), body.get("body", pull.body)
            pull.base = body.get("base", pull.base)
            pull.state = body.get("state", pull.state)
        return 200, self._pull(pull)

    def _open(self, body: Any) -> Answer:
        forge = self.github
        branches = forge.branches()
        branch, base = body["head"].rpartition(":")[2], body["base"]
        if branch not in branches:
            return self._invalid("head is invalid")
        if base not in branches:
            return self._invalid("base is invalid")
        if not forge.git("rev-list", f"{branches[base]}..{branches[branch]}"):
            return self._invalid(f"No commits between {base} and {branch}")
        if any(_of(one) == branch and one.state == "open" and one.base == base for one in forge.pulls):
            return self._invalid(f"A pull request already exists for {forge.repository.split('/')[0]}:{branch}.")
        if body.get("draft") and not forge.drafts:
            return self._invalid("Draft pull requests are not supported in this repository.")
        pull = ForgePull(
            forge.next(), branches[branch], base=base, title=body["title"], body=body["body"],
            draft=bool(body.get("draft")), branch=branch,
        )  # fmt: skip
        forge.add(pull)
        return 201, self._pull(pull)

    def _pull(self, pull: Pull) -> dict[str, Any]:
        found = super()._pull(pull)
        if isinstance(pull, ForgePull):
            if pull.state == "open":
                pull.head = self.github.branches().get(pull.branch, pull.head)
            owner = self.github.repository.split("/")[0]
            found |= {
                "node_id": f"PR_{pull.number}",
                "title": pull.title,
                "body": pull.body.replace("\n", "\r\n"),  # as GitHub gives it
                "draft": pull.draft,
                "merged_at": "2026-01-31T03:00:00Z" if pull.merged else None,
                "head": {"label": f"{owner}:{pull.branch}", "ref": pull.branch, "sha": pull.head},
            }
        return found

    def _graphql(self, body: Any) -> Answer:
        number = body["variables"]["id"].removeprefix("PR_")
        pull = next(p for p in self.github.pulls if isinstance(p, ForgePull) and str(p.number) == number)
        wanted = "convertPullRequestToDraft" in body["query"]
        if wanted and not self.github.drafts:
            return 200, {"data": None, "errors": [{"type": "UNPROCESSABLE", "message": "no drafts here"}]}
        pull.draft = wanted
        name = "convertPullRequestToDraft" if pull.draft else "markPullRequestReadyForReview"
        return 200, {"data": {name: {"pullRequest": {"isDraft": pull.draft}}}}

    # Checks ---------------------------------------------------------------------------------------------------------

    def _commits(self, parts: list[str], query: dict[str, list[str]], body: Any) -> Answer:
        forge = self.github
        if parts[2:] == ["check-runs"]:
            wanted = query.get("check_name", [""])[0]
            runs = [run for run in forge.runs if run["head_sha"] == parts[1] and wanted in ("", run["name"])]
            return 200, {"total_count": len(runs), "check_runs": runs}
        if parts[2:] == ["statuses"]:
            return 200, [one for one in reversed(forge.statuses) if one["sha"] == parts[1]]
        if parts[2:] == ["pulls"]:
            if not forge.has(parts[1]):
                return 422, self._problem(f"No commit found for SHA: {parts[1]}", 422)
            return 200, [self._pull(pull) for pull in forge.pulls if pull.head == parts[1]]
        return 404, self._problem("Not Found", 404)

    def _run(self, _parts: list[str], _query: dict[str, list[str]], body: Any) -> Answer:
        if not self.github.is_app:
            return 403, self._problem("You must authenticate via a GitHub App.", 403)
        if not self.github.has(body["head_sha"]):
            return self._invalid(f"No commit found for SHA: {body['head_sha']}", "CheckRun")
        if len(body["output"]["annotations"]) > 50 or len(body["output"]["summary"]) > 65535:
            return self._invalid("output is too large", "CheckRun")
        run = {"id": self.github.next(), "node_id": "CR", "html_url": "", **body}
        self.github.runs.append(run)
        return 201, run

    def _status(self, parts: list[str], _query: dict[str, list[str]], body: Any) -> Answer:
        if not self.github.has(parts[1]):
            return self._invalid(f"No commit found for SHA: {parts[1]}", "Status")
        if body["state"] not in ("error", "failure", "pending", "success") or len(body["description"]) > 140:
            return self._invalid("state or description is invalid", "Status")
        status = {"id": self.github.next(), "node_id": "S", "sha": parts[1], "target_url": None, **body}
        self.github.statuses.append(status)
        return 201, status

    def _upload(self, _parts: list[str], _query: dict[str, list[str]], body: Any) -> Answer:
        if not self.github.scans:
            return 403, self._problem("Code scanning is not enabled for this repository.", 403)
        self.github.uploads.append(body)
        return 202, {"id": f"sarif-{len(self.github.uploads)}", "url": ""}

    # git ------------------------------------------------------------------------------------------------------------

    def _git(self, data: bytes) -> None:
        forge = self.github
        parts = urlsplit(self.path)
        forge.asked.append(Asked(parts.path, parse_qs(parts.query), dict(self.headers.items()), f"git {self.command}"))
        fault = forge.take_fault(parts.path, self.command)
        if fault is not None and not fault.done:
            self._fail(fault)
            return
        credentials = base64.b64encode(f"x-access-token:{forge.token}".encode()).decode()
        if self.headers.get("Authorization") != f"Basic {credentials}":
            self._send(401, b"", {"WWW-Authenticate": 'Basic realm="GitHub"'})
            return
        environment = {
            **_ENVIRONMENT,
            "GIT_PROJECT_ROOT": str(forge.git_dir.parent.parent),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": parts.path,
            "QUERY_STRING": parts.query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(data)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "HTTP_GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "REMOTE_USER": "crew",
            "REMOTE_ADDR": "127.0.0.1",
        }
        done = subprocess.run(["git", "http-backend"], input=data, env=environment, capture_output=True)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
        if fault is not None:
            self._fail(fault)
            return
        status = int(headers.pop("Status", "200").split()[0])
        self._send(status, content, headers)


def _of(pull: Pull) -> str:
    return pull.branch if isinstance(pull, ForgePull) else "topic"
