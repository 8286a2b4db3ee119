"""Makes the proposal for one pipeline, and writes it once a person has said yes."""

import ast
import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from nightcrew.crew.published import write_atomically
from nightcrew.model.clock import Clock, system_clock
from nightcrew.model.errors import PolicyError, UsageError
from nightcrew.monitoring.alerts.configured import SETTINGS_FILE, read_settings
from nightcrew.readiness.calls import find_calls, own_files
from nightcrew.readiness.propose.editing import Source
from nightcrew.readiness.propose.guards import propose_guards
from nightcrew.readiness.propose.shapes import class_name, contract_source, shape_of
from nightcrew.readiness.target import PipelineTarget, resolve

SAMPLE = 10_000
"""Records of the sample that are looked at, at most."""
_FEW = 50


@dataclass(frozen=True)
class Change:
    """A file as it is and as it would be; ``before`` is None for one that is not there."""

    path: Path
    before: bytes | None
    after: bytes

    def diff(self, root: Path) -> str:
        """The change as a unified diff."""
        name = self.path.relative_to(root).as_posix()
        old, new = _lines(self.before), _lines(self.after)
        there = "/dev/null" if self.before is None else f"a/{name}"
        lines = difflib.unified_diff(old, new, there, f"b/{name}")
        return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


@dataclass(frozen=True)
class Proposal:
    """Changes to accept together, and what a person should know."""

    root: Path
    changes: tuple[Change, ...]
    notes: tuple[str, ...]

    @property
    def diff(self) -> str:
        """All changes as one unified diff."""
        return "".join(change.diff(self.root) for change in self.changes)


def propose(target: str, root: Path, *, sample: str = "", clock: Clock = system_clock) -> Proposal:
    """What would make a pipeline ready: ``target`` is ``APP.py:NAME`` or ``package.module:NAME``.

    Only files of the repository around ``root`` are changed.

    ``sample`` names records as a pipeline's input does. Nothing is run or written. Raises UsageError for a target or a
    sample that is none, DocumentError for a damaged ``nightcrew.toml``.
    """
    return _Proposing(target, root.resolve(), clock).made(sample)


def accept(proposal: Proposal) -> list[Path]:
    """Write the changes. Raises PolicyError, before anything is written, if a file has changed in between."""
    for change in proposal.changes:
        try:
            there: bytes | None = change.path.read_bytes()
        except FileNotFoundError:
            there = None
        if there != change.before:
            raise PolicyError(f"{change.path} has changed since the proposal", hint="Ask for a new proposal.")
    for change in proposal.changes:
        mode = change.path.stat().st_mode & 0o7777 if change.before is not None else 0o644
        write_atomically(change.path, change.after)
        change.path.chmod(mode)
    return [change.path for change in proposal.changes]


def _around(start: Path) -> Path:
    """The repository, or the folder with a state, around a folder; else the folder."""
    marks = (".git", ".nightcrew")
    return next((one for one in (start, *start.parents) if any((one / mark).exists() for mark in marks)), start)


