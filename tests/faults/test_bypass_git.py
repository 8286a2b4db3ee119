"""Hostile repositories, workspaces and bundles: nothing in them is executed, and nothing malformed has any effect."""

import hashlib
import os
import struct
import subprocess
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nightcrew.crew.workspace import (
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
    read_file,
    salvage,
    sandboxed,
)
from nightcrew.crew.workspace.inside import Runner
from nightcrew.model.errors import IntegrityError, NightcrewError, RepositoryError, UsageError

WHEN = datetime(2026, 1, 2, tzinfo=UTC)
BRANCH = "nightcrew/T-1"
REF = f"refs/heads/{BRANCH}"
HOOKS = (
    "post-checkout",
    "pre-commit",
    "commit-msg",
    "post-commit",
    "reference-transaction",
    "post-index-change",
    "pre-auto-gc",
    "post-rewrite",
    "fsmonitor-watchman",
    "prepare-commit-msg",
    "post-merge",
    "pre-push",
    "update",
    "pre-receive",
)
ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.invalid",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.invalid",
}


def git(repo: Path, *arguments: str, stdin: bytes = b"") -> bytes:
    return subprocess.run(
        ["git", *arguments], cwd=repo, env=ENVIRONMENT, input=stdin, capture_output=True, check=True
    ).stdout.strip()


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    path = tmp_path / "repo"
    path.mkdir()
    git(path, "init", "-q", "-b", "main")
    (path / "code").write_text("a = 1\n")
    (path / ".gitattributes").write_text("* filter=evil diff=evil merge=evil\n")
    git(path, "add", "-A")
    git(path, "commit", "-qm", "first")
    return path


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return tmp_path / "canary"


def poison(git_dir: Path, canary: Path) -> None:
    """Every known place of a repository's configuration and hooks that names a program."""
    script = git_dir / "evil.sh"
    script.write_text(f'#!/bin/sh\necho "$0 $@" >> {canary}\ncat\n')
    script.chmod(0o755)
    settings = f"""
[core]
    fsmonitor = {script}
    hooksPath = {git_dir}/evilhooks
    sshCommand = {script}
    pager = {script}
    editor = {script}
    askPass = {script}
    gitProxy = {script}
    alternateRefsCommand = {script}
    attributesFile = {git_dir}/attributes
    untrackedCache = true
[filter "evil"]
    clean = {script}
    smudge = {script}
    process = {script}
    required = true
[filter "e=vil.name"]
    clean = {script}
[diff]
    external = {script}
[diff "evil"]
    command = {script}
    textconv = {script}
[merge "evil"]
    driver = {script} %O %A %B
[credential]
    helper = "!{script}"
[gpg]
    program = {script}
[commit]
    gpgSign = true
[log]
    showSignature = true
[uploadpack]
    packObjectsHook = {script}
[remote "origin"]
    url = ext::{script}
    uploadpack = {script}
    promisor = true
    partialclonefilter = blob:none
[url "ext::{script} "]
    insteadOf = file
[include]
    path = {git_dir}/more
[alias]
    status = "!{script}"
    rev-parse = "!{script}"
"""
    with (git_dir / "config").open("a") as stream:
        stream.write(settings)
    (git_dir / "more").write_text(f"[pager]\n    diff = {script}\n[core]\n    fsmonitor = {script}\n")
    (git_dir / "attributes").write_text("* filter=evil\n")
    (git_dir / "info").mkdir(exist_ok=True)
    (git_dir / "info" / "attributes").write_text("* filter=evil diff=evil merge=evil\n")
    for directory in (git_dir / "hooks", git_dir / "evilhooks"):
        directory.mkdir(exist_ok=True)
        for name in HOOKS:
            (directory / name).write_text(script.read_text())
            (directory / name).chmod(0o755)


