"""In the child: a run of the pipeline that writes down what its steps are called with, and may stop in the middle."""

import asyncio
import hashlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightcrew.pipeline.chain import Chain, Made, Stage
from nightcrew.store import connection

if TYPE_CHECKING:
    from nightcrew.pipeline import Pipeline

_NEVER = 3600.0
_POLL_SECONDS = 0.01
_STORED_SECONDS = 5.0
"""How long an outcome that was made is waited for in the store: a run that keeps nothing is killed all the same."""
COMMIT_SECONDS = 0.05
"""How much work a crash may repeat, in the copy: a run over a sample is short."""


class _Watched(Chain):
    """The stages: ``before`` is called with a record that begins and numbers it, ``after`` with the number at its end.

    ``after`` gives the seconds to wait until it is asked again; None: what was made may go on, to the store.
    """

    def __init__(
        self, stages: Sequence[Stage], before: Callable[[Any], int], after: Callable[[int], float | None]
    ) -> None:
        super().__init__(stages)
        self._begun, self._pause = before, after

    def run(self, record: Any, stage: int = 0, before: Mapping[str, Any] | None = None) -> Made:
        """See Chain."""
        number = self._begun(record)
        made = super().run(record, stage, before)
        while (seconds := self._pause(number)) is not None:
            time.sleep(seconds)
        return made

    async def run_async(self, record: Any, stage: int = 0, before: Mapping[str, Any] | None = None) -> Made:
        """See Chain."""
        number = self._begun(record)
        made = await super().run_async(record, stage, before)
        while (seconds := self._pause(number)) is not None:
            await asyncio.sleep(seconds)
        return made


def work(pipeline: "Pipeline", spec: Mapping[str, Any]) -> dict[str, Any]:
    """Run ``input`` to ``sink`` as ``watch`` says. Gives the summary."""
    watch(pipeline, spec)
    return pipeline.run(spec["input"], sink=spec["sink"], max_rejected=1.0).plain()


def watch(pipeline: "Pipeline", spec: Mapping[str, Any]) -> None:
    """Have each record that the steps begin to work be a line in ``calls``, in this process.

    ``hold_at``: what the steps made of the records from that one on is held until there is a file ``go`` (0: none is);
    that of the records before goes on, however many are worked at a time. When there is one to hold, and some of the
    others are stored, the file ``held`` is made; also five seconds after the first of the others went on, if none is.
    ``patience_ms``, if given, is how long the store is waited for. Records are begun as fast as can be.
    """
    calls = os.open(spec["calls"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    seen = threading.Lock()
    count = 0
    paused, held_since, went_on = False, 0.0, 0.0

    def before(record: Any) -> int:
        nonlocal count
        with seen:
            count += 1
            os.write(calls, (key_of(pipeline, record) + "\n").encode())
            return count

    def after(number: int) -> float | None:
        nonlocal paused, held_since, went_on
        if not spec["hold_at"] or Path(spec["go"]).exists():
            return None
        now = time.monotonic()
        if number < spec["hold_at"]:
            if number >= spec["hold_at"] // 2 and not paused:
                paused = True
                return 2 * COMMIT_SECONDS  # So that some are stored before it dies.
            went_on = went_on or now
            return None
        held_since = held_since or now
        late = went_on and now - max(held_since, went_on) > _STORED_SECONDS
        if late or _is_some_stored(spec):
            Path(spec["held"]).touch()
        return _POLL_SECONDS if now - held_since < _NEVER else None

    if patience := spec.get("patience_ms"):
        connection.BUSY_TIMEOUT_MS = patience
    pipeline.__dict__["chain"] = _Watched(pipeline.chain.stages, before, after)
    pipeline.limits = replace(pipeline.limits, rate=None)
    pipeline.commit_seconds = min(pipeline.commit_seconds, COMMIT_SECONDS)


def _is_some_stored(spec: Mapping[str, Any]) -> bool:
    database = Path(spec["state"]) / ".nightcrew" / "nightcrew.db"
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as reader:
            return reader.execute("SELECT 1 FROM outcomes LIMIT 1").fetchone() is not None
    except sqlite3.Error:
        return False


def key_of(pipeline: "Pipeline", record: Any) -> str:
    """The record's key, as its outcome is stored by; of a pipeline without one, a digest of the record."""
    key = pipeline.key
    if callable(key):
        return str(key(record))
    if isinstance(key, str):
        return str(record[key] if isinstance(record, Mapping) else getattr(record, key))
    plain = record.model_dump(mode="json") if hasattr(record, "model_dump") else record
    return hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode()).hexdigest()[:16]
