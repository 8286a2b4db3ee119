"""Text that comes from outside, made safe to show; and the files of a checkout, read as data."""

import re
from pathlib import Path, PurePosixPath

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?)")

# The shapes of credentials, as their issuers and detect-secrets describe them; better one too many than one shown.
_CREDENTIAL = re.compile(
    r"(?:AKIA|ASIA)[A-Z0-9]{16}|gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[a-z]-[\w-]{10,}"
    r"|\b[sr]k[-_][\w-]{16,}|AIza[\w-]{30,}|npm_\w{30,}|pypi-[\w-]{30,}|eyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?"
    r"|-----BEGIN[^-]*PRIVATE KEY-----.*|(?<=://)[^\s/:@]*:[^\s/@]+(?=@)"
)
_NAMED_VALUE = re.compile(
    r"(?i)(pass(?:wd|word|phrase)?|pwd|secret|token|api_?key|access_?key|auth|credentials?)"
    r"(\w*[\"']?\]?(?:\s*:\s*[\w.\[\] |]+)?\s*(?:[:=]|=>|==|,)\s*[rbuf]{0,2})([\"'])(?:\\.|(?!\3).)+\3"
)

# One of these is in everything that the two patterns above match; to look for them first is ten times as fast.
_HINTS = (
    *(
        "akia",
        "asia",
        "ghp_",
        "gho_",
        "ghu_",
        "ghs_",
        "ghr_",
        "github_pat_",
        "glpat-",
        "xox",
        "sk-",
        "rk-",
        "sk_",
        "rk_",
    ),
    *("aiza", "npm_", "pypi-", "eyj", "private", "://"),
    *("pass", "pwd", "secret", "token", "key", "auth", "credential"),
)


def plain_text(value: str, *, limit: int = 4000) -> str:
    """``value`` without terminal escapes, control and text-direction characters, cut to ``limit`` characters."""
    if not value.isprintable():
        value = _CONTROL.sub("", _ESCAPE.sub("", value.replace("\r\n", "\n").replace("\r", "\n")))
    return value if len(value) <= limit else value[: limit - 1] + "\N{HORIZONTAL ELLIPSIS}"


def masked(line: str) -> str:
    """``line`` of source code with what looks like a credential blotted out, so that it can be shown."""
    lower = line.lower()
    if not any(hint in lower for hint in _HINTS):
        return line
    return _CREDENTIAL.sub("[masked]", _NAMED_VALUE.sub(r"\1\2\3[masked]\3", line))


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
    """The text of file ``path`` under ``root``, undecodable bytes replaced; None if there is no such file inside it."""
    real = inside(root, path, limit=limit)
    try:
        return None if real is None else real.read_bytes().decode("utf-8-sig", "replace")
    except OSError:
        return None


def in_tests(path: str) -> bool:
    """Whether ``path`` is test code, by its name: ``tests/``, ``test_*.py``, ``*_test.py``, ``conftest.py``."""
    pure = PurePosixPath(path)
    directories = {part.lower() for part in pure.parts[:-1]}
    return bool(
        directories & {"test", "tests", "testing"}
        or pure.name.startswith("test_")
        or pure.stem.endswith("_test")
        or pure.name == "conftest.py"
    )
