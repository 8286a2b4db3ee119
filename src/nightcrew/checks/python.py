"""The Python that runs a project's tests: the user's, one made once per set of declared dependencies, or our own."""

import fcntl
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nightcrew.checks.errors import CheckError
from nightcrew.checks.project import Detected, declared_content
from nightcrew.checks.running import OWN_MODULES, Run
from nightcrew.checks.text import plain_text
from nightcrew.model.canonical import digest
from nightcrew.sandbox import scrubbed_environment


@dataclass(frozen=True)
class Environment:
    """An interpreter, the trees it needs to be readable, and what it is called in reports."""

    python: Path
    readable: tuple[Path, ...]
    name: str
    key: str

    @property
    def lasting(self) -> bool:
        """Whether what is installed cannot change under the same ``key``; the user's own environment can."""
        return not self.key.startswith("/")


def prepare(
    workspace: Path,
    detected: Detected,
    *,
    folder: Path,
    run: Run,
    timeout: float,
    python: str = "",
    setup: str = "",
    network: bool = True,
) -> Environment:
    """The environment for the tests of ``workspace``, made in ``folder`` if it must be.

    It is kept by the hash of what it is made from. A half-made one is made again; two processes make one. ``timeout``
    in seconds.

    Raises CheckError with the end of the log if it cannot be made.
    """
    if python:
        return _given(Path(python), "the interpreter of [checks] python")
    if not setup and (own := _users(workspace, detected, run)) is not None:
        return own
    if not setup and not detected.installs and detected.itself is None and not detected.native:
        return Environment(Path(sys.executable), (), "nightcrew's own Python", "own")
    key = _key(workspace, detected, setup)
    # Resolved, because scripts and caches of the environment name it by its path.
    folder.mkdir(parents=True, exist_ok=True)
    folder = folder.resolve()
    target, done = folder / key, folder / f"{key}.done"
    with _locked(folder / f"{key}.lock"):
        # The marker lies outside the environment: what runs in the set-up cannot write it, nor make it a link.
        if not done.is_file():
            shutil.rmtree(target, ignore_errors=True)
            target.mkdir()
            _make(workspace, detected, target, run, timeout, setup, network)
            done.write_text(json.dumps({"key": key, "from": detected.keys}))
    return Environment(
        target / "bin" / "python", (target,), f"an environment made from {', '.join(detected.keys) or 'setup'}", key
    )


def made_before(workspace: Path, detected: Detected, *, folder: Path, setup: str = "") -> Path | None:
    """The interpreter of the environment that ``prepare`` has made in ``folder`` for what is declared, or None."""
    key = _key(workspace, detected, setup)
    return folder / key / "bin" / "python" if (folder / f"{key}.done").is_file() else None


def _users(workspace: Path, detected: Detected, run: Run) -> Environment | None:
    """The environment in the user's tree, if it has pytest and the dependencies declared there are this commit's."""
    python = detected.user_python
    if python is None:
        return None
    tree = python.parent.parent.parent
    if declared_content(tree, detected.keys) != declared_content(workspace, detected.keys):
        return None
    given = _given(python, "the repository's own environment")
    ended = run([str(python), "-c", "import pytest"], timeout=60, readable=given.readable, cwd=workspace)
    return given if ended.ok else None


def _given(python: Path, name: str) -> Environment:
    if not python.exists():
        raise CheckError(f"{python} does not exist", hint="Mend [checks] python in nightcrew.toml.")
    home = python.parent.parent
    return Environment(python, (home, *_base(python)), name, str(python))


def _base(python: Path) -> tuple[Path, ...]:
    """Where the interpreter behind a virtual environment lies."""
    real = python.resolve()
    return (real.parent.parent,) if real != python else ()


def _key(workspace: Path, detected: Detected, setup: str) -> str:
    content = declared_content(workspace, detected.keys)
    made_from = [content, detected.installs, detected.itself, detected.build_requires if detected.native else (), setup]
    return digest([made_from, sys.version, sys.executable])[:24]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _make(
    workspace: Path, detected: Detected, target: Path, run: Run, timeout: float, setup: str, network: bool
) -> None:
    must = _Must(run, target, timeout, network)
    must([sys.executable, *OWN_MODULES, "venv", "--clear", str(target)], workspace)
    pip = [str(target / "bin" / "python"), *OWN_MODULES, "pip", "install", "--quiet", "--no-input", "--no-cache-dir"]
    if setup:
        must(["/bin/sh", "-c", setup], workspace)
        must([*pip, "pytest"], workspace)
        return
    if "--group" in detected.installs:  # PEP 735: pip 25.1 and later
        must([*pip, "--upgrade", "pip>=25.1"], workspace)
    # From a copy: building leaves files, which would be checked as if they were the commit's.
    source = target / "source"
    try:
        shutil.copytree(workspace, source, symlinks=True)
    except (OSError, shutil.Error) as error:
        raise CheckError(f"the checkout cannot be copied for set-up: {str(error)[:300]}") from None
    building = detected.build_requires if detected.native else ()
    itself = (detected.itself,) if detected.itself else ()
    must([*pip, "pytest", *building, *detected.installs, *itself], source)
    shutil.rmtree(source, ignore_errors=True)


class _Must:
    """Runs a command of the set-up, which has to succeed and may write the new environment only."""

    def __init__(self, run: Run, target: Path, timeout: float, network: bool) -> None:
        self._run, self._target, self._timeout, self._network = run, target, timeout, network

    def __call__(self, argv: list[str], cwd: Path) -> None:
        ended = self._run(
            argv,
            cwd=cwd,
            environment={
                **_index(),
                "VIRTUAL_ENV": str(self._target),
                "PATH": f"{self._target / 'bin'}:/usr/local/bin:/usr/bin:/bin",
                "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            },
            timeout=self._timeout,
            writable=[self._target],
            network=self._network,
        )
        if not ended.ok:
            how = "ran out of time" if ended.timed_out else "failed"
            raise CheckError(
                f"making the environment {how}: {' '.join(argv[:6])}: {plain_text(ended.tail(600))}",
                hint="Name a working [checks] setup, python or test in nightcrew.toml.",
            )


def _index() -> dict[str, str]:
    """What an installer needs to find the package index that this machine uses."""
    with tempfile.TemporaryDirectory() as temp:
        plain = scrubbed_environment(temp=Path(temp))
        full = scrubbed_environment(temp=Path(temp), packages=True)
    return {name: value for name, value in full.items() if name not in plain}
