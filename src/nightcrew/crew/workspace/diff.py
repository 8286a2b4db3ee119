"""What a change changes, and what a commit holds: read from objects, without any filter, driver or conversion."""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nightcrew.crew.workspace.git import Git, check_commit
from nightcrew.model.errors import RepositoryError

MAX_FILE_BYTES = 1_000_000
MAX_TOTAL_BYTES = 50_000_000
_GITLINK = "160000"


@dataclass(frozen=True)
class FileChange:
    """One path that differs. ``status``: added, modified, deleted or type (a file became a link, say). No renames.

    The texts are None where there is no such side, or where it is not text: ``binary`` (a NUL byte, not UTF-8, or a
    submodule) or ``too_large`` (over the caps of ``diff``). Modes are git's, such as ``100755``, None where there is no
    such side. ``path`` may hold surrogates for bytes that are not UTF-8 (as ``os.fsdecode``).
    """

    path: str
    status: str
    base_text: str | None
    head_text: str | None
    binary: bool
    too_large: bool
    base_mode: str | None
    head_mode: str | None
    base_size: int | None
    head_size: int | None

    @property
    def mode_changed(self) -> bool:
        """Whether both sides exist and their modes (executable, link) differ."""
        return None not in (self.base_mode, self.head_mode) and self.base_mode != self.head_mode


@dataclass(frozen=True)
class _Entry:
    path: str
    status: str
    modes: tuple[str | None, str | None]
    blobs: tuple[str | None, str | None]


_STATUS = {"A": "added", "M": "modified", "D": "deleted", "T": "type"}


def diff(
    repo: Path,
    base: str,
    head: str,
    *,
    max_file_bytes: int = MAX_FILE_BYTES,
    max_total_bytes: int = MAX_TOTAL_BYTES,
) -> list[FileChange]:
    """All paths that differ between two commits, with their texts, sorted by path.

    A side larger than ``max_file_bytes``, or past ``max_total_bytes`` of all sides before it, has no text. Raises
    RepositoryError when a commit is missing.
    """
    git = Git(repo)
    entries = _entries(git, base, head)
    blobs = list(dict.fromkeys(blob for entry in entries for blob in entry.blobs if blob is not None))
    sizes = _sizes(git, blobs)
    wanted: list[str] = []
    total = 0
    for blob in blobs:
        if sizes[blob] <= max_file_bytes and total + sizes[blob] <= max_total_bytes:
            wanted.append(blob)
            total += sizes[blob]
    contents = _contents(git, wanted)
    return [_change(entry, sizes, contents) for entry in entries]


def changed_paths(repo: Path, base: str, head: str) -> list[str]:
    """The paths that differ between two commits, sorted; raises RepositoryError when one is missing."""
    return [entry.path for entry in _entries(Git(repo), base, head)]


def diff_text(repo: Path, base: str, head: str, *, paths: Sequence[str] = (), limit: int = 200_000) -> str:
    """A unified patch from ``base`` to ``head`` for people and models, of about ``limit`` characters at most.

    ``paths`` (exact, as in ``changed_paths``) limits it. Bytes that are not UTF-8 are replaced; what was cut is said in
    the last line.
    """
    git = Git(repo)
    output = git.data(
        "--literal-pathspecs", "diff-tree", "-p", "-r", "-M", "--no-ext-diff", "--no-textconv", "--no-color",
        check_commit(base), check_commit(head), "--", *paths,
    )  # fmt: skip
    text = git.must(output, f"comparing {base[:12]} with {head[:12]}").decode("utf-8", "replace")
    if len(text) <= limit:
        return text
    cut = text.rfind("\n", 0, limit) + 1 or limit
    return f"{text[:cut]}[... {len(text) - cut:,} more characters of this patch left out ...]\n"


def read_file(repo: Path, commit: str, path: str) -> bytes | None:
    """The bytes of a file (or the target of a link) in a commit; None if there is none. Raises RepositoryError."""
    git = Git(repo)
    listing = _listing(git, commit, path)
    if path not in listing or listing[path][0] == _GITLINK:
        return None
    blob = listing[path][1]
    return _contents(git, [blob])[blob]


def files(repo: Path, commit: str) -> list[str]:
    """All paths in a commit (submodules included), sorted by bytes; raises RepositoryError when it is missing."""
    return list(_listing(Git(repo), commit, None))