class _Proposing:
    def __init__(self, target: str, start: Path, clock: Clock) -> None:
        found = resolve(target, start)
        if not isinstance(found, PipelineTarget):
            raise UsageError(
                f"{target!r} does not name a pipeline; write APP.py:NAME, such as app.py:fraud",
                hint="Of plain code, make one first: NAME = nightcrew.Pipeline(...), and @NAME.step on what it does.",
            )
        self.root, self.clock, self.path, self.name = _around(start), clock, found.path, found.name
        self.sources: dict[Path, Source] = {}
        self.notes: list[str] = []
        source = self._opened(self.path)
        if source is None:
            raise UsageError(f"there is nothing to propose for: {self.notes[-1]}")
        self.source = source
        self.statement, self.call = self._pipeline()

    def made(self, sample: str) -> Proposal:
        self._contract(sample)
        self._guards()
        changes = [Change(path, one.data, one.result()) for path, one in self.sources.items() if one.changed]
        thresholds = self._thresholds()
        if thresholds is not None:
            changes.append(thresholds)
        return Proposal(self.root, tuple(changes), tuple(self.notes))

    # Where it is ----------------------------------------------------------------------------------------------------

    def _opened(self, path: Path) -> Source | None:
        """The source of a file of this repository that may be changed; None, and a note, if it may not."""
        if path in self.sources:
            return self.sources[path]
        if path.is_symlink() or not path.resolve().is_relative_to(self.root):
            self.notes.append(f"{path} lies outside {self.root}")
            return None
        try:
            self.sources[path] = Source.of(path.read_bytes())
        except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
            self.notes.append(f"{path}: {error or 'nested too deeply'}")
            return None
        return self.sources[path]

    def _pipeline(self) -> tuple[ast.stmt, ast.Call]:
        for node in self.source.tree.body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            value = getattr(node, "value", None)
            if isinstance(value, ast.Call) and any(
                isinstance(target, ast.Name) and target.id == self.name for target in targets
            ):
                last = value.func.attr if isinstance(value.func, ast.Attribute) else getattr(value.func, "id", "")
                if last == "Pipeline":
                    return node, value
        raise UsageError(
            f"{self.path.name} has no line {self.name} = Pipeline(...) at its top",
            hint="The proposal is made from the source; a pipeline that is made in another way is not seen.",
        )

    @property
    def _pipeline_name(self) -> str:
        given = self.call.args[0] if self.call.args else None
        for keyword in self.call.keywords:
            given = keyword.value if keyword.arg == "name" else given
        return given.value if isinstance(given, ast.Constant) and isinstance(given.value, str) else self.name

    # The contract ---------------------------------------------------------------------------------------------------

    def _contract(self, sample: str) -> None:
        there = next((keyword for keyword in self.call.keywords if keyword.arg == "record"), None)
        if there is not None and not (isinstance(there.value, ast.Constant) and there.value.value is None):
            self.notes.append(f"the contract stays as it is: record={ast.unparse(there.value)}")
            return
        if not sample:
            self.notes.append("no contract proposed: give sample records with --input FILE")
            return
        records, left_out = _records(sample)
        if left_out:
            self.notes.append(f"{left_out:,} records of the sample are left out: no objects, or a number is not finite")
        if not records:
            self.notes.append(f"no contract proposed: {sample} has no records that are objects")
            return
        if len(records) < _FEW:
            self.notes.append(f"the contract was made from {len(records)} records only: look at it closely")
        shape, name, taken = shape_of(records), class_name(self._pipeline_name), self.source.names()
        while any(one.startswith(name) for one in taken):  # Its inner classes begin with its name.
            name += "1"
        written = contract_source(shape, name)
        for module, needed in sorted(written.needs):
            self.source.need(module, needed)
        self.source.insert_before_line(self.statement.lineno, f"\n{written.source}\n\n\n")
        if there is not None:
            self.source.replace(there.value, name)
        else:
            self.source.insert_argument(self.call, f"record={name}")
        self.notes.append(f"{name} takes all {len(records):,} records of the sample; fields it does not name pass")
        if Path(sample).suffix.lower() in (".csv", ".tsv"):
            self.notes.append("what a step gets of this file is text, numbers too, and the contract leaves it so")
        self._key(records)

    def _key(self, records: list[Mapping[str, Any]]) -> None:
        if any(keyword.arg == "key" for keyword in self.call.keywords):
            return
        for field in records[0]:
            values = [record.get(field) for record in records]
            plain = all(isinstance(value, str | int) and not isinstance(value, bool) for value in values)
            if plain and len(records) >= _FEW and len(set(values)) == len(values):
                self.notes.append(
                    f"{field} differs in every record: with key={field!r} a record keeps its outcome when the input "
                    "is put in another order. It makes records that ran before new ones, so it is not proposed"
                )
                return

    # Guards and thresholds ------------------------------------------------------------------------------------------

    def _guards(self) -> None:
        calls = find_calls(self.root, own_files(self.path), entry=self.path)
        self.notes += [f"{one.path} was not read: {one.why}" for one in calls.unread]
        self.notes += propose_guards(list(calls.unguarded), self.root, self._opened)
        for call in calls.found:
            if call.hangs and not call.accepted:
                self.notes.append(f"{call.place}: {call.what} is called in a loop, and no time limit is seen")

    def _thresholds(self) -> Change | None:
        from nightcrew.pipeline.state import find_state
        from nightcrew.readiness.propose.thresholds import ENOUGH, reference_of, rules_from, toml_of

        state = find_state(self.path.parent, clock=self.clock)
        if not state.exists():
            self.notes.append("no thresholds proposed: run the pipeline on data you trust first, then ask again")
            return None
        try:
            with state.store.read() as tx:
                reference = reference_of(tx, self._pipeline_name, self.clock())
        finally:
            state.close()
        rules = rules_from(reference, self._pipeline_name)
        if not rules:
            self.notes.append(f"no thresholds proposed: {reference.records} records in a week, {ENOUGH} are needed")
            return None
        path = state.directory.parent / SETTINGS_FILE
        known = {rule.name for rule in read_settings(path).alert}
        missing = [rule for rule in rules if rule.name not in known]
        if not missing or not path.resolve().is_relative_to(self.root) or path.is_symlink():
            self.notes.append("the alert rules of this pipeline are there already" if not missing else f"{path} stays")
            return None
        before = path.read_bytes() if path.exists() else None
        return Change(path, before, _after(before, toml_of(missing, reference)))


def _after(before: bytes | None, text: str) -> bytes:
    return ((before.rstrip(b"\n") + b"\n\n") if before else b"") + text.encode()


def _records(sample: str) -> tuple[list[Mapping[str, Any]], int]:
    """The records that are objects, with what a step gets (of a .csv file: texts); and how many are not."""
    from nightcrew.pipeline.sources import Source as RecordSource
    from nightcrew.pipeline.sources import open_source

    source = open_source(sample)
    if not isinstance(source, RecordSource):
        raise UsageError(f"{sample} cannot be read as a sample")
    read = [_object(record) for _, record in islice(source.read(), SAMPLE)]
    found = [record for record in read if record is not None]
    return found, len(read) - len(found)


def _object(record: Any) -> Mapping[str, Any] | None:
    """A record as a contract would get it; None if none would take it."""
    if isinstance(record, bytes):
        try:
            record = json.loads(record, parse_constant=_not_finite)
        except (ValueError, RecursionError):
            return None
    return record if isinstance(record, Mapping) else None


def _not_finite(text: str) -> float:
    raise ValueError(text)


def _lines(data: bytes | None) -> list[str]:
    """Lines as ``patch`` and ``git apply`` count them: str.splitlines knows other ends, such as a form feed."""
    return [line.decode("utf-8", "replace") for line in re.findall(rb"[^\n]*\n|[^\n]+", data or b"")]
