"""Private clones, bundles, merges and diffs over real repositories."""

import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nightcrew.crew.workspace import (
    Git,
    MergeStatus,
    Workspace,
    changed_paths,
    clone_workspace,
    diff,
    diff_text,
    discard,
    export_bundle,
    fetch_bundle,
    files,
    inspect,
    merge,
    open_workspace,
    prune_workspaces,
    read_file,
    resolve,
    salvage,
    sandboxed,
    workable,
    workspace_head,
)
from nightcrew.crew.workspace.inside import Runner
from nightcrew.model.errors import (
    BusyError,
    IntegrityError,
    NotFoundError,
    PolicyError,
    RepositoryError,
    TransientError,
    UsageError,
)

WHEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
BRANCH = "nightcrew/T-0012"
REF = f"refs/heads/{BRANCH}"


def git(repo: Path, *arguments: str, check: bool = True) -> str:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": "/nonexistent",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_AUTHOR_NAME": "A Person",
        "GIT_AUTHOR_EMAIL": "a@example.invalid",
        "GIT_COMMITTER_NAME": "A Person",
        "GIT_COMMITTER_EMAIL": "a@example.invalid",
    }
    completed = subprocess.run(["git", *arguments], cwd=repo, env=environment, capture_output=True, check=False)
    assert not check or completed.returncode == 0, completed.stderr.decode()
    return completed.stdout.decode("utf-8", "surrogateescape").strip()


def commit(repo: Path, message: str = "change", **contents: str) -> str:
    for name, text in contents.items():
        (repo / name).write_text(text)
    git(repo, "add", "--all")
    git(repo, "commit", "--quiet", "--allow-empty", "-m", message)
    return git(repo, "rev-parse", "HEAD")


def make_repository(path: Path, *options: str) -> Path:
    path.mkdir(parents=True)
    git(path, "init", "--quiet", "-b", "main", *options)
    commit(path, "first", readme="hello\n", code="a = 1\n")
    return path


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "user repo")


def make_workspace(repo: Path, tmp_path: Path, name: str = "T-0012") -> tuple[Workspace, Runner]:
    workspace = clone_workspace(repo, tmp_path / "ws" / name, commit=resolve(repo, "HEAD"), branch=BRANCH)
    temp = tmp_path / f"tmp-{name}"
    temp.mkdir()
    return workspace, sandboxed(workspace, temp=temp, timeout=60)


def snapshot(repo: Path) -> dict[str, tuple[int, bytes]]:
    """Every file of the working tree and git directory but objects, with times and bytes."""
    found = {}
    for path in sorted(repo.rglob("*")):
        if path.is_file() and "objects" not in path.relative_to(repo).parts:
            found[str(path.relative_to(repo))] = (path.stat().st_mtime_ns, path.read_bytes())
    return found


def deliver(workspace: Workspace, runner: Runner, tmp_path: Path, text: str = "a = 2\n") -> str:
    (workspace.path / "code").write_text(text)
    assert salvage(workspace, "T-0012: work", run=runner) is not None
    bundle = tmp_path / f"tmp-{workspace.path.name}" / "work.bundle"
    head = export_bundle(workspace, bundle, run=runner)
    assert head is not None
    fetch_bundle(workspace.source, bundle, head, REF, base=workspace.base)
    return head


# --- inspecting -------------------------------------------------------------------------------------------------------


def test_inspect_describes_a_plain_repository(repo: Path) -> None:
    state = inspect(repo)
    assert (state.bare, state.commits, state.branch, state.detached, state.dirty) == (False, True, "main", False, False)
    assert state.root == repo
    assert state.head == git(repo, "rev-parse", "HEAD")
    assert state.default_branch == "main"
    (repo / "code").write_text("changed")
    assert inspect(repo).dirty


