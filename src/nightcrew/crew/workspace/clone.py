"""Private clones: an agent's workspace for one ticket."""

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nightcrew.crew.workspace.git import Git, GitOutput, check_commit, invoke
from nightcrew.model.errors import NotFoundError, RepositoryError, UsageError

AGENT_NAME = "nightcrew build agent"
AGENT_EMAIL = "build@nightcrew.invalid"

_LEFTOVERS = "\n".join(
    ("__pycache__/", "*.pyc", ".pytest_cache/", ".mypy_cache/", ".ruff_cache/", ".hypothesis/", ".coverage", "")
)
"""What tools leave behind is no part of a change, also where the repository does not ignore it; tracked files are."""


@dataclass(frozen=True)
class Workspace:
    """A private clone. ``borrowed`` are the object directories that its sandbox must let it read.

    ``branch`` (without ``refs/heads/``) is None for a checkout of a commit alone. The record of it lies beside the
    clone, not in it, where the agent could write it.
    """

    path: Path
    source: Path
    base: str
    branch: str | None
    borrowed: tuple[Path, ...]

    @property
    def ref(self) -> str:
        """What work is committed on: the branch's full name, or HEAD."""
        return "HEAD" if self.branch is None else f"refs/heads/{self.branch}"


def clone_workspace(source_repo: Path, destination: Path, *, commit: str, branch: str | None) -> Workspace:
    """Make a private clone of ``source_repo`` at ``destination`` with ``commit`` checked out (on ``branch``, if given).

    It has a git directory of its own, shares no file with the source by hard link, and borrows the source's objects
    through alternates. Nothing of the source's configuration comes along, so no filter or hook of it can run;
    submodules stay empty. Raises UsageError if ``destination`` exists, RepositoryError if the commit is missing or
    cannot be checked out; then nothing is left behind.
    """
    git = Git(source_repo)
    check_commit(commit)
    if destination.exists():
        raise UsageError(f"{destination} exists already", hint="Discard that workspace first.")
    if not git.exists(commit):
        raise RepositoryError(f"{source_repo} has no commit {commit[:12]}", hint="Is it a shallow or partial clone?")
    if branch is not None and git.data("check-ref-format", f"refs/heads/{branch}").status != 0:
        raise UsageError(f"{branch!r} is not a branch name")
    destination = destination.absolute()
    borrowed = _object_directories(git.objects_dir.resolve())
    workspace = Workspace(destination, source_repo.resolve(), commit, branch, borrowed)
    destination.parent.mkdir(parents=True, exist_ok=True)
    try:
        _initialise(git, destination)
        _check_out(workspace)
    except BaseException:
        remove_tree(destination)
        raise
    _record(workspace)
    return workspace


def open_workspace(path: Path) -> Workspace:
    """The workspace that ``clone_workspace`` made at ``path``; raises NotFoundError."""
    try:
        facts: dict[str, Any] = json.loads(record_path(path).read_text())
    except FileNotFoundError:
        raise NotFoundError(f"there is no workspace at {path}") from None
    return Workspace(
        path=path.absolute(),
        source=Path(facts["source"]),
        base=facts["base"],
        branch=facts["branch"],
        borrowed=tuple(map(Path, facts["borrowed"])),
    )


def record_path(workspace: Path) -> Path:
    """Where the record of the workspace at this path lies: beside it."""
    return workspace.with_name(f"{workspace.name}.workspace.json")


def remove_tree(path: Path) -> None:
    """Delete a tree that an agent wrote: links are not followed, directories without permissions are opened first."""
    if not path.is_symlink() and path.is_dir():
        for directory, _, _ in os.walk(path, followlinks=False, onerror=_open_up):
            if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
                Path(directory).chmod(0o700)
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _open_up(error: OSError) -> None:
    if error.filename is not None:
        Path(error.filename).chmod(0o700)


def _object_directories(objects: Path) -> tuple[Path, ...]:
    """``objects`` and all that it borrows from in turn, as git would find them."""
    found: list[Path] = []
    new = [objects]
    while new:
        directory = new.pop(0)
        if directory in found or not directory.is_dir():
            continue
        found.append(directory)
        alternates = directory / "info" / "alternates"
        if alternates.is_file():
            lines = alternates.read_text(errors="surrogateescape").splitlines()
            new += [(directory / line).resolve() for line in lines if line and line[0] not in '#"']
    return tuple(found)


def _initialise(git: Git, destination: Path) -> None:
    _must(
        invoke(
            ["init", "--quiet", "--template=", f"--object-format={git.object_format}", str(destination)],
            directory=destination.parent,
        ),
        destination,
    )
    private = destination / ".git"
    (private / "info").mkdir(exist_ok=True)
    (private / "objects" / "info").mkdir(parents=True, exist_ok=True)
    (private / "objects" / "info" / "alternates").write_bytes(_quoted(os.fsencode(git.objects_dir.resolve())) + b"\n")
    (private / "info" / "exclude").write_text(_LEFTOVERS)
    shallow = git.common_dir / "shallow"
    if shallow.is_file():
        shutil.copyfile(shallow, private / "shallow")
    for key, value in (("user.name", AGENT_NAME), ("user.email", AGENT_EMAIL), ("gc.auto", "0")):
        _must(invoke(["config", key, value], directory=destination), destination)


def _check_out(workspace: Workspace) -> None:
    # The configuration is ours alone at this moment, before any agent had the workspace: no filter is defined.
    where = ["--detach"] if workspace.branch is None else ["-B", workspace.branch]
    _must(invoke(["checkout", "--quiet", *where, workspace.base, "--"], directory=workspace.path), workspace.path)


def _quoted(path: bytes) -> bytes:
    """``path`` as a line of an alternates file (gitrepository-layout): quoted as in C if it would be misread."""
    if b"\n" not in path and path[:1] not in (b'"', b"#"):
        return path
    return b'"' + path.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n") + b'"'


def _record(workspace: Workspace) -> None:
    facts = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(workspace).items()}
    facts["borrowed"] = [str(path) for path in workspace.borrowed]
    target = record_path(workspace.path)
    temporary = target.with_suffix(".tmp")
    temporary.write_text(json.dumps(facts, indent=2))
    temporary.replace(target)


def _must(output: GitOutput, where: Path) -> None:
    if output.status != 0:
        raise RepositoryError(f"the workspace {where} cannot be made: {output.reason}")
