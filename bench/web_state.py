"""A database of any size for the dashboard, written in bulk: the rows that nights and pipelines would have written."""

import hashlib
import json
import random
import sqlite3
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench.web_records import alerts, records
from bench.web_rows import END, Chain, Sizes, insert
from nightcrew.approvals.service import sealing_key
from nightcrew.crew import setup
from nightcrew.crew.project import Project, open_project
from nightcrew.crew.report import Report
from nightcrew.model.canonical import canonical_json, sha256_hex
from nightcrew.model.clock import isoformat
from nightcrew.model.finding import Category, Finding
from nightcrew.model.handoff import Change, Check, Handoff, HandoffKind, Verdict, render
from nightcrew.model.review import Review, ReviewState
from nightcrew.model.severity import Severity
from nightcrew.model.statement import subject_digest, subject_of
from nightcrew.model.ticket import Event, Kind, Priority, State, Ticket
from nightcrew.store import ledger

TITLES = (
    "Login fails after a password reset",
    "A key lies in the settings",
    "Totals are off by one cent",
    "Speed up the nightly import",
    "The report shows yesterday's numbers",
    "Escape names in the mail template",
)


def prepare(folder: Path) -> Project:
    """A repository prepared for the crew."""
    repo = folder / "repo"
    (repo / "src").mkdir(parents=True)
    (repo / "src" / "settings.py").write_text('"""Settings."""\n\nDEBUG = False\nNAME = "crew"\n')
    (repo / "src" / "sums.py").write_text('"""Sums."""\n\n\ndef add(a: int, b: int) -> int:\n    return a + b\n')
    who = ("-c", "user.name=bench", "-c", "user.email=bench@example.com")
    for argv in (("init", "-q", "-b", "main"), ("add", "-A"), (*who, "commit", "-q", "-m", "Begin")):
        subprocess.run(["git", *argv], cwd=repo, check=True)
    setup.initialise(repo)
    return open_project(repo)