def test_inspect_tells_detached_unborn_and_bare_apart(repo: Path, tmp_path: Path) -> None:
    git(repo, "checkout", "--quiet", "--detach")
    assert inspect(repo).detached
    unborn = tmp_path / "unborn"
    unborn.mkdir()
    git(unborn, "init", "--quiet", "-b", "trunk")
    assert (inspect(unborn).commits, inspect(unborn).head, inspect(unborn).branch) == (False, None, "trunk")
    git(tmp_path, "clone", "--quiet", "--bare", str(repo), "bare")
    assert inspect(tmp_path / "bare").bare
    for path, words in ((unborn, "no commits"), (tmp_path / "bare", "bare")):
        with pytest.raises(RepositoryError, match=words) as caught:
            workable(path)
        assert "git" in caught.value.hint or "--repo" in caught.value.hint


def test_a_directory_without_git_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match="not in a git repository") as caught:
        inspect(tmp_path)
    assert "git init" in caught.value.hint
    with pytest.raises(RepositoryError, match="no such directory"):
        inspect(tmp_path / "missing")


def test_a_linked_worktree_and_a_subdirectory_are_their_repository(repo: Path, tmp_path: Path) -> None:
    git(repo, "config", "extensions.worktreeConfig", "true")
    git(repo, "worktree", "add", "--quiet", "-b", "side", str(tmp_path / "linked"))
    assert inspect(tmp_path / "linked").branch == "side"
    workspace, runner = make_workspace(tmp_path / "linked", tmp_path)
    assert workspace.borrowed == ((repo / ".git" / "objects").resolve(),)
    assert runner(["git", "log", "--oneline"]).ok
    (repo / "sub").mkdir()
    assert inspect(repo / "sub").root == repo


# --- cloning ----------------------------------------------------------------------------------------------------------


def test_a_workspace_is_private_and_borrows_objects(repo: Path, tmp_path: Path) -> None:
    before = snapshot(repo)
    workspace, runner = make_workspace(repo, tmp_path)
    assert (workspace.path / "code").read_text() == "a = 1\n"
    assert (workspace.path / ".git").is_dir()
    own = [path for path in (workspace.path / ".git" / "objects").rglob("*") if path.is_file()]
    assert [path.name for path in own] == ["alternates"]
    assert all(path.stat().st_nlink == 1 for path in workspace.path.rglob("*") if path.is_file())
    assert runner(["git", "status", "--porcelain"]).stdout == b""
    assert runner(["git", "branch", "--show-current"]).stdout == f"{BRANCH}\n".encode()
    assert runner(["git", "commit", "--allow-empty", "-qm", "x"]).ok
    assert b"build@nightcrew.invalid" in runner(["git", "log", "-1", "--format=%ae"]).stdout
    assert open_workspace(workspace.path) == workspace
    assert snapshot(repo) == before


def test_a_commit_alone_is_checked_out_detached(repo: Path, tmp_path: Path) -> None:
    first = resolve(repo, "HEAD")
    commit(repo, code="a = 9\n")
    workspace = clone_workspace(repo, tmp_path / "qa", commit=first, branch=None)
    assert (workspace.path / "code").read_text() == "a = 1\n"
    assert (workspace.path / ".git" / "HEAD").read_text().strip() == first


def test_a_failed_clone_leaves_nothing(repo: Path, tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match="no commit"):
        clone_workspace(repo, tmp_path / "ws", commit="1" * 40, branch=BRANCH)
    with pytest.raises(UsageError):
        clone_workspace(repo, tmp_path / "ws", commit="HEAD", branch=BRANCH)
    with pytest.raises(UsageError, match="branch name"):
        clone_workspace(repo, tmp_path / "ws", commit=resolve(repo, "HEAD"), branch="a..b")
    assert not (tmp_path / "ws").exists()
    with pytest.raises(NotFoundError):
        open_workspace(tmp_path / "ws")
    (tmp_path / "there").mkdir()
    with pytest.raises(UsageError, match="exists"):
        clone_workspace(repo, tmp_path / "there", commit=resolve(repo, "HEAD"), branch=BRANCH)


