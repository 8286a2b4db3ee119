"""How much of each pipeline waits: for its next try, for a person who mends it, for one who decides."""

from datetime import datetime
from typing import TYPE_CHECKING

from nightcrew.store import parking, runs
from nightcrew.store.rows import from_time
from nightcrew.store.store import Store

if TYPE_CHECKING:
    from nightcrew.monitoring.metrics import Recorder

QUEUES = {"waiting_retry": "retry", "quarantined": "quarantine", "in_review": "review"}
"""The queue of each state that waits."""


def measure_queues(store: Store, recorder: "Recorder", now: datetime) -> None:
    """Note the depth of each queue of each pipeline, and by how many seconds its retries are late."""
    with store.read() as tx:
        sums = parking.sums(tx)
        found = runs.all_pipelines(tx)
        due = {row.id: parking.next_due(tx, row.id) for row in found}
    for row in found:
        states, subject, first = sums.get(row.id, {}), f"pipeline:{row.name}", due[row.id]
        for state, queue in QUEUES.items():
            recorder.gauge("queue.depth", subject, states.get(state, 0), queue=queue)
        late = 0.0 if first is None else (now - from_time(first)).total_seconds()
        recorder.gauge("queue.age", subject, max(0.0, late), queue="retry")
