"""Tickets, handoffs and playbook explored together, exhaustively: what is gated goes on by a signature or not at all.

Every handoff that can be written, in every state, under every gate of a playbook. What the planner and the merger ask
for is the one guard that is taken as given here; it is attacked in tests/faults.
"""

from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import product
from typing import NamedTuple

import pytest

from nightcrew.model.finding import Category, Finding, fingerprint
from nightcrew.model.handoff import Handoff, HandoffKind, Verdict
from nightcrew.model.playbook import Gates, Playbook
from nightcrew.model.routing import route
from nightcrew.model.severity import Severity
from nightcrew.model.ticket import APPROVING, TRANSITIONS, Event, State, Ticket

NOW = datetime(2026, 1, 5, tzinfo=UTC)
DESK = {State.BUILDING: ("build", "docs"), State.IN_QA: ("qa",), State.IN_SECURITY: ("security",)}
GATES = [Severity.INFO, Severity.LOW, Severity.MEDIUM, Severity.HIGH]


class Node(NamedTuple):
    """Where a ticket stands: its state, whether it is gated, and whether a person approved since it last became so."""

    state: State
    gated: bool
    approved: bool


def ticket(node: Node, gate: Severity) -> Ticket:
    severity = gate if node.gated else None
    commits = {"base": "a" * 40, "head": "b" * 40} if node.state not in (State.OPEN, State.BUILDING) else {}
    return Ticket(id="T-0001", title="x", state=node.state, severity=severity, created=NOW, **commits)


def finding(severity: Severity, breaks: bool) -> Finding:
    mark = fingerprint(tool="t", rule="r", path="p", code=f"{severity}{breaks}")
    return Finding(
        fingerprint=mark,
        tool="t",
        rule="r",
        category=Category.SECURITY,
        severity=severity,
        message="m",
        breaks_build=breaks,
    )


def handoffs(sender: str) -> Iterator[Handoff]:
    """Everything that a desk can say, well-meant or not."""
    severities = [None, *Severity]
    found = [(), *((finding(severity, breaks),) for severity in Severity for breaks in (False, True))]
    for kind, verdict, severity, breaks, findings in product(
        HandoffKind, [None, *Verdict], severities, (False, True), found
    ):
        yield Handoff.model_construct(
            id="H-000001", sender=sender, to="router", ticket="T-0001", session="S-0001", kind=kind, verdict=verdict,
            severity=severity, breaks_build=breaks, findings=findings, change=None, checks=(), brain=None, budget=None,
            created=NOW, supersedes=None, done="", questions="", next="",
        )  # fmt: skip


def is_grave(handoff: Handoff, gate: Severity) -> bool:
    worst = [s for s in (handoff.severity, *(one.severity for one in handoff.findings)) if s]
    breaks = handoff.breaks_build or any(one.breaks_build for one in handoff.findings)
    return breaks or any(severity.at_least(gate) for severity in worst)


def steps(node: Node, gate: Severity) -> Iterator[tuple[str, Node]]:
    """Everything that can happen next. START and MERGE ask for a signature if the ticket is gated (crew/admission)."""
    playbook = Playbook(gates=Gates(severity=gate), block_from=Severity.INFO)
    seen: set[tuple[Event, bool]] = set()
    for sender in DESK.get(node.state, ()):
        for handoff in handoffs(sender):
            way = route(handoff, ticket(node, gate), playbook)
            grave = is_grave(handoff, gate)
            assert not grave or way.event is Event.GATE, handoff
            if way.event is Event.GATE:
                assert way.on_approve in APPROVING
            seen.add((way.event, grave))
    for event, grave in seen:
        if (to := TRANSITIONS.get((node.state, event))) is not None:
            gated = node.gated or grave
            yield f"{event}", Node(to, gated, node.approved and not grave and event is not Event.GATE)
    for (state, event), to in TRANSITIONS.items():
        if state is not node.state:
            continue
        if event in (Event.START, Event.MERGE) and (not node.gated or node.approved):
            yield f"{event}", node._replace(state=to)
        elif event in (Event.REJECT, Event.QUARANTINE):
            yield f"{event}", node._replace(state=to, approved=False)
        elif event is Event.RELEASE:  # backlog.release gates again what is gated, in the same transaction
            yield f"{event}", node._replace(state=State.IN_REVIEW if node.gated else to, approved=False)


@pytest.mark.parametrize("gate", GATES)
def test_nothing_gated_is_built_or_merged_without_a_signature(gate: Severity) -> None:
    start = Node(State.OPEN, False, False)
    before: dict[Node, tuple[Node, str] | None] = {start: None}
    queue = deque([start])
    while queue:
        node = queue.popleft()
        for what, after in steps(node, gate):
            if after not in before:
                before[after] = (node, what)
                queue.append(after)
    bad = [node for node in before if node.gated and node.state in (State.BUILDING, State.DONE, State.READY)]
    assert bad == [], [(node, before[node]) for node in bad]
    assert Node(State.DONE, False, False) in before, "what is not gated gets done"
    assert Node(State.IN_REVIEW, True, False) in before, "and what is gated waits"


def test_with_a_signature_what_was_gated_gets_done() -> None:
    reached = {Node(State.IN_REVIEW, True, False)}
    queue = deque(reached)
    while queue:
        node = queue.popleft()
        ways = list(steps(node, Severity.HIGH))
        if node.state is State.IN_REVIEW:
            ways += [(event, Node(TRANSITIONS[node.state, event], True, True)) for event in APPROVING]
        for _, after in ways:
            if after not in reached:
                reached.add(after)
                queue.append(after)
    assert {node.state for node in reached if node.approved} >= {State.OPEN, State.BUILDING, State.READY, State.DONE}
