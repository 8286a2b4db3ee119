"""Pipelines as people look at them: sums by state, versions, runs, and what is not settled, a page at a time."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nightcrew.model.errors import NotFoundError
from nightcrew.pipeline.parked import Parked, parked_of
from nightcrew.pipeline.summary import STATES
from nightcrew.store import parking, quarantine, runs
from nightcrew.store.parking import Place
from nightcrew.store.quarantine import Quarantined
from nightcrew.store.store import Store, Tx

PAGE = 50
OPEN_STATES = ("waiting_retry", "quarantined", "in_review", "rejected", "discarded")
"""The states whose records can be listed: those without a result."""


@dataclass(frozen=True)
class PipelineLine:
    """One pipeline: its sums by state, its last run, and the version that made its last outcomes."""

    name: str
    states: Mapping[str, int]
    run: int | None
    run_state: str
    started: str | None
    ended: str | None
    version: str

    @property
    def total(self) -> int:
        """Records with an outcome."""
        return sum(self.states.values())


@dataclass(frozen=True)
class VersionLine:
    """A version of code and model; ``code`` and ``model`` say whether it differs in that from the one before it."""

    digest: str
    created: str
    code_sha256: str
    model: str
    code_changed: bool
    model_changed: bool


@dataclass(frozen=True)
class RunLine:
    """One run and what became of its records."""

    number: int
    kind: str
    source: str
    state: str
    started: str
    ended: str | None
    sink: str | None
    attempt: int
    seen: int
    repeated: int
    states: Mapping[str, int]

    @property
    def adds_up(self) -> bool:
        """Whether every record that was read is accounted for."""
        return self.seen == sum(self.states.values()) + self.repeated


@dataclass(frozen=True)
class PipelineView:
    """Everything about one pipeline; ``following`` is where the next page of runs begins, None at the end."""

    line: PipelineLine
    versions: Sequence[VersionLine]
    runs: Sequence[RunLine]
    following: int | None
    secret: Sequence[str]


@dataclass(frozen=True)
class Queue:
    """A page of records in one state; ``kinds`` counts by failure class, ``following`` is the next page's begin."""

    records: Sequence[Parked]
    count: int
    kinds: Mapping[str, int]
    pipelines: Sequence[str]
    following: str | None
    documents: Sequence[Quarantined]


def lines(store: Store) -> list[PipelineLine]:
    """Every pipeline, by name."""
    with store.read() as tx:
        sums, latest = parking.sums(tx), parking.latest_runs(tx)
        return [_line(tx, row, sums.get(row.id, {}), latest.get(row.id)) for row in runs.all_pipelines(tx)]


def view(store: Store, name: str, *, before: int | None = None) -> PipelineView:
    """One pipeline, with a page of its runs, newest first. Raises NotFoundError."""
    with store.read() as tx:
        row = runs.pipeline(tx, name)
        found = parking.run_page(tx, row.id, before=before, limit=PAGE + 1)
        shown = found[:PAGE]
        return PipelineView(
            line=_line(tx, row, parking.sums(tx).get(row.id, {}), parking.latest_runs(tx).get(row.id)),
            versions=_versions(tx, row.id),
            runs=_runs(tx, shown),
            following=shown[-1] if len(found) > PAGE else None,
            secret=row.secret,
        )


def queue(
    store: Store, state: str, *, pipeline: str | None = None, kind: str | None = None, after: str | None = None
) -> Queue:
    """A page of the records in ``state``, one of OPEN_STATES. Raises NotFoundError for a pipeline that is not known."""
    with store.read() as tx:
        known = {row.id: row for row in runs.all_pipelines(tx)}
        wanted = [row.id for row in known.values() if pipeline in (None, "", row.name)]
        if pipeline and not wanted:
            raise NotFoundError(f"there is no pipeline {pipeline}", hint="See them all: /pipelines")
        sums = parking.sums(tx)
        found = parking.page(tx, wanted, state, kind=kind or None, after=_place(after), limit=PAGE + 1)
        shown = found[:PAGE]
        last = shown[-1] if len(found) > PAGE else None
        apart = state == "quarantined" and not pipeline and not kind and not after
        return Queue(
            records=[parked_of(one, known[one.pipeline]) for one in shown],
            count=sum(sums.get(one, {}).get(state, 0) for one in wanted),
            kinds=parking.kinds(tx, wanted, state),
            pipelines=[row.name for row in known.values()],
            following=f"{last.id}~{last.next_at or ''}" if last else None,
            documents=quarantine.list(tx)[:PAGE] if apart else [],
        )


def _place(after: str | None) -> Place | None:
    number, _, next_at = (after or "").partition("~")
    return Place(next_at, int(number)) if number.isascii() and number.isdigit() and len(number) < 19 else None


def _line(
    tx: Tx, row: runs.PipelineRow, states: Mapping[str, int], last: tuple[int, str, str, str | None] | None
) -> PipelineLine:
    number, state, started, ended = last or (None, "", None, None)
    newest = parking.versions_of(tx, row.id, limit=1)
    return PipelineLine(row.name, dict(states), number, state, started, ended, newest[0].digest if newest else "")


def _versions(tx: Tx, pipeline: int) -> list[VersionLine]:
    found = parking.versions_of(tx, pipeline, limit=21)
    read = [(one, _document(one.doc)) for one in found]
    lines = []
    for at, (one, doc) in enumerate(read[:20]):
        before = read[at + 1][1] if at + 1 < len(read) else None
        code, model = str(doc.get("code_sha256", "")), str(doc.get("version", ""))
        lines.append(
            VersionLine(
                one.digest, one.created, code, model,
                code_changed=before is not None and before.get("code_sha256") != doc.get("code_sha256"),
                model_changed=before is not None and before.get("version") != doc.get("version"),
            )
        )  # fmt: skip
    return lines


def _document(text: str) -> dict[str, object]:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {}


def _runs(tx: Tx, numbers: Sequence[int]) -> list[RunLine]:
    read, states = parking.read_by(tx, numbers), parking.states_of(tx, numbers)
    lines = []
    for run in parking.some_runs(tx, numbers):
        seen, repeated = read.get(run.id, (0, 0))
        lines.append(
            RunLine(
                run.id, run.kind, run.source, run.state, run.started, run.ended, run.sink, run.attempt, seen,
                repeated, states.get(run.id, {}),
            )
        )  # fmt: skip
    return lines


__all__ = ["OPEN_STATES", "STATES", "PipelineLine", "PipelineView", "Queue", "RunLine", "VersionLine", "queue", "view"]
