"""nightcrew alerts: what fires, who was told, and quiet where it is wanted."""

import contextlib
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nightcrew.cli.output import OPTIONS, say, show_json, table
from nightcrew.model.errors import ConfigurationError, DocumentError, NightcrewError, UsageError

if TYPE_CHECKING:
    from nightcrew.model.settings import Settings
    from nightcrew.monitoring.alerts.evaluate import Evaluation
    from nightcrew.monitoring.alerts.watch import Watcher
    from nightcrew.pipeline.state import State

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Alerts: what fires, acknowledge it, silence it, try the channels."
)
APPS = {"alerts": app}

Name = Annotated[str, typer.Argument(metavar="ALERT", help="the alert, such as A-0007")]
Comment = Annotated[str, typer.Option(help="why; it stays with it in the ledger")]
_SPANS = {"m": 1, "h": 60, "d": 24 * 60}


@app.command("list", epilog="Example: nightcrew alerts list")
def list_() -> int:
    """List what fires or is about to, and the silences. Exit status 1 if something fires."""
    from nightcrew.store import alert_messages, alerts, silences

    with _state() as state, state.store.read() as tx:
        found, quiet, unsent = alerts.open_ones(tx), silences.list(tx), alert_messages.count_unsent(tx)
    firing = [one for one in found if one.state != "pending"]
    if OPTIONS.json:
        show_json(
            {"alerts": [one.plain() for one in found], "silences": [one.plain() for one in quiet], "unsent": unsent}
        )
        return 1 if firing else 0
    table(
        ("alert", "severity", "state", "since", "what", "runbook"),
        [(one.id, one.severity, one.state, _when(one.fired or one.since), one.message, one.runbook) for one in found],
        empty="Nothing fires.",
    )
    if quiet:
        say()
        rows = [(one.id, one.rule, one.subject, _when(one.until), one.comment) for one in quiet]
        table(("silence", "rule", "subject", "until", "why"), rows, empty="")
    if unsent:
        say(f"\n{unsent} {'message is' if unsent == 1 else 'messages are'} not sent yet: nightcrew alerts check")
    return 1 if firing else 0


@app.command(epilog="Example: nightcrew alerts show A-0007")
def show(alert: Name) -> None:
    """Show one alert: what was measured, the query behind it, its runbook, who was told and when."""
    from nightcrew.store import alert_messages, alerts

    with _state() as state, state.store.read() as tx:
        one = alerts.get(tx, _id(alert))
        told = alert_messages.about(tx, one.id)
    if OPTIONS.json:
        show_json({**one.plain(), "messages": [message.plain() for message in told]})
        return
    say(f"{one.id} {one.rule}, {one.subject}: {one.state} ({one.severity})")
    for label, text in (
        ("what", one.message), ("since", _when(one.since)), ("fired", _when(one.fired)),
        ("acknowledged", f"{_when(one.acknowledged)} by {one.acknowledged_by}" if one.acknowledged else ""),
        ("over", _when(one.resolved)), ("runbook", one.runbook),
        ("query", ", ".join(f"{name} {value}" for name, value in one.query.items() if name != "path" and value)),
        ("look", one.query.get("path", "")),
    ):  # fmt: skip
        if text:
            say(f"  {label:<13} {text}")
    if told:
        say()
    table(
        ("message", "of", "state", "by", "when", "problem"),
        [(m.id, m.event, m.state, m.taken_by or ", ".join(m.route), _when(m.sent or m.created), m.problem)
         for m in told],
        empty="",
    )  # fmt: skip


@app.command(epilog="Example: nightcrew alerts ack A-0007 --comment 'the supplier is down'")
def ack(
    alerts_: Annotated[list[str], typer.Argument(metavar="ALERT...", help="alerts that you look after")],
    comment: Comment = "",
) -> None:
    """Say that you look after alerts: they are not escalated, and still tell when they are over."""
    from nightcrew.store import alerts

    with _state() as state:
        with state.store.begin() as tx:
            done = [alerts.acknowledge(tx, _id(name), actor="human", comment=comment) for name in alerts_]
        state.pin()
    if OPTIONS.json:
        show_json([one.plain() for one in done])
    else:
        for one in done:
            say(f"{one.id} is acknowledged: {one.message}")


@app.command(epilog="Example: nightcrew alerts resolve A-0007 --comment 'that machine is gone'")
def resolve(
    alerts_: Annotated[list[str], typer.Argument(metavar="ALERT...", help="alerts that are over")],
    comment: Comment = "",
) -> None:
    """Say that alerts are over, when nothing measures it any more. What is still wrong fires anew."""
    from nightcrew.monitoring.alerts.messages import tell_over
    from nightcrew.store import alerts

    with _state() as state:
        settings = _settings(state)
        with state.store.begin() as tx:
            reason = comment or "a person says so"
            done = [alerts.resolve(tx, _id(name), reason=reason, actor="human") for name in alerts_]
            tell_over(tx, settings, done)
        state.pin()
    if OPTIONS.json:
        show_json([one.plain() for one in done])
    else:
        for one in done:
            say(f"{one.id} is over: {one.message}")


