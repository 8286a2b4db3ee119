"""Coding agents that fail: one is not installed, the service of the next takes no requests for a while."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from nightcrew.readiness.boxes import Box
from nightcrew.readiness.drills.in_crew import (
    KEY,
    file_ticket,
    last_handoff,
    project,
    requests_of,
    set_up,
    shift,
    short,
    worked,
)
from nightcrew.readiness.drills.model import Asked, Model, Reply, model
from nightcrew.readiness.drills.protocol import Observed, On, Place
from nightcrew.readiness.target import Target
from nightcrew.store import sessions, turns

_WAIT = 1
_GONE, _LIMITED = "agent-1", "agent-2"
_FILE = "nightcrew-drill-agent.txt"
_ABSENT = "nightcrew-drill-no-such-program"
# It speaks to nightcrew as Claude Code does, and asks its model once; nothing of nightcrew is imported in it.
_PROGRAM = f'''
import json, os, sys, urllib.error, urllib.request

asked = json.loads(sys.stdin.readline())["message"]["content"][0]["text"]
at = sys.argv.index("--append-system-prompt") + 1
messages = [{{"role": "user", "content": asked}}]
body = {{"model": "drill", "max_tokens": 64, "system": sys.argv[at], "messages": messages}}
request = urllib.request.Request(
    os.environ["ANTHROPIC_BASE_URL"] + "/v1/messages",
    json.dumps(body).encode(),
    {{"x-api-key": os.environ["ANTHROPIC_API_KEY"], "content-type": "application/json"}},
)
print(json.dumps({{"type": "system", "subtype": "init", "session_id": "drill"}}), flush=True)
try:
    urllib.request.build_opener(urllib.request.ProxyHandler({{}})).open(request).read()
except urllib.error.HTTPError as error:
    print(json.dumps({{"type": "result", "is_error": True, "result": str(error)}}), flush=True)
    sys.exit(1)
open("{_FILE}", "w").write("drill\\n")
said = json.dumps({{"finished": True, "done": "Wrote {_FILE}."}})
print(json.dumps({{"type": "result", "is_error": False, "result": said}}), flush=True)
'''


@dataclass(frozen=True)
class FailingAgent:
    """See ``Drill``."""

    name: str = "failing-agent"
    title: str = "a coding agent that is gone is stood in for, and one whose service has a limit waits for it"
    boxes: tuple[Box, ...] = (Box.RETRIES, Box.FALLBACKS)
    on: frozenset[On] = frozenset({"crew"})
    injects: str = (
        "a first coding agent whose program is not installed, and a second one whose model answers the first request"
        f" with 429 and Retry-After: {_WAIT}"
    )
    expects: str = (
        f"the second works in place of the first, is begun again when {_WAIT} s have passed and not before, every"
        " request is charged, the ticket is worked, and the handoff says who did it and why"
    )

    def applies(self, target: Target) -> str:  # noqa: ARG002 - every crew may be given a coding agent
        """See ``Drill``."""
        return ""

    def run(self, place: Place) -> Observed:
        """See ``Drill``."""
        program = place.scratch / "agent"
        program.mkdir()
        (program / "agent.py").write_text(_PROGRAM)

        def script(asked: Asked) -> Reply:  # noqa: ARG001 - it is asked nothing else
            if len(served.asked) > 1:
                return Reply(text="Go on.")
            return Reply(status=429, kind="rate_limit_error", text="Too many requests", retry_after=_WAIT)

        with model(script) as served:
            common = {"kind": "claude-code", "base_url": served.url, "key_env": KEY}
            brains = {
                _GONE: {**common, "command": [_ABSENT]},
                _LIMITED: {
                    **common, "command": [sys.executable, str(program / "agent.py")], "readable": [str(program)],
                },
            }  # fmt: skip
            build = {"build": {"brains": [*brains, "mechanical"]}}
            set_up(place, tables={"limits": {"attempts_per_shift": 1}, "brains": brains, "agents": build})
            ticket = file_ticket(place, f"Write {_FILE}")
            shift(place)
        return _judged(place, served, ticket)


def _judged(place: Place, served: Model, ticket: str) -> Observed:
    wrong = [problem] if (problem := worked(place, ticket)) else []
    handoff = last_handoff(place, ticket)
    times = [one.at for one in served.asked]
    if not times:
        wrong.append(f"{_LIMITED} asked nothing in place of {_GONE}, which is not installed")
    elif len(times) == 1:
        wrong.append(f"{_LIMITED} was refused for {_WAIT} s, and was not begun again")
    elif (waited := _between(times)) < _WAIT:
        wrong.append(f"{_LIMITED} asked again after {waited:.2f} s, and the service had said to wait for {_WAIT} s")
    if handoff is not None and handoff.kind == "work":
        if handoff.brain != _LIMITED:
            wrong.append(f"the handoff says that {handoff.brain} did the work, and it was {_LIMITED}")
        if _GONE not in handoff.done:
            wrong.append(f"the handoff does not say that {_GONE} could not work: {short(handoff.done)}")
    with project(place).store.read() as tx:
        charged = {session.id: turns.used(tx, session.id) for session in sessions.list(tx)}
    for session, count in charged.items():
        if (sent := requests_of(served, session)) > count:
            wrong.append(f"{session} sent {sent} requests, and {count} were charged to its budget")
    recovered = (handoff.created - times[0]).total_seconds() if handoff is not None and times else None
    happened = "; ".join(wrong) or (
        f"{_GONE} is not installed, and {_LIMITED} worked in its place; it was refused once, waited"
        f" {_between(times):.1f} s, and did {ticket}; all {len(times)} requests were charged"
    )
    stood_in = "a program and a model of the drill's own stood in for a coding agent and its service"
    evidence = {"requests": len(times), "refused": served.refused, "note": short(handoff.done) if handoff else ""}
    return Observed(not wrong, happened, None, recovered, evidence, stood_in)


def _between(times: Sequence[datetime]) -> float:
    return (times[1] - times[0]).total_seconds() if len(times) > 1 else 0.0


DRILL = FailingAgent()
