"""Deleting workspaces, but never work that exists nowhere else."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from nightcrew.crew.workspace.clone import Workspace, open_workspace, record_path, remove_tree
from nightcrew.crew.workspace.git import Git
from nightcrew.crew.workspace.inside import Runner, commit_inside, git_inside
from nightcrew.model.errors import NightcrewError, PolicyError, RepositoryError

_SUFFIX = ".workspace.json"


@dataclass(frozen=True)
class Pruned:
    """What ``prune_workspaces`` did with one workspace: ``reason`` says why it was kept, empty if it was removed."""

    path: Path
    removed: bool
    reason: str = ""


def discard(workspace: Workspace, *, run: Runner | None, abandoned: bool = False) -> None:
    """Delete the workspace if all its work is in the source repository, or if it is explicitly ``abandoned``.

    Work is in the repository when every branch and HEAD of the workspace is reachable from a ref there, and no file
    differs from HEAD. Raises PolicyError otherwise, and deletes nothing. ``run`` may be None only when abandoned.
    Idempotent.
    """
    if not abandoned and workspace.path.exists():
        if run is None:
            raise PolicyError(f"{workspace.path} cannot be checked for work without its sandbox")
        reason = unsaved(workspace, run=run)
        if reason is not None:
            raise PolicyError(
                f"{workspace.path} is kept: {reason}", hint="Fetch or merge its commits, or discard it explicitly."
            )
    # First out of the way, whole: a crash in the middle never leaves half a workspace under its name.
    doomed = workspace.path.with_name(f".{workspace.path.name}.discarded")
    remove_tree(doomed)
    if workspace.path.exists():
        workspace.path.rename(doomed)
    record_path(workspace.path).unlink(missing_ok=True)
    remove_tree(doomed)


def unsaved(workspace: Workspace, *, run: Runner) -> str | None:
    """What of the workspace's work is nowhere else, in one line, or None."""
    try:
        changes = git_inside(run, "status", "--porcelain", "-z", "--untracked-files=normal", "--ignore-submodules=none")
        heads = {commit_inside(run, "HEAD")}
        listing = git_inside(run, "for-each-ref", "--format=%(objectname)", "refs/heads", "refs/stash").decode()
        heads.update(listing.split())
    except RepositoryError as error:
        return f"its git directory cannot be read ({error})"
    if changes:
        return f"{changes.count(0)} changed or new files are not committed"
    git = Git(workspace.source)
    for head in sorted(heads):
        if not git.exists(head) or git.refs("for-each-ref", "--count=1", f"--contains={head}").stdout == b"":
            return f"commit {head[:12]} is not in {workspace.source}"
    return None


def prune_workspaces(root: Path, *, keep: Collection[Path], runner: Callable[[Workspace], Runner]) -> list[Pruned]:
    """Discard every workspace under ``root`` whose work is saved, except those in ``keep``; says what it did with each.

    ``runner`` gives the sandbox of a workspace. Never raises for a single workspace: it is kept, with the reason.
    """
    kept = {path.absolute() for path in keep}
    done: list[Pruned] = []
    for record in sorted(root.glob(f"*{_SUFFIX}")):
        path = record.with_name(record.name.removesuffix(_SUFFIX)).absolute()
        if path in kept:
            done.append(Pruned(path, removed=False, reason="in use"))
            continue
        try:
            workspace = open_workspace(path)
            discard(workspace, run=runner(workspace))
        except (NightcrewError, OSError) as error:
            done.append(Pruned(path, removed=False, reason=str(error)))
        else:
            done.append(Pruned(path, removed=True))
    return done
