"""A scripted GitLab on loopback: the list of a project's issues, with the fields and headers that GitLab documents.

``GET /api/v4/projects/{path, URL-encoded}/issues`` with ``labels`` (all of them), ``state``, ``iids[]``, ``per_page``
and ``page``: https://docs.gitlab.com/ee/api/issues.html#list-project-issues. Pages are named by a ``Link`` header:
https://docs.gitlab.com/ee/api/rest/#pagination.
"""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

TOKEN = "glpat-scripted0123456789"


@dataclass
class Issue:
    """One issue; the fields that are not here are made from it as GitLab's documentation shows them."""

    iid: int
    title: str
    description: str | None = ""
    labels: list[str] = field(default_factory=lambda: ["nightcrew"])
    state: str = "opened"
    issue_type: str = "issue"
    severity: str = "UNKNOWN"
    confidential: bool = False

    def plain(self, url: str, project: str) -> dict[str, Any]:
        return {
            "id": 76 + self.iid, "iid": self.iid, "project_id": 1, "title": self.title,
            "description": self.description, "state": self.state, "labels": self.labels,
            "created_at": "2026-01-04T15:31:51.081Z", "updated_at": "2026-01-04T15:31:51.081Z", "closed_at": None,
            "author": {"id": 18, "username": "eileen.lowe", "state": "active"}, "assignees": [], "milestone": None,
            "user_notes_count": 1, "issue_type": self.issue_type, "severity": self.severity,
            "confidential": self.confidential, "web_url": f"{url}/{project}/-/issues/{self.iid}", "weight": None,
            "references": {"short": f"#{self.iid}", "relative": f"#{self.iid}", "full": f"{project}#{self.iid}"},
        }  # fmt: skip


class Gitlab:
    """The server's state: change it as you like while it runs. ``answers`` are (status, headers) of the next ones."""

    def __init__(self, project: str) -> None:
        self.project = project
        self.issues: list[Issue] = []
        self.asked: list[dict[str, list[str]]] = []
        self.answers: list[tuple[int, Mapping[str, str]]] = []
        self.page_size = 100
        self.url = ""

    @property
    def api(self) -> str:
        return f"{self.url}/api/v4"


@contextmanager
def gitlab_server(project: str = "group/sub.group/thing") -> Iterator[Gitlab]:
    """Serve on a free port of loopback until the block ends."""
    gitlab = Gitlab(project)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"gitlab": gitlab}))
    server.daemon_threads = True
    gitlab.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield gitlab
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    gitlab: Gitlab

    def do_GET(self) -> None:
        parts, query = urlsplit(self.path), parse_qs(urlsplit(self.path).query)
        self.gitlab.asked.append(query)
        if self.gitlab.answers:
            status, headers = self.gitlab.answers.pop(0)
            self._send(status, {"message": f"{status}"}, headers)
        elif self.headers.get("PRIVATE-TOKEN") != TOKEN:
            self._send(401, {"message": "401 Unauthorized"}, {})
        elif parts.path != f"/api/v4/projects/{quote(self.gitlab.project, safe='')}/issues":
            self._send(404, {"message": "404 Project Not Found"}, {})
        else:
            self._list(parts.path, query)

    def _list(self, path: str, query: dict[str, list[str]]) -> None:
        wanted = [label for text in query.get("labels", []) for label in text.split(",")]
        found = [
            issue.plain(self.gitlab.url, self.gitlab.project)
            for issue in self.gitlab.issues
            if set(wanted) <= set(issue.labels)
            and query.get("state", [issue.state])[0] == issue.state
            and (str(issue.iid) in query["iids[]"] if "iids[]" in query else True)
        ]
        size = min(int(query.get("per_page", ["20"])[0]), self.gitlab.page_size)
        page = int(query.get("page", ["1"])[0])
        headers = {}
        if page * size < len(found):
            following = urlencode({**{name: values[0] for name, values in query.items()}, "page": page + 1})
            headers["Link"] = f'<{self.gitlab.url}{path}?{following}>; rel="next"'
        self._send(200, found[(page - 1) * size : page * size], headers)

    def _send(self, status: int, value: Any, headers: Mapping[str, str]) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        for name, content in {**headers, "Content-Type": "application/json", "Content-Length": str(len(body))}.items():
            self.send_header(name, content)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on standard error."""
