"""``run``: one command under a policy, whole, within its time."""

import marshal
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nightcrew.model.errors import SandboxError
from nightcrew.sandbox.attend import Attendance, attend
from nightcrew.sandbox.choose import choose
from nightcrew.sandbox.landlock import kernel_limits
from nightcrew.sandbox.process import Completed, Policy
from nightcrew.sandbox.protocol import Launch, Sandbox

_LAUNCHER = "import sys; sys.path.append(sys.argv[2]); from launcher.main import main; main()"


def run(
    argv: Sequence[str],
    *,
    cwd: Path,
    policy: Policy,
    environment: Mapping[str, str],
    timeout: float,
    output_limit: int = 1_000_000,
    should_stop: Callable[[], bool] | None = None,
    stdin: bytes | None = None,
    sandbox: Sandbox | None = None,
) -> Completed:
    """Run ``argv`` in ``cwd`` under ``policy`` and give how it ended; nothing it started is alive when this returns.

    ``environment`` is the whole environment (see ``scrubbed_environment``); ``timeout`` in seconds; ``output_limit`` in
    bytes for each of stdout and stderr, of which the beginning and the end are kept; ``should_stop`` is asked about
    every 100 ms; ``stdin`` is what the command reads (nothing by default); ``sandbox`` overrides the machine's own.
    A command that cannot be started gives 127 (not found) or 126, as in a shell, with the reason on its stderr.

    Raises SandboxError when no sandbox can hold the command and ``policy.off`` is False.
    """
    if not argv:
        raise ValueError("no command")
    started = time.monotonic()
    launch = prepare(argv, cwd, policy, environment, sandbox)
    while True:
        seen = _attempt(launch, cwd, policy, environment, timeout, output_limit, should_stop, stdin)
        ended = _Ended.read(bytes(seen.reports))
        if ended.refused is None:
            return _completed(argv, launch, seen, ended, time.monotonic() - started)
        if launch.retry is None:
            raise SandboxError(f"the sandbox cannot be put in place: {ended.refused}")
        launch = launch.retry(ended.refused)


def prepare(
    argv: Sequence[str], cwd: Path, policy: Policy, environment: Mapping[str, str], sandbox: Sandbox | None
) -> Launch:
    """How ``argv`` is launched under ``policy``: see ``run`` for what it raises."""
    if policy.off:
        return Launch(tuple(argv), "off")
    chosen = sandbox or choose()
    if chosen is None:
        raise SandboxError(
            "no sandbox can hold a command on this machine",
            hint='Linux needs a kernel with Landlock (5.13 or later) or bubblewrap; or write [sandbox] mode = "off".',
        )
    return chosen.prepare(argv, cwd=cwd, policy=policy, environment=environment)


def _attempt(
    launch: Launch,
    cwd: Path,
    policy: Policy,
    environment: Mapping[str, str],
    timeout: float,
    output_limit: int,
    should_stop: Callable[[], bool] | None,
    stdin: bytes | None,
) -> Attendance:
    try:
        read_end, write_end = os.pipe()
        try:
            process = start_launcher(launch, cwd, policy, environment, write_end, piped=stdin is not None)
        except BaseException:
            os.close(read_end)
            raise
        finally:
            os.close(write_end)
    finally:
        for descriptor in launch.descriptors:
            os.close(descriptor)
    try:
        with process:
            return attend(
                process, read_end, timeout=timeout, output_limit=output_limit, should_stop=should_stop, stdin=stdin
            )
    finally:
        os.close(read_end)


def start_launcher(
    launch: Launch, cwd: Path, policy: Policy, environment: Mapping[str, str], report: int, *, piped: bool
) -> "subprocess.Popen[bytes]":
    """Start the launcher, which restricts itself and becomes the command; it reports on ``report``."""
    spec = {
        "argv": list(launch.argv),
        "env": dict(environment),
        "cwd": str(cwd.resolve()),
        "parent": os.getpid(),
        "report": report,
        "limits": kernel_limits(policy),
        "isolation": None if launch.isolation is None else dict(launch.isolation),
    }
    with tempfile.TemporaryFile() as stream:
        stream.write(marshal.dumps(spec))
        stream.seek(0)
        return subprocess.Popen(
            [
                sys.executable,
                "-I",
                "-S",
                "-X",
                "utf8",
                "-c",
                _LAUNCHER,
                str(stream.fileno()),
                str(Path(__file__).parent),
            ],
            stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(stream.fileno(), report, *launch.descriptors),
            cwd="/",
            env={},
            start_new_session=True,
        )


@dataclass(frozen=True)
class _Ended:
    """What the launcher reported."""

    returncode: int | None = None
    refused: str | None = None
    failed: str | None = None
    processes_limited: bool = True

    @classmethod
    def read(cls, reports: bytes) -> "_Ended":
        facts = dict(line.partition(" ")[::2] for line in reports.decode("utf-8", "replace").splitlines())
        status, _, reason = facts.get("failed", "").partition(" ")
        return cls(
            returncode=os.waitstatus_to_exitcode(int(facts["status"])) if "status" in facts else None,
            refused=facts.get("refused"),
            failed=reason if status else None,
            processes_limited=facts.get("processes") != "0",
        )


def _completed(argv: Sequence[str], launch: Launch, seen: Attendance, ended: _Ended, seconds: float) -> Completed:
    gaps = [*launch.not_enforced, *([] if ended.processes_limited else ["the limit on processes"])]
    killed = seen.timed_out or seen.stopped
    # No status although nobody asked for an end: the kernel killed process 1 of the sandbox (memory), and all with it.
    returncode = None if killed else -9 if ended.returncode is None else ended.returncode
    return Completed(
        argv=tuple(argv),
        returncode=returncode,
        stdout=seen.stdout.value(),
        stderr=seen.stderr.value() + (f"cannot run {argv[0]}: {ended.failed}\n".encode() if ended.failed else b""),
        seconds=seconds,
        timed_out=seen.timed_out,
        stopped=seen.stopped,
        truncated=seen.stdout.truncated or seen.stderr.truncated,
        sandbox=launch.name + (f"; not enforced: {', '.join(gaps)}" if gaps else ""),
    )