def _listing(git: Git, commit: str, path: str | None) -> dict[str, tuple[str, str]]:
    """Path to (mode, object)."""
    only = [] if path is None else ["--", path]
    output = git.data("--literal-pathspecs", "ls-tree", "-r", "-z", "--full-tree", check_commit(commit), *only)
    found: dict[str, tuple[str, str]] = {}
    for record in os.fsdecode(git.must(output, f"listing {commit[:12]}")).split("\0"):
        if record:
            facts, _, name = record.partition("\t")
            mode, _, blob = facts.split(" ")
            found[name] = (mode, blob)
    return found


def _entries(git: Git, base: str, head: str) -> list[_Entry]:
    output = git.data("diff-tree", "-r", "-z", "--raw", "--no-renames", check_commit(base), check_commit(head))
    parts = os.fsdecode(git.must(output, f"comparing {base[:12]} with {head[:12]}")).split("\0")
    entries = []
    for facts, path in zip(parts[0::2], parts[1::2], strict=False):
        base_mode, head_mode, base_blob, head_blob, status = facts.removeprefix(":").split(" ")
        modes = (_present(base_mode), _present(head_mode))
        blobs = (_blob(base_mode, base_blob), _blob(head_mode, head_blob))
        entries.append(_Entry(path, _STATUS.get(status[:1], status), modes, blobs))
    return entries


def _present(mode: str) -> str | None:
    return None if mode == "000000" else mode


def _blob(mode: str, blob: str) -> str | None:
    return None if mode in ("000000", _GITLINK) else blob


def _sizes(git: Git, blobs: Iterable[str]) -> dict[str, int]:
    asked = "".join(f"{blob}\n" for blob in blobs).encode()
    output = git.data("cat-file", "--batch-check=%(objectname) %(objectsize)", stdin=asked)
    sizes: dict[str, int] = {}
    for line in git.must(output, "reading sizes").decode().splitlines():
        sizes[line.partition(" ")[0]] = _size(git, line)
    return sizes


def _size(git: Git, line: str) -> int:
    """The size at the end of a line of ``cat-file``'s, which says "missing" instead where there is no such object."""
    name, _, rest = line.partition(" ")
    size = rest.rpartition(" ")[2]
    if not size.isdigit():
        raise RepositoryError(f"{git.repo} lacks the object {name}", hint="Is it a partial clone? Run: git fetch")
    return int(size)


def _contents(git: Git, blobs: Sequence[str]) -> dict[str, bytes]:
    asked = "".join(f"{blob}\n" for blob in blobs).encode()
    data = git.must(git.data("cat-file", "--batch", stdin=asked), "reading files")
    contents: dict[str, bytes] = {}
    position = 0
    for blob in blobs:
        end = data.index(b"\n", position)
        size = _size(git, data[position:end].decode())
        contents[blob] = data[end + 1 : end + 1 + size]
        position = end + 1 + size + 1
    return contents


def _change(entry: _Entry, sizes: dict[str, int], contents: dict[str, bytes]) -> FileChange:
    texts = [_text(contents.get(blob)) if blob is not None else None for blob in entry.blobs]
    loaded = [blob is None or blob in contents for blob in entry.blobs]
    binary = _GITLINK in entry.modes or any(
        blob is not None and blob in contents and text is None for blob, text in zip(entry.blobs, texts, strict=True)
    )
    base_size, head_size = (None if blob is None else sizes[blob] for blob in entry.blobs)
    return FileChange(
        path=entry.path,
        status=entry.status,
        base_text=texts[0],
        head_text=texts[1],
        binary=binary,
        too_large=not all(loaded),
        base_mode=entry.modes[0],
        head_mode=entry.modes[1],
        base_size=base_size,
        head_size=head_size,
    )


def _text(data: bytes | None) -> str | None:
    if data is None or b"\0" in data:
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None


_ESCAPE = re.compile(rb"\\([abtnvfr\"\\]|[0-7]{3})")
_LETTERS = {b"a": 7, b"b": 8, b"t": 9, b"n": 10, b"v": 11, b"f": 12, b"r": 13, b'"': 34, b"\\": 92}


def unquoted(name: str) -> str:
    """A name as git quotes it when it has odd bytes (git-config, ``core.quotePath``)."""
    if not (len(name) >= 2 and name[0] == name[-1] == '"'):
        return name

    def byte(match: re.Match[bytes]) -> bytes:
        return bytes([_LETTERS[match[1]] if match[1] in _LETTERS else int(match[1], 8) & 0xFF])

    return _ESCAPE.sub(byte, name[1:-1].encode()).decode("utf-8", "replace")
