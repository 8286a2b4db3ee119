"""The order of a backlog: cycles, missing dependencies, what waits for what. Fast, pure and deterministic."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from nightcrew.model.severity import Severity
from nightcrew.model.ticket import ENDED, Kind, Priority, State

UNBLOCKS_CAP = 64
"""Counting stops here: 64 stands for 64 or more, so that the count costs a bounded walk and not the whole graph."""


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


def cycles(items: Mapping[str, Item], back: Mapping[str, Sequence[str]]) -> tuple[tuple[str, ...], ...]:
    """The dependency cycles, each as the path through it from its smallest id; sorted. ``back`` is ``waiting_for(items)``.

    Of a knot of several cycles one is named. Done and rejected tickets are in none. What is in a cycle, or waits for
    one, is what is left when everything that waits for nothing is taken away again and again (Kahn 1962, CACM 5:558):
    one pass over the edges.
    """
    stuck = _stuck(items, back)
    named: list[tuple[str, ...]] = []
    live = {name: tuple(d for d in items[name].depends_on if d in stuck) for name in stuck}
    while stuck:
        path = _cycle_through(min(stuck, key=_number), live)
        named.append(path)
        # All that waits for this cycle is explained by it; what is left has a cycle of its own.
        stuck -= _reach(path[0], back, stuck)
        live = {name: tuple(d for d in live[name] if d in stuck) for name in stuck}
    return tuple(sorted(named, key=lambda path: _number(path[0])))


def _stuck(items: Mapping[str, Item], back: Mapping[str, Sequence[str]]) -> set[str]:
    waits: dict[str, int] = {}
    free = []
    for name, item in items.items():
        if item.state in ENDED:
            continue
        number = 0
        for dependency in item.depends_on:
            if dependency in items and items[dependency].state not in ENDED:
                number += 1
        if number:
            waits[name] = number
        else:
            free.append(name)
    while free:
        for waiting in back.get(free.pop(), ()):
            left = waits[waiting] - 1
            if left:
                waits[waiting] = left
            else:
                del waits[waiting]
                free.append(waiting)
    return set(waits)


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


def waiting_for(items: Mapping[str, Item]) -> dict[str, list[str]]:
    """For each ticket, the live ones that depend on it directly."""
    back: dict[str, list[str]] = {}
    for name, item in items.items():
        if item.depends_on and item.state not in ENDED:
            for dependency in item.depends_on:
                back.setdefault(dependency, []).append(name)
    return back


def unblocks(ticket: str, back: Mapping[str, Sequence[str]]) -> int:
    """How many live tickets wait for ``ticket``, directly or through others; UNBLOCKS_CAP for that many or more."""
    direct = back.get(ticket)
    if direct is None:
        return 0
    seen = {ticket}
    queue = [ticket]
    for name in queue:
        for found in back.get(name, ()):
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


def _number(name: str) -> tuple[int, str]:
    return len(name), name
