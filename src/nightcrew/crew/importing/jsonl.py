"""Tickets from JSON lines: a file of a person's own, or what ``nightcrew export jsonl`` wrote of another repository."""

import json
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pydantic import Field

from nightcrew.checks.text import plain_text
from nightcrew.crew.importing.files import STANDARD_INPUT, standard_input
from nightcrew.crew.importing.imported import Imported
from nightcrew.crew.importing.outcome import REFUSED, Filed, ImportReport
from nightcrew.crew.importing.steps import filing_steps, run
from nightcrew.crew.project import Project
from nightcrew.model.canonical import digest
from nightcrew.model.document import Document
from nightcrew.model.errors import NightcrewError, UsageError
from nightcrew.model.severity import Severity
from nightcrew.model.ticket import ENDED, Kind, Priority, State

LONGEST_LINE = 2_000_000
MOST_REFUSED = 1000
"""After so many lines that are no tickets, the file is not one of tickets: it is not read to its end."""

EXPORT = "nightcrew/export/v1"


class Line(Document):
    """One line: a ticket. Only ``title`` is needed. ``ref`` (or ``id``) names it for good, else its title does.

    ``depends`` are refs of the same file. ``command`` is a shell line that the crew runs in the sandbox.
    """

    title: str = Field(min_length=1)
    ref: str | None = None
    id: str | int | None = None
    body: str = ""
    kind: Kind | None = None
    priority: Priority | None = None
    severity: Severity | None = None
    breaks_build: bool = False
    depends: tuple[str | int, ...] = ()
    url: str = ""
    command: str | None = None


@dataclass(frozen=True)
class _Origin:
    """Where lines come from: the name of the source, and whether they are an export of nightcrew's."""

    source: str
    export: bool = False


def import_jsonl(
    project: Project,
    path: Path,
    *,
    source: str = "",
    kind: Kind | None = None,
    priority: Priority | None = None,
    with_commands: bool = False,
    again: bool = False,
    dry_run: bool = False,
) -> ImportReport:
    """File each line of ``path`` (``-``: standard input); a line that does not fit is refused, with its number.

    ``source`` names where the lines are from, by default the file's name: lines with the same ref of the same source
    are the same ticket. ``kind`` and ``priority`` are for lines that say none. A line with a command is refused unless
    ``with_commands``. Raises UsageError for a file that cannot be read or that holds no tickets.
    """
    origin = _Origin(f"jsonl:{source or ('stdin' if path == STANDARD_INPUT else path.name)}"[:200])
    usual = (kind or Kind.FEATURE, priority or Priority.P2)
    reader = _Reader(project, origin, usual, with_commands=with_commands)
    items = [*reader.read(path)]
    notes = [f"{count} lines left out: {why}" for why, count in reader.left_out.items()]
    if with_commands and (commands := sum(item.command is not None for item in items)):
        notes.append(f"{commands} of them have a command, which the crew runs in the sandbox")
    done = run(project, reader.origin.source, filing_steps(project, items, again=again), dry_run=dry_run, notes=notes)
    return done.model_copy(update={"things": (*done.things, *reader.refused)})