@app.command(epilog="Example: nightcrew alerts silence 'pipeline-*' --subject pipeline:fraud --for 2h")
def silence(
    rule: Annotated[str, typer.Argument(help="rules, by name; * matches any text")],
    subject: Annotated[str, typer.Option(help="only of these subjects; * matches any text")] = "*",
    for_: Annotated[str | None, typer.Option("--for", help="how long: 30m, 2h, 3d; 90d at most")] = None,
    until: Annotated[str | None, typer.Option(help="or until when, such as 2026-03-01T08:00 (local time)")] = None,
    comment: Comment = "",
) -> None:
    """Tell nobody of alerts that match, until a time. They fire all the same; what still fires then is told."""
    from nightcrew.store import silences

    with _state() as state:
        with state.store.begin() as tx:
            end = _end(tx.now(), for_, until)
            made = silences.add(tx, rule=rule, subject=subject, until=end, actor="human", comment=comment)
        state.pin()
    if OPTIONS.json:
        show_json(made.plain())
    else:
        say(f"{made.id}: nobody is told of {made.rule} of {made.subject} until {_when(made.until)}")


@app.command(epilog="Example: nightcrew alerts unsilence SL-0001")
def unsilence(silence: Annotated[str, typer.Argument(help="the silence, such as SL-0001")]) -> None:
    """End a silence now."""
    from nightcrew.store import silences

    with _state() as state:
        with state.store.begin() as tx:
            done = silences.end(tx, silence.upper(), actor="human")
        state.pin()
    if OPTIONS.json:
        show_json(done.plain())
    else:
        say(f"{done.id} has ended.")


@app.command("test", epilog="Example: nightcrew alerts test --channel mail")
def try_(
    channel: Annotated[list[str] | None, typer.Option(help="only this channel; may be given again")] = None,
) -> int:
    """Send a test message through each channel and say which took it. Exit status 1 if one did not, or none did."""
    from nightcrew.monitoring.alerts.trial import try_channels

    with _state() as state:
        tried = try_channels(state.store, _settings(state), root=state.directory.parent, only=channel or ())
        state.pin()
    if OPTIONS.json:
        show_json([one.plain() for one in tried])
    else:
        table(("channel", "result", "detail"), [(one.channel, one.result, one.detail) for one in tried], empty="")
    results = {one.result for one in tried}
    return 0 if "failed" not in results and results & {"taken", "ticket"} else 1


@app.command(epilog="Example: nightcrew alerts history --rule pipeline-errors --limit 20")
def history(
    rule: Annotated[str | None, typer.Option(help="only of this rule")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="at most so many")] = 50,
) -> None:
    """List alerts that fired, newest first, with when they were over."""
    from nightcrew.store import alerts

    with _state() as state, state.store.read() as tx:
        found = alerts.list(tx, states=("firing", "acknowledged", "resolved"), rule=rule, limit=limit)
    if OPTIONS.json:
        show_json([one.plain() for one in found])
        return
    table(
        ("alert", "severity", "rule", "subject", "fired", "over", "what"),
        [(one.id, one.severity, one.rule, one.subject, _when(one.fired), _when(one.resolved) or one.state, one.message)
         for one in found],
        empty="No alert has fired yet.",
    )  # fmt: skip


@app.command(epilog="Example: nightcrew alerts rules")
def rules() -> None:
    """List the rules that hold here: nightcrew's own, and those in nightcrew.toml."""
    from nightcrew.monitoring.alerts.defaults import rules_of, runbook_of

    with _state() as state:
        found = rules_of(_settings(state))
    if OPTIONS.json:
        show_json([{**one.plain(), "runbook": runbook_of(one)} for one in found])
        return
    rows = [(one.name, one.severity, one.metric, one.subject, _condition(one), runbook_of(one)) for one in found]
    table(("rule", "severity", "measure", "subject", "fires", "runbook"), rows, empty="There are no rules.")


@app.command(epilog="Example: nightcrew alerts check")
def check() -> int:
    """Look at all rules once and send what is due, as from cron. Exit status 1 if something fires."""
    with _watched() as watcher:
        found = watcher.look()
    if OPTIONS.json:
        show_json(_plain(found))
    else:
        _say_found(found)
        say(f"{found.firing} {'fires' if found.firing == 1 else 'fire'}: nightcrew alerts list" if found.firing
            else "Nothing fires.")  # fmt: skip
    return 1 if found.firing else 0


