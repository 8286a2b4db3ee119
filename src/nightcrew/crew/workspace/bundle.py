"""Bringing an agent's commits over to the user's repository, as data.

The bundle is made in the sandbox. Outside, its header is read here, its objects are indexed in a quarantine with
every check of git's on (as ``git receive-pack`` does; ``git fetch`` of a bundle checks nothing before git 2.46), and
only when all is well do they move into the repository and is one ref of nightcrew's own set. The names in the bundle
decide nothing.
"""

import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from nightcrew.crew.workspace.clone import Workspace
from nightcrew.crew.workspace.git import Git, check_commit
from nightcrew.crew.workspace.inside import Runner, git_inside, workspace_head
from nightcrew.crew.workspace.repository import worktrees_on
from nightcrew.model.errors import BusyError, IntegrityError, UsageError

MAX_BUNDLE_BYTES = 512 * 1024**2
_HEADER_LIMIT = 64 * 1024
# Of nightcrew's own, but never the integration branch: that one only ``merge`` moves.
_OWN_REF = re.compile(
    r"refs/(heads/)?nightcrew/(?!integration(/|$))[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*"
)
_KEPT = "refs/nightcrew/kept"


@dataclass(frozen=True)
class BundleHeader:
    """What a bundle says of itself (gitformat-bundle): ``heads`` maps ref names to ids; it needs ``prerequisites``."""

    heads: dict[str, str]
    prerequisites: tuple[str, ...]
    object_format: str


def export_bundle(workspace: Workspace, bundle_file: Path, *, run: Runner) -> str | None:
    """Write the workspace's commits since its base to ``bundle_file`` (a path its sandbox may write); gives the head.

    None, and no file, if there are none. Raises RepositoryError when git fails in the workspace.
    """
    head = workspace_head(workspace, run)
    if head == workspace.base:
        return None
    bundle_file.unlink(missing_ok=True)
    git_inside(run, "bundle", "create", "--quiet", str(bundle_file), f"^{workspace.base}", workspace.ref)
    return head


def fetch_bundle(
    repo: Path,
    bundle_file: Path,
    expected_head: str,
    ref: str,
    *,
    base: str | None = None,
    max_bytes: int = MAX_BUNDLE_BYTES,
) -> None:
    """Take the bundle's commits into ``repo`` and set ``ref`` to ``expected_head``, the one head it must hold.

    ``ref`` is a full name under ``refs/heads/nightcrew/`` or ``refs/nightcrew/``; if it held commits that the new
    head does not contain, they are kept under ``refs/nightcrew/kept/``. ``base``: a commit that the head must
    contain. Idempotent.

    Raises IntegrityError when the bundle is malformed, too large or not what was announced (nothing is changed then),
    UsageError for a ref that is not nightcrew's, BusyError when it is checked out in a working tree.
    """
    check_commit(expected_head)
    if _OWN_REF.fullmatch(ref) is None or ".." in ref or ref.endswith((".lock", ".")) or ".lock/" in ref:
        raise UsageError(f"{ref} is not a ref of nightcrew's own")
    git = Git(repo)
    with _opened(bundle_file, max_bytes) as stream:
        header = read_header(stream)
        _check_header(git, header, expected_head, ref)
        with tempfile.TemporaryDirectory(prefix="tmp_objdir-nightcrew-", dir=git.objects_dir) as name:
            quarantine = Path(name)
            (quarantine / "pack").mkdir()
            _index(git, stream, quarantine, max_bytes)
            _check_connected(git, header, expected_head, base, quarantine)
            old = git.ref(ref)
            if old != expected_head and ref.startswith("refs/heads/"):
                _refuse_checked_out(git, ref.removeprefix("refs/heads/"))
            _migrate(quarantine, git.objects_dir)
    if old != expected_head:
        _set(git, ref, expected_head, old)


def read_header(stream: BinaryIO) -> BundleHeader:
    """Read the header, leaving ``stream`` at the pack; raises IntegrityError."""
    signature = stream.readline(_HEADER_LIMIT)
    if signature not in (b"# v2 git bundle\n", b"# v3 git bundle\n"):
        raise IntegrityError("the bundle does not begin like one")
    heads: dict[str, str] = {}
    prerequisites: list[str] = []
    object_format = "sha1"
    for _ in range(10_000):
        line = stream.readline(_HEADER_LIMIT)
        text = os.fsdecode(line).removesuffix("\n")
        if line == b"\n":
            return BundleHeader(heads, tuple(prerequisites), object_format)
        if not line.endswith(b"\n"):
            break
        if text.startswith("@object-format="):
            object_format = text.partition("=")[2]
        elif text.startswith("-"):
            prerequisites.append(_commit(text[1:].partition(" ")[0]))
        elif text.startswith("@"):
            raise IntegrityError(f"the bundle needs {text[1:40]!r}, which is not accepted")
        else:
            commit, _, name = text.partition(" ")
            heads[name] = _commit(commit)
    raise IntegrityError("the bundle's header has no end")


