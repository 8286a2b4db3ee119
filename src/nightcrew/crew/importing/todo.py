"""TODO and FIXME comments of the code as tickets: one each, found in the files of a commit."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping

from nightcrew.checks.text import masked, plain_text, relative_path
from nightcrew.crew.importing import filing
from nightcrew.crew.importing.imported import Imported, one_line
from nightcrew.crew.importing.outcome import ImportReport
from nightcrew.crew.importing.steps import filing_steps, run, withdrawing_steps
from nightcrew.crew.project import Project
from nightcrew.crew.workspace.git import check_commit
from nightcrew.model.errors import RepositoryError, UsageError
from nightcrew.model.finding import fingerprint
from nightcrew.model.ticket import Kind, Priority

SOURCE = "todo"
WORDS: Mapping[str, tuple[Kind, Priority]] = {
    "FIXME": (Kind.BUG, Priority.P2),
    "XXX": (Kind.BUG, Priority.P3),
    "TODO": (Kind.CHORE, Priority.P3),
}
"""The words, in capitals as written, and what a ticket for one is."""

_LONGEST = 2_000
_COMMENT = re.compile(
    r"(?:#|//|/\*|^\s*\*|--|;|<!--|%|\"\"\"|''')(?:[^\n]{0,200}?[^\w\n])?\b(TODO|FIXME|XXX)\b(?:\(([^()\n]{1,60})\))?"
    r"[:,.!\s-]*([^\n]*)"
)
_ROW = re.compile(rb"([^\0]*)\0[0-9]+\0([^\n]*)\n")  # a path may hold line ends
_END = re.compile(r"\s*(\*/|-->|\"\"\"|''')\s*$")


def import_todos(
    project: Project,
    *,
    kind: Kind | None = None,
    priority: Priority | None = None,
    paths: tuple[str, ...] = (),
    dry_run: bool = False,
) -> ImportReport:
    """File each TODO, FIXME and XXX comment in the tracked files of HEAD, or below ``paths`` only.

    It is known by its file and its text, so that it may move within the file. The ticket of a comment that is gone is
    set aside, unless only some paths were looked at. Raises UsageError for a path that names nothing in HEAD.
    """
    head = project.git.ref("HEAD")
    if head is None:
        raise RepositoryError(f"{project.root} has no commits", hint="Make a first commit: git add . && git commit")
    where = tuple(_checked(project, head, path) for path in paths)
    found = [*comments(project, head, paths=where, kind=kind, priority=priority)]
    left: list[str] = []
    if not paths:
        with project.store.read() as tx:
            left = sorted(filing.live(tx, SOURCE).keys() - {one.ref for one in found})
    gone = dict.fromkeys(left, f"its comment is not in {head[:12]} any more")
    return run(project, SOURCE, [*filing_steps(project, found), *withdrawing_steps(SOURCE, gone)], dry_run=dry_run)


def _checked(project: Project, commit: str, path: str) -> str:
    """``path`` as git names it; a misspelt one must not look like code without comments."""
    clean = relative_path(path)
    if clean is None or project.git.data("cat-file", "-e", f"{check_commit(commit)}:{clean}").status:
        raise UsageError(
            f"{path!r} names nothing in HEAD",
            hint="Paths are those of git: from the top of the repository, as src/app.",
        )
    return clean


def comments(
    project: Project,
    commit: str,
    *,
    paths: tuple[str, ...] = (),
    kind: Kind | None = None,
    priority: Priority | None = None,
) -> Iterator[Imported]:
    """The comments of a commit; equal ones of a file are told apart by their order."""
    seen: Counter[tuple[str, str]] = Counter()
    for path, text in _lines(project, commit, paths):
        match = _COMMENT.search(text[:_LONGEST])
        if match is None:
            continue
        word, who, said = match[1], match[2], one_line(masked(_END.sub("", match[3])))
        shown = plain_text(path, limit=400)
        # The text as it is written, so that a secret that is masked in the title does not make two comments one.
        key = (path, f"{word} {who or ''} {match[3]}")
        usual = WORDS[word]
        yield Imported.of(
            source=SOURCE,
            ref=fingerprint(tool=SOURCE, rule=word, path=path, code=key[1], occurrence=seen[key]),
            title=one_line(f"{word} in {shown}: {said or 'no text'}", 200),
            body=_body(shown, masked(plain_text(text.strip(), limit=1000)), who),
            kind=kind or usual[0],
            priority=priority or usual[1],
        )
        seen[key] += 1


def _body(path: str, text: str, who: str | None) -> str:
    # Without the line's number: a comment that moved is not one that changed.
    return f"The comment in {path}:\n\n    {text}" + (f"\n\nIt names {one_line(who, 60)}." if who else "")


def _lines(project: Project, commit: str, paths: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """The lines of the commit's text files that hold one of the words: path and text."""
    arguments = ["grep", "-z", "-n", "-I", "--full-name", "--no-color", "--threads=1", "-w", "-E"]
    patterns = [part for word in WORDS for part in ("-e", word)]
    where = ["--", *(f":(literal,top){path}" for path in paths)]
    output = project.git.data(*arguments, *patterns, check_commit(commit), *where)
    if output.status > 1:
        project.git.must(output, "looking for comments")
    for row in _ROW.finditer(output.stdout):
        yield os.fsdecode(row[1].split(b":", 1)[-1]), row[2].decode("utf-8", "replace")
