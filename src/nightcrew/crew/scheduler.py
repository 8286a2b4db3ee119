"""The scheduler in a process: calls each schedule in a process of its own, so that one that breaks takes none along."""

import signal
import subprocess
import threading
from contextlib import suppress
from types import FrameType

from nightcrew.crew.project import Project
from nightcrew.crew.scheduling import job_of, log_of
from nightcrew.schedule.in_process import serve as serve_store
from nightcrew.store import schedules


def serve(project: Project) -> None:
    """Call the schedules of the in-process scheduler until SIGTERM or Ctrl-C; raises BusyError if another one does.

    SIGTERM ends a shift that runs as a power cut would: the next start goes on with it. Ctrl-C, which a terminal sends
    to the shift as well, has it stop before its next turn, and waits for that.
    """
    stop = threading.Event()
    children: list[subprocess.Popen[bytes]] = []

    def end(_number: int, _frame: FrameType | None) -> None:
        stop.set()
        for child in children:
            child.terminate()

    def call(name: str) -> None:
        if stop.is_set():
            return
        with project.store.read() as tx:
            job = job_of(project, schedules.get(tx, name).schedule, {})
        job.log.parent.mkdir(parents=True, exist_ok=True)
        with log_of(project.root, name).open("ab") as log:
            child = subprocess.Popen(
                job.argv, cwd=job.root, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        children.append(child)
        if stop.is_set():
            child.terminate()
        try:
            _until_ended(child, stop)
        finally:
            children.remove(child)

    before = signal.signal(signal.SIGTERM, end)
    try:
        with suppress(KeyboardInterrupt):
            serve_store(project.store, clock=project.clock, wait=stop.wait, call=call)
    finally:
        signal.signal(signal.SIGTERM, before)


def _until_ended(child: "subprocess.Popen[bytes]", stop: threading.Event) -> None:
    try:
        child.wait()
    except KeyboardInterrupt:
        stop.set()  # It has had the same signal, and stops before its next turn.
        child.wait()
