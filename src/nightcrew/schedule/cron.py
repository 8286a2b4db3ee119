"""cron calls a schedule: a marked block in the user's crontab, and a script of its own that the block's lines run."""

import contextlib
import fcntl
import os
import shlex
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from nightcrew.location import config_directory
from nightcrew.model.errors import ConfigurationError
from nightcrew.model.scheduling import BackendName
from nightcrew.schedule.crontab import block, with_block, without_block
from nightcrew.schedule.local_times import local_minutes
from nightcrew.schedule.machine import NOT_FOUND, Machine, checked, differs, remove, this_machine, write
from nightcrew.schedule.protocol import Job, Status

_DAEMONS = ("cron", "crond", "fcron", "dcron")
_PID_FILES = ("run/crond.pid", "run/cron.pid", "var/run/crond.pid", "var/run/cron.pid")
_SETTLED = 2
_LINES = """\
# Asks each hour, and when the machine starts, whether the schedule is due: so that a run that was missed is made up
# for, and summer time and other zones than the machine's are met. Written by: nightcrew schedule install
{minutes} * * * * /bin/sh {script}
@reboot /bin/sh {script}
"""
_SCRIPT = """\
#!/bin/sh
# Written by: nightcrew schedule install. The crontab runs it; it holds no secret.
cd {root} || exit 4
mkdir -p {folder} && exec >>{log} 2>&1
{environment}exec {command}
"""


