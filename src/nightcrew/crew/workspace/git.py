"""Running git over a repository that nobody vouches for, as data: nothing in it is ever executed.

A repository's own configuration can name programs in dozens of places (hooks, filters, merge drivers, fsmonitor,
textconv, credential helpers...). So whatever works on objects runs in a *shadow*: a git directory of nightcrew's own,
with a configuration of nightcrew's own, that only borrows the repository's object directory. What must see the
repository's refs or index runs in its git directory with every such setting overridden, and is plumbing that needs
none of them.
"""

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

from nightcrew.model.errors import RepositoryError, TransientError, UsageError

TIMEOUT_SECONDS = 600.0
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_FACTS = re.compile(r"(.+)\n(true|false)\n(.+)\n(sha1|sha256)", re.DOTALL)  # a path may hold line ends
_NOTHING: Mapping[str, str] = MappingProxyType({})

_OVERRIDES = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.attributesFile": "/dev/null",
    "core.pager": "cat",
    "core.editor": "false",
    "core.askPass": "false",
    "core.sshCommand": "false",
    "core.alternateRefsCommand": "true",
    "core.protectHFS": "true",
    "core.protectNTFS": "true",
    "credential.helper": "",
    "commit.gpgSign": "false",
    "tag.gpgSign": "false",
    "gpg.program": "false",
    "log.showSignature": "false",
    "protocol.allow": "never",
    "submodule.recurse": "false",
    "fetch.fsckObjects": "true",
    "transfer.fsckObjects": "true",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "advice.detachedHead": "false",
}
_ENVIRONMENT = {
    "LC_ALL": "C",
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",  # never refresh the user's index
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "",  # no protocol at all: a promisor remote could be ext::command
    "GIT_PAGER": "cat",
    "GIT_EDITOR": "false",
    "GIT_ASKPASS": "false",
    "GIT_SSH_COMMAND": "false",
}


