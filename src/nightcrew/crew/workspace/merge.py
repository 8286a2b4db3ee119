"""Merging a commit into the integration branch without a working tree."""

import os
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from nightcrew.crew.workspace.git import Git, check_commit
from nightcrew.crew.workspace.repository import inspect, is_dirty, worktrees_on
from nightcrew.model.errors import RepositoryError, UsageError

MERGER_NAME = "nightcrew"
MERGER_EMAIL = "merge@nightcrew.invalid"


class MergeStatus(StrEnum):
    """How a merge went."""

    MERGED = "merged"
    ALREADY = "already"  # the branch contains the commit
    CONFLICT = "conflict"
    REFUSED = "refused"  # the branch is checked out


@dataclass(frozen=True)
class MergeResult:
    """What came of a merge; unless ``status`` is ``merged`` nothing was changed.

    ``before`` is what the branch pointed to (None: it did not exist), ``commit`` what it points to now, ``files`` the
    paths in conflict, ``reason`` one line for people.
    """

    status: MergeStatus
    into: str
    before: str | None
    commit: str | None
    files: tuple[str, ...] = ()
    reason: str = ""

    @property
    def ok(self) -> bool:
        """Whether the branch now contains the commit."""
        return self.status in (MergeStatus.MERGED, MergeStatus.ALREADY)


def merge(repo: Path, *, into: str, head: str, message: str, when: datetime, start: str | None = None) -> MergeResult:
    """Merge the exact commit ``head`` into the branch ``into`` with a merge commit of its own, never a fast-forward.

    A missing ``into`` is begun at ``start`` (a commit; by default that of the default branch). ``message`` names
    ticket and handoff; ``when`` (with a time zone) is the commit's time, so that the same merge gives the same
    commit. The working tree and the index are not touched; the branch moves only if nobody moved it meanwhile
    (TransientError otherwise). Raises RepositoryError when the commit is missing or shares no history with the
    branch.
    """
    git = Git(repo)
    check_commit(head)
    if git.data("check-ref-format", f"refs/heads/{into}").status != 0:
        raise UsageError(f"{into!r} is not a branch name")
    if not git.exists(head):
        raise RepositoryError(f"{repo} has no commit {head[:12]}")
    ref = f"refs/heads/{into}"
    before = git.ref(ref)
    reason = _refusal(git, into)
    if reason is not None:
        return MergeResult(MergeStatus.REFUSED, into, before, before, reason=reason)
    ours = before or _start(git, start)
    if before is not None and git.is_ancestor(head, before):
        return MergeResult(MergeStatus.ALREADY, into, before, before, reason=f"{into} contains {head[:12]}")
    tree, conflicts = merge_trees(git, ours, head)
    if conflicts:
        listed = ", ".join(conflicts[:5]) + (", ..." if len(conflicts) > 5 else "")
        return MergeResult(MergeStatus.CONFLICT, into, before, before, conflicts, f"conflicts with {into} in {listed}")
    commit = _commit(git, tree, ours, head, message, when)
    git.update_refs((ref, commit, before or git.zero))
    return MergeResult(MergeStatus.MERGED, into, before, commit, reason=f"{head[:12]} is in {into}")


def merge_trees(git: Git, ours: str, theirs: str) -> tuple[str, tuple[str, ...]]:
    """The tree of merging two commits, and the paths in conflict; raises RepositoryError for unrelated histories."""
    output = git.data(
        "merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", check_commit(ours), check_commit(theirs)
    )
    if output.status > 1:
        git.must(output, f"merging {theirs[:12]} into {ours[:12]}")
    tree, *paths = os.fsdecode(output.stdout).split("\0")
    conflicts = tuple(dict.fromkeys(path for path in paths if path))
    if output.status == 1 and not conflicts:
        raise RepositoryError(f"{git.repo}: merging {theirs[:12]} into {ours[:12]} is not clean")
    return tree, conflicts


def _refusal(git: Git, branch: str) -> str | None:
    trees = worktrees_on(git, branch)
    if not trees:
        return None
    state = "with changes" if is_dirty(Git(trees[0])) else "without changes"
    return (
        f"{branch} is checked out in {trees[0]} ({state}): moving it there would make every merged file look changed. "
        f"Check out another branch: git -C {trees[0]} switch -"
    )


def _start(git: Git, start: str | None) -> str:
    if start is not None:
        return check_commit(start)
    default = inspect(git.repo).default_branch
    commit = git.ref(f"refs/heads/{default}")
    if commit is None:
        raise RepositoryError(
            f"{git.repo} has no branch {default}", hint="Name the branch to begin at, or commit first."
        )
    return commit


def _commit(git: Git, tree: str, ours: str, theirs: str, message: str, when: datetime) -> str:
    if when.tzinfo is None:
        raise UsageError("the time of a merge needs a time zone")
    date = f"{int(when.timestamp())} +0000"
    environment = {
        "GIT_AUTHOR_NAME": MERGER_NAME,
        "GIT_AUTHOR_EMAIL": MERGER_EMAIL,
        "GIT_AUTHOR_DATE": date,
        "GIT_COMMITTER_NAME": MERGER_NAME,
        "GIT_COMMITTER_EMAIL": MERGER_EMAIL,
        "GIT_COMMITTER_DATE": date,
    }
    output = git.data("commit-tree", tree, "-p", ours, "-p", theirs, stdin=message.encode(), environment=environment)
    return git.must(output, "writing the merge commit").decode().strip()
