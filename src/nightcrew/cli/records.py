"""nightcrew run, retry, quarantine, outcome: pipelines and what became of their records."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from nightcrew.cli.output import OPTIONS, say, show_json, table
from nightcrew.model.errors import UsageError

if TYPE_CHECKING:
    from nightcrew.pipeline.parked import Parked
    from nightcrew.pipeline.pipeline import Pipeline
    from nightcrew.pipeline.state import State
    from nightcrew.pipeline.summary import Summary

run_app = typer.Typer(add_completion=False)
retry_app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Records that failed for now and wait for their next time."
)
quarantine_app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Records that cannot be processed, waiting for a person."
)
outcome_app = typer.Typer(add_completion=False, no_args_is_help=True, help="What became of each record.")
APPS = {"run": run_app, "retry": retry_app, "quarantine": quarantine_app, "outcome": outcome_app}

Target = Annotated[
    str, typer.Argument(metavar="APP.py:NAME", help="the pipeline: a file, or a module, and its name there")
]
Records = Annotated[list[str] | None, typer.Argument(metavar="[PIPELINE/KEY]...", help="records, by name")]
InPipeline = Annotated[str | None, typer.Option("--pipeline", help="only records of this pipeline")]
Kind = Annotated[str | None, typer.Option(help="only this failure class, such as permanent.contract")]
Limit = Annotated[int, typer.Option(min=1, help="at most so many")]
Sink = Annotated[str | None, typer.Option(help="where results go: a .jsonl or .parquet file")]
MaxRejected = Annotated[
    float | None, typer.Option(min=0, max=1, help="halt when more than this part (0..1) is refused by the contract")
]


@run_app.command(epilog="Example: nightcrew run app.py:fraud --input transactions.jsonl --sink decisions.jsonl")
def run(
    target: Target,
    input_: Annotated[
        str,
        typer.Option("--input", help="a .jsonl, .csv or .parquet file, a directory, or - for lines on standard input"),
    ],
    sink: Sink = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="work in so many processes; on Postgres also on several machines")
    ] = None,
    new: Annotated[bool, typer.Option("--new", help="give up an unfinished run whose input has changed since")] = False,
    max_rejected: MaxRejected = None,
    lease: Annotated[
        float, typer.Option(min=1, help="seconds a worker may be silent before others take its chunks over")
    ] = 30.0,
) -> int:
    """Work every record of an input, each with one durable outcome; after a crash the same command goes on."""
    from nightcrew.cli.record_progress import Bar

    pipeline = _loaded(target)
    try:
        with Bar(pipeline.name) as bar:
            if workers is None:
                summary = pipeline.run(input_, sink=sink, new=new, max_rejected=max_rejected, progress=bar)
            else:
                from nightcrew.pipeline.workers import run_workers

                summary = run_workers(
                    pipeline, target, input_, workers=workers, sink=sink, new=new, max_rejected=max_rejected,
                    lease_seconds=lease, progress=bar,
                )  # fmt: skip
    finally:
        pipeline.close()
    return _told(summary)


@retry_app.command("run", epilog="Example: nightcrew retry run app.py:fraud --all")
def retry_run(
    target: Target,
    every: Annotated[bool, typer.Option("--all", help="also those whose time has not come")] = False,
    sink: Sink = None,
) -> int:
    """Work the records that are due: failed for now, released from quarantine, or approved."""
    pipeline = _loaded(target)
    try:
        summary = pipeline.retry(everything=every, sink=sink)
    finally:
        pipeline.close()
    return _told(summary)


@retry_app.command("list", epilog="Example: nightcrew retry list --pipeline fraud")
def retry_list(pipeline: InPipeline = None, limit: Limit = 50) -> None:
    """List the records that wait, with the time of their next try."""
    found = _listed(["waiting_retry"], pipeline, None, limit)
    _show(found, "next try", lambda one: (one.next_at or "")[:19], "Nothing waits for a retry.")


@quarantine_app.command("list", epilog="Example: nightcrew quarantine list --kind permanent.contract")
def quarantine_list(pipeline: InPipeline = None, kind: Kind = None, limit: Limit = 50) -> None:
    """List what is in quarantine: records of pipelines, and documents that could not be read."""
    from nightcrew.store import quarantine

    found = _listed(["quarantined"], pipeline, kind, limit)
    documents = []
    if pipeline is None and kind is None:
        with _state() as state, state.store.read() as tx:
            documents = quarantine.list(tx)
    if OPTIONS.json:
        show_json(
            [*map(_plain, found), *({"id": d.id, "what": d.what, "reason": d.reason, "at": d.at} for d in documents)]
        )
        return
    rows = [(one.name, one.kind, one.reason) for one in found] + [(d.id, d.what, d.reason) for d in documents]
    table(("record", "class", "reason"), rows, empty="Quarantine is empty.")


@quarantine_app.command("show", epilog="Example: nightcrew quarantine show fraud/tx-17")
def quarantine_show(record: str) -> None:
    """Show one record: why it is here, what it holds (secret fields masked), what was tried."""
    show_one(record)


@quarantine_app.command(
    "release", epilog="Example: nightcrew quarantine release --pipeline fraud --kind permanent.contract"
)
def quarantine_release(records: Records = None, pipeline: InPipeline = None, kind: Kind = None) -> None:
    """Give records back after a fix; the next retry or run works only those."""
    from nightcrew.pipeline.parked import release

    with _state() as state:
        count = release(state.store, _chosen(state, records, pipeline, kind), actor="human")
        state.pin()
    _done(count, "released", "Work them with: nightcrew retry run APP.py:NAME")


@quarantine_app.command("discard", epilog="Example: nightcrew quarantine discard fraud/tx-17 --reason 'a test record'")
def quarantine_discard(
    records: Records = None,
    pipeline: InPipeline = None,
    kind: Kind = None,
    reason: Annotated[str, typer.Option(help="why; it stays with the record")] = "",
) -> None:
    """Decide that records are not to be worked; they stay stored."""
    from nightcrew.pipeline.parked import discard

    with _state() as state:
        count = discard(state.store, _chosen(state, records, pipeline, kind), actor="human", reason=reason)
        state.pin()
    _done(count, "discarded", "")


@outcome_app.command("list", epilog="Example: nightcrew outcome list --state in_review --limit 10")
def outcome_list(
    pipeline: InPipeline = None,
    state: Annotated[list[str] | None, typer.Option(help="only in this state; may be given again")] = None,
    kind: Kind = None,
    limit: Limit = 50,
) -> None:
    """List outcomes, oldest first."""
    from nightcrew.pipeline.summary import STATES

    if unknown := set(state or ()) - set(STATES):
        raise UsageError(f"there is no state {', '.join(sorted(unknown))}; states are {', '.join(STATES)}")
    found = _listed(state or list(STATES), pipeline, kind, limit)
    _show(found, "state", lambda one: one.state, "There are no outcomes.")


@outcome_app.command("show", epilog="Example: nightcrew outcome show fraud/tx-17")
def outcome_show(record: str) -> None:
    """Show one record's outcome: output, confidence, which version and level made it, attempts, review."""
    show_one(record)


