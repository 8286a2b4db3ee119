"""Server time of every page of the dashboard, over a database as large as years of nights make it.

Run: python bench/web.py [--scale 1.0] [--rounds 30] [--keep FOLDER]. At scale 1 it holds 1,000,000 outcomes, 100,000
handoffs and 10,000 sessions in SQLite, written in bulk as valid rows: sealed ledger, Merkle roots, tallies. Prints a
table of each page's time and weight, and writes bench/results/web.json. Exits with 1 if a page's 95th percentile is
above 100 ms.
"""

import argparse
import json
import math
import os
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from starlette.testclient import TestClient

from bench.web_rows import Sizes
from bench.web_state import fill, prepare
from nightcrew.web.app import create_app

LIMIT_MS = 100.0
ORIGIN = "http://localhost:8377"


def pages(made: dict[str, str]) -> list[str]:
    """An address of every page, and of those that filter or page far back."""
    return [
        "/", "/inbox", "/inbox?q=key&severity=high", "/inbox?state=all&page=40", "/inbox?state=approved&sort=newest",
        f"/reviews/{made['review']}", f"/reviews/{made['review_of_handoff']}", f"/reviews/{made['decided']}",
        "/report", f"/report?shift={made['shift']}", "/reviewers",
        "/tickets", "/tickets?q=login&kind=bug", "/tickets?view=list", f"/tickets?state=done&before={made['ticket']}",
        f"/tickets/{made['ticket']}", f"/tickets/{made['waiting_ticket']}",
        "/sessions", f"/sessions?agent=qa&before={made['session']}", "/sessions?q=stopped",
        f"/sessions/{made['session']}", f"/sessions/{made['long_session']}",
        "/findings", "/findings?state=open&severity=high&q=settings", f"/handoffs/{made['handoff']}",
        "/pipelines", f"/pipelines/{made['pipeline']}", f"/pipelines/{made['pipeline']}?before=50",
        "/records?state=waiting_retry", "/records?state=quarantined", "/records?state=in_review",
        "/records?state=rejected", "/records?state=discarded",
        f"/records?state=quarantined&pipeline={made['pipeline']}&kind=permanent.contract",
        f"/records?state=quarantined&after={made['deep']}~",
        f"/records/{made['quarantined']}", f"/records/{made['accepted']}", f"/records/{made['held']}",
        "/ledger", f"/ledger?before={made['entry']}", "/ledger?action=ticket.merge", "/ledger?action=handoff.write",
        f"/ledger?subject={made['ticket']}", f"/ledger/{made['entry']}",
        "/alerts", "/alerts?state=all", "/settings", "/runbooks", "/runbooks/NC-LINK", "/timeline",
        "/api/reviews", f"/api/reviews/{made['review']}",
    ]  # fmt: skip


def measure(client: TestClient, paths: Sequence[str], rounds: int) -> list[dict[str, Any]]:
    """Milliseconds and bytes of each page; the rounds are interleaved, and the first one is told apart."""
    times: dict[str, list[float]] = {path: [] for path in paths}
    found: dict[str, dict[str, Any]] = {}
    for number in range(rounds + 1):
        for path in paths:
            began = time.perf_counter()
            answer = client.get(path)
            took = 1000 * (time.perf_counter() - began)
            if number == 0:
                found[path] = {
                    "page": path,
                    "status": answer.status_code,
                    "bytes": len(answer.content),
                    "first_ms": took,
                }
            else:
                times[path].append(took)
    for path, line in found.items():
        ordered = sorted(times[path])
        line["median_ms"] = round(statistics.median(ordered), 1)
        line["p95_ms"] = round(ordered[min(len(ordered) - 1, math.ceil(0.95 * len(ordered)) - 1)], 1)
        line["first_ms"] = round(line["first_ms"], 1)
    return list(found.values())


def show(lines: Sequence[dict[str, Any]]) -> None:
    """The table."""
    print(f"{'page':<64} {'status':>6} {'first':>8} {'median':>8} {'p95':>8} {'KiB':>8}")
    for line in lines:
        times = f"{line['first_ms']:>8.1f} {line['median_ms']:>8.1f} {line['p95_ms']:>8.1f}"
        mark = "" if line["p95_ms"] <= LIMIT_MS else "  <- above 100 ms"
        print(f"{line['page'][:64]:<64} {line['status']:>6} {times} {line['bytes'] / 1024:>8.1f}{mark}")


def run(folder: Path, scale: float, rounds: int) -> list[dict[str, Any]]:
    """Make the database in ``folder``, unless it is there, and measure."""
    os.environ.update(NIGHTCREW_CONFIG_DIR=str(folder / "config"), XDG_STATE_HOME=str(folder / "state"))
    note = folder / "made.json"
    if not note.exists():
        began = time.perf_counter()
        made = fill(prepare(folder), Sizes.at(scale))
        note.write_text(json.dumps(made))
        size = sum(file.stat().st_size for file in (folder / "repo" / ".nightcrew").iterdir() if file.is_file())
        print(f"made in {time.perf_counter() - began:.0f} s: {size / 2**20:,.0f} MiB")
    made = json.loads(note.read_text())
    token = secrets.token_urlsafe(32)
    app = create_app(folder / "repo", origin=ORIGIN, token=token)
    with TestClient(app, base_url=ORIGIN) as client:
        client.get("/enter", params={"token": token}, follow_redirects=False)
        return measure(client, pages(made), rounds)


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--keep", type=Path, help="a folder to keep the database in, and to take it from")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = options.keep or Path(place)
        folder.mkdir(parents=True, exist_ok=True)
        lines = run(folder, options.scale, options.rounds)
    show(lines)
    results = Path(__file__).parent / "results" / "web.json"
    results.write_text(json.dumps({"scale": options.scale, "rounds": options.rounds, "pages": lines}, indent=1) + "\n")
    slow = [line["page"] for line in lines if line["p95_ms"] > LIMIT_MS]
    wrong = [line["page"] for line in lines if line["status"] != 200]
    print(f"{len(lines)} pages, {len(slow)} above {LIMIT_MS:.0f} ms, {len(wrong)} not answered")
    return 1 if slow or wrong else 0


if __name__ == "__main__":
    sys.exit(main())
