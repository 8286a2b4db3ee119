"""In the child: starts the run of a game day, kills it, takes its store away, starts it again as a service would be."""

import json
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nightcrew.readiness.drills.supervising import ended, start, stored
from nightcrew.readiness.game_day.timeline import Planned

_POLL_SECONDS = 0.02
_RESTARTS = 5
_PLAYING = "nightcrew.readiness.game_day.playing"


def referee(_pipeline: None, spec: Mapping[str, Any]) -> dict[str, Any]:
    """The whole game day; gives what was seen, times in seconds from its beginning."""
    faults = [Planned(**one) for one in spec["timeline"]]
    kills = [one for one in faults if one.kind == "kill-mid-step"]
    takes = [one for one in faults if one.kind == "store-unavailable"]
    begun = Path(spec["begun"])
    broke: list[str] = []
    run = start({**spec, "work": f"{_PLAYING}:work"}, spec)
    writer: sqlite3.Connection | None = None
    until = time.monotonic() + spec["patience"]
    while time.monotonic() < until:
        now = time.monotonic() - float(begun.read_text() or "inf") if begun.exists() else -1.0
        if run.poll() is not None:
            answer = ended(run)
            if "error" not in answer:
                break
            broke.append(f"after {now:.1f} s: {answer['error']}")
            if len(broke) > _RESTARTS:
                break
            run = start({**spec, "work": f"{_PLAYING}:work"}, spec)
        if kills and now >= kills[0].at:
            kills.pop(0)
            run.kill()
            run.communicate()
            run = start({**spec, "work": f"{_PLAYING}:work"}, spec)
        if takes and writer is None and now >= takes[0].at:
            writer = _taken(spec)
        if writer is not None and now >= takes[0].end:
            takes.pop(0)
            writer.execute("ROLLBACK")
            writer.close()
            writer = None
        time.sleep(_POLL_SECONDS)
    if run.poll() is None:
        run.kill()
        broke.append("the run did not come to its end")
    found = stored(spec)
    if "waiting_retry" in found["outcomes"].values():
        settled = ended(start({**spec, "work": f"{_PLAYING}:settle"}, spec))
        if "error" in settled:
            broke.append(f"what waited could not be worked: {settled['error']}")
        found = stored(spec)
    return {"events": events_of(spec), "broke": broke, "stored": found}


def _taken(spec: Mapping[str, Any]) -> sqlite3.Connection:
    database = Path(spec["state"]) / ".nightcrew" / "nightcrew.db"
    writer = sqlite3.connect(database, isolation_level=None, timeout=10, check_same_thread=False)
    writer.execute("BEGIN IMMEDIATE")
    return writer


def events_of(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The lines that the runs wrote; the last of a run that was killed may be cut off."""
    begun = Path(spec["begun"])
    origin = float(begun.read_text()) if begun.exists() else 0.0
    path, found = Path(spec["events"]), []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            one = json.loads(line)
        except ValueError:
            continue
        found.append({**one, "time": round(one["time"] - origin, 3)})
    return found