@outcome_app.command("runs", epilog="Example: nightcrew outcome runs")
def outcome_runs(pipeline: InPipeline = None) -> None:
    """List runs with what became of their records."""
    from nightcrew.pipeline.overview import run_lines

    with _state() as state:
        lines = run_lines(state.store, pipeline)
    if OPTIONS.json:
        show_json(lines)
        return
    rows = [
        (line["run"], line["pipeline"], line["state"], line["source"], line["seen"],
         ", ".join(f"{count} {name}" for name, count in line["states"].items()))
        for line in lines
    ]  # fmt: skip
    table(("run", "pipeline", "state", "source", "records", "outcomes"), rows, empty="No pipeline has run yet.")


def _loaded(target: str) -> "Pipeline":
    from nightcrew.pipeline.loading import load

    pipeline = load(target)
    pipeline.use_default(state=OPTIONS.repo)
    return pipeline


class _Opened:
    def __enter__(self) -> "State":
        from nightcrew.pipeline.state import find_state

        self.state = find_state(OPTIONS.repo)
        if not self.state.exists():
            raise UsageError("no pipeline has run here yet", hint="Run: nightcrew run APP.py:NAME --input FILE")
        return self.state

    def __exit__(self, *_: object) -> None:
        self.state.close()


def _state() -> _Opened:
    return _Opened()


