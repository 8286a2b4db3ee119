"""Looking at every rule once: from what is measured to alerts that fire, stay or are over, and the messages of it.

What is measured is read without holding up anybody. What follows from it is decided and written in one transaction,
on the alerts as they are then: of two processes that look at once, the second finds what the first has written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from nightcrew.model.alerting import AlertRule
from nightcrew.model.errors import NightcrewError
from nightcrew.model.settings import Settings
from nightcrew.monitoring.alerts import messages
from nightcrew.monitoring.alerts.defaults import BROKEN, rules_of, runbook_of
from nightcrew.monitoring.alerts.probes import Probe
from nightcrew.monitoring.alerts.reading import Sample, broken, samples
from nightcrew.store import alerts
from nightcrew.store.alerts import Alert
from nightcrew.store.connection import explain
from nightcrew.store.store import Store, Tx

_ELSEWHERE = frozenset({"disk.free"})
"""Probes of this machine: that one gives nothing here says nothing of another machine's alert, except for long."""

_GONE_MINUTES = 24 * 60.0
"""After so long without a reading of any machine, there is nothing to measure any more."""


@dataclass(frozen=True)
class Evaluation:
    """What one look at the rules came to. ``firing`` is how many alerts fire now, acknowledged ones included."""

    fired: Sequence[str] = ()
    resolved: Sequence[str] = ()
    firing: int = 0
    messages: int = 0
    problems: Sequence[str] = ()


@dataclass
class _Looked:
    """What was read: samples, and the rules that could not be looked at."""

    at: datetime
    found: dict[tuple[str, str], Sample] = field(default_factory=dict)
    blind: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)


def evaluate(
    store: Store, settings: Settings, *, probes: Mapping[str, Probe], problem: str | None = None
) -> Evaluation:
    """Look at every rule that ``settings`` have and let follow what follows; ``problem`` is one with the settings."""
    rules = {rule.name: rule for rule in rules_of(settings)}
    with store.read() as tx:
        looked = _look(tx, settings, rules, probes)
        if problem is not None:
            _note_broken(looked, "rule:nightcrew.toml", problem)
        before = alerts.open_ones(tx)
        owed = messages.owed(tx, settings, rules, before)
    if not before and not owed and not any(sample.breached for sample in looked.found.values()):
        return Evaluation(problems=looked.problems)
    with store.begin() as tx:
        return _follow(tx, settings, rules, looked)


def _look(tx: Tx, settings: Settings, rules: Mapping[str, AlertRule], probes: Mapping[str, Probe]) -> _Looked:
    looked = _Looked(tx.now())
    for rule in rules.values():
        try:
            found = list(samples(tx, rule, looked.at, settings, probes))
        except Exception as error:
            # Whatever is wrong with one rule, or with what it reads: the others hold, and this one is told of.
            if not isinstance(error, NightcrewError) and explain(error, "the database") is not None:
                raise  # It is the database, not the rule.
            looked.blind.add(rule.name)
            told = str(error) if isinstance(error, NightcrewError) else f"{type(error).__name__}: {error}"
            _note_broken(looked, f"rule:{rule.name}", told)
            continue
        looked.found |= {(rule.name, sample.subject): sample for sample in found}
    return looked


def _note_broken(looked: _Looked, subject: str, problem: str) -> None:
    looked.problems.append(f"{subject}: {problem}")
    looked.found[BROKEN.name, subject] = broken(BROKEN, subject, problem, looked.at)


def _follow(tx: Tx, settings: Settings, rules: Mapping[str, AlertRule], looked: _Looked) -> Evaluation:
    known = {(one.rule, one.subject): one for one in alerts.open_ones(tx)}
    fired: list[Alert] = []
    resolved: list[Alert] = []
    for key, sample in looked.found.items():
        alert = known.pop(key, None)
        if alert is None:
            alert = _begun(tx, sample, looked.at)
        if alert is not None:
            _advance(tx, alert, sample, fired, resolved)
    for alert in known.values():
        _unseen(tx, alert, rules, looked, resolved)
    made = messages.tell(tx, settings, rules, resolved)
    firing = [one for one in alerts.open_ones(tx) if one.state != "pending"]
    return Evaluation(
        [one.id for one in fired], [one.id for one in resolved], len(firing), len(made), looked.problems
    )  # fmt: skip


def _begun(tx: Tx, sample: Sample, at: datetime) -> Alert | None:
    """A new alert, unless the sample says that nothing is wrong or is older than what ended the last one."""
    if not sample.breached:
        return None
    ended = alerts.last_resolved(tx, sample.rule.name, sample.subject)
    if ended is not None and at < ended <= tx.now():  # An end in the future is of a clock that was wrong.
        return None
    return alerts.add(
        tx, rule=sample.rule.name, subject=sample.subject, severity=sample.severity, value=sample.value,
        message=sample.message, query=sample.query, runbook=runbook_of(sample.rule),
    )  # fmt: skip


def _advance(tx: Tx, alert: Alert, sample: Sample, fired: list[Alert], resolved: list[Alert]) -> None:
    """One step of the alert: pending, firing, acknowledged, resolved."""
    rule, now = sample.rule, tx.now()
    if alert.state == "pending":
        if not sample.breached or alert.since > now:
            alerts.drop(tx, alert.id)
            return
        _keep(tx, alert, sample)
        if now - alert.since >= timedelta(minutes=rule.for_):
            fired.append(alerts.fire(tx, alert.id))
        return
    if sample.breached:
        _keep(tx, alert, sample)
        if sample.severity.rank > alert.severity.rank:
            alerts.worsen(tx, alert.id, sample.severity)
    if not sample.over:
        if alert.clear_since is not None:
            alerts.seems_over(tx, alert.id, False)
        return
    _over(tx, alert, rule.clear_for, _why_over(sample), resolved)


def _why_over(sample: Sample) -> str:
    if sample.value is None:
        return "nothing is measured any more"
    return "it does not change any more" if sample.rule.statistic == "change" else "it is back within its limit"


def _unseen(tx: Tx, alert: Alert, rules: Mapping[str, AlertRule], looked: _Looked, resolved: list[Alert]) -> None:
    """An alert of which no rule said anything now."""
    rule = rules.get(alert.rule) or (BROKEN if alert.rule == BROKEN.name else None)
    if rule is not None and rule.name in looked.blind:
        return
    elsewhere = rule is not None and rule.metric in _ELSEWHERE
    if alert.state == "pending":
        if not elsewhere or tx.now() - alert.since >= timedelta(minutes=_GONE_MINUTES):
            alerts.drop(tx, alert.id)
    elif rule is None:
        resolved.append(alerts.resolve(tx, alert.id, reason="its rule is gone"))
    elif elsewhere:
        _over(tx, alert, _GONE_MINUTES, "it is no longer measured", resolved)
    else:
        _over(tx, alert, rule.clear_for, "there is nothing of it any more", resolved)


def _over(tx: Tx, alert: Alert, minutes: float, reason: str, resolved: list[Alert]) -> None:
    """It seems to be over; it is once this has lasted."""
    now = tx.now()
    since = alert.clear_since
    if since is None or since > now:
        alerts.seems_over(tx, alert.id, True)
        since = now
    if now - since >= timedelta(minutes=minutes):
        resolved.append(alerts.resolve(tx, alert.id, reason=reason))


def _keep(tx: Tx, alert: Alert, sample: Sample) -> None:
    """What was seen last, while it is too much: people see the worst of it in the end, not what came after."""
    if alert.value != sample.value or alert.message != sample.message:
        alerts.measured(tx, alert.id, value=sample.value, message=sample.message, query=sample.query)
