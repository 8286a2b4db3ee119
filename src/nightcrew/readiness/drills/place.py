"""The isolated copy that a drill works in: where it lies, what runs in it, and with what around it."""

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import nightcrew
from nightcrew.approvals import TrustAnchor
from nightcrew.crew.project import Project, load_project
from nightcrew.location import CONFIG_DIRECTORY_VARIABLE
from nightcrew.model.errors import ConfigurationError
from nightcrew.readiness.drills import abandoned
from nightcrew.readiness.drills.copying import PREFIX, clone, copy, remove
from nightcrew.readiness.drills.processes import Held, Plain, plain, whole
from nightcrew.readiness.drills.protocol import ChildError, Done, NotApplicable, NotDone, Started
from nightcrew.readiness.target import CrewTarget, PipelineTarget, Target
from nightcrew.sandbox.process import Limits, Policy

SECONDS = 180.0
"""The time limit of one drill: many times what the longest takes, for a machine that has other work."""
REVIEWER = "drill"
"""The reviewer of a crew's copy, with the passphrase that its environment names."""
_PASSPHRASE = "a passphrase of the drill, which opens nothing else"  # noqa: S105
_KEPT = ("PATH", "LANG", "LANGUAGE", "TZ", "TERM")
_ELSEWHERE = "Name a folder that has room for it with the variable TMPDIR."
_PYTHON = (sys.executable, "-P", "-m")


@dataclass(frozen=True)
class Given:
    """What the user gave along.

    ``input``: a sample of records. ``data``: what the code reads and is too large to copy, or lies outside its folder.
    ``variables``: names of environment variables that the code needs. ``network``: the code may reach it (load tests).
    """

    input: Path | None = None
    data: tuple[Path, ...] = ()
    variables: tuple[str, ...] = ()
    network: bool = False


@dataclass
class LocalPlace:
    """A copy on this machine: see ``Place``."""

    base: Path
    root: Path
    target: Target
    live: Target
    environment: Mapping[str, str]
    seconds: float
    input: Path | None
    readable: tuple[Path, ...]
    tell: Callable[[str], None]
    notes: list[str] = field(default_factory=list)
    """What stood in for the real thing, as seen by what was run here."""
    network: bool = False
    _began: float = field(default_factory=time.monotonic)
    _started: list[Plain | Held] = field(default_factory=list)

    @property
    def scratch(self) -> Path:
        """See ``Place``."""
        return self.base / "scratch"

    def elapsed(self) -> float:
        """See ``Place``."""
        return time.monotonic() - self._began

    def left(self) -> float:
        """See ``Place``."""
        return max(0.1, self.seconds - self.elapsed())

    def begin(self) -> None:
        """Count the drill's seconds from now: making the copy is not part of them."""
        self._began = time.monotonic()

    def say(self, text: str) -> None:
        """See ``Place``."""
        self.tell(text)

    def nightcrew(
        self,
        *args: str,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
        stdin: str | None = None,
    ) -> Done:
        """See ``Place``."""
        argv, around, seconds = (*_PYTHON, "nightcrew", *args), self._around(env), self._within(timeout)
        if self._held:
            given = (stdin or "").encode()
            done = whole(
                argv, cwd=self.root, policy=self._policy, environment=around, timeout=seconds, stdin=given
            )  # fmt: skip
        else:
            done = plain(argv, cwd=self.root, environment=around, timeout=seconds, stdin=stdin)
        return replace(done, argv=("nightcrew", *args))

    def start(self, *args: str, env: Mapping[str, str] | None = None) -> Started:
        """See ``Place``."""
        argv, around = (*_PYTHON, "nightcrew", *args), self._around(env)
        started: Plain | Held
        if self._held:
            started = Held(argv, cwd=self.root, policy=self._policy, environment=around, left=self.left)
        else:
            started = Plain(argv, cwd=self.root, environment=around, left=self.left)
        self._started.append(started)
        return started

    def child(
        self,
        function: str,
        spec: Mapping[str, Any],
        *,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
        loads: bool = True,
    ) -> Any:
        """See ``Place``."""
        done = whole(
            (*_PYTHON, "nightcrew.readiness.drills.child"), cwd=self.root, policy=self._policy,
            environment=self._around(env), timeout=self._within(timeout), stdin=self._job(function, spec, loads=loads),
        )  # fmt: skip
        return self.answered(done)

    def start_child(self, function: str, spec: Mapping[str, Any], *, env: Mapping[str, str] | None = None) -> Started:
        """See ``Place``."""
        started = Held(
            (*_PYTHON, "nightcrew.readiness.drills.child"), cwd=self.root, policy=self._policy,
            environment=self._around(env), left=self.left, stdin=self._job(function, spec),
        )  # fmt: skip
        self._started.append(started)
        return started

    def end(self) -> None:
        """End what was started and still runs."""
        for started in self._started:
            started.close()
        self._started.clear()

    @property
    def _held(self) -> bool:
        return isinstance(self.target, PipelineTarget)

    @property
    def _policy(self) -> Policy:
        limits = Limits(file_size=1024**3)
        return Policy(writable=(self.base,), readable=self.readable, network=self.network, limits=limits)

    def _around(self, env: Mapping[str, str] | None) -> dict[str, str]:
        return {**self.environment, **(env or {})}

    def _within(self, timeout: float | None) -> float:
        return self.left() if timeout is None else min(timeout, self.left())

    def _job(self, function: str, spec: Mapping[str, Any], *, loads: bool = True) -> bytes:
        target = ""
        if loads and isinstance(self.target, PipelineTarget):
            target = self.target.spec
        job = {"function": function, "spec": dict(spec), "target": target, "state": str(self.root)}
        return json.dumps(job).encode() + b"\n"

    def answered(self, done: Done) -> Any:
        """What a child answered, as ``child`` gives it. Raises ChildError."""
        if done.status is None:
            raise ChildError(f"the code did not end within {done.seconds:.0f} s", kind="timeout")
        try:
            answer = json.loads(done.output)
        except ValueError:
            said = done.errors.strip()[-600:] or "nothing"
            raise ChildError(f"the process ended with {done.status} and said {said}", kind="killed") from None
        if answer.get("kind") == NotApplicable.__name__:
            raise NotApplicable(answer["error"])
        if "error" in answer:
            raise ChildError(answer["error"], kind=answer["kind"], hint=answer["hint"])
        if answer["note"] and answer["note"] not in self.notes:
            self.notes.append(answer["note"])
        return answer["answer"]