def test_awkward_paths_survive_the_whole_way(tmp_path: Path) -> None:
    repo = make_repository(tmp_path / 'a "quoted" # dir\nwith a line')
    workspace, runner = make_workspace(repo, tmp_path)
    name = "sp ace/ünï\ncode"
    (workspace.path / "sp ace").mkdir()
    (workspace.path / name).write_text("x\n")
    (workspace.path / "tab\there").symlink_to("/etc/passwd")
    head = deliver(workspace, runner, tmp_path)
    assert changed_paths(repo, workspace.base, head) == ["code", name, "tab\there"]
    assert read_file(repo, head, name) == b"x\n"
    assert name in files(repo, head)
    assert read_file(repo, head, "tab\there") == b"/etc/passwd"


@pytest.mark.parametrize("kind", ["sha256", "shallow", "alternates"])
def test_unusual_repositories_work_the_whole_way(kind: str, tmp_path: Path) -> None:
    if kind == "sha256":
        repo = make_repository(tmp_path / "r", "--object-format=sha256")
    else:
        origin = make_repository(tmp_path / "origin")
        commit(origin, "second", code="a = 1\nb = 1\n")
        commit(origin, "third", code="a = 1\n")
        source = f"file://{origin}" if kind == "shallow" else str(origin)
        option = "--depth=1" if kind == "shallow" else "--shared"
        git(tmp_path, "clone", "--quiet", option, source, "r")
        repo = tmp_path / "r"
    assert inspect(repo).shallow == (kind == "shallow")
    workspace, runner = make_workspace(repo, tmp_path)
    head = deliver(workspace, runner, tmp_path)
    result = merge(repo, into="nightcrew/integration", head=head, message="Merge T-0012", when=WHEN)
    assert result.status is MergeStatus.MERGED
    assert git(repo, "show", "nightcrew/integration:code") == "a = 2"


# --- salvage ----------------------------------------------------------------------------------------------------------


def test_salvage_takes_everything_once(repo: Path, tmp_path: Path) -> None:
    workspace, runner = make_workspace(repo, tmp_path)
    assert salvage(workspace, "nothing", run=runner) is None
    (workspace.path / "code").write_text("a = 2\n")
    (workspace.path / "new").write_text("new\n")
    (workspace.path / "readme").unlink()
    (workspace.path / ".gitignore").write_text("ignored\n")
    (workspace.path / "ignored").write_text("no\n")
    head = salvage(workspace, "stopped for time", run=runner)
    assert head is not None
    assert salvage(workspace, "stopped for time", run=runner) == head
    assert head == workspace_head(workspace, runner)
    shown = runner(["git", "ls-tree", "-r", "--name-only", head]).stdout.decode().split()
    assert shown == [".gitignore", "code", "new"]
    assert runner(["git", "status", "--porcelain"]).stdout == b""


def test_salvage_works_in_the_middle_of_a_merge_with_a_stale_lock(repo: Path, tmp_path: Path) -> None:
    workspace, runner = make_workspace(repo, tmp_path)
    script = (
        "echo 'a = 2' > code && git commit -qam two && git checkout -q -b other HEAD^ && echo 'a = 3' > code && "
        f"git commit -qam three && git checkout -q {BRANCH} && "
        "(git merge other; touch .git/index.lock; echo more > more)"
    )
    assert runner(["sh", "-c", script]).ok
    head = salvage(workspace, "stopped in a merge", run=runner)
    assert head is not None
    content = runner(["git", "show", f"{head}:code"]).stdout
    assert b"<<<<<<<" in content
    assert runner(["git", "show", f"{head}:more"]).stdout == b"more\n"


def test_salvage_keeps_commits_made_on_a_detached_head(repo: Path, tmp_path: Path) -> None:
    workspace, runner = make_workspace(repo, tmp_path)
    assert runner(["sh", "-c", "git checkout -q --detach && echo x > x && git add x && git commit -qm detached"]).ok
    detached = runner(["git", "rev-parse", "HEAD"]).stdout.decode().strip()
    head = salvage(workspace, "stopped", run=runner)
    assert head is not None
    assert runner(["git", "merge-base", "--is-ancestor", detached, workspace.ref]).ok


# --- bundles ----------------------------------------------------------------------------------------------------------


