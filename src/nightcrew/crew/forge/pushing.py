"""Branches to the forge: nightcrew's own git, no hook, nothing of a configuration but the address that is pushed to.

A branch that nightcrew made is moved on; one that somebody else has put a commit on is left alone. The token goes to
the forge's own host only, by the environment of the one git process, never on its command line; over ssh it is the
user's own key that counts, without a question.

Sources: git-push(1), ``--force-with-lease`` and ``--porcelain``; git-config(1), ``http.<url>.extraHeader``;
gitprotocol-http(5).
"""

import base64
import os
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from urllib.parse import urlsplit

from nightcrew.approvals.github_api import api_url
from nightcrew.crew.forge.errors import ForgeAway, ForgeRefused
from nightcrew.crew.workspace import Git
from nightcrew.crew.workspace.git import check_commit, safe_environment
from nightcrew.model.errors import TransientError
from nightcrew.reliability import Failure, FailureClass

_SCP = re.compile(r"(?:[A-Za-z0-9_.-]+@)?[A-Za-z0-9][A-Za-z0-9.-]*:(?!//)[^\s:].*")
_PASSING = re.compile(
    rb"could not resolve|connection|timed out|early eof|hung up|rpc failed|returned error: (5\d\d|429)|unable to access"
    rb"|stale info",
    re.IGNORECASE,
)
_REFUSED = re.compile(rb"authentication failed|returned error: 40[134]|permission denied|not found|read-only", re.I)
_PASSED_ON = ("SSH_AUTH_SOCK", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "SSL_CERT_FILE", "GIT_SSL_CAINFO")
_SSH = "ssh -o BatchMode=yes -o ConnectTimeout=15 -o ServerAliveInterval=15"

NETWORK_SECONDS = 120.0
"""Longest time for one push or listing: a host that hangs does not hold up the night."""


class PushRefused(ForgeRefused):
    """A branch could not be pushed, and could not be tomorrow."""

    hint = "Check [github] remote, and that you may push there; then run: nightcrew sync"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, failure=Failure(FailureClass.AUTH, "PushRefused", message[:500]), hint=hint)


class PushFailed(ForgeAway):
    """A branch could not be pushed now."""

    def __init__(self, message: str) -> None:
        super().__init__(message, failure=Failure(FailureClass.NETWORK, "PushFailed", message[:500]))


@dataclass(frozen=True)
class Remote:
    """Where branches go: an address, and whose repository it is (empty if the address does not say)."""

    url: str
    protocol: str
    owner: str

    @property
    def shown(self) -> str:
        """The address for messages, without a user name or a password."""
        return re.sub(r"(?<=://)[^/@]*@", "", self.url)


def remote_of(git: Git, setting: str) -> Remote:
    """The remote, or the address, that ``[github] remote`` names; raises PushRefused for one that is not pushed to."""
    url = setting
    if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_./-]*", setting) and not setting.startswith(("/", ".")):
        found = git.refs("config", "--get", f"remote.{setting}.pushurl")
        if found.status != 0:
            found = git.refs("config", "--get", f"remote.{setting}.url")
        if found.status != 0 or not found.text:
            raise PushRefused(f"there is no remote {setting}", hint="See: git remote -v, and [github] remote.")
        url = found.text
    protocol = _protocol(url)
    if protocol == "file":
        url = _folder(git, url.removeprefix("file://"))
    return Remote(url, protocol, _owner(url))


def _folder(git: Git, url: str) -> str:
    """The absolute path of a folder that is pushed to; the hooks there run, so that it is none of this repository's."""
    path, here = (git.repo / url).resolve(), git.repo.resolve()
    if path == here or here in path.parents:
        raise PushRefused(f"{path} is within the repository, which could bring hooks of its own into it")
    return str(path)


