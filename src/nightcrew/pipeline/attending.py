"""Keeping watch beside the work: what waits, what drifts, what the rules of alerts say; old measures made coarser."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from nightcrew.pipeline.depths import measure_queues
from nightcrew.pipeline.fields import FieldChange
from nightcrew.pipeline.measuring import Measuring
from nightcrew.store import runs

if TYPE_CHECKING:
    from datetime import datetime

    from nightcrew.model.clock import Clock
    from nightcrew.model.settings import Settings
    from nightcrew.monitoring.metrics import Recorder
    from nightcrew.pipeline.state import State
    from nightcrew.store.store import Store

_LOG = logging.getLogger("nightcrew.monitoring")


def take_readings(store: "Store", settings: "Settings", recorder: "Recorder", clock: "Clock") -> None:
    """Read how long the queues of all pipelines are, look for drift where it is time, and make old measures coarser.

    Raises what the store raises.
    """
    now = clock()
    with store.read() as tx:
        names = [row.name for row in runs.all_pipelines(tx)]
    if not names:
        _maintain(store, settings, now)
        return
    from nightcrew.monitoring.drift.looking import look

    measure_queues(store, recorder, now)
    for name in names:
        look(store, f"pipeline:{name}", now, settings.drift, recorder=recorder)
    recorder.flush(store)
    _maintain(store, settings, now)


def _maintain(store: "Store", settings: "Settings", now: "datetime") -> None:
    from nightcrew.monitoring.retention import maintain

    keep = settings.metrics
    maintain(store, now, minutes_days=keep.minutes_days, hours_days=keep.hours_days, days_days=keep.days_days)


@contextmanager
def attended(
    state: "State", name: str, measuring: Measuring, changes: Callable[[], list[FieldChange] | None]
) -> Iterator[None]:
    """While pipeline ``name`` is worked, keep watch in a thread; when it ends, look once more, however it ended.

    ``changes`` gives how the fields of its records differ from those of an earlier run, None if that is not known. What
    goes wrong here stops no work.
    """
    from nightcrew.monitoring.alerts.configured import SETTINGS_FILE, SettingsFile
    from nightcrew.monitoring.alerts.watch import Watcher

    settings = SettingsFile(state.directory.parent / SETTINGS_FILE)

    def readings() -> None:
        try:
            take_readings(state.store, settings.now(), state.recorder, state.clock)
        except Exception:
            # Neither a damaged row nor a bug in watching may keep alerts from being looked at, or end the run.
            _LOG.warning("readings could not be taken", exc_info=True)

    with Watcher(state.store, state.directory, before=readings).running():
        try:
            yield
        finally:
            measuring.write()
            _ended(state, name, changes(), settings.now())


def _ended(state: "State", name: str, changed: list[FieldChange] | None, settings: "Settings") -> None:
    from nightcrew.monitoring.drift.looking import look, note_changes

    subject = f"pipeline:{name}"
    try:
        if changed is not None:
            with state.store.begin() as tx:
                note_changes(tx, subject, changed)
        look(state.store, subject, state.clock(), settings.drift, recorder=state.recorder, ended=True)
        state.recorder.flush(state.store)
    except Exception:
        _LOG.warning("drift of %s could not be looked for", name, exc_info=True)