def make_workspace(repo: Path, tmp_path: Path) -> tuple[Workspace, Runner, Path]:
    commit = git(repo, "rev-parse", "main").decode()
    workspace = clone_workspace(repo, tmp_path / "ws" / "T-1", commit=commit, branch=BRANCH)
    temp = tmp_path / "temp"
    temp.mkdir()
    return workspace, sandboxed(workspace, temp=temp, timeout=60), temp


def deliver(workspace: Workspace, runner: Runner, temp: Path) -> str:
    (workspace.path / "code").write_text("a = 2\n")
    assert salvage(workspace, "work", run=runner) is not None
    head = export_bundle(workspace, temp / "b", run=runner)
    assert head is not None
    fetch_bundle(workspace.source, temp / "b", head, REF, base=workspace.base)
    return head


def test_the_poison_works_on_plain_git(repo: Path, canary: Path) -> None:
    """Or the tests below would prove nothing."""
    poison(repo / ".git", canary)
    (repo / "code").write_text("a = 2\n")
    subprocess.run(["git", "status"], cwd=repo, env=ENVIRONMENT, capture_output=True, check=False, timeout=30)
    assert canary.exists()


def test_nothing_that_a_users_repository_configures_is_executed(repo: Path, tmp_path: Path, canary: Path) -> None:
    poison(repo / ".git", canary)
    workspace, runner, temp = make_workspace(repo, tmp_path)
    head = deliver(workspace, runner, temp)
    # A merge of two sides that changed one file, for which the attributes ask for the merge driver.
    fresh = tmp_path / "temp2"
    fresh.mkdir()
    other = clone_workspace(repo, tmp_path / "ws" / "T-2", commit=workspace.base, branch="nightcrew/T-2")
    run_other = sandboxed(other, temp=fresh)
    (other.path / "code").write_text("a = 1\n\n\n\n\nb = 1\n")
    salvage(other, "other", run=run_other)
    second = export_bundle(other, fresh / "b", run=run_other)
    assert second is not None
    fetch_bundle(repo, fresh / "b", second, "refs/heads/nightcrew/T-2")
    assert merge(repo, into="nightcrew/integration", head=head, message="m", when=WHEN).ok
    merge(repo, into="nightcrew/integration", head=second, message="m", when=WHEN)
    (repo / "code").write_text("changed\n")
    os.utime(repo / ".gitattributes")
    assert inspect(repo).dirty
    git_objects = (changed_paths(repo, workspace.base, head), diff(repo, workspace.base, head), files(repo, head))
    assert all(git_objects)
    assert "+a = 2" in diff_text(repo, workspace.base, head)
    assert read_file(repo, head, "code") == b"a = 2\n"
    assert not merge(repo, into="main", head=head, message="m", when=WHEN).ok
    discard(workspace, run=runner)
    assert not canary.exists(), canary.read_text()


def test_nothing_that_an_agent_configures_is_executed_outside_the_sandbox(
    repo: Path, tmp_path: Path, canary: Path
) -> None:
    workspace, runner, temp = make_workspace(repo, tmp_path)
    poison(workspace.path / ".git", canary)
    try:
        deliver(workspace, runner, temp)
        discard(workspace, run=runner)
    except RepositoryError:
        pass  # its own git may well be unusable now; what counts is what ran, and where
    finally:
        discard(workspace, run=None, abandoned=True)
    assert not canary.exists(), canary.read_text()