def _commit(text: str) -> str:
    try:
        return check_commit(text)
    except UsageError as error:
        raise IntegrityError(f"the bundle's header: {error}") from None


@contextmanager
def _opened(path: Path, max_bytes: int) -> Iterator[BinaryIO]:
    """The file, if it is one: an agent could have put a link to a secret, or a pipe that never ends, in its place."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise IntegrityError(f"the bundle {path} cannot be read: {error.strerror}") from None
    with os.fdopen(descriptor, "rb") as stream:
        facts = os.fstat(stream.fileno())
        if not stat.S_ISREG(facts.st_mode):
            raise IntegrityError(f"the bundle {path} is not a file")
        if facts.st_size > max_bytes:
            raise IntegrityError(
                f"the bundle has {facts.st_size:,} bytes, more than the {max_bytes:,} allowed",
                hint="Did the agent commit build products? Raise the limit if it is right.",
            )
        yield stream


def _check_header(git: Git, header: BundleHeader, expected_head: str, ref: str) -> None:
    if header.object_format != git.object_format:
        raise IntegrityError(f"the bundle's objects are {header.object_format}, the repository's {git.object_format}")
    if list(header.heads.values()) != [expected_head]:
        raise IntegrityError(f"the bundle's heads are {_shown(header.heads)}, announced was {expected_head[:12]} alone")
    name = next(iter(header.heads))
    if ref.startswith("refs/heads/") and name not in (ref, "HEAD"):
        raise IntegrityError(f"the bundle is for {name!r}, not {ref}")
    missing = [commit for commit in header.prerequisites if not git.exists(commit)]
    if missing:
        raise IntegrityError(f"the bundle builds on {missing[0][:12]}, which the repository does not have")


def _shown(heads: dict[str, str]) -> str:
    listed = [f"{commit[:12]} {name!r}" for name, commit in list(heads.items())[:3]]
    return ", ".join(listed) + (", ..." if len(heads) > 3 else "") or "none"


def _index(git: Git, stream: BinaryIO, quarantine: Path, max_bytes: int) -> None:
    os.lseek(stream.fileno(), stream.tell(), os.SEEK_SET)  # git reads the descriptor, past what was buffered here
    output = git.data(
        "index-pack", "--stdin", "--strict", "--fix-thin", f"--max-input-size={max_bytes}",
        source=stream.fileno(),
        environment=_quarantined(git, quarantine),
    )  # fmt: skip
    if output.status != 0:
        raise IntegrityError(f"the bundle's objects are refused: {output.reason}")


def _check_connected(git: Git, header: BundleHeader, head: str, base: str | None, quarantine: Path) -> None:
    """Everything that the head leads to is there: git's own check after a fetch, down to what the repository had."""
    wanted = "".join(f"{commit}\n" for commit in (head, *(f"^{commit}" for commit in header.prerequisites)))
    environment = _quarantined(git, quarantine)
    if git.data("cat-file", "-t", head, environment=environment).text != "commit":
        raise IntegrityError(f"the bundle's head {head[:12]} is not a commit that came with it")
    output = git.data("rev-list", "--objects", "--quiet", "--stdin", stdin=wanted.encode(), environment=environment)
    if output.status != 0:
        raise IntegrityError(f"the bundle is not complete: {output.reason}")
    if base is not None:
        output = git.data("merge-base", "--is-ancestor", check_commit(base), head, environment=environment)
        if output.status != 0:
            raise IntegrityError(f"{head[:12]} does not build on {base[:12]}, where the work began")


def _quarantined(git: Git, quarantine: Path) -> dict[str, str]:
    alternate = str(git.objects_dir).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return {"GIT_OBJECT_DIRECTORY": str(quarantine), "GIT_ALTERNATE_OBJECT_DIRECTORIES": f'"{alternate}"'}


def _refuse_checked_out(git: Git, branch: str) -> None:
    trees = worktrees_on(git, branch)
    if trees:
        raise BusyError(
            f"{branch} is checked out in {trees[0]}, where moving it would look like changes of yours",
            hint=f"Check out another branch there: git -C {trees[0]} switch -",
        )


def _migrate(quarantine: Path, objects: Path) -> None:
    """Move the pack in, its index last: git looks for a pack by its index."""
    (objects / "pack").mkdir(exist_ok=True)
    for file in sorted((quarantine / "pack").iterdir(), key=lambda path: path.suffix == ".idx"):
        target = objects / "pack" / file.name
        if file.suffix in (".pack", ".idx", ".rev") and not target.exists():
            shutil.move(file, target)


def _set(git: Git, ref: str, head: str, old: str | None) -> None:
    updates = [(ref, head, old or git.zero)]
    if old is not None and not git.is_ancestor(old, head):
        kept = f"{_KEPT}/{ref.rpartition('/')[2]}/{old}"
        updates.append((kept, old, git.ref(kept) or git.zero))
    git.update_refs(*updates)
