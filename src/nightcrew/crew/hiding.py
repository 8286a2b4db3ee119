"""Secrets, taken out of what people are shown: lines of a patch, and any text that holds one."""

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import lru_cache

from nightcrew.crew.project import Project
from nightcrew.crew.workspace import read_file
from nightcrew.crew.workspace.diff import unquoted
from nightcrew.model.errors import NightcrewError
from nightcrew.model.finding import Category
from nightcrew.monitoring.redaction import Redaction
from nightcrew.store import findings, tickets
from nightcrew.store.store import Tx

HIDDEN = "[a line that holds a secret is not shown]"
_MAX_FILES = 10
_SHORT = 6
"""A line shorter than this is no secret of its own, and hiding it everywhere would hide braces."""
_HUNK = re.compile(r"@@ -\d+(?:,\d+)? \+(\d+)")


def hide_lines(patch: str, hidden: Mapping[str, Collection[int]]) -> str:
    """``patch`` (git's unified format) without what stands in the given lines (from 1) of files as it leaves them."""
    return "\n".join(_hidden(patch.split("\n"), hidden)) if hidden else patch


def _hidden(lines: list[str], hidden: Mapping[str, Collection[int]]) -> Iterator[str]:
    wanted: Collection[int] = ()
    number: int | None = None
    for line in lines:
        if line.startswith("diff --git "):
            number, wanted = None, ()
        elif number is None and line.startswith("+++ "):
            wanted = hidden.get(unquoted(line[4:].rstrip("\t")).removeprefix("b/"), ())
        elif match := _HUNK.match(line):
            number = int(match[1])
        elif number is not None and line[:1] in ("+", " "):
            if number in wanted:
                line = line[:1] + HIDDEN
            number += 1
        yield line


def secret_texts(project: Project, tx: Tx, ticket_ids: Iterable[str]) -> frozenset[str]:
    """The lines that findings of these tickets say hold a secret, as they stand in the code."""
    found: set[str] = set()
    read: dict[tuple[str, str], list[str]] = {}
    for ticket_id in ticket_ids:
        marked = [one.finding for one in findings.list(tx, ticket=ticket_id)]
        places = [(one.path, one.line, one.end_line) for one in marked if one.category is Category.SECRET]
        for path, line, end in places:
            if path is None or line is None:
                continue
            for commit in _commits(project, tx, ticket_id):
                if (commit, path) not in read and len(read) < _MAX_FILES:
                    read[commit, path] = _lines(project, commit, path)
                found.update(text.strip() for text in read.get((commit, path), [])[line - 1 : end or line])
    plain = {text for text in found if len(text) >= _SHORT}
    return frozenset(plain | {json.dumps(text)[1:-1] for text in plain})  # as it stands within JSON


def hide_text(text: str, lines: Collection[str]) -> str:
    """``text`` without those lines, and without what looks like a key or stands behind the name of one."""
    for line in lines:
        if line in text:
            text = text.replace(line, HIDDEN)
    return _redaction().text(text)


@lru_cache(maxsize=1)
def _redaction() -> Redaction:
    return Redaction()


def _commits(project: Project, tx: Tx, ticket_id: str) -> list[str]:
    """The commits that a ticket is about: those of its change, else the one that is checked out."""
    try:
        ticket = tickets.get(tx, ticket_id)
        named = [commit for commit in (ticket.base, ticket.head) if commit]
        return named or [commit for commit in [project.git.ref("HEAD")] if commit]
    except NightcrewError:
        return []


def _lines(project: Project, commit: str, path: str) -> list[str]:
    try:
        data = read_file(project.root, commit, path)
    except NightcrewError:
        return []
    return data.decode("utf-8", "replace").split("\n") if data else []
