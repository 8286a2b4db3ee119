"""The order of a backlog: cycles, missing dependencies, what waits for what. Fast, pure and deterministic."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from nightcrew.model.severity import Severity
from nightcrew.model.ticket import Kind, Priority, State

UNBLOCKS_CAP = 32
"""Counting stops here: 32 stands for 32 or more, so that the count costs a bounded walk and not the whole graph."""


class Item(NamedTuple):
    """What the planner needs of a ticket; ``created`` is RFC 3339 text in UTC, which sorts as time."""

    id: str
    kind: Kind
    priority: Priority
    severity: Severity | None
    state: State
    depends_on: tuple[str, ...]
    created: str
    breaks_build: bool


class Survey(NamedTuple):
    """What one pass over a backlog finds out. Inside, a ticket is its position in ``items``.

    ``blocked``: for each live ticket that waits for something, the reason. ``back``: for each position, those of the
    live tickets that depend on it directly. ``stuck``: positions of tickets in a cycle, or that wait for one.
    """

    items: Sequence[Item]
    places: dict[str, int]
    blocked: dict[str, str]
    back: list[list[int] | None]
    stuck: set[int]


_LIVE, _DONE, _REJECTED = 0, 1, 2


def survey(items: Sequence[Item]) -> Survey:
    """Look at every edge once. Done and rejected tickets are not live. Linear in tickets and dependencies."""
    index = {item.id: position for position, item in enumerate(items)}
    done, rejected = State.DONE, State.REJECTED  # Compared by identity: hashing an enum is a Python call.
    status = bytearray(
        _DONE if item.state is done else _REJECTED if item.state is rejected else _LIVE for item in items
    )
    back: list[list[int] | None] = [None] * len(items)
    waits = [0] * len(items)
    blocked: dict[str, str] = {}
    reasons: dict[str, str] = {}
    find = index.get
    for position, item in enumerate(items):
        dependencies = item.depends_on
        if not dependencies or status[position] != _LIVE:
            continue
        unmet = None
        for dependency in dependencies:
            other = find(dependency, -1)
            if other >= 0:
                if status[other] == _DONE:
                    continue
                if status[other] == _LIVE:
                    waits[position] += 1
                    waiting = back[other]
                    if waiting is None:
                        back[other] = [position]
                    else:
                        waiting.append(position)
            if unmet is None:
                unmet = dependency
        if unmet is not None:
            reason = reasons.get(unmet)
            if reason is None:
                reason = reasons[unmet] = _why(unmet, items, find(unmet, -1))
            blocked[item.id] = reason
    return Survey(items, index, blocked, back, _stuck(waits, back))


def _why(dependency: str, items: Sequence[Item], position: int) -> str:
    if position < 0:
        return f"depends on {dependency}, which does not exist"
    return f"waits for {dependency} ({items[position].state})"


def _stuck(waits: list[int], back: Sequence[Sequence[int] | None]) -> set[int]:
    """What is left when everything that waits for nothing is taken away again and again (Kahn 1962, CACM 5:558)."""
    free = [position for position, waiting in enumerate(back) if waiting is not None and waits[position] == 0]
    while free:
        for waiting in back[free.pop()] or ():
            waits[waiting] -= 1
            if waits[waiting] == 0:
                free.append(waiting)
    return {position for position, left in enumerate(waits) if left}


def cycles(found: Survey) -> tuple[tuple[str, ...], ...]:
    """The dependency cycles, each as the path through it from its smallest id; sorted.

    Of a knot of several cycles one is named. Knots are strongly connected components: one pass over the edges.
    """
    names = {found.items[position].id for position in found.stuck}
    live = {name: tuple(d for d in found.items[found.places[name]].depends_on if d in names) for name in names}
    named: list[tuple[str, ...]] = []
    for knot in _knots(live):
        if len(knot) > 1 or knot[0] in live[knot[0]]:
            inside = set(knot)
            edges = {name: tuple(d for d in live[name] if d in inside) for name in knot}
            named.append(_cycle_through(min(knot, key=_number), edges))
    return tuple(sorted(named, key=lambda path: _number(path[0])))


def _knots(live: Mapping[str, Sequence[str]]) -> Iterator[list[str]]:
    """The strongly connected components of ``live`` (Tarjan 1972, SIAM J. Comput. 1:146), without recursion."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    open_: list[str] = []
    is_open: set[str] = set()
    for root in live:
        if root in index:
            continue
        index[root] = low[root] = len(index)
        open_.append(root)
        is_open.add(root)
        work = [(root, iter(live[root]))]
        while work:
            name, edges = work[-1]
            for found in edges:
                if found not in index:
                    index[found] = low[found] = len(index)
                    open_.append(found)
                    is_open.add(found)
                    work.append((found, iter(live[found])))
                    break
                if found in is_open:
                    low[name] = min(low[name], index[found])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[name])
                if low[name] == index[name]:
                    knot = [open_.pop()]
                    while knot[-1] != name:
                        knot.append(open_.pop())
                    is_open.difference_update(knot)
                    yield knot


def _cycle_through(start: str, live: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The cycle that one comes to from ``start`` by always following the smallest dependency."""
    seen: dict[str, int] = {}
    path: list[str] = []
    name = start
    while name not in seen:
        seen[name] = len(path)
        path.append(name)
        name = min(live[name], key=_number)
    return _rotated(path[seen[name] :])


def _rotated(path: Sequence[str]) -> tuple[str, ...]:
    first = path.index(min(path, key=_number))
    return (*path[first:], *path[:first])


def unblocks(ticket: str, found: Survey) -> int:
    """How many live tickets wait for ``ticket``, directly or through others; UNBLOCKS_CAP for that many or more."""
    back = found.back
    start = found.places[ticket]
    if back[start] is None:
        return 0
    seen = {start}
    queue = [start]
    for position in queue:
        for waiting in back[position] or ():
            if waiting not in seen:
                seen.add(waiting)
                queue.append(waiting)
        if len(seen) > UNBLOCKS_CAP:
            return UNBLOCKS_CAP
    return len(seen) - 1


def ordered(ready: Iterable[Item], first: Callable[[Item], bool], found: Survey) -> Iterator[Item]:
    """Tickets that may be planned, best first: ``first`` ones, priority, how many they unblock, age, number.

    Lazy: what a class of equals unblocks is only counted when the class is reached.
    """
    classes: dict[tuple[bool, Priority], list[Item]] = {}
    for item in ready:
        classes.setdefault((not first(item), item.priority), []).append(item)
    for key in sorted(classes):
        yield from sorted(
            classes[key], key=lambda item: (-unblocks(item.id, found), item.created, len(item.id), item.id)
        )


def in_order(names: Iterable[str]) -> list[str]:
    """``names`` by their numbers: T-9999 before T-10000."""
    return sorted(sorted(names), key=len)


def _number(name: str) -> tuple[int, str]:
    return len(name), name