def test_a_bundle_sets_exactly_one_ref(repo: Path, tmp_path: Path) -> None:
    before = git(repo, "for-each-ref")
    tree = snapshot(repo)
    workspace, runner = make_workspace(repo, tmp_path)
    head = deliver(workspace, runner, tmp_path)
    after = git(repo, "for-each-ref").splitlines()
    assert [line for line in after if line not in before.splitlines()] == [f"{head} commit\t{REF}"]
    changed = {name for name, value in snapshot(repo).items() if tree.get(name) != value}
    assert changed <= {f".git/{REF}", f".git/logs/{REF}"}
    assert git(repo, "fsck", "--strict", "--no-dangling") == ""


def test_a_second_delivery_moves_the_branch_and_rewritten_work_is_kept(repo: Path, tmp_path: Path) -> None:
    workspace, runner = make_workspace(repo, tmp_path)
    first = deliver(workspace, runner, tmp_path)
    second = deliver(workspace, runner, tmp_path, "a = 3\n")
    assert git(repo, "rev-parse", REF) == second
    assert "kept" not in git(repo, "for-each-ref")
    assert runner(["git", "reset", "-q", "--hard", first]).ok
    third = deliver(workspace, runner, tmp_path, "a = 4\n")
    assert git(repo, "rev-parse", REF) == third
    assert git(repo, "rev-parse", f"refs/nightcrew/kept/T-0012/{second}") == second


def test_nothing_to_export_is_none(repo: Path, tmp_path: Path) -> None:
    workspace, runner = make_workspace(repo, tmp_path)
    assert export_bundle(workspace, tmp_path / "tmp-T-0012" / "b", run=runner) is None


def test_a_bundle_larger_than_the_limit_is_refused(repo: Path, tmp_path: Path) -> None:
    workspace, runner = make_workspace(repo, tmp_path)
    (workspace.path / "big").write_bytes(os.urandom(50_000))
    salvage(workspace, "big", run=runner)
    bundle = tmp_path / "tmp-T-0012" / "b"
    head = export_bundle(workspace, bundle, run=runner)
    assert head is not None
    with pytest.raises(IntegrityError, match="bytes"):
        fetch_bundle(repo, bundle, head, REF, max_bytes=20_000)
    assert git(repo, "for-each-ref", REF) == ""


def test_a_ticket_branch_that_the_user_has_checked_out_is_left_alone(repo: Path, tmp_path: Path) -> None:
    workspace, runner = make_workspace(repo, tmp_path)
    head = deliver(workspace, runner, tmp_path)
    git(repo, "switch", "--quiet", BRANCH)
    with pytest.raises(BusyError, match="checked out"):
        deliver(workspace, runner, tmp_path, "a = 5\n")
    assert git(repo, "rev-parse", "HEAD") == head
    assert git(repo, "status", "--porcelain") == ""


def test_a_ref_that_moved_meanwhile_is_transient_and_one_without_room_is_not(repo: Path) -> None:
    head = resolve(repo, "HEAD")
    newer = commit(repo, code="a = 3\n")
    user = Git(repo)
    with pytest.raises(TransientError):
        user.update_refs(("refs/heads/nightcrew/x", head, newer))
    user.update_refs(("refs/heads/nightcrew/x", head, user.zero))
    with pytest.raises(TransientError):
        user.update_refs(("refs/heads/nightcrew/y", head, user.zero), ("refs/heads/nightcrew/x", newer, user.zero))
    assert git(repo, "for-each-ref", "refs/heads/nightcrew/y") == ""
    with pytest.raises(RepositoryError):
        user.update_refs(("refs/heads/nightcrew/x/y", head, user.zero))


# --- merging ----------------------------------------------------------------------------------------------------------


