"""The part of the dashboard's database that pipelines would have written: runs, outcomes, batches, alerts."""

import hashlib
import json
import random
import sqlite3
from collections import Counter
from datetime import timedelta
from typing import Any

from bench.web_rows import END, PIPELINES, Chain, Sizes, insert
from nightcrew.model import merkle
from nightcrew.model.canonical import canonical_json, sha256_hex
from nightcrew.model.clock import isoformat

BATCH = 1000
KINDS = ("permanent.contract", "permanent.corrupt", "transient.timeout", "permanent.refused")


def records(database: sqlite3.Connection, chain: Chain, dice: random.Random, sizes: Sizes) -> dict[str, str]:
    began, end = isoformat(END - timedelta(hours=4)), isoformat(END)
    for number, name in enumerate(PIPELINES, 1):
        database.execute(
            "INSERT INTO pipelines (id, name, secret, fields) VALUES (?, ?, ?, NULL)", (number, name, '["card"]')
        )
        for version in range(3):
            digest = hashlib.sha256(f"{name}{version}".encode()).hexdigest()[:16]
            doc = {
                "pipeline": name,
                "code_sha256": hashlib.sha256(f"{name}{version // 2}".encode()).hexdigest(),
                "version": f"model-{version}",
            }
            created = isoformat(END - timedelta(days=9 - 3 * version))
            database.execute(
                "INSERT INTO versions (digest, pipeline, doc, created) VALUES (?,?,?,?)",
                (digest, number, canonical_json(doc).decode(), created),
            )
            chain.add(created, "nightcrew", "pipeline.version", f"version:{digest}", **doc)
    weights = {
        "accepted": 940,
        "fallback": 25,
        "quarantined": 15,
        "waiting_retry": 10,
        "in_review": 5,
        "rejected": 3,
        "discarded": 2,
    }
    names, shares = list(weights), list(weights.values())
    tallies: Counter[tuple[int, str]] = Counter()
    seen: Counter[int] = Counter()
    examples: dict[str, str] = {}
    batches = []
    count = -(-sizes.outcomes // BATCH)
    identifier = 0
    for batch in range(1, count + 1):
        run = (batch - 1) * sizes.runs // count + 1
        pipeline = (run - 1) % len(PIPELINES) + 1
        name = PIPELINES[pipeline - 1]
        states = dice.choices(names, shares, k=min(BATCH, sizes.outcomes - (batch - 1) * BATCH))
        rows, leaves = [], []
        for leaf, state in enumerate(states):
            identifier += 1
            settled = state in ("accepted", "fallback")
            key = f"tx-{identifier:07d}"
            kind = None if settled or state == "in_review" else KINDS[identifier % 4]
            data = b'{"id":"%s","amount":12.5,"card":"4111"}' % key.encode()
            text = _outcome(state, name, key, data, kind)
            leaves.append(merkle.leaf_hash(text.encode()))
            next_at = isoformat(END + timedelta(seconds=identifier % 86400)) if state == "waiting_retry" else None
            rows.append(
                (identifier, pipeline, key, run, state, kind, batch, leaf, next_at, None if settled else data, text)
            )
            tallies[run, state] += 1
            if state not in examples or identifier < sizes.outcomes // 2:
                examples[state] = f"{name}/{key}"
                examples[f"{state} id"] = str(identifier)
        seen[run] += len(states)
        insert(database, "outcomes", rows, "(id, pipeline, key, run, state, kind, batch, leaf, next_at, input, doc)")
        root = merkle.root(leaves)
        entry = chain.add(
            end,
            "nightcrew",
            "outcomes.made",
            f"batch:{batch}",
            pipeline=name,
            run=run,
            count=len(states),
            root=root.hex(),
        )
        batches.append((batch, run, root, b"".join(leaves), entry))
    insert(database, "batches", batches, "(id, run, root, leaves, entry)")
    insert(
        database, "tallies", [(run, state, number) for (run, state), number in tallies.items()], "(run, state, count)"
    )
    for run in range(1, sizes.runs + 1):
        pipeline = (run - 1) % len(PIPELINES) + 1
        database.execute(
            "INSERT INTO runs (id, pipeline, kind, source, fingerprint, state, started, ended, sink, attempt) "
            "VALUES (?,?,?,?,?,?,?,?,?,?)",
            (run, pipeline, "file", f"day-{run}.jsonl", "f" * 64, "done", began, end, "out.jsonl", 1),
        )
        database.execute(
            "INSERT INTO chunks (run, number, start, stop, part, parts, position, seen, repeated, done, holder, "
            "attempts) VALUES (?,0,0,NULL,0,1,0,?,0,1,'',0)",
            (run, seen[run]),
        )
        chain.add(began, "nightcrew", "run.start", f"run:{run}", source=f"day-{run}.jsonl")
    return {
        "pipeline": PIPELINES[0],
        "quarantined": examples["quarantined"],
        "accepted": examples["accepted"],
        "held": examples["in_review"],
        "deep": examples["quarantined id"],
    }


def _outcome(state: str, pipeline: str, key: str, data: bytes, kind: str | None) -> str:
    failed = kind is not None
    failure = (
        json.dumps({"kind": kind, "error": "ValueError", "message": "amount: is not above zero"}) if failed else "null"
    )
    reason = "amount: is not above zero" if failed else ("a person reads it first" if state == "in_review" else "")
    return (
        f'{{"state":"{state}","pipeline":"{pipeline}","version":"0123456789abcdef","key":"{key}","at":0,'
        f'"input":"{sha256_hex(data)}","status":"{"failed" if failed else "accepted"}",'
        f'"output":{"null" if failed else 0.25},'
        f'"confidence":{"null" if failed else 0.91},"level":0,"made_by":"model",'
        f'"reason":"{reason}","notice":"","attempts":1,'
        f'"rounds":0,"stage":0,"failure":{failure}}}'
    )


def alerts(database: sqlite3.Connection, sizes: Sizes) -> None:
    columns = [row[1] for row in database.execute("PRAGMA table_info(alerts)")]
    rows = []
    for number in range(1, sizes.alerts + 1):
        begun = END - timedelta(hours=number)
        is_open = number <= max(3, sizes.alerts // 100)
        values: dict[str, Any] = {
            "id": f"A-{number:04d}",
            "rule": f"rule-{number % 12}-{number if is_open else 0}",
            "subject": f"pipeline:{PIPELINES[number % 3]}",
            "severity": ("critical", "high", "medium")[number % 3],
            "state": "firing" if is_open else "resolved",
            "value": 0.12,
            "message": "12 % of the records failed in the last 5 minutes; the limit is 5 %",
            "query": "{}",
            "runbook": "AL-ERRORS",
            "since": isoformat(begun),
            "fired": isoformat(begun),
            "resolved": None if is_open else isoformat(begun + timedelta(minutes=20)),
            "escalated": 0,
        }
        rows.append(tuple(values.get(name) for name in columns))
    insert(database, "alerts", rows, f"({', '.join(columns)})")
