"""From the store to the sink: results are projected, in the order in which they were made."""

from collections.abc import Iterable, Iterator

from nightcrew.pipeline.sinks import Delivery, Sink
from nightcrew.store import outcomes, runs
from nightcrew.store.outcomes import Stored
from nightcrew.store.store import Store, Tx

_GROUP = 500


def deliver(store: Store, run: int, sink: Sink) -> int:
    """Give the results of a run, and of earlier runs over the same input, to a sink; gives how many were written.

    A sink that is replaced as a whole gets all of them. Any other, known by its name, gets what is new since last time,
    in groups; the mark moves after each group, so that a crash gives at most one group twice, with the same keys.
    """
    with store.read() as tx:
        over = runs.over_same_source(tx, run)
        if sink.replaces:
            return sink.write(_results(tx, outcomes.list(tx, None, runs=over)))
    return sum(_deliver_new(store, number, sink) for number in over)


def deliver_all(store: Store, pipeline: int, sink: Sink) -> int:
    """Write every result of a pipeline, of all its runs, to a sink that is replaced as a whole; gives how many."""
    with store.read() as tx:
        return sink.write(_results(tx, outcomes.list(tx, pipeline)))


def _deliver_new(store: Store, run: int, sink: Sink) -> int:
    with store.read() as tx:
        waiting = outcomes.settled_since(tx, run, runs.delivered(tx, run, sink.name))
    for begin in range(0, len(waiting), _GROUP):
        with store.read() as tx:
            group = outcomes.by_id(tx, waiting[begin : begin + _GROUP])
            ready = list(_results(tx, group))
        sink.write(ready)
        with store.begin() as tx:
            runs.set_delivered(tx, run, sink.name, outcomes.mark(group[-1]))
    return len(waiting)


def _results(tx: Tx, found: Iterable[Stored]) -> Iterator[Delivery]:
    """What is settled, and only that: a row made to look so is noticed before it goes out. Raises IntegrityError."""
    vouched = outcomes.Vouched(tx)
    for stored in found:
        if stored.state in outcomes.SETTLED:
            vouched.check(stored)
            yield _delivery(stored)


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
