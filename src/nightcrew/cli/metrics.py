"""nightcrew metrics: what was measured, as a table, for Prometheus, and files for Grafana."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nightcrew.cli.output import OPTIONS, say, show_json, table
from nightcrew.model.errors import UsageError

if TYPE_CHECKING:
    from nightcrew.monitoring.query import Window
    from nightcrew.store.store import Store

app = typer.Typer(add_completion=False, no_args_is_help=True, help="What was measured, and how to give it to others.")
APPS = {"metrics": app}

_DURATION = re.compile(r"(\d+)([mhd])")
_SECONDS = {"m": 60, "h": 3600, "d": 86400}
_MOST_STEPS = 10_000
_MOST_DAYS = 3660
_RANKS = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


@app.command("list", epilog="Example: nightcrew metrics list --subject 'step:fraud/*'")
def list_(
    name: Annotated[str | None, typer.Option(help="only this measure; may end in *")] = None,
    subject: Annotated[str | None, typer.Option(help="only of this, such as pipeline:fraud; may end in *")] = None,
) -> None:
    """List what is measured: the measure, of what, told apart by which labels."""
    from nightcrew.store import series

    with _store() as store, store.read() as tx:
        found = sorted(series.find(tx, name=name, subject=subject).values())
    if OPTIONS.json:
        show_json([{"name": s.name, "subject": s.subject, "labels": dict(s.labels), "kind": s.kind} for s in found])
        return
    rows = [(s.name, s.subject, _labels(s.labels), s.kind) for s in found]
    table(
        ("measure", "of", "labels", "kind"),
        rows,
        empty="Nothing was measured of that." if name or subject else "Nothing was measured yet.",
    )


@app.command(epilog="Example: nightcrew metrics show seconds step:fraud/score --last 24h --step 1h")
def show(
    name: Annotated[str, typer.Argument(help="the measure, such as seconds")],
    subject: Annotated[str, typer.Argument(help="of what, such as step:fraud/score; may end in *")],
    last: Annotated[str, typer.Option(metavar="N[m|h|d]", help="how far back")] = "24h",
    step: Annotated[str | None, typer.Option(metavar="N[m|h|d]", help="one line for each; default: as fits")] = None,
    label: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="only with it; may be repeated")] = None,
) -> None:
    """Show a measure over time, added up over all processes; quantiles are exact to about one per cent of the ranks."""
    from nightcrew.monitoring.query import catalogue, windows

    back = _duration(last, "--last")
    width = _duration(step, "--step") if step else _fitting(back)
    if back // width > _MOST_STEPS:
        raise UsageError(f"that is more than {_MOST_STEPS:,} lines", hint="Give a longer --step or a shorter --last.")
    wanted = dict(_pair(one) for one in label or ())
    with _store() as store, store.read() as tx:
        known = catalogue(tx, name=name, subject=subject)
        if not known:
            raise UsageError(f"{name} of {subject} was never measured", hint="See: nightcrew metrics list")
        end = tx.now()
        found = windows(tx, name, subject, end - timedelta(seconds=back), end, step=width, where=wanted)
    kind = known[0].kind
    if OPTIONS.json:
        show_json(
            {"name": name, "subject": subject, "kind": kind, "step": width, "windows": [_plain(w) for w in found]}
        )
        return
    headings, cells = _columns(kind)
    rows = [(f"{w.start:%Y-%m-%d %H:%M}", *cells(w)) for w in found if w.count or w.missing]
    table(("from (UTC)", *headings), rows, empty=f"Nothing was measured of it in the last {last}.")


@app.command(epilog="Example: nightcrew metrics export > /var/lib/node_exporter/nightcrew.prom")
def export() -> None:
    """Print all measures in Prometheus's text format, as /metrics of nightcrew serve and a textfile collector have it.

    With --json as one document. Holds names, counts, times and confidences; no value of a record.
    """
    if OPTIONS.json:
        from nightcrew.monitoring.families import Families

        with _store() as store, store.read() as tx:
            families = Families().read(tx)
        show_json([_family(one) for one in families])
        return
    from nightcrew.monitoring.prometheus import Exposition

    with _store() as store:
        text = Exposition().text(store)
    sys.stdout.write(text.decode())


@app.command(epilog="Example: nightcrew metrics files /etc/nightcrew-monitoring")
def files(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="where to write them; made if it is missing")],
    force: Annotated[bool, typer.Option("--force", help="also over files that differ")] = False,
) -> None:
    """Write a Grafana dashboard, alert rules for Prometheus and how to scrape, to be used or changed."""
    from nightcrew.monitoring.shipped import write

    written = write(directory, force=force)
    if OPTIONS.json:
        show_json([str(path) for path in written])
        return
    for path in written:
        say(f"wrote {path}")
    say("Check the rules with: promtool check rules nightcrew-rules.yml")


@contextmanager
def _store() -> "Iterator[Store]":
    from nightcrew.pipeline.state import find_state

    state = find_state(OPTIONS.repo)
    if not state.exists():
        raise UsageError("nothing has run here yet", hint="Run: nightcrew shift, or nightcrew run APP.py:NAME")
    try:
        yield state.store
    finally:
        state.close()


def _duration(text: str, option: str) -> int:
    found = _DURATION.fullmatch(text.strip())
    seconds = int(found[1]) * _SECONDS[found[2]] if found and len(found[1]) < 7 else 0
    if not seconds:
        raise UsageError(f"{option} {text!r} is no time", hint="Give whole minutes, hours or days: 5m, 24h, 7d.")
    if seconds > _MOST_DAYS * 86400:
        raise UsageError(f"{option} {text!r} is more than ten years", hint=f"Give at most {_MOST_DAYS}d.")
    return seconds


def _fitting(back: int) -> int:
    """At most some sixty lines."""
    return next((width for width in (60, 300, 900, 3600, 6 * 3600) if back / width <= 60), 86400)


def _pair(text: str) -> tuple[str, str]:
    name, found, value = text.partition("=")
    if not found or not name:
        raise UsageError(f"--label {text!r} is not of the form NAME=VALUE")
    return name, value


def _columns(kind: str) -> tuple[tuple[str, ...], Any]:
    if kind == "counter":
        return ("total", "a second"), lambda w: (_number(w.total), _number(w.rate))
    if kind == "gauge":
        return ("last", "lowest", "highest"), lambda w: (_number(w.last), _number(w.low), _number(w.high))
    if kind == "items":
        return ("values", "missing", "most often"), lambda w: (w.count, w.missing, _often(w))
    headings = ("values", "missing", "mean", *_RANKS, "lowest", "highest")
    return headings, lambda w: (
        w.count, w.missing, _number(w.mean), *(_number(w.quantile(rank)) for rank in _RANKS.values()),
        _number(w.low), _number(w.high),
    )  # fmt: skip


def _often(window: "Window") -> str:
    counts = window.items.counts() if window.items is not None else {}
    return ", ".join(f"{name} {count:,}" for name, count in list(counts.items())[:5])


def _plain(window: "Window") -> dict[str, Any]:
    return {
        "start": window.start.isoformat(), "seconds": window.seconds, "count": window.count,
        "missing": window.missing, "total": window.total, "rate": window.rate, "mean": window.mean,
        "low": window.low, "high": window.high, "last": window.last,
        **{name: window.quantile(rank) for name, rank in _RANKS.items()},
        "items": None if window.items is None else window.items.counts(),
    }  # fmt: skip


def _family(one: Any) -> dict[str, Any]:
    values = [{"labels": dict(labels), "value": value} for labels, value in one.values.items()]
    values += [
        {
            "labels": dict(labels), "count": found.number, "sum": found.total,
            "quantiles": {str(rank): value for rank, value in found.quantiles.items()},
        }
        for labels, found in one.distributed.items()
    ]  # fmt: skip
    return {"name": one.name, "kind": one.kind, "help": one.text, "values": values}


def _labels(labels: tuple[tuple[str, str], ...]) -> str:
    return ", ".join(f"{name}={value}" for name, value in labels)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.6g}"
