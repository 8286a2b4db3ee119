"""In the child: a run of the pipeline that writes down what its steps are called with, and may stop in the middle."""

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightcrew.pipeline.chain import Step
from nightcrew.store import connection

if TYPE_CHECKING:
    from nightcrew.pipeline import Pipeline

_NEVER = 3600.0
_POLL_SECONDS = 0.01
COMMIT_SECONDS = 0.05
"""How much work a crash may repeat, in the copy: a run over a sample is short."""


class _Watched:
    """A guarded step; ``before`` is called with what it is given, as often as the pipeline calls it."""

    def __init__(self, guarded: Any, before: Callable[[Any], None], after: Callable[[], None]) -> None:
        self._guarded, self._before, self._after = guarded, before, after

    def attempt(self, *args: Any, **kwargs: Any) -> Any:
        """What the guard's does."""
        self._before(args[0])
        made = self._guarded.attempt(*args, **kwargs)
        self._after()
        return made

    def __getattr__(self, name: str) -> Any:
        return getattr(self._guarded, name)


def work(pipeline: "Pipeline", spec: Mapping[str, Any]) -> dict[str, Any]:
    """Run ``input`` to ``sink`` as ``watch`` says. Gives the summary."""
    watch(pipeline, spec)
    return pipeline.run(spec["input"], sink=spec["sink"], max_rejected=1.0).plain()


def watch(pipeline: "Pipeline", spec: Mapping[str, Any]) -> None:
    """Have each call of the first step be a line in ``calls``, in this process.

    ``hold_at``: when the first step has made its answer for that many records and it is not stored yet, the file
    ``held`` is made and nothing goes on until there is a file ``go`` (0: never). ``patience_ms``, if given, is how long
    the store is waited for.
    """
    first = next(index for index, stage in enumerate(pipeline._stages) if isinstance(stage, Step))
    stage = pipeline._stages[first]
    assert isinstance(stage, Step)  # noqa: S101 - it was sought by that
    calls = os.open(spec["calls"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    seen = threading.Lock()
    count = 0

    def before(record: Any) -> None:
        nonlocal count
        with seen:
            count += 1
            os.write(calls, (key_of(pipeline, record) + "\n").encode())

    def after() -> None:
        if not spec["hold_at"]:
            return
        if count == spec["hold_at"] // 2:
            time.sleep(2 * COMMIT_SECONDS)  # So that some are stored before it dies.
        if count >= spec["hold_at"]:
            Path(spec["held"]).touch()
            _wait_for(Path(spec["go"]))

    if patience := spec.get("patience_ms"):
        connection.BUSY_TIMEOUT_MS = patience
    pipeline._stages[first] = replace(stage, call=_Watched(stage.call, before, after))  # type: ignore[arg-type]
    pipeline.commit_seconds = min(pipeline.commit_seconds, COMMIT_SECONDS)


def _wait_for(go: Path) -> None:
    until = time.monotonic() + _NEVER
    while not go.exists() and time.monotonic() < until:
        time.sleep(_POLL_SECONDS)


def key_of(pipeline: "Pipeline", record: Any) -> str:
    """The record's key, as its outcome is stored by; of a pipeline without one, a digest of the record."""
    key = pipeline.key
    if callable(key):
        return str(key(record))
    if isinstance(key, str):
        return str(record[key] if isinstance(record, Mapping) else getattr(record, key))
    plain = record.model_dump(mode="json") if hasattr(record, "model_dump") else record
    return hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode()).hexdigest()[:16]
