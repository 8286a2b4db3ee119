"""The crew's state in one sealed file: for machines that are thrown away after each night, as those of CI are.

In it are the state database, the files of ``.nightcrew``, the trust anchor, and nightcrew's branches with the commits
that the default branch does not have. It is restored only where there is nothing yet, and only into a repository that
began as the one that it was saved from: two histories are never mixed. It says itself of when it is, since who can put
an older file in its place brings back what was true then.
"""

import io
import json
import os
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath

from nightcrew.approvals import TrustAnchor, private_files
from nightcrew.crew.project import STATE, Project
from nightcrew.crew.published import write_atomically
from nightcrew.crew.sealed import seal, unseal
from nightcrew.crew.workspace import Git, workable
from nightcrew.model.clock import isoformat
from nightcrew.model.errors import ConfigurationError, IntegrityError, PolicyError, RepositoryError
from nightcrew.store.copying import copy_database

KEY = "NIGHTCREW_STATE_KEY"
LIMIT = 1 << 30
_DATABASE = "nightcrew.db"
_PLAYBOOK = "playbook.md"
_ABOUT, _REFS, _PACK = "about.json", "refs.json", "commits.pack"
_OURS = ("refs/heads/nightcrew/", "refs/nightcrew/")


@dataclass(frozen=True)
class Carried:
    """What was saved or restored: bytes of the sealed file, files of state and trust, branches and other refs.

    ``saved`` is when it was saved.
    """

    size: int
    files: int
    refs: int
    saved: datetime


def save(project: Project, path: Path, key: str) -> Carried:
    """Write the state of ``project``, sealed with ``key``, to ``path``; a shift may run meanwhile.

    Raises UsageError for a short key, ConfigurationError if the file cannot be written or the state is above LIMIT.
    """
    refs, now = _refs(project.git), project.clock()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=6) as archive:
        # The anchor first: a ledger that is ahead of what was last seen of it is as it should be, one behind is not.
        files = _put_tree(archive, "trust", project.anchor.directory)
        files += _put_tree(archive, "state", project.state_dir)
        if not project.settings.database_url:
            with tempfile.TemporaryDirectory(prefix="nightcrew-state-") as folder:
                copy_database(project.state_dir / _DATABASE, Path(folder) / _DATABASE)
                _put(archive, f"state/{_DATABASE}", (Path(folder) / _DATABASE).read_bytes())
            files += 1
        about = {"saved": isoformat(now), "roots": _roots(project.git)}
        _put(archive, _ABOUT, json.dumps(about, sort_keys=True).encode())
        _put(archive, _REFS, json.dumps(refs, sort_keys=True).encode())
        _put(archive, _PACK, _pack(project, list(refs.values())))
    if packed.tell() > LIMIT:
        raise ConfigurationError(
            f"the state has more than {LIMIT >> 20} MiB", hint="Keep it in Postgres: database_url."
        )
    sealed = seal(packed.getvalue(), key)
    write_atomically(path, sealed)
    return Carried(len(sealed), files, len(refs), now)


def restore(start: Path, path: Path, key: str) -> Carried:
    """Bring back into the repository around ``start`` what ``save`` wrote.

    A playbook that is in the repository stays as it is there. Raises PolicyError if the repository or this user has a
    state already or the state is another repository's, IntegrityError if the file does not open or is not whole,
    RepositoryError if commits that it builds on are missing; nothing is changed then.
    """
    root = workable(start).root
    git, anchor, state = Git(root), TrustAnchor.of_user(), root / STATE
    anchor.require_outside(root)
    for there in (state / _DATABASE, anchor.directory / "service.json"):
        if there.exists():
            raise PolicyError(
                f"{there} exists: a state is restored only where there is none",
                hint="Restore into a fresh clone, for a user without a trust anchor (NIGHTCREW_CONFIG_DIR).",
            )
    try:
        sealed = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
    parts = dict(_members(unseal(sealed, key)))
    if missing := {_ABOUT, _REFS, _PACK} - set(parts):
        raise IntegrityError(f"the saved state is not whole: it has no {min(missing)}")
    about = json.loads(parts.pop(_ABOUT))
    if not set(about["roots"]) & set(_roots(git)):
        raise PolicyError(
            "this is the state of another repository: the two have not one first commit in common",
            hint="Give each repository a key of its own.",
        )
    _require_no_links(state, [state / name.removeprefix("state/") for name in parts if name.startswith("state/")])
    refs: dict[str, str] = json.loads(parts.pop(_REFS))
    _take_commits(git, parts.pop(_PACK), refs)
    # What says that there is a state comes last, so that a restore that was killed can be made again.
    for name in sorted(parts, key=lambda one: (one == f"state/{_DATABASE}", one == "trust/service.json", one)):
        kind, _, inner = name.partition("/")
        if kind == "trust":
            private_files.ensure_directory(anchor.directory)
            target = anchor.directory / inner
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            private_files.replace(target, parts[name])
        elif inner != _PLAYBOOK or not (state / inner).exists():
            write_atomically(state / inner, parts[name])
    return Carried(len(sealed), len(parts), len(refs), datetime.fromisoformat(about["saved"]))


