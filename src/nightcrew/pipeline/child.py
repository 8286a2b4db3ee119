"""A worker process: takes chunks from its parent's pipe, one JSON line each, and answers with one line.

A record that kills this process does not kill the run: the parent starts another, and the marker of what was in flight
tells it which record to give up.
"""

import json
import os
import signal
import sys
import threading
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from nightcrew.model.errors import NightcrewError
from nightcrew.monitoring import logs, telemetry
from nightcrew.pipeline.execution import Session
from nightcrew.pipeline.loading import load
from nightcrew.pipeline.sources import open_source
from nightcrew.reliability import classify
from nightcrew.store import runs


def main() -> None:
    """Serve until the pipe is closed. What the user's code prints goes to standard error, not into the answers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer: it closes the pipe.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    logs.configure_if_asked()
    jobs: SimpleQueue[dict[str, Any]] = SimpleQueue()
    threading.Thread(target=_read, args=(jobs,), daemon=True).start()
    while True:
        answers.write(json.dumps(_work(jobs.get())) + "\n")


def _read(jobs: "SimpleQueue[dict[str, Any]]") -> None:
    for line in sys.stdin:
        jobs.put(json.loads(line))
    os._exit(0)  # The parent is gone: so are the right to the chunk, and the reason to work it.


def _work(job: dict[str, Any]) -> dict[str, Any]:
    try:
        pipeline = load(job["target"])
        if "state" not in pipeline.__dict__:
            pipeline.use(state=Path(job["state"]), database_url=job["database_url"])
        with pipeline.state.store.read() as tx:
            run = runs.get(tx, job["run"])
        session = Session.open(pipeline, open_source(job["source"]), run, None, job["max_rejected"])
        ended = session.work_chunk(job["chunk"])
        telemetry.flush(0.5)  # This process is ended without warning.
        return {"ok": True, "seen": ended.seen}
    except NightcrewError as error:
        return {"ok": False, "code": error.code, "message": str(error), "hint": error.hint}
    except Exception as error:
        return {"ok": False, "code": "NC-BUG", "message": classify(error).message, "hint": ""}


if __name__ == "__main__":
    main()