@app.command(epilog="Example: nightcrew alerts watch")
def watch() -> None:
    """Look at all rules every few seconds and send what follows, until Ctrl-C."""
    import json
    import sys
    import time

    with _watched() as watcher, contextlib.suppress(KeyboardInterrupt):
        if not OPTIONS.json:
            say(f"Watching every {watcher.every_seconds:g} seconds; Ctrl-C ends it.")
        while True:
            found = watcher.tick()
            if found is not None and OPTIONS.json:
                sys.stdout.write(json.dumps(_plain(found)) + "\n")
            elif found is not None:
                _say_found(found)
            sys.stdout.flush()
            time.sleep(min(1.0, watcher.every_seconds))


@contextlib.contextmanager
def _state() -> "Iterator[State]":
    from nightcrew.pipeline.state import find_state

    state = find_state(OPTIONS.repo)
    with _opened(state):
        yield state


@contextlib.contextmanager
def _opened(state: "State") -> "Iterator[State]":
    if not state.exists():
        raise UsageError("nothing has run here yet", hint="Run: nightcrew init, or a pipeline with: nightcrew run")
    try:
        yield state
    finally:
        state.close()


@contextlib.contextmanager
def _watched() -> "Iterator[Watcher]":
    """What watches here: the crew of a prepared repository, or pipelines alone.

    Of a repository whose files are damaged it is what needs none of them: that is when people have to be told.
    """
    from nightcrew.crew.alerting import watcher
    from nightcrew.crew.project import open_project
    from nightcrew.monitoring.alerts.watch import Watcher

    try:
        project = open_project(OPTIONS.repo)
    except (ConfigurationError, DocumentError) as error:
        refused = error
        with _opened(_state_of_any()) as state:
            before = (lambda: _refuse(refused)) if isinstance(refused, DocumentError) else (lambda: None)
            yield Watcher(state.store, state.directory, before=before)
        return
    try:
        yield watcher(project)
    finally:
        project.close()


def _refuse(refused: NightcrewError) -> None:
    """Say at each look why there are no readings of the crew."""
    raise refused


def _state_of_any() -> "State":
    """The state, also beside a damaged nightcrew.toml; raises DocumentError if it is not here but where that says."""
    from nightcrew.pipeline.state import STATE, find_state

    try:
        return find_state(OPTIONS.repo)
    except DocumentError:
        here = OPTIONS.repo.resolve()
        for place in (here, *here.parents):
            if (database := place / STATE / "nightcrew.db").exists():
                return find_state(place, database_url=f"sqlite:///{database}")
        raise


def _settings(state: "State") -> "Settings":
    from nightcrew.monitoring.alerts.configured import SETTINGS_FILE, read_settings

    return read_settings(state.directory.parent / SETTINGS_FILE)


def _say_found(found: "Evaluation") -> None:
    for heading, names in (("fires", found.fired), ("over", found.resolved)):
        if names:
            say(f"{datetime.now():%H:%M:%S} {heading}: {', '.join(names)}")
    for problem in found.problems:
        say(f"{datetime.now():%H:%M:%S} problem: {problem}")


def _plain(found: "Evaluation") -> dict[str, Any]:
    names = ("fired", "resolved", "firing", "messages", "problems")
    return {name: getattr(found, name) for name in names}


def _condition(rule: Any) -> str:
    """When it fires, in a few words."""
    from nightcrew.monitoring.alerts.words import duration

    said: Sequence[tuple[bool, str]] = (
        (rule.above is not None, f"{rule.statistic} above {rule.above}"),
        (rule.below is not None, f"{rule.statistic} below {rule.below}"),
        (rule.absent is not None, f"nothing for {duration(60 * (rule.absent or 0))}"),
        (bool(rule.expected_by), f"nothing by {rule.expected_by}"),
        (rule.objective is not None, f"burns the rest of {rule.objective}"),
    )
    return next(text for holds, text in said if holds) + (f", for {rule.for_:g} min" if rule.for_ else "")


def _id(text: str) -> str:
    found = re.fullmatch(r"A-?([0-9]{1,12})", text.strip(), re.IGNORECASE)
    if found is None:
        raise UsageError(f"{text!r} does not name an alert", hint="An id looks like A-0007.")
    return f"A-{int(found[1]):04d}"


def _end(now: datetime, for_: str | None, until: str | None) -> datetime:
    if (for_ is None) == (until is None):
        raise UsageError("a silence has an end: say --for or --until")
    if for_ is not None:
        found = re.fullmatch(r"([0-9]{1,5})([mhd])", for_.strip())
        if found is None:
            raise UsageError(f"{for_!r} is no length of time", hint="Write 30m, 2h or 3d.")
        return now + timedelta(minutes=int(found[1]) * _SPANS[found[2]])
    try:
        return datetime.fromisoformat(until or "").astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        raise UsageError(f"{until!r} is no time", hint="Write it like 2026-03-01T08:00.") from None


def _when(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment.astimezone():%Y-%m-%d %H:%M %Z}"