@contextmanager
def made(
    target: Target,
    *,
    seconds: float = SECONDS,
    given: Given | None = None,
    keep: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> Iterator[LocalPlace]:
    """Make the copy of a target, and remove it in the end (``keep``: leave it, and tell where it is).

    Raises UsageError (too large), ConfigurationError (cannot be copied), NotDone (the copy cannot be prepared).
    """
    given = given or Given()
    base = _folder()
    place: LocalPlace | None = None
    held = None
    try:
        held = abandoned.hold(base)
        place = _made(base, target, seconds, given, tell)
        yield place
    finally:
        if place is not None:
            place.end()
            if isinstance(place.target, CrewTarget):
                place.target.project.close()
        if keep:
            tell(f"the copy is in {base}")
            abandoned.keep(base)
        else:
            remove(base)
        if held is not None:
            os.close(held)


def _folder() -> Path:
    """A folder for a copy; those that drills left behind which were killed are removed."""
    try:
        base = Path(tempfile.mkdtemp(prefix=PREFIX)).resolve()
    except OSError as error:
        raise ConfigurationError(f"there is no folder for a copy: {error}", hint=_ELSEWHERE) from None
    abandoned.sweep(base.parent)
    return base


def _made(base: Path, target: Target, seconds: float, given: Given, tell: Callable[[str], None]) -> LocalPlace:
    try:
        return _make(base, target, seconds, given, tell)
    except OSError as error:
        raise ConfigurationError(f"the copy cannot be made: {error}", hint=_ELSEWHERE) from None


def _make(base: Path, target: Target, seconds: float, given: Given, tell: Callable[[str], None]) -> LocalPlace:
    for name in ("home/.config/nightcrew", "scratch", "tmp", "copy"):
        (base / name).mkdir(parents=True, mode=0o700)
    environment = _environment(base, given)
    in_copy: Target
    if isinstance(target, CrewTarget):
        root = clone(target, base / "copy", environment)
        in_copy = target  # until it is prepared
    elif isinstance(target, PipelineTarget):
        root = copy(target, base / "copy", given.data)
        in_copy = replace(target, path=root / target.path.relative_to(target.root))
        environment["PYTHONPATH"] = _python_path(target.root, root)
    else:
        raise ConfigurationError("plain code is not run", hint="Name a pipeline: APP.py:NAME")
    place = LocalPlace(
        base=base, root=root, target=in_copy, live=target, environment=environment, seconds=seconds,
        input=_sample(given, base), readable=_readable(given), tell=tell, network=given.network,
    )  # fmt: skip
    if isinstance(target, CrewTarget):
        _prepare(place)
        project = _project(place)
        place.target = CrewTarget(project)
        _take_baseline(project)
        if target.project.settings.database_url:
            place.notes.append("SQLite in the copy stood in for its database")
    return place


def _prepare(place: LocalPlace) -> None:
    """A crew of its own in the clone: state, trust anchor, a reviewer who may decide there and nowhere else."""
    for arguments in (("init", "--yes"), ("reviewer", "add", REVIEWER, "--passphrase")):
        done = place.nightcrew(*arguments)
        if not done.ok and done.status != 1:
            raise NotDone(f"the copy cannot be prepared: nightcrew {' '.join(arguments)}: {done.tail()}")


def _take_baseline(project: Project) -> None:
    """What is wrong in the code already is no work of a drill's shifts."""
    from nightcrew.crew import baseline  # Its agents and their brains: nothing that only looks needs them.

    head = project.git.ref("HEAD")
    with project.store.begin() as tx:
        baseline.file_findings(project, tx, {"commit": head, "findings": [], "not_checked": {}})
    project.pin_ledger()


def _project(place: LocalPlace) -> Project:
    """The clone, as a process in the copy opens it: its anchor and its workspaces lie in the copy."""
    anchor = TrustAnchor(Path(place.environment[CONFIG_DIRECTORY_VARIABLE]) / "trust")
    project = load_project(place.root, anchor=anchor)
    work = Path(place.environment["XDG_STATE_HOME"]) / "nightcrew" / project.work_dir.name
    return replace(project, work_dir=work)


def _environment(base: Path, given: Given) -> dict[str, str]:
    home = base / "home"
    passphrase = home / "passphrase"
    passphrase.write_text(_PASSPHRASE + "\n")
    passphrase.chmod(0o600)
    around = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith("LC_")}
    around.update({name: os.environ[name] for name in given.variables if name in os.environ})
    return {
        **around,
        "HOME": str(home),
        "TMPDIR": str(base / "tmp"),
        CONFIG_DIRECTORY_VARIABLE: str(home / ".config" / "nightcrew"),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_STATE_HOME": str(home / ".local" / "state"),
        "XDG_DATA_HOME": str(home / ".local" / "share"),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "XDG_RUNTIME_DIR": str(base / "tmp"),
        "NIGHTCREW_PASSPHRASE_FILE": str(passphrase),
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "PYTHONDONTWRITEBYTECODE": "1",  # Modules outside the copy get no caches beside them.
        "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_AUTHOR_NAME": "nightcrew drill",
        "GIT_AUTHOR_EMAIL": "drill@nightcrew.invalid",
        "GIT_COMMITTER_NAME": "nightcrew drill",
        "GIT_COMMITTER_EMAIL": "drill@nightcrew.invalid",
    }


def _python_path(live: Path, root: Path) -> str:
    """PYTHONPATH, with what lies in the application's folder taken from the copy."""
    moved = []
    for entry in filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)):
        path = Path(entry).absolute()
        moved.append(str(root / path.relative_to(live)) if path.is_relative_to(live) else str(path))
    return os.pathsep.join(moved)


def _readable(given: Given) -> tuple[Path, ...]:
    """What the sandbox lets be read beside the system: the import path of this process, and the user's data."""
    own = Path(nightcrew.__file__).resolve().parent.parent
    named = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    data = [at for path in given.data for at in (path, path.resolve())]
    found = [own, *(Path(entry) for entry in (*sys.path, *named) if entry), *data]
    return tuple(dict.fromkeys(path.absolute() for path in found if path.exists() and path.absolute() != Path.cwd()))


def _sample(given: Given, base: Path) -> Path | None:
    if given.input is None:
        return None
    if not given.input.is_file():
        raise ConfigurationError(f"there is no file {given.input}", hint="--input names a file of records.")
    return Path(shutil.copy(given.input, base / "scratch"))