@dataclass(frozen=True)
class GitOutput:
    """What a git command gave: its exit status, and all that it printed."""

    status: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Standard output without the final newline; undecodable bytes as surrogates, as in file names."""
        return os.fsdecode(self.stdout).rstrip("\n")

    @property
    def reason(self) -> str:
        """The last line of standard error, for people."""
        lines = self.stderr.decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else f"status {self.status}"


class Git:
    """git over one repository: the user's. Never used on a workspace, whose git runs in the sandbox.

    ``repo`` may be a working tree, a subdirectory of it, a linked worktree, a submodule or a bare repository.
    Raises RepositoryError when it is none of these, or git is missing.
    """

    def __init__(self, repo: Path) -> None:
        self.repo = repo
        if not repo.is_dir():
            raise RepositoryError(f"{repo}: no such directory", hint="Give a repository's path with --repo.")
        found = invoke(
            ["rev-parse", "--absolute-git-dir", "--is-bare-repository", "--git-common-dir", "--show-object-format"],
            directory=repo,
        )
        facts = _FACTS.fullmatch(found.text)
        if found.status != 0 or facts is None:
            raise _no_repository(repo, found)
        self.git_dir = Path(facts[1])
        self.bare = facts[2] == "true"
        self.common_dir = (repo / facts[3]).resolve()
        self.object_format = facts[4]

    @property
    def objects_dir(self) -> Path:
        """Where the repository keeps its objects."""
        return self.common_dir / "objects"

    @property
    def zero(self) -> str:
        """The null object id in this repository's format: "does not exist" in a compare-and-swap."""
        return "0" * (64 if self.object_format == "sha256" else 40)

    def refs(self, *arguments: str, stdin: bytes = b"", extra: Mapping[str, str] = _NOTHING) -> GitOutput:
        """Run git in the repository's own git directory, overrides in place; ``extra``: further configuration."""
        return invoke(arguments, directory=self.repo, stdin=stdin, configuration=extra)

    def data(
        self,
        *arguments: str,
        stdin: bytes = b"",
        source: int | None = None,
        environment: Mapping[str, str] = _NOTHING,
        timeout: float | None = None,
    ) -> GitOutput:
        """Run git on the repository's objects from the shadow, which sees no ref and no configuration of it.

        ``source`` is an open file descriptor to read instead of ``stdin``. ``timeout`` see ``invoke``.
        """
        shadow = Path(self._shadow.name)
        own = {"GIT_DIR": str(shadow), "GIT_OBJECT_DIRECTORY": str(self.objects_dir), **environment}
        return invoke(arguments, directory=shadow, stdin=stdin, source=source, environment=own, timeout=timeout)

    def must(self, output: GitOutput, what: str) -> bytes:
        """Standard output of a command that must succeed; raises RepositoryError that says ``what`` failed."""
        if output.status != 0:
            raise RepositoryError(f"{self.repo}: {what}: {output.reason}")
        return output.stdout

    def exists(self, commit: str) -> bool:
        """Whether the commit is among the repository's objects."""
        return self.data("cat-file", "-e", f"{check_commit(commit)}^{{commit}}").status == 0

    def is_ancestor(self, ancestor: str, descendant: str) -> bool:
        """Whether ``descendant`` contains ``ancestor`` (or is it)."""
        output = self.data("merge-base", "--is-ancestor", check_commit(ancestor), check_commit(descendant))
        if output.status > 1:
            self.must(output, f"comparing {ancestor[:12]} with {descendant[:12]}")
        return output.status == 0

    def ref(self, name: str) -> str | None:
        """The commit that a full ref name such as ``refs/heads/main`` points to, or None."""
        output = self.refs("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
        return output.text if output.status == 0 else None

    def update_refs(self, *updates: tuple[str, str, str]) -> None:
        """Set refs, each (name, new, old), all or none, and only while each still has its old value (``zero``: none).

        Raises TransientError when a ref was changed by someone else meanwhile or is locked, RepositoryError when it
        cannot be (a branch named ``nightcrew`` leaves no room for ``nightcrew/T-1``).
        """
        lines = "".join(f"update {name}\0{new}\0{old}\0" for name, new, old in updates)
        output = self.refs("update-ref", "-z", "--stdin", stdin=os.fsencode(lines))
        if output.status != 0:
            names = ", ".join(name for name, _, _ in updates)
            moved = any((self.ref(name) or self.zero) != old for name, _, old in updates)
            kind = TransientError if moved or b".lock" in output.stderr else RepositoryError
            raise kind(f"{self.repo}: {names} could not be set: {output.reason}")

    @cached_property
    def _shadow(self) -> "tempfile.TemporaryDirectory[str]":
        directory = tempfile.TemporaryDirectory(prefix="nightcrew-git-")
        path = Path(directory.name)
        (path / "objects").mkdir()
        (path / "refs").mkdir()
        (path / "HEAD").write_text("ref: refs/heads/none\n")
        version, extension = 0, ""
        if self.object_format != "sha1":
            version, extension = 1, f"[extensions]\n\tobjectFormat = {self.object_format}\n"
        (path / "config").write_text(f"[core]\n\tbare = true\n\trepositoryFormatVersion = {version}\n{extension}")
        shallow = self.common_dir / "shallow"
        if shallow.is_file():
            shutil.copyfile(shallow, path / "shallow")
        return directory


def check_commit(commit: str) -> str:
    """``commit`` if it is a full object id; raises UsageError, so that nothing else ever reaches git's command line."""
    if _COMMIT.fullmatch(commit) is None:
        raise UsageError(f"{commit!r} is not a full commit id", hint="Give all 40 (or 64) hexadecimal digits.")
    return commit


def invoke(
    arguments: Sequence[str],
    *,
    directory: Path,
    stdin: bytes = b"",
    source: int | None = None,
    environment: Mapping[str, str] = _NOTHING,
    configuration: Mapping[str, str] = _NOTHING,
    timeout: float | None = None,
) -> GitOutput:
    """Run git with nothing of the user's environment and with everything that could execute something turned off.

    Raises TransientError after ``timeout`` seconds (None: TIMEOUT_SECONDS); what git started ends with it.
    """
    try:
        with subprocess.Popen(
            ["git", "--no-pager", *arguments],
            cwd=directory,
            env=safe_environment(configuration) | dict(environment),
            stdin=subprocess.PIPE if source is None else source,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # Over the network git has helpers, which would outlive it.
            start_new_session=timeout is not None,
        ) as process:
            try:
                stdout, stderr = process.communicate(
                    stdin if source is None else None, TIMEOUT_SECONDS if timeout is None else timeout
                )
            except BaseException:
                if timeout is not None:
                    with suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                process.kill()
                raise
    except FileNotFoundError:
        raise RepositoryError("git is not installed", hint="Install git 2.38 or later.") from None
    except subprocess.TimeoutExpired as error:
        raise TransientError(f"git {arguments[0]} took more than {error.timeout:.0f} s in {directory}") from None
    return GitOutput(process.returncode, stdout, stderr)


def safe_environment(configuration: Mapping[str, str] = _NOTHING) -> dict[str, str]:
    """The whole environment of nightcrew's own git. Configuration goes in by variables: a name may contain ``=``."""
    settings = list((_OVERRIDES | dict(configuration)).items())
    environment = {**_ENVIRONMENT, "PATH": os.environ.get("PATH", os.defpath), "GIT_CONFIG_COUNT": str(len(settings))}
    for number, (key, value) in enumerate(settings):
        environment[f"GIT_CONFIG_KEY_{number}"] = key
        environment[f"GIT_CONFIG_VALUE_{number}"] = value
    return environment


def _no_repository(repo: Path, found: GitOutput) -> RepositoryError:
    if b"dubious ownership" in found.stderr:
        return RepositoryError(f"{repo} belongs to another user", hint="Run nightcrew as the user who owns it.")
    if b"not a git repository" in found.stderr:
        return RepositoryError(f"{repo} is not in a git repository", hint="Run: git init, and make a first commit.")
    return RepositoryError(f"{repo}: {found.reason}", hint="Check it with: git status")
