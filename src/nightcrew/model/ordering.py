"""The order of a backlog: cycles, missing dependencies, what waits for what. Fast, pure and deterministic."""

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

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

    ``places``: the position by the ticket's number, -1 where there is none. ``blocked``: for each live ticket that
    waits for something, the reason. ``back``: which live tickets depend on a ticket. ``stuck``: positions of tickets
    in a cycle, or that wait for one.
    """

    items: Sequence[Item]
    places: "_Places"
    blocked: dict[str, str]
    back: "_Back"
    stuck: set[int]


class _Back:
    """Edges from a ticket to those that wait for it, as chains in three flat arrays: few cache misses."""

    def __init__(self, size: int) -> None:
        self.last = array("i", [-1]) * size  # The newest edge of each ticket,
        self.older = array("i")  # for each edge the one before it,
        self.waiting = array("i")  # and who waits.


class _Sparse(dict[int, int]):
    def __missing__(self, number: int) -> int:
        return -1


_Places: TypeAlias = "array[int] | _Sparse"

_LIVE, _DONE, _REJECTED = 0, 1, 2


def survey(items: Sequence[Item]) -> Survey:
    """Look at every edge once. Done and rejected tickets are not live. Linear in tickets and dependencies."""
    places = _places(items)
    done, rejected = State.DONE, State.REJECTED  # Compared by identity: hashing an enum is a Python call.
    status = bytearray(
        [_DONE if item.state is done else _REJECTED if item.state is rejected else _LIVE for item in items]
    )
    back = _Back(len(items))
    last, older, waiting = back.last, back.older, back.waiting
    blocked: dict[str, str] = {}
    reasons: dict[str, str] = {}
    forward = False
    for position, item in enumerate(items):
        dependencies = item.depends_on
        if not dependencies or status[position]:
            continue
        unmet, at = None, -1
        for dependency in dependencies:
            try:
                other = places[int(dependency[2:])]
            except IndexError:
                other = -1
            if other >= 0:
                state = status[other]
                if state == _DONE:
                    continue
                if state == _LIVE:
                    forward = forward or other >= position
                    older.append(last[other])
                    last[other] = len(waiting)
                    waiting.append(position)
            if unmet is None:
                unmet, at = dependency, other
        if unmet is not None:
            reason = reasons.get(unmet)
            if reason is None:
                reason = reasons[unmet] = _why(unmet, items, at)
            blocked[item.id] = reason
    # A cycle has an edge to a later position: without one, as in most backlogs in their own order, nothing is stuck.
    return Survey(items, places, blocked, back, _stuck(back) if forward else set())


def _places(items: Sequence[Item]) -> _Places:
    """Positions by number. An array is half the time of a dictionary; numbers that would make it huge get one."""
    numbers = [int(item.id[2:]) for item in items]
    top = max(numbers, default=0) + 1
    if top > 8 * len(items) + 10_000:
        return _Sparse(zip(numbers, range(len(numbers)), strict=True))
    places = array("i", [-1]) * top
    for position, number in enumerate(numbers):
        places[number] = position
    return places


def _why(dependency: str, items: Sequence[Item], position: int) -> str:
    if position < 0:
        return f"depends on {dependency}, which does not exist"
    return f"waits for {dependency} ({items[position].state})"


def _stuck(back: _Back) -> set[int]:
    """What is left when everything that waits for nothing is taken away again and again (Kahn 1962, CACM 5:558)."""
    last, older, waiting = back.last, back.older, back.waiting
    waits = [0] * len(last)
    for behind in waiting:
        waits[behind] += 1
    free = [position for position, edge in enumerate(last) if edge >= 0 and not waits[position]]
    for position in free:
        edge = last[position]
        while edge >= 0:
            behind = waiting[edge]
            left = waits[behind] = waits[behind] - 1
            if not left and last[behind] >= 0:
                free.append(behind)
            edge = older[edge]
    return {position for position, left in enumerate(waits) if left} if any(waits) else set()


def cycles(found: Survey) -> tuple[tuple[str, ...], ...]:
    """The dependency cycles, each as the path through it from its smallest id; sorted.

    Of a knot of several cycles one is named. Knots are strongly connected components: one pass over the edges.
    """
    names = {found.items[position].id for position in found.stuck}
    live = {
        item.id: tuple(d for d in item.depends_on if d in names)
        for item in (found.items[position] for position in found.stuck)
    }
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
    last, older, waiting = found.back.last, found.back.older, found.back.waiting
    start = found.places[int(ticket[2:])]
    if last[start] < 0:
        return 0
    seen = {start}
    queue = [start]
    for position in queue:
        edge = last[position]
        while edge >= 0:
            behind = waiting[edge]
            if behind not in seen:
                seen.add(behind)
                queue.append(behind)
            edge = older[edge]
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