def test_merging_creates_integration_and_leaves_the_working_tree_alone(repo: Path, tmp_path: Path) -> None:
    workspace, runner = make_workspace(repo, tmp_path)
    head = deliver(workspace, runner, tmp_path)
    main = resolve(repo, "main")
    (repo / "code").write_text("the user is at work here\n")
    before = snapshot(repo)
    result = merge(repo, into="nightcrew/integration", head=head, message="Merge T-0012\n\nH-1\n", when=WHEN)
    assert (result.status, result.before, result.ok) == (MergeStatus.MERGED, None, True)
    assert git(repo, "log", "-1", "--format=%P|%an|%aI|%s", "nightcrew/integration") == (
        f"{main} {head}|nightcrew|2026-01-02T03:04:05+00:00|Merge T-0012"
    )
    changed = {name for name, value in snapshot(repo).items() if before.get(name) != value}
    assert changed <= {".git/refs/heads/nightcrew/integration", ".git/logs/refs/heads/nightcrew/integration"}
    again = merge(repo, into="nightcrew/integration", head=head, message="again", when=WHEN)
    assert (again.status, again.commit) == (MergeStatus.ALREADY, result.commit)


def test_the_same_merge_gives_the_same_commit(repo: Path, tmp_path: Path) -> None:
    workspace, runner = make_workspace(repo, tmp_path)
    head = deliver(workspace, runner, tmp_path)
    commits = {merge(repo, into=f"n/{n}", head=head, message="m", when=WHEN).commit for n in range(2)}
    assert len(commits) == 1


def test_a_conflict_names_the_files_and_changes_nothing(repo: Path, tmp_path: Path) -> None:
    workspace, runner = make_workspace(repo, tmp_path)
    head = deliver(workspace, runner, tmp_path)
    other = commit(repo, "theirs", code="a = 77\n")
    refs = git(repo, "for-each-ref")
    result = merge(repo, into="nightcrew/integration", head=head, message="m", when=WHEN)
    assert (result.status, result.files, result.commit) == (MergeStatus.CONFLICT, ("code",), None)
    assert "code" in result.reason
    assert git(repo, "for-each-ref") == refs
    assert resolve(repo, "main") == other


@pytest.mark.parametrize("dirty", [False, True])
@pytest.mark.parametrize("linked", [False, True])
def test_a_branch_checked_out_by_the_user_is_never_moved(repo: Path, tmp_path: Path, dirty: bool, linked: bool) -> None:
    workspace, runner = make_workspace(repo, tmp_path)
    head = deliver(workspace, runner, tmp_path)
    tree = repo
    if linked:
        tree = tmp_path / "linked tree"
        git(repo, "worktree", "add", "--quiet", "-b", "target", str(tree))
    if dirty:
        (tree / "code").write_text("mine\n")
    into = "target" if linked else "main"
    before = resolve(repo, into)
    result = merge(repo, into=into, head=head, message="m", when=WHEN)
    assert result.status is MergeStatus.REFUSED
    assert ("with changes" in result.reason) == dirty
    assert str(tree) in result.reason
    assert resolve(repo, into) == before


def test_unrelated_histories_and_missing_commits_are_errors(repo: Path) -> None:
    git(repo, "checkout", "--quiet", "--orphan", "island")
    island = commit(repo, code="island\n")
    git(repo, "checkout", "--quiet", "--detach")
    with pytest.raises(RepositoryError, match=r"unrelated|refusing"):
        merge(repo, into="main", head=island, message="m", when=WHEN)
    with pytest.raises(RepositoryError, match="no commit"):
        merge(repo, into="main", head="2" * 40, message="m", when=WHEN)


# --- reading ----------------------------------------------------------------------------------------------------------


