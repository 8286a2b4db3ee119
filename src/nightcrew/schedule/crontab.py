"""The text of a user's crontab: a marked block of lines for a schedule, and all other lines left byte for byte."""

import re

from nightcrew.model.errors import ConfigurationError

_MARK = re.compile(rb"# nightcrew (begin|end) ([A-Za-z0-9-]+)")


def with_block(text: bytes, job: str, lines: bytes) -> bytes:
    """The crontab with ``lines`` (each with its line break) as the block of ``job``: where it was, else at the end.

    Raises ConfigurationError for a crontab whose marks do not pair: what is between them might be anybody's.
    """
    own = b"".join((_mark("begin", job), lines, _mark("end", job)))
    kept, place = _without(text, job)
    if place is None:
        if kept and kept[-1][-1:] != b"\n":
            kept[-1] += b"\n"
        place = len(kept)
    return b"".join((*kept[:place], own, *kept[place:]))


def without_block(text: bytes, job: str) -> bytes:
    """The crontab without the block of ``job``; raises ConfigurationError for a crontab whose marks do not pair."""
    return b"".join(_without(text, job)[0])


def block(text: bytes, job: str) -> bytes | None:
    """The lines of the block of ``job``, or None; raises ConfigurationError for a crontab whose marks do not pair."""
    lines = _lines(text)
    found = _blocks(lines).get(job)
    return b"".join(lines[found[0][0] + 1 : found[0][1]]) if found else None


def _without(text: bytes, job: str) -> tuple[list[bytes], int | None]:
    """The lines outside the blocks of ``job``, and the place among them where the first such block was."""
    lines = _lines(text)
    found = _blocks(lines).get(job, [])
    inside = {number for begin, end in found for number in range(begin, end + 1)}
    kept = [line for number, line in enumerate(lines) if number not in inside]
    return kept, found[0][0] if found else None


def _blocks(lines: list[bytes]) -> dict[str, list[tuple[int, int]]]:
    """The first and the last line of each block, by job."""
    found: dict[str, list[tuple[int, int]]] = {}
    begin: tuple[int, bytes] | None = None
    for number, line in enumerate(lines):
        mark = _MARK.fullmatch(line.rstrip())
        if mark is None:
            continue
        what, job = mark.groups()
        if (what == b"begin") != (begin is None) or (begin is not None and begin[1] != job):
            raise ConfigurationError(
                f"line {number + 1} of the crontab, {line.strip().decode()!r}, has no counterpart",
                hint="Mend the marks of nightcrew's blocks with: crontab -e",
            )
        if begin is None:
            begin = number, job
        else:
            found.setdefault(job.decode(), []).append((begin[0], number))
            begin = None
    if begin is not None:
        raise ConfigurationError(
            f"line {begin[0] + 1} of the crontab begins a block that does not end",
            hint="Mend the marks of nightcrew's blocks with: crontab -e",
        )
    return found


def _mark(what: str, job: str) -> bytes:
    return f"# nightcrew {what} {job}\n".encode()


def _lines(text: bytes) -> list[bytes]:
    """The lines with their breaks; what else than a line feed Python takes for one stays inside a line."""
    return [line for line in re.split(rb"(?<=\n)", text) if line]
