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
    """What one pass over a backlog finds out.

    ``blocked``: for each live ticket that waits for something, the reason. ``back``: for each live ticket, the live
    ones that depend on it directly. ``stuck``: tickets in a cycle, or that wait for one.
    """

    blocked: dict[str, str]
    back: dict[str, list[str]]
    stuck: set[str]


def survey(by_id: Mapping[str, Item]) -> Survey:
    """Look at every edge once. Done and rejected tickets are not live. Linear in tickets and dependencies."""
    done, rejected = State.DONE, State.REJECTED  # Compared by identity: hashing an enum is a Python call.
    blocked: dict[str, str] = {}
    back: dict[str, list[str]] = {}
    waits: dict[str, int] = {}
    reasons: dict[str, str] = {}
    for name, item in by_id.items():
        state, dependencies = item.state, item.depends_on
        if not dependencies or state is done or state is rejected:
            continue
        live = 0
        for dependency in dependencies:
            other = by_id.get(dependency)
            if other is not None:
                if other.state is done:
                    continue
                if other.state is not rejected:
                    live += 1
                    if dependency in back:
                        back[dependency].append(name)
                    else:
                        back[dependency] = [name]
            if name not in blocked:
                if dependency not in reasons:
                    reasons[dependency] = _why(dependency, other)
                blocked[name] = reasons[dependency]
        if live:
            waits[name] = live
    return Survey(blocked, back, _stuck(waits, back))


def _why(dependency: str, other: Item | None) -> str:
    if other is None:
        return f"depends on {dependency}, which does not exist"
    return f"waits for {dependency} ({other.state.value})"


def _stuck(waits: dict[str, int], back: Mapping[str, Sequence[str]]) -> set[str]:
    """What is left when everything that waits for nothing is taken away again and again (Kahn 1962, CACM 5:558)."""
    free = [name for name in back if name not in waits]
    while free:
        for waiting in back.get(free.pop(), ()):
            left = waits[waiting] - 1
            if left:
                waits[waiting] = left
            else:
                del waits[waiting]
                free.append(waiting)
    return set(waits)


def cycles(by_id: Mapping[str, Item], found: Survey) -> tuple[tuple[str, ...], ...]:
    """The dependency cycles, each as the path through it from its smallest id; sorted.

    Of a knot of several cycles one is named.
    """
    stuck = set(found.stuck)
    named: list[tuple[str, ...]] = []
    while stuck:
        live = {name: tuple(d for d in by_id[name].depends_on if d in stuck) for name in stuck}
        path = _cycle_through(min(stuck, key=_number), live)
        named.append(path)
        # All that waits for this cycle is explained by it; what is left has a cycle of its own.
        stuck -= _reach(path[0], found.back, stuck)
    return tuple(sorted(named, key=lambda path: _number(path[0])))


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


def _reach(start: str, edges: Mapping[str, Iterable[str]], among: set[str]) -> set[str]:
    seen, queue = {start}, [start]
    while queue:
        for found in edges.get(queue.pop(), ()):
            if found in among and found not in seen:
                seen.add(found)
                queue.append(found)
    return seen


def unblocks(ticket: str, back: Mapping[str, Sequence[str]]) -> int:
    """How many live tickets wait for ``ticket``, directly or through others; UNBLOCKS_CAP for that many or more."""
    if ticket not in back:
        return 0
    seen = {ticket}
    queue = [ticket]
    for name in queue:
        if name in back:
            for found in back[name]:
                if found not in seen:
                    seen.add(found)
                    queue.append(found)
            if len(seen) > UNBLOCKS_CAP:
                return UNBLOCKS_CAP
    return len(seen) - 1


def ordered(ready: Iterable[Item], first: Callable[[Item], bool], back: Mapping[str, Sequence[str]]) -> Iterator[Item]:
    """Tickets that may be planned, best first: ``first`` ones, priority, how many they unblock, age, number.

    Lazy: what a class of equals unblocks is only counted when the class is reached.
    """
    classes: dict[tuple[bool, Priority], list[Item]] = {}
    for item in ready:
        classes.setdefault((not first(item), item.priority), []).append(item)
    for key in sorted(classes):
        yield from sorted(
            classes[key], key=lambda item: (-unblocks(item.id, back), item.created, len(item.id), item.id)
        )


def in_order(names: Iterable[str]) -> list[str]:
    """``names`` by their numbers: T-9999 before T-10000."""
    return sorted(sorted(names), key=len)


def _number(name: str) -> tuple[int, str]:
    return len(name), name