def test_diff_gives_both_sides_of_every_kind_of_change(repo: Path) -> None:
    (repo / "gone").write_text("gone\n")
    (repo / "tool").write_text("#!/bin/sh\n")
    (repo / "link").write_text("a file\n")
    base = commit(repo)
    (repo / "gone").unlink()
    (repo / "tool").chmod(0o755)
    (repo / "link").unlink()
    (repo / "link").symlink_to("code")
    (repo / "binary").write_bytes(b"\0\1\2")
    (repo / "latin").write_bytes(b"caf\xe9\n")
    (repo / "huge").write_text("x" * 5000)
    head = commit(repo, code="a = 2\n")
    changes = {change.path: change for change in diff(repo, base, head, max_file_bytes=1000)}
    assert list(changes) == ["binary", "code", "gone", "huge", "latin", "link", "tool"]
    assert (changes["code"].base_text, changes["code"].head_text) == ("a = 1\n", "a = 2\n")
    assert (changes["gone"].status, changes["gone"].head_text) == ("deleted", None)
    assert changes["tool"].mode_changed
    assert (changes["tool"].base_mode, changes["tool"].head_mode) == ("100644", "100755")
    assert (changes["link"].status, changes["link"].head_text) == ("type", "code")
    assert changes["binary"].binary
    assert changes["latin"].binary
    assert changes["huge"].too_large
    assert not changes["huge"].binary
    assert changes["huge"].head_size == 5000
    assert not changes["code"].binary
    assert diff(repo, head, head) == []


def test_diff_text_is_a_patch_and_is_capped(repo: Path) -> None:
    base = resolve(repo, "HEAD")
    head = commit(repo, code="b\n" * 1000, readme="x\n")
    assert "+b\n" in diff_text(repo, base, head)
    only = diff_text(repo, base, head, paths=["readme"])
    assert "code" not in only
    cut = diff_text(repo, base, head, limit=300)
    assert len(cut) < 400
    assert "left out" in cut


def test_reading_a_file_of_a_commit(repo: Path) -> None:
    head = resolve(repo, "HEAD")
    assert read_file(repo, head, "code") == b"a = 1\n"
    assert read_file(repo, head, "missing") is None
    assert files(repo, head) == ["code", "readme"]
    with pytest.raises(RepositoryError):
        files(repo, "3" * 40)


# --- cleaning up ------------------------------------------------------------------------------------------------------


def test_work_that_is_nowhere_else_is_never_deleted(repo: Path, tmp_path: Path) -> None:
    workspace, runner = make_workspace(repo, tmp_path)
    (workspace.path / "code").write_text("a = 2\n")
    with pytest.raises(PolicyError, match="not committed"):
        discard(workspace, run=runner)
    salvage(workspace, "w", run=runner)
    with pytest.raises(PolicyError, match="is not in"):
        discard(workspace, run=runner)
    assert runner(["sh", "-c", "git stash list && echo x > x && git add x && git stash -q"]).ok
    deliver(workspace, runner, tmp_path, "a = 3\n")
    with pytest.raises(PolicyError, match="is not in"):
        discard(workspace, run=runner)
    assert workspace.path.exists()
    assert runner(["git", "stash", "drop", "-q"]).ok
    discard(workspace, run=runner)
    assert not workspace.path.exists()
    discard(workspace, run=runner)


def test_abandoned_work_is_deleted_whatever_state_it_is_in(repo: Path, tmp_path: Path) -> None:
    workspace, runner = make_workspace(repo, tmp_path)
    assert runner(["sh", "-c", "mkdir -p d/e && touch d/e/f && chmod 0 d/e d && rm -rf .git && ln -s / root"]).ok
    with pytest.raises(PolicyError, match="git directory"):
        discard(workspace, run=runner)
    discard(workspace, run=None, abandoned=True)
    assert not workspace.path.exists()
    assert list((tmp_path / "ws").iterdir()) == []


def test_pruning_removes_what_is_saved_and_says_why_it_keeps_the_rest(repo: Path, tmp_path: Path) -> None:
    saved, runner = make_workspace(repo, tmp_path, "T-1")
    deliver(saved, runner, tmp_path)
    unsaved, _ = make_workspace(repo, tmp_path, "T-2")
    (unsaved.path / "new").write_text("x")
    busy, _ = make_workspace(repo, tmp_path, "T-3")
    done = prune_workspaces(
        tmp_path / "ws", keep=[busy.path], runner=lambda w: sandboxed(w, temp=tmp_path / f"tmp-{w.path.name}")
    )
    assert [(pruned.path.name, pruned.removed) for pruned in done] == [("T-1", True), ("T-2", False), ("T-3", False)]
    assert "not committed" in done[1].reason
    assert done[2].reason == "in use"