class _Reader:
    """Reads lines one by one; what does not fit is kept in ``refused``, what is no ticket counted in ``left_out``."""

    def __init__(self, project: Project, origin: _Origin, usual: tuple[Kind, Priority], *, with_commands: bool) -> None:
        self.project, self.origin, self.usual, self.with_commands = project, origin, usual, with_commands
        self.refused: list[Filed] = []
        self.left_out: dict[str, int] = {}
        self._seen: dict[str, int] = {}

    def read(self, path: Path) -> Iterator[Imported]:
        for number, data in _lines(path):
            if number == 1 and self._is_export(data):
                continue
            try:
                item = self._item(number, data)
            except NightcrewError as error:
                self.refused.append(Filed(ref=f"line {number}", what=REFUSED, reason=str(error)[:1000]))
                if len(self.refused) > MOST_REFUSED:
                    raise UsageError(
                        f"{path}: more than {MOST_REFUSED} lines are no tickets; the first, line "
                        f"{self.refused[0].ref.removeprefix('line ')}: {self.refused[0].reason}",
                        hint="One JSON object a line: see docs/how-to/import-export.md",
                    ) from None
                continue
            if item is not None:
                yield item

    def _item(self, number: int, data: bytes) -> Imported | None:
        parsed = _parsed(number, data)
        value = self._exported(parsed) if self.origin.export else parsed
        if value is None:
            return None
        line = Line.read(value, source=f"line {number}")
        if line.command is not None and not self.with_commands:
            raise UsageError(f"line {number}: has a command; --with-commands says that the file is yours")
        named = line.ref if line.ref is not None else None if line.id is None else str(line.id)
        ref = _named(named or f"title:{digest(line.title)[:16]}")
        if ref in self._seen:
            raise UsageError(f"line {number}: {ref} was on line {self._seen[ref]} already")
        item = Imported.of(
            source=self.origin.source,
            ref=ref,
            title=line.title,
            body=line.body,
            kind=line.kind or self.usual[0],
            priority=line.priority or self.usual[1],
            url=line.url,
            severity=line.severity,
            breaks_build=line.breaks_build,
            depends=tuple(_named(str(name)) for name in line.depends),
        )
        self._seen[ref] = number
        return item if line.command is None else item.model_copy(update={"command": line.command})

    def _is_export(self, data: bytes) -> bool:
        """Whether the first line says that the file is an export; raises UsageError for one that cannot be taken."""
        try:
            header = _parsed(1, data)
        except UsageError:
            return False
        repository = header.get("repository")
        if header.get("type") != "export" or not isinstance(repository, str):
            return False
        if header.get("schema") != EXPORT:
            raise UsageError(f"the file is an export, but not of {EXPORT}", hint="Export it again with this release.")
        if repository == self.project.repository_id:
            raise UsageError("the file is this repository's own export: its tickets are here", hint="Nothing to do.")
        self.origin = _Origin(f"nightcrew:{plain_text(repository)[:16]}", export=True)
        return True

    def _exported(self, value: dict[str, Any]) -> dict[str, Any] | None:
        """A line of an export as a ticket to file; None for what is none, or is done there."""
        if value.get("type") != "ticket":
            self._leave(f"type {plain_text(str(value.get('type')), limit=30)}")
            return None
        state = value.get("state")
        if state in ENDED:
            self._leave(f"{state} there")
            return None
        if state == State.QUARANTINED:
            self._leave("in quarantine there")
            return None
        depends = value.get("depends_on")
        names = {name: value.get(name) for name in ("id", "title", "body", "kind", "priority", "severity", "command")}
        return {
            **{name: found for name, found in names.items() if found is not None},
            "breaks_build": value.get("breaks_build") is True,
            "depends": depends if isinstance(depends, list) else [],
        }

    def _leave(self, why: str) -> None:
        self.left_out[why] = self.left_out.get(why, 0) + 1


def _named(ref: str) -> str:
    """The name of a thing as it can be stored; what depends on it says it in the same way."""
    return plain_text(ref, limit=500)


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines that hold something, numbered from 1; of one that is too long, only that it is."""
    try:
        opened: Any = nullcontext(standard_input()) if path == STANDARD_INPUT else path.open("rb")
        with opened as stream:
            yield from _numbered(stream)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}", hint="Check the path.") from None


def _numbered(stream: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    number = 0
    while line := stream.readline(LONGEST_LINE + 2):
        number += 1
        whole = line
        while len(line) == LONGEST_LINE + 2 and not line.endswith(b"\n"):
            line = stream.readline(LONGEST_LINE + 2)
        if number == 1:
            whole = whole.removeprefix(b"\xef\xbb\xbf")
        if whole.strip():
            yield number, whole


def _parsed(number: int, data: bytes) -> dict[str, Any]:
    if len(data.rstrip(b"\r\n")) > LONGEST_LINE:
        raise UsageError(f"line {number}: longer than {LONGEST_LINE} bytes")
    try:
        value = json.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise UsageError(f"line {number}: not UTF-8 at byte {error.start + 1}") from None
    except RecursionError:
        raise UsageError(f"line {number}: nested too deeply") from None
    except ValueError as error:
        raise UsageError(f"line {number}: not JSON: {plain_text(str(error), limit=200)}") from None
    if not isinstance(value, dict):
        raise UsageError(f"line {number}: not a JSON object")
    return value
