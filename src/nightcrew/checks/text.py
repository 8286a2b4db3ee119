"""Text that comes from outside, made safe to show; and the files of a checkout, read as data."""

import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?)")

LineReader = Callable[[str, int], str | None]
"""Gives a line (from 1) of a file (repository-relative path), or None."""


def plain_text(value: str, *, limit: int = 4000) -> str:
    """``value`` without terminal escapes, control and text-direction characters, cut to ``limit`` characters."""
    cleaned = _CONTROL.sub("", _ESCAPE.sub("", value.replace("\r\n", "\n").replace("\r", "\n")))
    return cleaned if len(cleaned) <= limit else cleaned[: limit - 1] + "\N{HORIZONTAL ELLIPSIS}"


def relative_path(path: str) -> str | None:
    """``path`` (forward slashes, relative) in its shortest form, or None when it is empty or leads out of its root."""
    parts: list[str] = []
    if path.startswith("/") or "\0" in path:
        return None
    for part in path.split("/"):
        if part in ("", "."):
            continue
        if part != "..":
            parts.append(part)
        elif parts:
            parts.pop()
        else:
            return None
    return "/".join(parts) or None


def inside(root: Path, path: str, *, limit: int = 10_000_000) -> Path | None:
    """The regular file ``path`` of the checkout at ``root``, or None.

    None for a path or a link that leads out of ``root``, and for a file above ``limit`` bytes.
    """
    try:
        real = (root / path).resolve(strict=True)
        if real.is_relative_to(root.resolve()) and real.is_file() and real.stat().st_size <= limit:
            return real
    except (OSError, RuntimeError, ValueError):
        pass
    return None


def read_text(root: Path, path: str, *, limit: int = 10_000_000) -> str | None:
    """The text of file ``path`` under ``root``, undecodable bytes replaced; None when there is no such file inside it."""
    real = inside(root, path, limit=limit)
    try:
        return None if real is None else real.read_bytes().decode("utf-8-sig", "replace")
    except OSError:
        return None


def line_reader(root: Path) -> LineReader:
    """Reads lines of the files under ``root``, each file once; links that lead out of it are not followed."""
    files: dict[str, list[str]] = {}

    def line(path: str, number: int) -> str | None:
        if path not in files:
            text = read_text(root, path)
            files[path] = [] if text is None else text.split("\n")
        lines = files[path]
        return lines[number - 1] if 0 < number <= len(lines) else None

    return line


def in_tests(path: str) -> bool:
    """Whether ``path`` is test code, by the names that pytest and unittest users give: ``tests/``, ``test_*.py``, ``*_test.py``."""
    pure = PurePosixPath(path)
    directories = {part.lower() for part in pure.parts[:-1]}
    return bool(
        directories & {"test", "tests", "testing"}
        or pure.name.startswith("test_")
        or pure.stem.endswith("_test")
        or pure.name == "conftest.py"
    )
