"""A worker to be killed: runs the workflow ``count`` on the database given, and says what it does line by line.

Usage: engine_app.py URL STATE_DIR EXECUTOR_ID STEPS [start] [hold=N]

With ``hold`` the workflow waits for ever before the step of that number: it cannot end before it is killed.
"""

import os
import sys
import threading
import time
from functools import partial
from pathlib import Path

from nightcrew.engine import Engine
from nightcrew.model.errors import NightcrewError


def say(*words: object) -> None:
    print(*words, flush=True)


def main(url: str, state: str, executor_id: str, steps: int, start: bool, hold: int | None) -> None:
    effects = Path(state) / "effects"
    engine = Engine(
        database_url=url,
        state_dir=Path(state),
        executor_id=None if executor_id == "-" else executor_id,
        polling_seconds=0.02,
        lease_seconds=1.0,
    )

    @engine.workflow("count", max_attempts=1000)
    def count(total: int) -> int:
        say("running", os.getpid())
        for number in range(total):
            say("at", number)
            if number == hold:
                threading.Event().wait()
            engine.transaction(
                f"row-{number}",
                lambda c, n=number: (
                    c.exec_driver_sql(  # type: ignore[misc]
                        f"insert into done values ({n}, {os.getpid()})"
                    ).rowcount
                ),
            )
            engine.step(f"effect-{number}", partial(effect, effects, number))
        return total

    engine.queue("q", concurrency=1)
    try:
        engine.launch()
        say("launched")
        if start:
            engine.enqueue("q", count, "count", steps)
        result = engine.result("count")
        say("result", result)
        engine.close()
    except NightcrewError as error:
        say("error", error.code)
        sys.exit(error.exit_status)


def effect(path: Path, number: int) -> int:
    with path.open("a") as file:
        file.write(f"{number}\n")
    time.sleep(0.002)
    return number


if __name__ == "__main__":
    holds = [int(option.removeprefix("hold=")) for option in sys.argv[5:] if option.startswith("hold=")]
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), "start" in sys.argv[5:], holds[0] if holds else None)