@dataclass(frozen=True)
class Pusher:
    """Pushes to ``remote`` from ``git``; ``api`` is the forge's API, whose host ``token`` is for."""

    git: Git
    remote: Remote
    api: str
    token: Callable[[], str]

    def heads(self, pattern: str) -> dict[str, str]:
        """The branches there that match: full ref name and commit. Raises PushFailed, PushRefused."""
        lines = self._run("ls-remote", "--", self.remote.url, pattern).decode("utf-8", "replace").splitlines()
        return {name: commit for commit, _, name in (line.partition("\t") for line in lines)}

    def push(self, branch: str, commit: str, *, ours: Collection[str]) -> str:
        """Bring ``branch`` there to ``commit``; gives what was done: pushed, or there already.

        ``ours`` are commits that nightcrew made for this branch before. Raises PushRefused if the branch there has
        another commit that ``commit`` does not contain: somebody else's.
        """
        ref = f"refs/heads/{branch}"
        there = self.heads(ref).get(ref)
        if there == check_commit(commit):
            return "there already"
        if there is not None and there not in ours and not self._contains(commit, there):
            raise PushRefused(
                f"{branch} at {self.remote.shown} has a commit of somebody else: {there[:12]}",
                hint=f"Fetch it and look; delete the branch there if it may go: git push {self.remote.shown} :{branch}",
            )
        lease = f"--force-with-lease={ref}:{there or ''}"
        self._run("push", "--porcelain", "--no-verify", lease, "--", self.remote.url, f"{commit}:{ref}")
        return "pushed"

    def _contains(self, commit: str, other: str) -> bool:
        return self.git.exists(other) and self.git.is_ancestor(other, commit)

    def _run(self, *arguments: str) -> bytes:
        """Run git in the shadow, which knows no configuration of the repository; raises PushFailed, PushRefused."""
        try:
            done = self.git.data(*arguments, environment=self._environment(), timeout=NETWORK_SECONDS)
        except TransientError:
            raise PushFailed(f"{self.remote.shown}: git {arguments[0]}: no end after {NETWORK_SECONDS:.0f} s") from None
        if done.status == 0:
            return done.stdout
        token = self._header()
        said = done.stderr if not token else done.stderr.replace(token.encode(), b"***")
        reasons = [
            line for line in (done.stdout + b"\n" + said).splitlines() if line.startswith((b"!", b"fatal", b"error"))
        ]
        reason = b"; ".join(reasons[:2]).decode("utf-8", "replace") or done.reason
        told = f"{self.remote.shown}: git {arguments[0]}: {' '.join(reason.split())}"[:400]
        if _REFUSED.search(said) or not _PASSING.search(said):
            raise PushRefused(told)
        raise PushFailed(told)

    def _environment(self) -> dict[str, str]:
        configuration = {
            "http.followRedirects": "false",
            "http.lowSpeedLimit": "1000",  # bytes a second
            "http.lowSpeedTime": "30",
            "core.sshCommand": _SSH,
        }
        if header := self._header():
            scope = "{0.scheme}://{0.netloc}/".format(urlsplit(self.remote.url))
            configuration[f"http.{scope}.extraHeader"] = f"Authorization: Basic {header}"
        passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        own = {"GIT_ALLOW_PROTOCOL": self.remote.protocol, "GIT_SSH_COMMAND": _SSH}
        if self.remote.protocol == "http":
            own["no_proxy"] = "*"  # a token in the clear stays on this machine
        return safe_environment(configuration) | passed | own

    def _header(self) -> str:
        """The token as git's servers take it; empty if the address is not the forge's own host."""
        if self.remote.protocol not in ("https", "http") or urlsplit(self.remote.url).hostname != _git_host(self.api):
            return ""
        token = self.token()
        return base64.b64encode(f"x-access-token:{token}".encode()).decode() if token else ""


def _git_host(api: str) -> str | None:
    """The host that serves git for an API: github.com, NAME.ghe.com; the same host on an Enterprise Server."""
    host = urlsplit(api).hostname
    own = host is not None and (host == "api.github.com" or (host.startswith("api.") and host.endswith(".ghe.com")))
    return host.removeprefix("api.") if host is not None and own else host


def _protocol(url: str) -> str:
    if not url or url.startswith("-") or any(not character.isprintable() for character in url):
        raise PushRefused("the remote's address is none")
    scheme = urlsplit(url).scheme if "://" in url else ""
    if scheme in ("https", "ssh"):
        return scheme
    if scheme == "http":
        try:
            api_url(url.rstrip("/"))
        except ValueError:
            raise PushRefused("nothing is pushed over plain http", hint="Use https or ssh.") from None
        return "http"
    if url.startswith(("/", "./", "../", "file:///")):
        return "file"
    if not scheme and "::" not in url and _SCP.fullmatch(url):
        return "ssh"
    raise PushRefused("the remote's address is neither https, ssh nor a folder")


def _owner(url: str) -> str:
    path = urlsplit(url).path if "://" in url else url.partition(":")[2]
    found = re.search(r"([A-Za-z0-9][A-Za-z0-9-]*)/[A-Za-z0-9._-]+?(?:\.git)?/?$", path)
    local = _protocol(url) == "file"
    return found[1] if found and not local else ""
