"""A process that watches alerts and kills itself at the point that it is told: ``HOME POINT``.

The points are the transactions that it commits, and what lies between: ``send:N`` is after the Nth message was given
to a channel and before that is marked, ``write:N`` before the Nth transaction is committed, ``wrote:N`` after it.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nightcrew.monitoring.alerts import delivery
from nightcrew.monitoring.alerts.watch import Watcher
from nightcrew.store.store import Store, Tx
from tests.alerting import KEY


def main(home: Path, point: str) -> None:
    """Look twice."""
    what, _, number = point.partition(":")
    left = {what: int(number or 0)}

    def reached(name: str) -> None:
        if name in left:
            left[name] -= 1
            if left[name] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    class Killed(Store):
        @contextmanager
        def begin(self) -> Iterator[Tx]:
            with super().begin() as tx:
                yield tx
                reached("write")
            reached("wrote")

    send = vars(delivery)["notify"]

    def notify(*arguments: Any, within: float) -> Any:
        found = send(*arguments, within=within)
        reached("send")
        return found

    setattr(delivery, "notify", notify)  # noqa: B010 - it is there for the module itself, not for others
    store = Killed(f"sqlite:///{home}/.nightcrew/nightcrew.db", seal_key=KEY)
    watcher = Watcher(store, home / ".nightcrew")
    for _ in range(2):
        watcher.look()
    sys.stdout.write(f"writes left {left}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
