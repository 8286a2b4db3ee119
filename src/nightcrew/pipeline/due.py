"""The durable retry queue: records whose time has come, were released after a fix, or were approved and go on."""

import json
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from nightcrew.model.canonical import sha256_hex
from nightcrew.pipeline.chain import Made
from nightcrew.pipeline.flight import Flight
from nightcrew.pipeline.loops import run_to_end
from nightcrew.pipeline.outcome import Origin
from nightcrew.pipeline.runner import DEATHS, Work, died
from nightcrew.reliability import Failure, FailureClass, classify
from nightcrew.store import outcomes
from nightcrew.store.outcomes import Row, Stored

_GROUP = 500


def work_due(work: Work, flight: Flight, *, before: datetime | None, commit_seconds: float) -> set[int]:
    """Work everything that waits and is due ``before`` (None: everything); gives the runs that changed.

    Each is worked once: what fails again waits for its next time.
    """
    changed: set[int] = set()
    given_up = flight.given_up(DEATHS)
    pairs: list[tuple[Stored, Row]] = []
    began = time.perf_counter()
    for stored in _waiting(work, before):
        flight.enter(stored.id)
        pairs.append((stored, _poisoned(work, stored) if stored.id == given_up else again(work, stored)))
        if time.perf_counter() - began >= commit_seconds or len(pairs) >= _GROUP:
            changed |= _write(work, pairs)
            pairs, began = [], time.perf_counter()
    flight.leave()
    return changed | _write(work, pairs)


def again(work: Work, stored: Stored) -> Row:
    """Work one stored record again, from the stage that it had come to."""
    doc = outcomes.document(stored)
    origin = Origin(stored.key, doc["input"], doc["at"], stored.input or b"")
    stage, rounds = int(doc["stage"]), int(doc["rounds"])
    extra = _carried(doc)
    if sha256_hex(origin.data) != origin.sha256:
        changed = "the stored input is not the one that was read"
        return work.writing.refused(origin, Failure(FailureClass.CORRUPT, "Changed", changed), doc["attempts"])
    try:
        record = work.intake.reread(origin.data)
    except Exception as error:
        return work.writing.refused(origin, classify(error), doc["attempts"])
    # Past a gate only with a signature that stands now; else from the beginning, gates included.
    if stage and not work.approved(doc):
        stage = doc["stage"] = 0
    made = _run(work, record, stage, doc)
    if stage and made.status == "failed":
        made.stage, made.output = stage, doc["output"]  # What was signed for is where it goes on from again.
    if made.state == "waiting_retry":
        return work.requeue.row(work.writing, origin, made, rounds=rounds + (stored.kind is not None), extra=extra)
    return work.writing.row(origin, made, rounds=rounds, extra=extra)


def _run(work: Work, record: Any, stage: int, doc: dict[str, Any]) -> Made:
    chain = work.chain
    if chain.is_async:
        return run_to_end(chain.run_async(record, stage, doc))
    return chain.run(record, stage, doc)


def _carried(doc: dict[str, Any]) -> str:
    """What an outcome keeps of its past: the decision of a person."""
    return f',"review":{json.dumps(doc["review"], ensure_ascii=False)}' if doc.get("review") else ""


def _waiting(work: Work, before: datetime | None) -> Iterator[Stored]:
    after = 0
    while True:
        with work.store.read() as tx:
            found = list(
                outcomes.list(tx, work.pipeline, states=["waiting_retry"], due=before, after=after, limit=_GROUP)
            )
        yield from found
        if len(found) < _GROUP:
            return
        after = found[-1].id


def _write(work: Work, pairs: Sequence[tuple[Stored, Row]]) -> set[int]:
    if not pairs:
        return set()
    with work.store.begin() as tx:
        outcomes.change(tx, work.name, pairs, why="retried")
    work.measuring.committed([row for _, row in pairs])
    return {stored.run for stored, _ in pairs}


def _poisoned(work: Work, stored: Stored) -> Row:
    doc = outcomes.document(stored)
    return work.writing.refused(Origin(stored.key, doc["input"], doc["at"], stored.input or b""), died(), DEATHS)