def test_a_missing_object_is_never_fetched_from_a_promisor(repo: Path, canary: Path) -> None:
    poison(repo / ".git", canary)
    with (repo / ".git" / "config").open("a") as stream:
        stream.write("[core]\n    repositoryFormatVersion = 1\n[extensions]\n    partialClone = origin\n")
    head = git(repo, "rev-parse", "main").decode()
    blob = git(repo, "rev-parse", "main:code").decode()
    (repo / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    canary.unlink(missing_ok=True)
    with pytest.raises(NightcrewError):
        read_file(repo, head, "code")
    inspect(repo)
    assert not canary.exists()


def test_hostile_attributes_of_a_commit_do_nothing_in_a_workspace(repo: Path, tmp_path: Path, canary: Path) -> None:
    (repo / ".gitmodules").write_text(f'[submodule "x"]\n\tpath = x\n\turl = ext::sh -c touch% {canary}\n')
    git(repo, "update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},x")
    git(repo, "add", "-A", ".gitmodules")
    git(repo, "commit", "-qm", "submodule")
    workspace, _, _ = make_workspace(repo, tmp_path)
    assert list((workspace.path / "x").iterdir()) == []
    assert not canary.exists()


# --- bundles ----------------------------------------------------------------------------------------------------------


def craft(objects: list[tuple[str, bytes]]) -> bytes:
    """A pack (gitformat-pack, version 2) of whole objects, whatever they hold."""
    kinds = {"commit": 1, "tree": 2, "blob": 3, "tag": 4}
    body = b"PACK" + struct.pack(">II", 2, len(objects))
    for kind, data in objects:
        size = len(data)
        byte = kinds[kind] << 4 | size & 15
        size >>= 4
        while size:
            body += bytes([byte | 0x80])
            byte = size & 127
            size >>= 7
        body += bytes([byte]) + zlib.compress(data)
    return body + hashlib.sha1(body).digest()


def object_id(kind: str, data: bytes) -> str:
    return hashlib.sha1(f"{kind} {len(data)}\0".encode() + data).hexdigest()


def commit_object(tree: str, parent: str | None, author: str = "A <a@example.invalid> 1700000000 +0000") -> bytes:
    parents = f"parent {parent}\n" if parent else ""
    return f"tree {tree}\n{parents}author {author}\ncommitter {author}\n\nmessage\n".encode()


def bundle(path: Path, heads: dict[str, str], prerequisites: list[str], pack: bytes) -> Path:
    lines = [f"-{commit} x\n" for commit in prerequisites] + [f"{commit} {name}\n" for name, commit in heads.items()]
    path.write_bytes(b"# v2 git bundle\n" + "".join(lines).encode() + b"\n" + pack)
    return path


def state(repo: Path) -> tuple[bytes, list[str]]:
    objects = sorted(str(path) for path in (repo / ".git" / "objects").rglob("*"))
    return git(repo, "for-each-ref"), objects


Made = Callable[[Path, str], tuple[Path, str]]


def one(
    path: Path, base: str, entries: bytes, *extra: tuple[str, bytes], author: str | None = None
) -> tuple[Path, str]:
    tree = object_id("tree", entries)
    commit = commit_object(tree, base, author) if author else commit_object(tree, base)
    head = object_id("commit", commit)
    return bundle(path, {REF: head}, [base], craft([("commit", commit), ("tree", entries), *extra])), head


def _entry(mode: str, name: str, blob: bytes) -> bytes:
    return f"{mode} {name}\0".encode() + bytes.fromhex(object_id("blob", blob))


def well_formed(path: Path, base: str) -> tuple[Path, str]:
    return one(path, base, _entry("100644", "a", b"x"), ("blob", b"x"))


def dot_git(path: Path, base: str) -> tuple[Path, str]:
    return one(path, base, _entry("100644", ".git", b"x"), ("blob", b"x"))


def dot_git_of_macos(path: Path, base: str) -> tuple[Path, str]:
    return one(path, base, _entry("100644", ".g\u200cit", b"x"), ("blob", b"x"))


def dot_dot(path: Path, base: str) -> tuple[Path, str]:
    return one(path, base, _entry("100644", "..", b"x"), ("blob", b"x"))


def slash_in_a_name(path: Path, base: str) -> tuple[Path, str]:
    return one(path, base, _entry("100644", "../../.bashrc", b"x"), ("blob", b"x"))


def hostile_gitmodules(path: Path, base: str) -> tuple[Path, str]:
    text = b'[submodule "a"]\n\tpath = a\n\turl = -u./payload\n'
    return one(path, base, _entry("100644", ".gitmodules", text), ("blob", text))


def missing_blob(path: Path, base: str) -> tuple[Path, str]:
    return one(path, base, _entry("100644", "a", b"never sent"))


def missing_tree(path: Path, base: str) -> tuple[Path, str]:
    commit = commit_object("1" * 40, base)
    head = object_id("commit", commit)
    return bundle(path, {REF: head}, [base], craft([("commit", commit)])), head


def missing_parent(path: Path, base: str) -> tuple[Path, str]:
    return one(path, "2" * 40, _entry("100644", "a", b"x"), ("blob", b"x"))


def hidden_missing_parent(path: Path, base: str) -> tuple[Path, str]:
    made, head = missing_parent(path, base)
    made.write_bytes(made.read_bytes().replace(b"-" + b"2" * 40, b"-" + base.encode()))
    return made, head


def broken_author(path: Path, base: str) -> tuple[Path, str]:
    return one(path, base, _entry("100644", "a", b"x"), ("blob", b"x"), author="no date <x>")


def broken_pack(path: Path, base: str) -> tuple[Path, str]:
    made, head = well_formed(path, base)
    data = bytearray(made.read_bytes())
    data[-30] ^= 255
    made.write_bytes(bytes(data))
    return made, head


def truncated(path: Path, base: str) -> tuple[Path, str]:
    made, head = well_formed(path, base)
    made.write_bytes(made.read_bytes()[:-25])
    return made, head


def head_is_a_blob(path: Path, base: str) -> tuple[Path, str]:
    head = object_id("blob", b"x")
    return bundle(path, {REF: head}, [base], craft([("blob", b"x")])), head


def main_instead(path: Path, base: str) -> tuple[Path, str]:
    made, head = well_formed(path, base)
    made.write_bytes(made.read_bytes().replace(REF.encode(), b"refs/heads/main"))
    return made, head


def main_as_well(path: Path, base: str) -> tuple[Path, str]:
    made, head = well_formed(path, base)
    line = f"{head} {REF}\n".encode()
    made.write_bytes(made.read_bytes().replace(line, line + f"{head} refs/heads/main\n".encode()))
    return made, head


def another_head(path: Path, base: str) -> tuple[Path, str]:
    return well_formed(path, base)[0], base


def no_head(path: Path, base: str) -> tuple[Path, str]:
    made, head = well_formed(path, base)
    made.write_bytes(made.read_bytes().replace(f"{head} {REF}\n".encode(), b""))
    return made, head


def a_filter(path: Path, base: str) -> tuple[Path, str]:
    made, head = well_formed(path, base)
    made.write_bytes(made.read_bytes().replace(b"# v2 git bundle\n", b"# v3 git bundle\n@filter=blob:none\n"))
    return made, head


def not_a_bundle(path: Path, base: str) -> tuple[Path, str]:
    path.write_bytes(b"hello\n" * 1000)
    return path, base


def endless_header(path: Path, base: str) -> tuple[Path, str]:
    path.write_bytes(b"# v2 git bundle\n" + b"x" * 1_000_000)
    return path, base


def a_link_to_a_secret(path: Path, base: str) -> tuple[Path, str]:
    made, head = well_formed(path.with_name("real"), base)
    path.symlink_to(made)
    return path, head


def a_pipe(path: Path, base: str) -> tuple[Path, str]:
    os.mkfifo(path)
    return path, base


MALFORMED: list[Made] = [
    dot_git, dot_git_of_macos, dot_dot, slash_in_a_name, hostile_gitmodules, missing_blob, missing_tree,
    missing_parent, hidden_missing_parent, broken_author, broken_pack, truncated, head_is_a_blob, main_instead,
    main_as_well, another_head, no_head, a_filter, not_a_bundle, endless_header, a_link_to_a_secret, a_pipe,
]  # fmt: skip


def test_a_crafted_bundle_that_is_well_formed_is_accepted(repo: Path, tmp_path: Path) -> None:
    """Or the test below would prove nothing."""
    base = git(repo, "rev-parse", "main").decode()
    made, head = well_formed(tmp_path / "b", base)
    fetch_bundle(repo, made, head, REF, base=base)
    assert git(repo, "rev-parse", REF).decode() == head


@pytest.mark.parametrize("make", MALFORMED, ids=lambda make: make.__name__)
def test_a_malformed_bundle_has_no_effect(make: Made, repo: Path, tmp_path: Path) -> None:
    base = git(repo, "rev-parse", "main").decode()
    made, head = make(tmp_path / "b", base)
    before = state(repo)
    with pytest.raises(IntegrityError):
        fetch_bundle(repo, made, head, REF)
    assert state(repo) == before


def test_work_that_does_not_build_on_its_base_is_refused(repo: Path, tmp_path: Path) -> None:
    base = git(repo, "rev-parse", "main").decode()
    git(repo, "commit", "-q", "--allow-empty", "-m", "newer")
    newer = git(repo, "rev-parse", "main").decode()
    made, head = well_formed(tmp_path / "b", base)
    before = state(repo)
    with pytest.raises(IntegrityError, match="does not build on"):
        fetch_bundle(repo, made, head, REF, base=newer)
    assert state(repo) == before


@pytest.mark.parametrize(
    "ref",
    [
        "refs/heads/main",
        "main",
        "HEAD",
        "refs/tags/v1",
        "refs/heads/nightcrew/../main",
        "refs/heads/nightcrew/x.lock",
        "refs/heads/nightcrew/--x",
        "refs/heads/nightcrew",
        "refs/heads/nightcrew/integration",
        "refs/remotes/origin/main",
        "refs/heads/nightcrew/a\nrefs/heads/main",
        "refs/heads/nightcrew/a b",
    ],
)
def test_only_refs_of_nightcrews_own_are_written(ref: str, repo: Path, tmp_path: Path) -> None:
    base = git(repo, "rev-parse", "main").decode()
    made, head = well_formed(tmp_path / "b", base)
    before = state(repo)
    with pytest.raises(UsageError):
        fetch_bundle(repo, made, head, ref)
    assert state(repo) == before


@pytest.mark.parametrize("revision", ["--upload-pack=touch", "-x", "main", "HEAD", "1234", "1" * 39 + "\n", ""])
def test_nothing_but_a_full_commit_id_reaches_the_command_line(revision: str, repo: Path) -> None:
    for call in (files, lambda r, c: diff(r, c, c), lambda r, c: diff_text(r, c, c), lambda r, c: read_file(r, c, "a")):
        with pytest.raises(UsageError):
            call(repo, revision)


def test_an_agent_cannot_change_what_it_borrows(repo: Path, tmp_path: Path) -> None:
    workspace, runner, _ = make_workspace(repo, tmp_path)
    objects = workspace.borrowed[0]
    victim = next(path for path in objects.rglob("*") if path.is_file())
    before = (victim.read_bytes(), victim.stat().st_mode, victim.stat().st_mtime_ns)
    secret = repo / ".git" / "config"
    attempts = (
        f"echo x > '{victim}'", f"chmod 777 '{victim}'", f"rm -f '{victim}'", f"mv '{victim}' /tmp/",
        f"touch '{victim}'", f"ln '{victim}' stolen && echo x > stolen", f"touch '{objects}/new'",
        f"chmod 777 '{objects}'", f"cat '{repo}/code'", f"cat '{secret}'",
        f"git --git-dir='{repo}/.git' update-ref refs/heads/evil HEAD",
    )  # fmt: skip
    for attempt in attempts:
        assert not runner(["sh", "-c", attempt]).ok, attempt
    assert (victim.read_bytes(), victim.stat().st_mode, victim.stat().st_mtime_ns) == before
    assert git(repo, "for-each-ref", "refs/heads/evil") == b""
