"""In the child: a run of the pipeline that writes down what its steps are called with, and may stop in the middle."""

import asyncio
import hashlib
import inspect
import json
import os
import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightcrew.pipeline.chain import Step
from nightcrew.store import connection

if TYPE_CHECKING:
    from nightcrew.pipeline import Pipeline

_NEVER = 3600.0
_POLL_SECONDS = 0.01
_STORED_SECONDS = 5.0
"""How long is waited for the first outcome in the store: one that keeps nothing is killed all the same."""
COMMIT_SECONDS = 0.05
"""How much work a crash may repeat, in the copy: a run over a sample is short."""


class _Watched:
    """A guarded step: ``before`` is called with what it is given and numbers the calls, ``after`` with the number.

    ``after`` gives the seconds to wait until it is asked again; None: the answer may go on.
    """

    def __init__(self, guarded: Any, before: Callable[[Any], int], after: Callable[[int], float | None]) -> None:
        self._guarded, self._before, self._after = guarded, before, after

    def attempt(self, *args: Any, **kwargs: Any) -> Any:
        """What the guard's does."""
        number = self._before(args[0])
        made = self._guarded.attempt(*args, **kwargs)
        if inspect.isawaitable(made):
            return self._later(made, number)
        while (seconds := self._after(number)) is not None:
            time.sleep(seconds)
        return made

    async def _later(self, made: Awaitable[Any], number: int) -> Any:
        answer = await made
        while (seconds := self._after(number)) is not None:
            await asyncio.sleep(seconds)
        return answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._guarded, name)


def work(pipeline: "Pipeline", spec: Mapping[str, Any]) -> dict[str, Any]:
    """Run ``input`` to ``sink`` as ``watch`` says. Gives the summary."""
    watch(pipeline, spec)
    return pipeline.run(spec["input"], sink=spec["sink"], max_rejected=1.0).plain()


def watch(pipeline: "Pipeline", spec: Mapping[str, Any]) -> None:
    """Have each call of the first step be a line in ``calls``, in this process.

    ``hold_at``: the first step's answers from that call on are held until there is a file ``go`` (0: none are); those
    of the calls before go on, however many records are worked at a time. When there is one to hold, and some of the
    others are stored, the file ``held`` is made. ``patience_ms``, if given, is how long the store is waited for.
    """
    first = next(index for index, stage in enumerate(pipeline._stages) if isinstance(stage, Step))
    stage = pipeline._stages[first]
    assert isinstance(stage, Step)  # noqa: S101 - it was sought by that
    calls = os.open(spec["calls"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    seen = threading.Lock()
    count = 0
    paused, held_since = False, 0.0

    def before(record: Any) -> int:
        nonlocal count
        with seen:
            count += 1
            os.write(calls, (key_of(pipeline, record) + "\n").encode())
            return count

    def after(number: int) -> float | None:
        nonlocal paused, held_since
        if not spec["hold_at"] or number < spec["hold_at"] // 2 or Path(spec["go"]).exists():
            return None
        if number < spec["hold_at"]:
            first, paused = not paused, True
            return 2 * COMMIT_SECONDS if first else None  # So that some are stored before it dies.
        held_since = held_since or time.monotonic()
        held = time.monotonic() - held_since
        if held > _STORED_SECONDS or _is_some_stored(spec):
            Path(spec["held"]).touch()
        return _POLL_SECONDS if held < _NEVER else None

    if patience := spec.get("patience_ms"):
        connection.BUSY_TIMEOUT_MS = patience
    pipeline._stages[first] = replace(stage, call=_Watched(stage.call, before, after))  # type: ignore[arg-type]
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
