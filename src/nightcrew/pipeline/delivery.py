"""From the store to the sink: results are projected, in the order in which they were made."""

from collections.abc import Iterator

from nightcrew.pipeline.sinks import Delivery, Sink
from nightcrew.store import outcomes, runs
from nightcrew.store.outcomes import Stored
from nightcrew.store.store import Store

_GROUP = 500


def deliver(store: Store, run: int, sink: Sink) -> int:
    """Give a run's results to its sink; gives how many were written.

    A sink that is replaced as a whole gets all results of the pipeline for this source, whichever run made them. Any
    other gets what is new since last time, in groups; the mark moves after each group, so that a crash gives at most
    one group twice, with the same keys.
    """
    if sink.replaces:
        with store.read() as tx:
            over = runs.over_same_source(tx, run)
            return sink.write(_delivery(stored) for stored in _results(outcomes.list(tx, None, runs=over)))
    written = 0
    while True:
        with store.read() as tx:
            found = outcomes.settled_since(tx, run, runs.get(tx, run).delivered, _GROUP)
        if not found:
            return written
        written += sink.write(_delivery(stored) for stored in found)
        with store.begin() as tx:
            runs.set_delivered(tx, run, outcomes.mark(found[-1]))


def _results(found: Iterator[Stored]) -> Iterator[Stored]:
    return (stored for stored in found if stored.state in outcomes.SETTLED)


def _delivery(stored: Stored) -> Delivery:
    doc = outcomes.document(stored)
    return Delivery(
        key=stored.key,
        output=doc["output"],
        status=doc["status"],
        confidence=doc["confidence"],
        made_by=doc["made_by"],
        notice=doc["notice"],
        sequence=stored.id,
    )
