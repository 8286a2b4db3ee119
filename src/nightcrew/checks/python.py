"""The Python that runs a project's tests: the user's, one made once per set of declared dependencies, or our own."""

import fcntl
import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nightcrew.checks.project import Detected
from nightcrew.checks.running import CheckError, Run
from nightcrew.model.canonical import digest, sha256_hex

_DONE = "nightcrew-environment.json"


@dataclass(frozen=True)
class Environment:
    """An interpreter, the trees it needs to be readable, and what it is called in reports."""

    python: Path
    readable: tuple[Path, ...]
    name: str
    key: str


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
    if detected.user_python is not None and not setup:
        return _given(detected.user_python, "the repository's own environment")
    if not setup and not detected.installs and detected.itself is None:
        return Environment(Path(sys.executable), (), "nightcrew's own Python", "own")
    key = _key(workspace, detected, setup)
    target = folder / key
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / f"{key}.lock"):
        if not (target / _DONE).is_file():
            shutil.rmtree(target, ignore_errors=True)
            target.mkdir()
            _make(detected, target, run, timeout, setup, network)
            (target / _DONE).write_text(json.dumps({"key": key, "from": detected.keys}))
    return Environment(
        target / "bin" / "python", (target,), f"an environment made from {', '.join(detected.keys)}", key
    )


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
    content = {
        name: sha256_hex((workspace / name).read_bytes()) for name in detected.keys if (workspace / name).is_file()
    }
    return digest([content, detected.installs, detected.itself, setup, sys.version])[:24]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _make(detected: Detected, target: Path, run: Run, timeout: float, setup: str, network: bool) -> None:
    must = _Must(run, target, timeout, network)
    must([sys.executable, "-m", "venv", "--clear", str(target)])
    python = str(target / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
    must([*pip, "--upgrade", "pip"])
    if setup:
        must(["/bin/sh", "-c", setup])
        must([*pip, "pytest"])
        return
    itself = [detected.itself] if detected.itself else []
    must([*pip, "pytest", *detected.installs, *itself])


class _Must:
    """Runs a command of the set-up, which has to succeed."""

    def __init__(self, run: Run, target: Path, timeout: float, network: bool) -> None:
        self._run, self._target, self._timeout, self._network = run, target, timeout, network

    def __call__(self, argv: list[str]) -> None:
        path = {"VIRTUAL_ENV": str(self._target), "PIP_CACHE_DIR": str(self._target.parent / "pip-cache")}
        ended = self._run(
            argv,
            environment={**_index(), **path},
            timeout=self._timeout,
            writable=[self._target.parent],
            network=self._network,
        )
        if not ended.ok:
            how = "ran out of time" if ended.timed_out else "failed"
            raise CheckError(
                f"making the environment {how}: {' '.join(argv[:6])}: {ended.tail(600)}",
                hint="Name a working [checks] setup, python or test in nightcrew.toml.",
            )


def _index() -> dict[str, str]:
    """What an installer needs to find the package index that this machine uses."""
    import tempfile

    from nightcrew.sandbox import scrubbed_environment

    with tempfile.TemporaryDirectory() as temp:
        plain = scrubbed_environment(temp=Path(temp))
        full = scrubbed_environment(temp=Path(temp), packages=True)
    return {name: value for name, value in full.items() if name not in plain}
