"""In the child: start a run of the pipeline as a process of its own, kill it in its middle, start it again.

Both lie in one sandbox, and so in one space of process numbers: as on a machine where a service is started again.
"""

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from nightcrew.pipeline.overview import problems
from nightcrew.pipeline.state import find_state
from nightcrew.store import outcomes, runs

_POLL_SECONDS = 0.01
WORK = "nightcrew.readiness.drills.watched:work"


def killed_and_again(_pipeline: None, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Run ``work`` until it holds, kill it, look at the store, run it again, look again.

    ``spec``: that of ``watched.work``, with ``target``, ``pipeline`` (its name), ``state`` and ``seconds``. ``problem``
    is empty unless the first run did not come to its middle (nothing was injected then); ``hint`` is what to do then.
    """
    first = start(spec, spec)
    if not_begun := _middle(first, spec):
        return not_begun
    first.kill()
    first.wait()
    return _again(spec, {})


def locked_and_again(_pipeline: None, spec: Mapping[str, Any]) -> dict[str, Any]:
    """As ``killed_and_again``, but the database is held by a writer, and the run let go on: ``first`` is its answer.

    ``patience_ms`` is how long the runs wait for the store.
    """
    first = start(spec, spec)
    if not_begun := _middle(first, spec):
        return not_begun
    with closing(sqlite3.connect(Path(spec["state"]) / ".nightcrew" / "nightcrew.db", isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        Path(spec["go"]).touch()
        answer = ended(first)
        detected = time.monotonic() - began
        writer.execute("ROLLBACK")
    return _again(spec, {"first": answer, "detected_seconds": detected})


def _middle(run: "subprocess.Popen[str]", spec: Mapping[str, Any]) -> dict[str, Any]:
    """Wait until a run holds; gives why it does not, if it does not."""
    began = time.monotonic()
    while run.poll() is None and not Path(spec["held"]).exists():
        if time.monotonic() - began > spec["seconds"]:
            run.kill()
            problem = f"the run did not come to its middle within {spec['seconds']:.0f} s"
            return {"problem": problem, "hint": "Give it more time: --seconds 600"}
        time.sleep(_POLL_SECONDS)
    if run.poll() is None:
        return {}
    answer = ended(run)
    said = answer["error"] if "error" in answer else f"{answer['answer']}"
    return {"problem": f"the run ended before its middle: {said}", "hint": answer.get("hint", "")}


def _again(spec: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    broken = time.monotonic()
    before, called = stored(spec), _lines(spec["calls"])
    second = ended(start(spec, {**spec, "hold_at": 0}))
    return {
        **more,
        "problem": "",
        "before": before,
        "after": stored(spec),
        "called": called,
        "called_again": _lines(spec["calls"])[len(called) :],
        "second": second,
        "delivered": [json.loads(line)["key"] for line in _lines(spec["sink"])],
        "seconds": time.monotonic() - broken,
    }


def start(spec: Mapping[str, Any], work: Mapping[str, Any]) -> "subprocess.Popen[str]":
    """Start a run as a process of its own: ``spec["work"]``, or ``WORK``, with the spec ``work``."""
    job = {"function": spec.get("work", WORK), "spec": dict(work), "target": spec["target"], "state": spec["state"]}
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "nightcrew.readiness.drills.child"], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True, cwd=spec["state"],
    )  # fmt: skip
    assert process.stdin is not None  # noqa: S101 - it is a pipe
    process.stdin.write(json.dumps(job) + "\n")
    process.stdin.flush()
    return process


def ended(process: "subprocess.Popen[str]") -> dict[str, Any]:
    """What a run that was started answered; ``error`` if it did not."""
    output, _ = process.communicate()
    try:
        answer: dict[str, Any] = json.loads(output)
    except ValueError:
        return {"error": f"it ended with {process.returncode} and no answer", "kind": "killed"}
    return answer


def stored(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What the store has: the state of each key's outcome, keys that have two, what the ledger does not vouch for."""
    state = find_state(Path(spec["state"]), database_url=f"sqlite:///{spec['state']}/.nightcrew/nightcrew.db")
    if not state.exists():
        return {"outcomes": {}, "double": [], "problems": ["there is no store"]}
    try:
        with state.store.read() as tx:
            if spec["pipeline"] not in {row.name for row in runs.all_pipelines(tx)}:
                return {"outcomes": {}, "double": [], "problems": []}
            found = list(outcomes.list(tx, runs.pipeline(tx, spec["pipeline"]).id))
            wrong = [f"{where}: {what}" for where, what in problems(tx)]
    finally:
        state.close()
    keys = [one.key for one in found]
    double = sorted({key for key in keys if keys.count(key) > 1})
    return {"outcomes": {one.key: one.state for one in found}, "double": double, "problems": wrong}


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).is_file() else []
