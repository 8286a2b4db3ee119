"""Keeping what a session has done when it must stop."""

from nightcrew.crew.workspace.clone import Workspace
from nightcrew.crew.workspace.inside import Runner, commit_inside, git_inside

_INDEX = ".git/nightcrew-salvage-index"


def salvage(workspace: Workspace, message: str, *, run: Runner) -> str | None:
    """Commit all that was changed (tracked, and untracked but not ignored) on the workspace's branch.

    Gives the commit that now holds everything, or None if nothing differs from the base. Idempotent. It works
    whatever the session was in the middle of (a merge, a rebase, a detached HEAD, a lock left by a killed git): the
    tree is taken with an index of its own, and what HEAD had beyond the branch becomes a second parent. Raises
    RepositoryError when the workspace's git directory is broken; the files stay where they are.
    """
    index = {"GIT_INDEX_FILE": str(workspace.path / _INDEX)}
    head = commit_inside(run, "HEAD")
    tip = commit_inside(run, workspace.ref)
    git_inside(run, "read-tree", head, environment=index)
    git_inside(run, "add", "--all", "--", ".", environment=index)
    tree = git_inside(run, "write-tree", environment=index).decode().strip()
    parents = [tip] if head == tip or _contains(run, tip, head) else [tip, head]
    if tree == _tree_of(run, tip) and len(parents) == 1:
        return None if tip == workspace.base else tip
    words = [word for parent in parents for word in ("-p", parent)]
    commit = git_inside(run, "commit-tree", *words, "-m", message, tree).decode().strip()
    git_inside(run, "update-ref", "--no-deref", "-m", "nightcrew: salvage", workspace.ref, commit, tip)
    _settle(workspace, run)
    return commit


def _contains(run: Runner, descendant: str, ancestor: str) -> bool:
    return run(["git", "merge-base", "--is-ancestor", ancestor, descendant]).ok


def _tree_of(run: Runner, commit: str) -> str:
    return git_inside(run, "rev-parse", f"{commit}^{{tree}}").decode().strip()


def _settle(workspace: Workspace, run: Runner) -> None:
    """Put HEAD and the index on the new commit, for a session that resumes here; a lock may prevent it, no matter."""
    if workspace.branch is not None:
        run(["git", "symbolic-ref", "HEAD", workspace.ref])
    run(["git", "reset", "--quiet"])
