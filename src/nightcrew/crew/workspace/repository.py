"""What state the user's repository is in: read, never changed."""

import os
from dataclasses import dataclass
from pathlib import Path

from nightcrew.crew.workspace.git import Git
from nightcrew.model.errors import RepositoryError


@dataclass(frozen=True)
class RepositoryState:
    """A repository as it is found.

    ``root`` is the top of the working tree (the git directory if bare), ``head`` the commit checked out (None before
    the first commit), ``branch`` the branch checked out without ``refs/heads/`` (None if detached), ``dirty`` whether
    tracked files differ from ``head``, ``default_branch`` the branch that work starts from.
    """

    root: Path
    git_dir: Path
    bare: bool
    commits: bool
    head: str | None
    branch: str | None
    detached: bool
    dirty: bool
    default_branch: str
    object_format: str
    shallow: bool


def inspect(repo: Path) -> RepositoryState:
    """The state of the repository that ``repo`` lies in; raises RepositoryError if it lies in none."""
    git = Git(repo)
    symbolic = git.refs("symbolic-ref", "--quiet", "HEAD")
    branch = symbolic.text.removeprefix("refs/heads/") if symbolic.status == 0 else None
    head = git.ref("HEAD")
    return RepositoryState(
        root=_root(git),
        git_dir=git.git_dir,
        bare=git.bare,
        commits=head is not None or git.refs("rev-list", "--max-count=1", "--all").stdout != b"",
        head=head,
        branch=branch,
        detached=branch is None,
        dirty=not git.bare and head is not None and is_dirty(git),
        default_branch=_default_branch(git, branch),
        object_format=git.object_format,
        shallow=(git.common_dir / "shallow").is_file(),
    )


def root_of(repo: Path) -> Path:
    """The ``root`` of ``inspect`` by itself, without a look at any file; raises RepositoryError."""
    return _root(Git(repo))


def _root(git: Git) -> Path:
    top = git.refs("rev-parse", "--show-toplevel")
    return Path(top.text) if top.status == 0 and not git.bare else git.git_dir


def workable(repo: Path) -> RepositoryState:
    """``inspect``, for a repository that the crew can work; raises RepositoryError with the remedy otherwise."""
    state = inspect(repo)
    if state.bare:
        raise RepositoryError(f"{repo} is a bare repository", hint="Clone it, and give the clone's path with --repo.")
    if not state.commits:
        raise RepositoryError(f"{repo} has no commits", hint="Make a first commit: git add . && git commit")
    return state


def resolve(repo: Path, revision: str) -> str:
    """The full id of the commit that ``revision`` (a branch, tag, HEAD, short id) names; raises RepositoryError."""
    git = Git(repo)
    commit = git.ref(revision)
    if commit is None:
        raise RepositoryError(f"{repo}: there is no commit {revision!r}", hint="See what exists with: git branch --all")
    return commit


def is_dirty(git: Git) -> bool:
    """Whether tracked files or the index of the working tree differ from HEAD. Untracked files do not count.

    Filters of the repository (``git lfs`` and the like) are programs and not run: a file whose time stamp changed and
    that one of them would convert counts as changed.
    """
    output = git.refs(
        "status", "--porcelain", "-z", "--untracked-files=no", "--ignore-submodules=all", "--no-renames",
        extra=_no_filters(git),
    )  # fmt: skip
    return git.must(output, "reading the state of the working tree") != b""


def worktrees_on(git: Git, branch: str) -> list[Path]:
    """The working trees (the main one and linked ones) in which ``branch`` (without ``refs/heads/``) is checked out."""
    listing = git.must(git.refs("worktree", "list", "--porcelain", "-z"), "listing working trees")
    found: list[Path] = []
    for record in os.fsdecode(listing).split("\0\0"):
        facts = dict(line.partition(" ")[::2] for line in record.split("\0") if line)
        if facts.get("branch") == f"refs/heads/{branch}" and "bare" not in facts:
            found.append(Path(facts["worktree"]))
    return found


def _no_filters(git: Git) -> dict[str, str]:
    names = git.refs("config", "-z", "--name-only", "--get-regexp", r"^filter\..*\.(clean|smudge|process|required)$")
    settings = [name for name in os.fsdecode(names.stdout).split("\0") if name]
    return {name: "false" if name.endswith(".required") else "" for name in settings}


def _default_branch(git: Git, branch: str | None) -> str:
    remote = git.refs("symbolic-ref", "--quiet", "refs/remotes/origin/HEAD")
    candidates = [remote.text.removeprefix("refs/remotes/origin/")] if remote.status == 0 else []
    for name in [*candidates, "main", "master"]:
        if git.ref(f"refs/heads/{name}") is not None:
            return name
    return branch or "main"
