"""What of a person's environment a run at night sees as well, so that it behaves as the same command by hand."""

import os
import pwd
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

NAMES = (
    "PATH",
    "LANG",
    "LANGUAGE",
    "LC_ALL",
    "LC_CTYPE",
    "LC_MESSAGES",
    "TZ",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "XDG_CONFIG_HOME",
    "XDG_STATE_HOME",
    "XDG_CACHE_HOME",
    "XDG_DATA_HOME",
    "NIGHTCREW_CONFIG_DIR",
    "NIGHTCREW_LOG",
    "VIRTUAL_ENV",
    "JAVA_HOME",
    "GOPATH",
    "GOROOT",
    "CARGO_HOME",
    "RUSTUP_HOME",
    "NVM_DIR",
    "PNPM_HOME",
    "PYENV_ROOT",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "GIT_AUTHOR_NAME",
    "GIT_AUTHOR_EMAIL",
    "GIT_COMMITTER_NAME",
    "GIT_COMMITTER_EMAIL",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_SERVICE_NAME",
)
"""The variables that are taken over: where programs and their files are, how text is written. No key is among them."""

FINDING = ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "NIGHTCREW_CONFIG_DIR")
"""Those without which a call would not find what belongs to the repository."""

_LONGEST = 16_384


@dataclass(frozen=True)
class Captured:
    """The variables that were taken over, and what a person should know of those that were not."""

    environment: dict[str, str]
    warnings: tuple[str, ...]


def capture(given: Mapping[str, str], agents: Sequence[Path] = ()) -> Captured:
    """Take over what a run needs of an environment. A value that holds a password, or no text, is left out.

    ``agents`` are the trees that agents' work gets into: of those no folder stays in PATH.
    """
    taken: dict[str, str] = {}
    warnings: list[str] = []
    for name in NAMES:
        value = given.get(name, "")
        if not value:
            continue
        if name == "PATH":
            value, dropped = clean_path(value, agents)
            warnings += dropped
        elif len(value) > _LONGEST or not value.isprintable():
            warnings.append(f"{name} is left out: it holds what is no text")
            continue
        elif "@" in value and ("://" in value or "proxy" in name.lower()):
            warnings.append(f"{name} is left out: it holds a password")
            continue
        taken[name] = value
    return Captured(taken, tuple(warnings))


def clean_path(path: str, agents: Sequence[Path] = ()) -> tuple[str, list[str]]:
    """The folders of a PATH that are there, each once, and what is said of those that are not safe to search.

    A relative folder means another one in each working directory, in one that everybody may write anybody can put a
    program, and into those of ``agents`` an agent's work gets: nightcrew itself would run it, outside of every sandbox.
    None of them is searched at night.
    """
    closed = [tree.resolve() for tree in agents]
    kept: list[str] = []
    said: list[str] = []
    for folder in path.split(os.pathsep):
        if not folder or not Path(folder).is_absolute():
            said.append(f"{folder or '(empty)'} in PATH is left out: it is another folder in each working directory")
        elif not folder.isprintable():
            said.append("a folder in PATH is left out: its name holds what is no text")
        elif folder not in kept and Path(folder).is_dir():
            real = Path(folder).resolve()
            if any(real.is_relative_to(tree) for tree in closed):
                said.append(f"{folder} in PATH is left out: what agents wrote may come to lie there")
            elif _is_anybodys(real):
                said.append(f"{folder} in PATH is left out: everybody may write it")
            else:
                kept.append(folder)
    return os.pathsep.join(kept), said


def _is_anybodys(folder: Path) -> bool:
    """Whether anybody may put a program into it, or another folder in its place."""
    if folder.stat().st_mode & stat.S_IWOTH:
        return True
    above = [parent.stat().st_mode for parent in folder.parents]
    return any(mode & stat.S_IWOTH and not mode & stat.S_ISVTX for mode in above)


def finding(environment: Mapping[str, str]) -> dict[str, str]:
    """What the machine's scheduler must set itself, for the call to find its schedule."""
    found = {name: environment[name] for name in FINDING if name in environment}
    if found.get("HOME") == pwd.getpwuid(os.getuid()).pw_dir:
        del found["HOME"]  # They all set it to that.
    return found


def apply(environment: Mapping[str, str]) -> None:
    """Make this process see what was captured, and of those names nothing else."""
    for name in NAMES:
        if name in environment:
            os.environ[name] = environment[name]
        else:
            os.environ.pop(name, None)
