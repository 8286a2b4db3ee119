"""Files of a workspace, opened so that no link and no ``..`` leads out of it, whoever changes the tree meanwhile."""

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from nightcrew.model.errors import UsageError

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
MAX_FILE = 2_000_000
"""Bytes of a file that is read or written at most."""
MAX_LISTED = 2_000


class Tree:
    """The folder ``root`` as an agent's file tools see it. Paths are relative to it; ``.git`` is not part of it.

    All methods raise UsageError with a reason that the agent can act on.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, path: str) -> str:
        """The text of a file."""
        with self._parent(path) as (folder, name):
            try:
                descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
            except OSError as error:
                raise _refused(path, error) from None
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                os.close(descriptor)
                raise UsageError(f"{path} is not a regular file")
            with os.fdopen(descriptor, "rb") as stream:
                try:
                    data = stream.read(MAX_FILE + 1)
                except OSError as error:
                    raise _refused(path, error) from None
        if len(data) > MAX_FILE:
            raise UsageError(f"{path} has more than {MAX_FILE:,} bytes; look at parts of it with run")
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise UsageError(f"{path} is not UTF-8 text") from None

    def write(self, path: str, text: str) -> None:
        """Put ``text`` in a file, whole or not at all; folders are made, the mode of a file that is there is kept."""
        data = text.encode("utf-8", "replace")
        if len(data) > MAX_FILE:
            raise UsageError(f"{path} would have more than {MAX_FILE:,} bytes")
        with self._parent(path, make=True) as (folder, name):
            temporary = f".{name[:100]}.{secrets.token_hex(4)}"
            try:
                mode = self._mode(folder, name, path)
                descriptor = os.open(
                    temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder
                )
                with os.fdopen(descriptor, "wb") as stream:
                    stream.write(data)
                    os.fchmod(stream.fileno(), mode)
                os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
            except OSError as error:
                raise _refused(path, error) from None

    def list(self, path: str = ".") -> tuple[list[str], bool]:
        """The files below a folder, sorted by folder; and whether there are more than are given."""
        found: list[str] = []
        with self._folder(_parts(path) if path not in ("", ".", "./") else (), path) as folder:
            for where, folders, files, _ in os.fwalk(".", dir_fd=folder, follow_symlinks=False):
                folders[:] = sorted(name for name in folders if name not in _SKIPPED)
                for name in sorted(files):
                    if len(found) == MAX_LISTED:
                        return found, True
                    found.append(str(PurePosixPath(path) / where / name))
        return found, False

    @staticmethod
    def _mode(folder: int, name: str, path: str) -> int:
        try:
            info = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return 0o644
        if not stat.S_ISREG(info.st_mode):
            raise UsageError(f"{path} is not a regular file")
        return info.st_mode & 0o777

    @contextmanager
    def _parent(self, path: str, *, make: bool = False) -> Iterator[tuple[int, str]]:
        parts = _parts(path)
        with self._folder(parts[:-1], path, make=make) as folder:
            yield folder, parts[-1]

    @contextmanager
    def _folder(self, parts: tuple[str, ...], path: str, *, make: bool = False) -> Iterator[int]:
        current = os.open(self._root, _DIRECTORY)
        try:
            for part in parts:
                try:
                    if make:
                        _make(part, current)
                    following = os.open(part, _DIRECTORY, dir_fd=current)
                except OSError as error:
                    raise _refused(path, error) from None
                os.close(current)
                current = following
            yield current
        finally:
            os.close(current)


_SKIPPED = frozenset({".git", "__pycache__", "node_modules", ".venv", ".tox", ".mypy_cache", ".pytest_cache"})


def _make(name: str, folder: int) -> None:
    try:
        os.mkdir(name, dir_fd=folder)
    except FileExistsError:
        return


def _parts(path: str) -> tuple[str, ...]:
    parts = tuple(part for part in path.split("/") if part not in ("", "."))
    if path.startswith("/") or ".." in parts or "\0" in path:
        raise UsageError(f"{path!r} is not a path inside the workspace; give it from the repository's root")
    if not parts:
        raise UsageError("a path is needed, from the repository's root")
    if ".git" in parts:
        raise UsageError("the git directory is not open to this tool")
    return parts


def _refused(path: str, error: OSError) -> UsageError:
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        return UsageError(f"{path}: a part of it is a link or no folder; links are not followed")
    if error.errno == errno.ENOENT:
        return UsageError(f"there is no file {path}")
    if error.errno == errno.EISDIR:
        return UsageError(f"{path} is a folder")
    return UsageError(f"{path}: {os.strerror(error.errno or 0)}")