def fill(project: Project, sizes: Sizes) -> dict[str, str]:
    """Write everything; gives an example of each thing, by what it is."""
    dice = random.Random(7)
    with project.store.read() as tx:
        head = ledger.head(tx)
    assert head is not None
    key = sealing_key(project.service)
    path = project.database_url.removeprefix("sqlite:///")
    project.close()
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA synchronous = OFF")
    database.execute("BEGIN")
    chain = Chain(database, key, head.seq, head.hash)
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=project.root, check=True, capture_output=True, text=True
    ).stdout.strip()
    made = _crew(database, chain, dice, sizes, commit)
    made |= records(database, chain, dice, sizes)
    alerts(database, sizes)
    chain.flush()
    made["entry"] = str(chain.seq // 2)
    database.execute("COMMIT")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    opened = open_project(project.root)
    opened.pin_ledger()
    opened.close()
    return made


def _json(value: Any) -> str:
    return canonical_json(value).decode()


def _crew(database: sqlite3.Connection, chain: Chain, dice: random.Random, sizes: Sizes, head: str) -> dict[str, str]:
    begin = END - timedelta(days=max(1, sizes.sessions // 25))
    findings = [_finding(number) for number in range(sizes.findings)]
    tickets, made = _tickets(database, chain, dice, sizes, findings, begin)
    made |= _sessions(database, chain, dice, sizes, tickets, findings, begin, head)
    made |= _reviews(database, chain, dice, sizes, tickets, findings)
    counters = {
        "T": sizes.tickets,
        "S": sizes.sessions,
        "H": sizes.handoffs,
        "R": sizes.reviews,
        "A": sizes.alerts,
        "N": -(-sizes.sessions // 25),
    }
    for name, value in counters.items():
        database.execute("INSERT OR REPLACE INTO counters (name, value) VALUES (?, ?)", (name, value))
    return made


def _finding(number: int) -> Finding:
    level = list(Severity)[number % 5]
    path = ("src/settings.py", "src/sums.py", f"src/module_{number % 300}.py")[number % 3]
    return Finding(
        fingerprint=hashlib.sha256(str(number).encode()).hexdigest()[:32],
        tool=("bandit", "ruff")[number % 2],
        rule=f"B{100 + number % 40}",
        category=Category.SECURITY,
        severity=level,
        message=f"{TITLES[number % len(TITLES)]} ({number})",
        path=path,
        line=1 + number % 4,
        confidence=0.5 + number % 5 / 10,
        evidence="return a + b",
    )


def _tickets(
    database: sqlite3.Connection,
    chain: Chain,
    dice: random.Random,
    sizes: Sizes,
    findings: list[Finding],
    begin: datetime,
) -> tuple[list[Ticket], dict[str, str]]:
    found: list[Ticket] = []
    states = [
        *[State.OPEN] * 6,
        State.BUILDING,
        State.IN_QA,
        State.IN_SECURITY,
        State.READY,
        *[State.DONE] * 20,
        State.REJECTED,
        State.QUARANTINED,
    ]
    step = (END - begin) / sizes.tickets
    rows, findings_rows = [], []
    for number in range(1, sizes.tickets + 1):
        waits = number > sizes.tickets - sizes.waiting
        at = isoformat(begin + step * (number - 1))
        own = findings[number % len(findings)]
        ticket = Ticket.read(
            {
                "id": f"T-{number:04d}",
                "title": f"{TITLES[number % len(TITLES)]} #{number}",
                "body": "What to do. " * 20,
                "kind": list(Kind)[number % 4],
                "priority": list(Priority)[number % 4],
                "severity": own.severity if number % 3 == 0 or waits else None,
                "state": State.IN_REVIEW if waits else dice.choice(states),
                "origin": "baseline" if waits else "human",
                "findings": [own.fingerprint],
                "created": at,
                "note": "deferred: the budget was used up" if number % 9 == 0 else "",
            },
            source="bench",
        )
        subject = f"ticket:{ticket.id}"
        chain.add(at, "human", "ticket.add", subject, to="open", digest=ticket.digest)
        entry = 0
        for event in ("start", "submit", "pass_qa", "pass_security", "merge")[: 5 if ticket.state is State.DONE else 2]:
            entry = chain.add(at, "build", f"ticket.{event}", subject, to=ticket.state.value, digest=ticket.digest)
        lists = {name: _json(getattr(ticket, name)) for name in ("depends_on", "findings")}
        rows.append((*{**ticket.plain(), **lists, "created": at}.values(), entry))
        found.append(ticket)
    columns = ", ".join([*found[0].plain(), "entry"])
    insert(database, "tickets", rows, f"({columns})")
    seen = isoformat(END)
    for number, one in enumerate(findings):
        state = ("open", "fixed", "false_positive", "accepted")[number % 4]
        ticket_id = found[number % len(found)].id
        findings_rows.append((one.fingerprint, _json(one.plain()), ticket_id, state, isoformat(begin), seen))
    insert(database, "findings", findings_rows, "(fingerprint, doc, ticket, state, first_seen, last_seen)")
    return found, {"ticket": found[len(found) // 2].id, "waiting_ticket": found[-1].id}


def _sessions(
    database: sqlite3.Connection,
    chain: Chain,
    dice: random.Random,
    sizes: Sizes,
    tickets: list[Ticket],
    findings: list[Finding],
    begin: datetime,
    head: str,
) -> dict[str, str]:
    rows: dict[str, list[Sequence[Any]]] = {
        name: [] for name in ("sessions", "session_tickets", "turns", "journal", "shifts", "handoffs")
    }
    agents = ("build", "qa", "security")
    patterns = {agent: _pattern(agent, findings, head) for agent in agents}
    each = max(1, sizes.handoffs // sizes.sessions)
    step = (END - begin) / sizes.sessions
    written = 0
    for number in range(1, sizes.sessions + 1):
        agent, session = agents[number % 3], f"S-{number:04d}"
        shift = f"N-{(number - 1) // 25 + 1:04d}"
        start = begin + step * (number - 1)
        at, ended = isoformat(start), isoformat(start + timedelta(minutes=20))
        used = dice.randint(4, 24) if number != sizes.sessions else 60
        outcome = "stopped" if number % 11 == 0 else "done"
        mine = [tickets[(number * 7 + k * 131) % len(tickets)].id for k in range(min(each, 12))]
        mine = list(dict.fromkeys(mine))
        if (number - 1) % 25 == 0:
            shift_end = isoformat(start + step * 24 + timedelta(minutes=20))
            chain.add(at, "nightcrew", "shift.start", f"shift:{shift}", agents=list(agents))
            report = Report(shift=shift, started=start, ended=start + step * 24, outcome="done", handoffs=each * 25)
            rows["shifts"].append(
                (shift, "ended", "done", at, shift_end, _json(agents), None, None, False, _json(report.plain()))
            )
        subject = f"session:{session}"
        chain.add(at, "nightcrew", "session.create", subject, agent=agent, tickets=mine, soft=40, hard=60)
        chain.add(at, "nightcrew", "session.start", subject)
        note = "stopped: somebody asked the shift to stop" if outcome == "stopped" else ""
        rows["sessions"].append(
            (session, shift, agent, f"M-{number}", "ended", outcome, "claude", 40, 60, at, at, ended, note, None)
        )
        for turn in range(1, used + 1):
            moment = isoformat(start + timedelta(seconds=15 * turn))
            ticket = mine[turn % len(mine)]
            rows["turns"].append((session, turn, f"{ticket}/request {turn}", ticket, moment, 2500, 400, 9000))
            chain.add(moment, "nightcrew", "turn.charge", subject, number=turn, key=str(turn), ticket=ticket)
            if number > sizes.sessions - 400:
                said = {
                    "parts": [
                        {"part_kind": "text", "content": "I look at the file first. " * 12},
                        {"part_kind": "tool-call", "tool_name": "read", "args": '{"path": "src/sums.py"}'},
                    ]
                }
                rows["journal"].append((session, ticket, f"answer {turn:04d}", json.dumps(said), moment))
                rows["journal"].append(
                    (session, ticket, f"tool read {turn}", json.dumps("def add(a, b):\n" * 30), moment)
                )
        for position, ticket in enumerate(mine):
            written += 1
            handoff = f"H-{written:06d}"
            body = _handoff(patterns[agent], handoff, ticket, session, ended)
            digest = sha256_hex(body)
            verdict = None if agent == "build" else "passed"
            rows["handoffs"].append(
                (
                    handoff,
                    agent,
                    "qa" if agent == "build" else "security",
                    ticket,
                    session,
                    "work" if agent == "build" else "verdict",
                    verdict,
                    None,
                    head,
                    body,
                    digest,
                    ended,
                    True,
                )
            )
            chain.add(ended, agent, "handoff.write", f"handoff:{handoff}", sha256=digest, desk="qa", ticket=ticket)
            rows["session_tickets"].append((session, ticket, position, "done", handoff))
            chain.add(ended, "nightcrew", "session.ticket", subject, ticket=ticket, outcome="done", handoff=handoff)
        chain.add(ended, "nightcrew", "session.end", subject, outcome=outcome, note=note)
    for further in range(written + 1, sizes.handoffs + 1):  # the others are of sessions long gone
        handoff, ticket = f"H-{further:06d}", tickets[further % len(tickets)].id
        body = _handoff(patterns["build"], handoff, ticket, "S-0001", isoformat(begin))
        digest = sha256_hex(body)
        rows["handoffs"].append(
            (handoff, "build", "qa", ticket, "S-old", "work", None, None, head, body, digest, isoformat(begin), True)
        )
        chain.add(
            isoformat(begin), "build", "handoff.write", f"handoff:{handoff}", sha256=digest, desk="qa", ticket=ticket
        )
    columns = {
        "sessions": "(id, shift, agent, manifest, state, outcome, brain, soft, hard, created, started, ended, note, "
        "ticket_now)",
        "session_tickets": "(session, ticket, position, outcome, handoff)",
        "turns": "(session, number, key, ticket, at, input_tokens, output_tokens, microdollars)",
        "journal": "(session, ticket, key, value, at)",
        "shifts": "(id, state, outcome, started, ended, agents, brain, deadline, stop_requested, report)",
        "handoffs": "(id, sender, desk, ticket, session, kind, verdict, severity, head, body, sha256, created, routed)",
    }
    for name, found in rows.items():
        insert(database, name, found, columns[name])
    return {
        "session": f"S-{sizes.sessions // 2:04d}",
        "long_session": f"S-{sizes.sessions:04d}",
        "handoff": f"H-{sizes.handoffs // 2:06d}",
        "shift": f"N-{max(1, sizes.sessions // 50):04d}",
    }


def _pattern(agent: str, findings: list[Finding], head: str) -> bytes:
    checks = tuple(Check(name=name, status="passed", detail="12 passed") for name in ("tests", "lint", "coverage"))
    work = agent == "build"
    return render(
        Handoff.read(
            {
                "id": "H-999999",
                "from": agent,
                "to": "qa" if work else "security",
                "ticket": "T-9999",
                "session": "S-9999",
                "kind": HandoffKind.WORK if work else HandoffKind.VERDICT,
                "verdict": None if work else Verdict.PASSED,
                "brain": "claude",
                "created": "2001-01-01T00:00:00.000000Z",
                "change": Change(branch="crew/work", base=head, head=head, files=("src/sums.py",)).plain(),
                "checks": [check.plain() for check in checks],
                "findings": [one.plain() for one in findings[:2]] if agent == "security" else [],
                "done": "The sum was off by one cent. " * 8,
                "next": "Check it.",
            },
            source="bench",
        )
    )


def _handoff(pattern: bytes, handoff: str, ticket: str, session: str, at: str) -> bytes:
    for before, after in (
        (b"H-999999", handoff),
        (b"T-9999", ticket),
        (b"S-9999", session),
        (b"2001-01-01T00:00:00.000000Z", at),
    ):
        pattern = pattern.replace(before, after.encode())
    return pattern


def _reviews(
    database: sqlite3.Connection,
    chain: Chain,
    dice: random.Random,
    sizes: Sizes,
    tickets: list[Ticket],
    findings: list[Finding],
) -> dict[str, str]:
    rows: list[tuple[Any, ...]] = []
    decided: list[tuple[Any, ...]] = []
    waiting = [ticket for ticket in tickets if ticket.state is State.IN_REVIEW]
    others = [ticket for ticket in tickets if ticket.state is not State.IN_REVIEW]
    now = datetime.now(UTC)
    bodies: dict[str | None, str] = dict(database.execute("SELECT id, sha256 FROM handoffs"))
    for number in range(1, sizes.reviews + 1):
        late = number - (sizes.reviews - len(waiting)) - 1
        ticket = waiting[late] if late >= 0 else others[number % len(others)]
        handoff = f"H-{(number * 13) % sizes.handoffs + 1:06d}" if number % 5 == 0 else None
        subjects = subject_of(
            ticket_id=ticket.id,
            ticket_digest=ticket.work_digest,
            handoff_id=handoff,
            handoff_sha256=bodies.get(handoff),
        )
        own = [one for one in findings if one.fingerprint in ticket.findings]
        review = Review(
            id=f"R-{number:04d}",
            ticket=ticket.id,
            reason=f"bandit {own[0].rule}: {own[0].message}",
            handoff=handoff,
            severity=own[0].severity,
            confidence=0.8,
            subjects=tuple(one.plain() for one in subjects),
            subject_digest=subject_digest(subjects),
            on_approve=Event.APPROVE_WORK,
            state=ReviewState.PENDING if late >= 0 else dice.choice([ReviewState.APPROVED, ReviewState.REJECTED]),
            created=ticket.created,
            deadline=now + timedelta(hours=number % 200 + 1),
            decided=None if late >= 0 else ticket.created,
            reviewer=None if late >= 0 else "ada",
        )
        plain = review.plain()
        names = (
            "ticket",
            "subject_digest",
            "reason",
            "severity",
            "breaks_build",
            "handoff",
            "on_approve",
            "confidence",
        )
        needs = {
            "facts": {
                "severity": review.severity,
                "paths": [own[0].path],
                "sender": "security",
                "categories": ["security"],
            },
            "needs": {"approvals": 1, "deadline_hours": 24},
            "findings": [one.plain() for one in own],
        }
        at = isoformat(ticket.created)
        if late < 0:
            said = {ReviewState.APPROVED: "approve", ReviewState.REJECTED: "reject"}[review.state]
            envelope = json.dumps({"payload": review.id, "signatures": []})
            decided.append((review.id, f"{number:032x}", said, "ada", "seen", at, envelope))
            sha256 = sha256_hex(envelope.encode())
            chain.add(at, "reviewer:ada", f"review.{said}", f"review:{review.id}", envelope_sha256=sha256)
        chain.add(
            at, "router", "review.add", f"review:{review.id}", **{name: plain[name] for name in names}, needs=needs
        )
        times = {
            name: isoformat(value) if (value := getattr(review, name)) else None
            for name in ("created", "deadline", "decided")
        }
        rows.append(tuple({**plain, **times, "subjects": _json(plain["subjects"])}.values()))
        fields = list(plain)
    insert(database, "reviews", rows, f"({', '.join(fields)})")
    insert(database, "review_decisions", decided, "(review, nonce, decision, reviewer, comment, at, envelope)")
    first = sizes.reviews - len(waiting)
    with_handoff = next((n for n in range(first + 1, sizes.reviews + 1) if n % 5 == 0), sizes.reviews)
    without = next((n for n in range(first + 1, sizes.reviews + 1) if n % 5), sizes.reviews)
    return {
        "review": f"R-{without:04d}",
        "review_of_handoff": f"R-{with_handoff:04d}",
        "decided": f"R-{first // 2:04d}",
    }
