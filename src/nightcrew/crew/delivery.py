"""Workspaces of a session: made for a ticket, brought over as commits, and put away when nothing is lost by it."""

from contextlib import suppress
from pathlib import Path

from nightcrew.crew.desk import Desk
from nightcrew.crew.workspace import (
    Git,
    Workspace,
    changed_paths,
    clone_workspace,
    discard,
    export_bundle,
    fetch_bundle,
    inspect,
    open_workspace,
    salvage,
    sandboxed,
)
from nightcrew.crew.workspace.clone import record_path, remove_tree
from nightcrew.crew.workspace.inside import Runner
from nightcrew.model.errors import NightcrewError, NotFoundError
from nightcrew.model.handoff import Change

_PRIVATE = ("tmp", "home", "meter")


def ticket_branch(ticket: str) -> str:
    """The branch that holds a ticket's work in the user's repository."""
    return f"nightcrew/{ticket}"


def integration_head(desk: Desk) -> str:
    """The commit that work starts from: the integration branch's head; before it exists, the default branch's."""
    settings = desk.project.settings.merge
    git = Git(desk.project.root)
    found = git.ref(f"refs/heads/{settings.into}")
    if found is None:
        state = inspect(desk.project.root)
        branch = settings.from_branch or state.default_branch
        found = git.ref(f"refs/heads/{branch}") or state.head
    if found is None:
        raise NotFoundError("the repository has no commit to work from")
    return found


def fresh_workspace(desk: Desk, name: str, *, commit: str, branch: str | None) -> Workspace:
    """A new workspace at ``commit``. One that a crash left under this name is salvaged first, never simply deleted."""
    path = desk.place / name
    if path.exists():
        _put_aside(desk, path)
    return clone_workspace(desk.project.root, path, commit=commit, branch=branch)


def git_runner(desk: Desk, workspace: Workspace) -> Runner:
    """Runs git in the workspace's sandbox; not stopped by the session's end, since it saves what there is."""
    temp = desk.place / "tmp"
    temp.mkdir(parents=True, exist_ok=True)
    return sandboxed(workspace, temp=temp, mode=desk.project.settings.sandbox.mode)


def deliver(
    desk: Desk, workspace: Workspace, message: str, *, ref: str | None = None, onto: str | None = None
) -> Change | None:
    """Commit what the workspace holds and bring it to the ticket's branch of the user's repository, as data.

    None if nothing differs from the workspace's base. ``onto``: the branch head that the change is for, where the
    workspace began with earlier work: the change begins where the two part. Raises IntegrityError if what comes over is
    not what was announced.
    """
    run = git_runner(desk, workspace)
    if salvage(workspace, message, run=run) is None:
        return None
    bundle = desk.place / "tmp" / f"{workspace.path.name}.bundle"
    head = export_bundle(workspace, bundle, run=run)
    if head is None:
        return None
    target = ref or f"refs/heads/{ticket_branch(desk.ticket.id)}"
    fetch_bundle(desk.project.root, bundle, head, target, base=workspace.base)
    bundle.unlink(missing_ok=True)
    base = workspace.base if onto is None else parted_at(desk, onto, head)
    return Change(
        branch=target.removeprefix("refs/heads/"),
        base=base,
        head=head,
        files=tuple(changed_paths(desk.project.root, base, head)),
    )


def parted_at(desk: Desk, onto: str, head: str) -> str:
    """The commit where ``head`` parts from ``onto``."""
    git = Git(desk.project.root)
    found = git.must(git.data("merge-base", onto, head), f"comparing {head[:12]} with {onto[:12]}")
    return found.decode().strip()


def put_away(desk: Desk, workspace: Workspace, *, throwaway: bool = False) -> None:
    """Delete the workspace if all its work is in the repository, or if it is a ``throwaway`` checkout for checks."""
    try:
        discard(workspace, run=None if throwaway else git_runner(desk, workspace), abandoned=throwaway)
    except NightcrewError:
        # Kept: what it holds is nowhere else. `nightcrew doctor` lists kept workspaces.
        return


def tidy(place: Path) -> None:
    """Delete the private folders of a piece of work that is through; a workspace that was kept stays. Idempotent."""
    for name in _PRIVATE:
        remove_tree(place / name)
    with suppress(OSError):  # Something was kept in it, or it is gone.
        place.rmdir()


def _put_aside(desk: Desk, path: Path) -> None:
    """What a killed run left: its work goes to a ref of its own, or stays as a folder if git cannot read it."""
    try:
        workspace = open_workspace(path)
        if workspace.branch is None:
            discard(workspace, run=None, abandoned=True)
            return
        message = f"{desk.ticket.id}: interrupted work of session {desk.session}"
        deliver(desk, workspace, message, ref=f"refs/nightcrew/interrupted/{desk.ticket.id}/{desk.session}")
        discard(workspace, run=None, abandoned=True)
    except NightcrewError:
        number = sum(1 for _ in path.parent.glob(f"{path.name}.kept-*")) + 1
        path.rename(path.with_name(f"{path.name}.kept-{number}"))
        record_path(path).unlink(missing_ok=True)
