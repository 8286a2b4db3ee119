"""What asking for the agents' health costs with years of nights behind it.

Run: python -m bench.health [SESSIONS]. Fills an SQLite state with that many sessions (10,000), ten handoffs and 40
turns each and as many reviews, and prints the milliseconds of one look; writes bench/results/health.json.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

from sqlalchemy import insert

from nightcrew.crew.health import health
from nightcrew.crew.project import Project, load_project
from nightcrew.crew.setup import initialise
from nightcrew.model.clock import isoformat, system_clock
from nightcrew.store import schema

AGENTS = ("build", "qa", "security")
TURNS = 40
HANDOFFS = 10
LOOKS = 20


def prepared(folder: Path) -> Project:
    os.environ |= {"HOME": str(folder), "NIGHTCREW_CONFIG_DIR": str(folder / "config")}
    repo = folder / "repo"
    repo.mkdir()
    (repo / "a.txt").write_text("a\n")
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.invalid"]
    for words in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-qm", "Begin"]):
        subprocess.run(["git", *identity, *words], cwd=repo, check=True)
    initialise(repo)
    return load_project(repo)


def fill(project: Project, count: int) -> None:
    began = system_clock() - timedelta(days=count / 10)
    with project.store.begin() as tx:
        for number in range(count):
            at = began + timedelta(days=number / 10)
            agent, name = AGENTS[number % 3], f"S-{number:06d}"
            start, end = isoformat(at), isoformat(at + timedelta(minutes=20))
            if number % 10 == 0:
                shift = f"N-{number:06d}"
                tx.connection.execute(
                    insert(schema.shifts),
                    {
                        "id": shift, "state": "ended", "outcome": "quiet", "started": start, "ended": end,
                        "agents": json.dumps(AGENTS), "stop_requested": False,
                    },
                )  # fmt: skip
            tx.connection.execute(
                insert(schema.sessions),
                {
                    "id": name, "shift": shift, "agent": agent, "manifest": "M", "state": "ended", "outcome": "done",
                    "soft": 40, "hard": 60, "created": start, "started": start, "ended": end, "note": "",
                },
            )  # fmt: skip
            turn = {"session": name, "at": start, "input_tokens": 1000, "output_tokens": 100, "microdollars": 2000}
            tx.connection.execute(
                insert(schema.turns), [{**turn, "number": n + 1, "key": str(n)} for n in range(TURNS)]
            )
            made = agent == "build"
            handoffs, places, found = [], [], []
            for n in range(HANDOFFS):
                ticket, handoff = f"T-{number // 3 * HANDOFFS + n:06d}", f"H-{number * HANDOFFS + n:07d}"
                handoffs.append(
                    {
                        "id": handoff, "sender": agent, "desk": "qa", "ticket": ticket, "session": name,
                        "kind": "work" if made else "verdict", "verdict": None if made else "passed",
                        "body": b"x" * 2000, "sha256": "", "created": isoformat(at + timedelta(minutes=n)),
                        "routed": True,
                    }
                )  # fmt: skip
                outcome = "submitted" if made else "passed"
                places.append(
                    {"session": name, "ticket": ticket, "position": n, "outcome": outcome, "handoff": handoff}
                )
                if agent == "qa" and n % 3 == 0:
                    found.append(
                        {"fingerprint": handoff, "doc": "{}", "ticket": ticket, "state": "open", "first_seen": start,
                         "last_seen": start}
                    )  # fmt: skip
            tx.connection.execute(insert(schema.handoffs), handoffs)
            tx.connection.execute(insert(schema.session_tickets), places)
            if found:
                tx.connection.execute(insert(schema.findings), found)
            tx.connection.execute(
                insert(schema.reviews),
                {
                    "id": f"R-{number:06d}", "ticket": places[0]["ticket"], "reason": "", "severity": "high",
                    "breaks_build": False, "handoff": handoffs[0]["id"], "subjects": "x" * 500, "subject_digest": "",
                    "on_approve": "approve_change", "state": "approved" if number % 3 else "rejected",
                    "created": start, "deadline": end, "decided": end, "reviewer": "ada", "comment": "",
                },
            )  # fmt: skip


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as folder:
        project = prepared(Path(folder))
        fill(project, count)
        took = []
        for _ in range(LOOKS):
            began = time.perf_counter()
            found = health(project, system_clock())
            took.append(1000 * (time.perf_counter() - began))
        project.close()
    result = {
        "sessions": count, "handoffs": count * HANDOFFS, "turns": count * TURNS, "agents": len(found),
        "first_ms": round(took[0], 1), "median_ms": round(statistics.median(took), 1),
    }  # fmt: skip
    print(json.dumps(result, indent=2))
    out = Path(__file__).parent / "results" / "health.json"
    out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