def _listed(states: list[str], pipeline: str | None, kind: str | None, limit: int) -> "list[Parked]":
    from nightcrew.pipeline.parked import listed

    with _state() as state:
        return listed(state.store, states=states, pipeline=pipeline, kind=kind, limit=limit)


def _chosen(state: "State", records: list[str] | None, pipeline: str | None, kind: str | None) -> list[str]:
    from nightcrew.pipeline.parked import listed

    if records and (pipeline or kind):
        raise UsageError("name records, or choose them with --pipeline and --kind, not both")
    if records:
        return records
    if pipeline is None and kind is None:
        raise UsageError("say which records: their names, or --pipeline and --kind")
    found = listed(state.store, states=["quarantined"], pipeline=pipeline, kind=kind, limit=None)
    return [one.name for one in found]


def _plain(one: "Parked") -> dict[str, Any]:
    return {
        "record": one.name, "state": one.state, "kind": one.kind, "reason": one.reason, "confidence": one.confidence,
        "next_at": one.next_at, "attempts": one.attempts, "rounds": one.rounds, "input": one.input,
        "output": one.output,
    }  # fmt: skip


def _show(found: "list[Parked]", heading: str, middle: Any, empty: str) -> None:
    if OPTIONS.json:
        show_json([_plain(one) for one in found])
        return
    table(
        ("record", heading, "class", "reason"),
        [(one.name, middle(one), one.kind, one.reason) for one in found],
        empty=empty,
    )


def show_one(name: str) -> None:
    """Show one record, whatever its state."""
    import json

    from nightcrew.pipeline.parked import shown

    with _state() as state:
        one = shown(state.store, name)
    if OPTIONS.json:
        show_json({**_plain(one), "document": one.document})
        return
    say(f"{one.name}: {one.state}" + (f" ({one.kind})" if one.kind else ""))
    for label, text in (
        ("why", one.reason), ("next try", one.next_at), ("confidence", one.confidence),
        ("notice", one.document["notice"]),
        ("made by", f"{one.document['made_by']} (level {one.document['level']}), version {one.document['version']}"),
        ("attempts", f"{one.attempts} in {one.rounds + 1} rounds"), ("input", one.input), ("output", one.output),
    ):  # fmt: skip
        if text not in (None, ""):
            say(f"  {label:<11} {text if isinstance(text, str) else json.dumps(text, ensure_ascii=False)}")


def _done(count: int, what: str, hint: str) -> None:
    if OPTIONS.json:
        show_json({what: count})
    else:
        say(f"{count} {'record' if count == 1 else 'records'} {what}." + (f" {hint}" if hint and count else ""))


def _told(summary: "Summary") -> int:
    if OPTIONS.json:
        show_json(summary.plain())
        return 1 if summary.needs_a_person else 0
    for line in _lines(summary):
        say(line)
    return 1 if summary.needs_a_person else 0


def _lines(summary: "Summary") -> list[str]:
    counts = [f"{count:,} {state.replace('_', ' ')}" for state, count in summary.plain().items()
              if state in _COUNTED and count]  # fmt: skip
    repeated = [f"{summary.repeated:,} repeated"] if summary.repeated else []
    lines = [
        f"{summary.pipeline}, run {summary.run}: {summary.seen:,} in = {' + '.join([*counts, *repeated]) or '0'}"
        + ("" if summary.adds_up else "  (these do not add up: see nightcrew audit verify)"),
        f"{summary.worked:,} in {summary.seconds:.1f} s ({summary.rate:,.0f} a second), {summary.commits} commits",
    ]
    lines += [
        f"the input has changed: field {c.field} is {c.change} in {c.rate:.0%} of the records (was {c.was}, is {c.now})"
        for c in summary.changes
    ]
    if summary.states.get("in_review"):
        lines.append("Decide what is in review: nightcrew inbox")
    if summary.states.get("quarantined"):
        lines.append(f"See what is in quarantine: nightcrew quarantine list --pipeline {summary.pipeline}")
    if summary.states.get("waiting_retry"):
        lines.append("Work what waits for a retry: nightcrew retry run APP.py:NAME")
    return lines


_COUNTED = frozenset({"accepted", "fallback", "in_review", "quarantined", "waiting_retry", "rejected", "discarded"})