def _require_no_links(state: Path, paths: list[Path]) -> None:
    """Raises PolicyError if the repository has a link where one of ``paths`` would be written through it."""
    real = state.parent.resolve() / state.name
    for path in paths:
        if path.parent.resolve() != real / path.parent.relative_to(state):
            raise PolicyError(f"{path.parent} leads elsewhere", hint="Take the link out of the repository.")


def _roots(git: Git) -> list[str]:
    """The first commits of what is checked out: of a repository they stay, also when later history is rewritten."""
    if (git.common_dir / "shallow").is_file():
        raise RepositoryError("a shallow clone has no first commit", hint="Fetch the whole history: fetch-depth: 0.")
    listed = git.refs("rev-list", "--max-parents=0", "HEAD")
    return git.must(listed, "looking for the first commit").decode().split()


def _refs(git: Git) -> dict[str, str]:
    listed = git.must(git.refs("for-each-ref", "--format=%(objectname) %(refname)", *_OURS), "listing branches")
    found = (line.split(" ", 1) for line in os.fsdecode(listed).splitlines())
    return {name: commit for commit, name in found}


def _pack(project: Project, commits: list[str]) -> bytes:
    """The commits with all they lead to, but for what a fresh clone has of the default branch."""
    if not commits:
        return b""
    branch = project.repository().default_branch
    names = (f"refs/remotes/origin/{branch}", f"refs/heads/{branch}")
    known = next((found for name in names if (found := project.git.ref(name)) is not None), None)
    wanted = "".join(f"{one}\n" for one in [*commits, *([f"^{known}"] if known else [])])
    output = project.git.data("pack-objects", "--revs", "--stdout", "--quiet", stdin=wanted.encode())
    return project.git.must(output, "packing nightcrew's branches")


def _take_commits(git: Git, pack: bytes, refs: dict[str, str]) -> None:
    if pack:
        git.must(git.data("index-pack", "--stdin", "--strict", stdin=pack), "unpacking nightcrew's branches")
    wanted = "".join(f"{commit}\n" for commit in refs.values())
    if wanted and git.data("rev-list", "--objects", "--quiet", "--stdin", stdin=wanted.encode()).status != 0:
        raise RepositoryError(
            "commits that the saved state builds on are not in this clone",
            hint="Fetch the whole history (fetch-depth: 0 in CI). Was the default branch rewritten?",
        )
    now = {name: git.ref(name) for name in refs}
    if other := sorted(name for name, commit in refs.items() if now[name] not in (None, commit)):
        raise PolicyError(
            f"{other[0]} is another commit here than in the saved state", hint="Restore into a fresh clone."
        )
    if missing := [(name, commit, git.zero) for name, commit in refs.items() if now[name] is None]:
        git.update_refs(*missing)


def _put_tree(archive: tarfile.TarFile, name: str, root: Path) -> int:
    count = 0
    for path in sorted(root.rglob("*")):
        if path.is_symlink() or not path.is_file() or _is_passing(path):
            continue
        _put(archive, f"{name}/{path.relative_to(root).as_posix()}", path.read_bytes())
        count += 1
    return count


def _is_passing(path: Path) -> bool:
    """Locks and temporary files are of this machine; the database is copied by itself."""
    return path.name.startswith((".tmp-", _DATABASE)) or path.suffix in (".lock", ".pid") or path.name == ".lock"


def _put(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def _members(data: bytes) -> Iterator[tuple[str, bytes]]:
    """The files in the archive; raises IntegrityError for a name that is not of the kind that ``save`` writes."""
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
        for member in archive:
            parts = PurePosixPath(member.name).parts
            ours = member.name in (_ABOUT, _REFS, _PACK) or (len(parts) > 1 and parts[0] in ("state", "trust"))
            plain = "/".join(parts) == member.name and ".." not in parts
            stream = archive.extractfile(member) if member.isreg() else None
            if not ours or not plain or stream is None:
                raise IntegrityError(f"the saved state holds {member.name!r}, which nightcrew does not write")
            yield member.name, stream.read()