class Cron:
    """Debian's cron, cronie and their like.

    They know no zones and do not make up for what was missed. So the schedule is asked about each hour, at the minutes
    at which it can be due; ``nightcrew schedule fire`` ends at once if it is not.
    """

    name: BackendName = "cron"

    def __init__(
        self, machine: Machine | None = None, root: Path = Path("/"), pause: Callable[[float], None] = time.sleep
    ) -> None:
        self._machine = machine or this_machine()
        self._pause = pause
        self._root = root

    def available(self) -> str:
        """Empty if there is a crontab that the user may have, and a daemon that heeds it."""
        try:
            self._read()
        except ConfigurationError as error:
            return str(error)
        return "" if self._daemon() else "no cron daemon runs"

    def files(self, job: Job) -> dict[Path, bytes]:
        """The script that the lines run, and the lines (under ``crontab``, which is no file)."""
        return {self._script(job): self._content(job), Path("crontab"): self._lines(job)}

    def install(self, job: Job) -> list[Path]:
        """Write the script and the block. Raises ConfigurationError if the user may not have a crontab."""
        script = self._script(job)
        content, lines = self._content(job), self._lines(job)
        before = script.read_bytes() if script.is_file() else None
        try:
            write(script, content, 0o700)
            with self._alone():
                text = self._read()
                self._save(text, with_block(text, job.id, lines))
        except BaseException:
            with contextlib.suppress(ConfigurationError):
                remove(script) if before is None else write(script, before, 0o700)
            raise
        return [script]

    def remove(self, job: Job) -> None:
        """Take the block out of the crontab and delete the script; a run that goes on at this moment ends by itself."""
        if self._machine.run("crontab", "-l").status != NOT_FOUND:  # a cron that is gone calls nothing
            with self._alone():
                text = self._read()
                self._save(text, without_block(text, job.id))
        remove(self._script(job))
        with contextlib.suppress(OSError):  # other schedules have scripts in it
            self._script(job).parent.rmdir()

    def status(self, job: Job) -> Status:
        """Whether the block is in the crontab, and whether a daemon runs."""
        try:
            found = block(self._read(), job.id)
        except ConfigurationError as error:
            return Status(False, False, str(error))
        if found is None:
            return Status(False, False, f"the crontab of {self._machine.user} has no block of {job.id}")
        wrong = differs({self._script(job): self._content(job)})
        if not wrong and found != self._lines(job):
            wrong = "the block in the crontab is not what an install would write now"
        warnings = [f"{wrong}; run: nightcrew schedule install"] if wrong else []
        runs = self._daemon()
        if not runs:
            warnings.append("no cron daemon runs: start it as this system does, often with: service cron start")
        active = any(line[:1] not in (b"#", b"") for line in found.split(b"\n"))
        if not active:
            warnings.append("its lines are commented out; run: nightcrew schedule install")
        return Status(True, active and runs, f"crontab of {self._machine.user}", None, tuple(warnings))

    def _script(self, job: Job) -> Path:
        # An agent can write nothing in this directory, so that it cannot say what cron runs.
        return self._configuration() / f"cron/{job.id}.sh"

    def _configuration(self) -> Path:
        return config_directory({**self._machine.environment, "HOME": str(self._machine.home)})

    def _content(self, job: Job) -> bytes:
        checked(job)
        return _SCRIPT.format(
            folder=shlex.quote(str(job.log.parent)),
            log=shlex.quote(str(job.log)),
            root=shlex.quote(str(job.root)),
            environment="".join(
                f"export {name}={shlex.quote(value)}\n" for name, value in sorted(job.environment.items())
            ),
            command=shlex.join(job.argv),
        ).encode()

    def _lines(self, job: Job) -> bytes:
        checked(job)
        minutes = local_minutes(job.schedule, self._machine.zone, self._machine.clock())
        script = str(self._script(job))
        if not script.isprintable():
            raise ConfigurationError(f"a crontab cannot name {script!r}", hint="Set NIGHTCREW_CONFIG_DIR.")
        # In a crontab % is a line break unless it is escaped, within quotes too; the shell then sees it alone.
        quoted = shlex.quote(script).replace("%", "\\%")
        return _LINES.format(minutes=",".join(map(str, minutes)), script=quoted).encode()

    def _read(self) -> bytes:
        """The user's crontab; empty if there is none."""
        ran = self._machine.run("crontab", "-l")
        if ran.status == 0:
            return ran.out
        # Debian's, cronie's and macOS' say the first, BusyBox' says the second of a user without one.
        if b"no crontab for" in ran.err or (ran.status != NOT_FOUND and b"No such file or directory" in ran.err):
            return b""
        raise ConfigurationError(f"the crontab cannot be read: {ran.said or f'status {ran.status}'}")

    def _save(self, before: bytes, after: bytes) -> None:
        if after == before:
            return
        # cron reads the crontabs as a minute begins and tells by whole seconds whether one was changed since: what is
        # written in that same second it would not see until the next change.
        self._pause(max(0, _SETTLED - self._machine.clock().second))
        if self._read() != before:
            raise ConfigurationError("the crontab was changed at the same moment", hint="Run the same command again.")
        if not after.strip():
            self._call("crontab", "-r")
            return
        with tempfile.NamedTemporaryFile(prefix="nightcrew-crontab-") as file:
            file.write(after)
            file.flush()
            self._call("crontab", file.name)
        if self._read() != after:
            raise ConfigurationError("the crontab does not hold what was written into it")

    def _call(self, *argv: str) -> None:
        ran = self._machine.run(*argv)
        if ran.status:
            raise ConfigurationError(f"the crontab was not taken: {ran.said or f'status {ran.status}'}")

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """No two installs at once: each writes the whole crontab."""
        directory = self._configuration()
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise ConfigurationError(f"{directory} cannot be opened: {error.strerror}") from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _daemon(self) -> bool:
        """Whether a cron daemon runs; where processes cannot be listed (a Mac, whose launchd starts cron) it may."""
        names = list(self._root.glob("proc/[0-9]*/comm"))
        return not names or any(map(_is_daemon, names)) or any(_alive(self._root / name) for name in _PID_FILES)


def _is_daemon(comm: Path) -> bool:
    try:
        return comm.read_text(encoding="utf-8", errors="replace").strip().lower() in _DAEMONS
    except OSError:  # it has ended
        return False


def _alive(pid_file: Path) -> bool:
    """Whether the process in the file is there; one that another user hides still answers that it is not ours."""
    try:
        os.kill(int(pid_file.read_text(encoding="utf-8")), 0)
    except PermissionError:
        return True
    except (OSError, ValueError, OverflowError):
        return False
    return True
