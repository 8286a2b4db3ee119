"""The planner: which tickets one session works, in what order, with how many turns, and why the others are left out."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

from nightcrew.model.budget import Budget
from nightcrew.model.errors import ApprovalError
from nightcrew.model.manifest import SCHEMA, LeftOut, Line, Manifest
from nightcrew.model.ordering import Item, cycles, in_order, ordered, survey, unblocks
from nightcrew.model.playbook import Playbook
from nightcrew.model.ticket import Kind, State, Ticket

DESK_STATE = {"build": State.OPEN, "qa": State.IN_QA, "security": State.IN_SECURITY}
DEFAULT_TURNS = {Kind.FEATURE: 12, Kind.BUG: 8, Kind.SECURITY: 8, Kind.CHORE: 4}
_NOT_OPEN = {
    State.QUARANTINED: "in quarantine: see why with nightcrew ticket show, then release it",
    State.IN_REVIEW: "waits for a person in the inbox",
}


def plan(
    agent: str,
    items: Sequence[Item],
    *,
    budget: Budget,
    playbook: Playbook,
    playbook_digest: str,
    medians: Mapping[tuple[str, Kind], float],
    details: Callable[[str], Ticket],
    approval: Callable[[Ticket], str | None],
    exclude: Mapping[str, str] | None = None,
    max_tickets: int = 20,
) -> Manifest:
    """The manifest of ``agent`` for the backlog ``items``; the same backlog, in any order, gives the same manifest.

    ``approval(ticket)`` verifies, at this moment, what admits the ticket: the review's id, None if none is needed; it
    raises ApprovalError if it must not enter. ``exclude`` maps tickets to the reason why they are not planned now.
    ``medians`` are turns that past sessions took, by agent and kind. Tickets are looked up with ``details`` only when
    they would enter.
    """
    wanted = DESK_STATE.get(agent, State.OPEN)
    found = survey(items)
    knots = cycles(found)
    left = dict(_left_at_once(agent, items, wanted, knots, found.blocked, exclude or {}))
    gate = playbook.gates.severity

    def first(item: Item) -> bool:
        return item.breaks_build or (item.severity is not None and item.severity.at_least(gate))

    ready = [item for item in items if item.state is wanted and item.id not in left]
    lines: list[Line] = []
    allotted = 0
    full = ""
    for item in ordered(ready, first, found):
        full = full or _full(lines, allotted, max_tickets, budget)
        if full:
            break  # The order of the rest does not matter.
        turns = _allotment(agent, item.kind, medians, budget)
        if lines and allotted + turns > budget.soft:
            left[item.id] = f"budget: {turns} turns do not fit, {allotted} of {budget.soft} are allotted"
            continue
        ticket = details(item.id)
        try:
            review = approval(ticket)
        except ApprovalError as error:
            left[item.id] = f"not admitted: {error}"
            continue
        allotted += turns
        lines.append(_line(ticket, turns, unblocks(item.id, found), review))
    if full:
        planned = {line.ticket for line in lines}
        left.update((item.id, full) for item in ready if item.id not in planned and item.id not in left)
    left_out: list[LeftOut] = [{"ticket": name, "reason": left[name]} for name in in_order(left)]
    # Built without validation, which would take longer than the plan; it is validated when it is read.
    return Manifest.model_construct(
        schema_=SCHEMA,
        agent=agent,
        playbook=playbook_digest,
        budget=budget,
        tickets=tuple(lines),
        left_out=tuple(left_out),
        cycles=knots,
    )


def _left_at_once(
    agent: str,
    items: Sequence[Item],
    wanted: State,
    knots: Sequence[tuple[str, ...]],
    blocked: Mapping[str, str],
    exclude: Mapping[str, str],
) -> Iterator[tuple[str, str]]:
    """Tickets that cannot be planned whatever the budget, with the reason."""
    in_cycle = {name: " -> ".join((*knot, knot[0])) for knot in knots for name in knot}
    build = agent not in ("qa", "security")
    for item in items:
        name = item.id
        if item.state is not wanted:
            if build and item.state in _NOT_OPEN:
                yield name, _NOT_OPEN[item.state]
        elif name in in_cycle:
            yield name, f"in a dependency cycle: {in_cycle[name]}"
        elif name in exclude:
            yield name, exclude[name]
        elif name in blocked:
            yield name, blocked[name]


def _full(lines: Sequence[Line], allotted: int, max_tickets: int, budget: Budget) -> str:
    if len(lines) >= max_tickets:
        return f"the manifest has its {max_tickets} tickets"
    return f"budget: all {budget.soft} turns are allotted" if lines and allotted >= budget.soft else ""


def _allotment(agent: str, kind: Kind, medians: Mapping[tuple[str, Kind], float], budget: Budget) -> int:
    """Turns for one ticket: the median of the past, else a default; a check without a model takes none."""
    if (agent, kind) in medians:
        return min(max(1, math.ceil(medians[agent, kind])), budget.hard)
    return min(DEFAULT_TURNS[kind], budget.hard) if agent not in ("qa", "security") else 0


def _line(ticket: Ticket, turns: int, unblocked: int, review: str | None) -> Line:
    return Line(
        ticket=ticket.id,
        title=ticket.title,
        kind=ticket.kind,
        priority=ticket.priority,
        severity=ticket.severity,
        turns=turns,
        unblocks=unblocked,
        head=ticket.head,
        approval=review,
        work_digest=ticket.work_digest,
    )
