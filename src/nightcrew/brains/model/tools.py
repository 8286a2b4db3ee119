"""The tools of a model: files, search, commands, recall, decisions. Each call is done once, also after a kill."""

import os
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field

from nightcrew.brains.model.files import Tree
from nightcrew.brains.protocol import Task
from nightcrew.model.errors import UsageError

MAX_OUTPUT = 20_000
"""Characters of one tool's result at most."""
_REPEATED = "(This was interrupted when the process ended, and has been done again.)\n"

Path = Annotated[str, Field(description="path from the repository's root, such as src/thing.py")]


class Tools:
    """The tools of one task. ``decisions`` collects what was noted."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._tree = Tree(task.workspace)
        self._repeating = False
        self.decisions: list[str] = list(task.journal.get("decisions") or [])

    def all(self) -> list[Callable[..., str]]:
        """The functions that a model may call, by name."""
        return [self.read, self.search, self.list, self.edit, self.write, self.run, self.recall, self.note_decision]

    def once(self, key: str, tool: Callable[..., str], arguments: dict[str, Any]) -> str:
        """Do a tool call, or give what it gave: ``key`` names the call in this task's journal.

        A refusal is text too: the model reads it and does something else.
        """
        journal = self._task.journal
        done = journal.get(f"tool {key}")
        if isinstance(done, str):
            return done
        repeated = ""
        if tool.__name__ in _CHANGING:
            repeated = _REPEATED if journal.get(f"tool-begun {key}") else ""
            journal.put(f"tool-begun {key}", True)
        try:
            self._repeating = bool(repeated)
            said = tool(**arguments)
        except (UsageError, OSError) as error:
            said = f"Refused: {error}"
        # Names of files, and what commands print, need not be text that a request can hold.
        text = capped(repeated + said).encode("utf-8", "replace").decode()
        (journal.put if tool.__name__ in _CHANGING else journal.put_soon)(f"tool {key}", text)
        self._task.turns.alive()
        return text

    def read(
        self,
        path: Path,
        first_line: Annotated[int, Field(ge=1, description="from this line on")] = 1,
        lines: Annotated[int, Field(ge=1, le=2_000, description="how many lines")] = 400,
    ) -> str:
        """Read a text file, with line numbers."""
        text = self._tree.read(path).splitlines()
        shown = text[first_line - 1 : first_line - 1 + lines]
        numbered = "\n".join(f"{number}\t{line}" for number, line in enumerate(shown, first_line))
        last = first_line - 1 + len(shown)
        more = f"\n[{len(text) - last} more lines follow]" if last < len(text) else ""
        return (numbered + more) or "The file is empty."

    def search(
        self,
        pattern: Annotated[str, Field(max_length=500, description="extended regular expression")],
        path: Annotated[str, Field(description="only in this file or folder")] = ".",
    ) -> str:
        """Search the text of all files that git does not ignore; gives path:line:text."""
        argv = ["git", "--no-pager", "grep", "--untracked", "-nIE", "--max-count=50", "-e", pattern, "--", path]
        ended = self._task.run(argv, timeout=60)
        if ended.returncode == 1 and not ended.stderr:
            return "Nothing fits."
        return ended.tail(MAX_OUTPUT)

    def list(self, path: Annotated[str, Field(description="folder, from the repository's root")] = ".") -> str:
        """List the files below a folder."""
        found, more = self._tree.list(path)
        return "\n".join([*found, *(["[there are more]"] if more else [])]) or "There are no files."

    def edit(
        self,
        path: Path,
        old: Annotated[str, Field(min_length=1, description="text that stands exactly once in the file")],
        new: Annotated[str, Field(description="text to put in its place")],
    ) -> str:
        """Replace one piece of text in a file, exactly as given, white space included."""
        text = self._tree.read(path)
        count = text.count(old)
        if count == 0 and self._repeating and new and new in text:
            return f"{path} is changed."
        if count != 1:
            raise UsageError(f"the old text stands {count} times in {path}; it must stand there exactly once")
        self._tree.write(path, text.replace(old, new))
        return f"{path} is changed."

    def write(self, path: Path, text: Annotated[str, Field(description="the whole content of the file")]) -> str:
        """Write a file, new or in place of what was there."""
        self._tree.write(path, text)
        return f"{path} is written: {len(text.splitlines())} lines."

    def run(
        self,
        command: Annotated[str, Field(min_length=1, max_length=20_000, description="a line of /bin/sh")],
        timeout_seconds: Annotated[int, Field(ge=1, le=3_600, description="it is ended after this long")] = 300,
    ) -> str:
        """Run a command in the workspace: tests, linters, programs. No network, and no files outside the workspace."""
        ended = self._task.run(["/bin/sh", "-c", command], timeout=timeout_seconds)
        how = (
            f"It was ended after {ended.seconds:.0f} seconds."
            if ended.timed_out
            else f"Exit status {ended.returncode}."
        )
        return f"{how}\n{ended.tail(MAX_OUTPUT)}"

    def recall(self, query: Annotated[str, Field(max_length=500, description="words to look for")]) -> str:
        """Look for what earlier sessions left: decisions, files touched, open questions."""
        return self._task.recall(query)

    def note_decision(self, decision: Annotated[str, Field(min_length=1, max_length=1_000)]) -> str:
        """Note a decision that later sessions must know."""
        if decision not in self.decisions:
            self.decisions.append(decision)
            self._task.journal.put("decisions", self.decisions)
        return "Noted."


_CHANGING = frozenset({"edit", "write", "run"})


def capped(text: str) -> str:
    """``text`` within the cap: its beginning and its end, with a line that says how much is missing."""
    if len(text) <= MAX_OUTPUT:
        return text
    half = MAX_OUTPUT // 2
    return f"{text[:half]}{os.linesep}[... {len(text) - MAX_OUTPUT} characters left out ...]{os.linesep}{text[-half:]}"
