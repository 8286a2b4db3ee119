"""The rules that hold without any configuration. Each has a runbook, named by its code."""

from nightcrew.model.alerting import AlertRule, runbook_code
from nightcrew.model.settings import Settings
from nightcrew.model.severity import Severity

OWN_RULE = "AL-OWN-RULE"
"""The runbook of a rule of the user's own that names none."""

REVIEW_DEADLINE = "AL-REVIEW-DEADLINE"
"""The runbook of reviews that passed their deadline: this is told at once, without a rule."""

_MINUTE, _HOUR = 60.0, 3600.0


def default_rules(settings: Settings) -> tuple[AlertRule, ...]:
    """Nightcrew's own rules, as far as they depend on settings."""
    return (_no_shift(settings), *_crew(), *_PIPELINES, *_standing(settings))


def rules_of(settings: Settings) -> tuple[AlertRule, ...]:
    """Every rule that holds: nightcrew's own that are not switched off or replaced, and those in ``nightcrew.toml``."""
    own = {rule.name for rule in settings.alert}
    off = own | set(settings.alerts.disabled)
    return (*(rule for rule in default_rules(settings) if rule.name not in off), *settings.alert)


def runbook_of(rule: AlertRule) -> str:
    """Code or address of a rule's runbook."""
    return rule.runbook or (runbook_code(rule.name) if rule.name in NAMES else OWN_RULE)


def _no_shift(settings: Settings) -> AlertRule:
    common = {"name": "no-shift", "metric": "shifts", "subject": "crew", "severity": Severity.CRITICAL, "clear_for": 0}
    if settings.alerts.shift_by:
        return AlertRule.model_validate(
            {**common, "expected_by": settings.alerts.shift_by, "days": settings.alerts.shift_days,
             "message": "no shift has ended since {since}; one was expected by {deadline}"}
        )  # fmt: skip
    return AlertRule.model_validate(
        {**common, "absent": 26 * 60, "habit": True,
         "message": "no shift has ended for {value}, longer than in the last four weeks"}
    )  # fmt: skip


def _crew() -> tuple[AlertRule, ...]:
    return (
        AlertRule(
            name="shift-overrun", metric="shift.overrun", subject="crew", above=10 * _MINUTE, severity=Severity.HIGH,
            message="the shift still runs, {value} after its deadline",
        ),
        AlertRule(
            name="shift-failed", metric="shifts", subject="crew", labels={"outcome": "failed"}, statistic="sum",
            window=60, above=0, severity=Severity.HIGH, message="a shift broke off",
        ),
        AlertRule(
            name="schedule-missed", metric="schedule.overdue", subject="schedule:*", window=26 * 60,
            above=15 * _MINUTE, clear_for=0, severity=Severity.HIGH,
            message="{subject} was due {value} ago, and nothing called it: see nightcrew schedule show",
        ),
        *(_unwell(problem, severity, said) for problem, severity, said in _UNWELL),
        AlertRule(
            name="budget-near", metric="budget.used", subject="agent:*", above=0.9, severity=Severity.LOW,
            message="{subject} has used {value} of its turns",
        ),
        AlertRule(
            name="brain-failing", metric="calls", subject="brain:*", labels={"status": "failed"}, statistic="share",
            of="calls", window=15, min_count=4, above=0.5, clear=0.25, severity=Severity.HIGH,
            message="{value} of the requests to {subject} failed in the last {window}",
        ),
    )  # fmt: skip


_UNWELL = (
    ("silent", Severity.MEDIUM, "{subject} has work and should have had a session, and had none"),
    ("stalled", Severity.HIGH, "nothing happens in the session of {subject}"),
    ("failing", Severity.HIGH, "the sessions of {subject} fail"),
    ("over-budget", Severity.MEDIUM, "{subject} uses all of its budget, or more than it used to"),
    ("quality", Severity.MEDIUM, "{subject} does worse than it used to"),
)


def _unwell(problem: str, severity: Severity, said: str) -> AlertRule:
    """What ``crew.health`` finds wrong with an agent, from the readings that are taken before rules are looked at."""
    return AlertRule(
        name=f"agent-{problem}", metric="health", subject="agent:*", labels={"problem": problem}, window=26 * 60,
        above=0, clear_for=0, severity=severity, message=f"{said}: see nightcrew health",
    )  # fmt: skip


_PIPELINES = (
    AlertRule(
        name="pipeline-errors", metric="errors", subject="pipeline:*", statistic="share", of="records", window=10,
        min_count=20, above=0.05, clear=0.03, severity=Severity.HIGH,
        message="{value} of the records of {subject} failed in the last {window} (more than {threshold})",
    ),
    AlertRule(
        name="pipeline-slow", metric="seconds", subject="pipeline:*", statistic="change", change_of="p95", window=5,
        before=30, min_count=100, above=100, clear=50, at_least=0.05, for_=2, severity=Severity.MEDIUM,
        message="p95 of the seconds a record of {subject} takes rose by {value} against the {before} before",
    ),
    AlertRule(
        name="pipeline-degraded", metric="records", subject="pipeline:*", labels={"state": "fallback"},
        statistic="share", of="records", window=10, min_count=50, above=0.2, clear=0.15, severity=Severity.MEDIUM,
        message="{value} of the records of {subject} were answered by a fallback in the last {window}",
    ),
    AlertRule(
        name="quarantine-growing", metric="records", subject="pipeline:*", labels={"state": "quarantined"},
        statistic="share", of="records", window=30, min_count=50, above=0.02, clear=0.01, severity=Severity.MEDIUM,
        message="{value} of the records of {subject} went to quarantine in the last {window}",
    ),
    AlertRule(
        name="drift", metric="drift.open", subject="pipeline:*", above=0, clear_for=0, severity=Severity.MEDIUM,
        message="{subject} has drifted from its reference: {detail}",
    ),
    AlertRule(
        name="retry-overdue", metric="retry.overdue", subject="pipeline:*", above=_HOUR, severity=Severity.MEDIUM,
        message="records of {subject} have been due for a retry for {value}, and nothing works them",
    ),
)  # fmt: skip


def _standing(settings: Settings) -> tuple[AlertRule, ...]:
    return (
        AlertRule(
            name="review-waiting", metric="review.waiting", subject="desk:human", above=48 * _HOUR,
            severity=Severity.MEDIUM, message="a review has waited for a person for {value}",
        ),
        AlertRule(
            name="disk-full", metric="disk.free", subject="disk:*",
            below=max(0.5, settings.limits.min_free_gib), severity=Severity.CRITICAL,
            message="{value} GiB are free where nightcrew keeps its state ({subject})",
        ),
        AlertRule(
            name="channel-dead", metric="channel.failures", subject="channel:*", above=1, severity=Severity.HIGH,
            clear_for=0, message="{subject} took none of its last {value} messages",
        ),
    )  # fmt: skip


BROKEN = AlertRule(
    name="rule-broken", metric="rule.broken", subject="rule:*", above=0, clear_for=0, severity=Severity.HIGH,
    message="{subject} could not be looked at: {problem}",
)  # fmt: skip
"""That a rule, or the settings, cannot be read: it is no rule that is looked at, but others' failing is."""

NAMES = frozenset(rule.name for rule in (*default_rules(Settings()), BROKEN))
"""The names of nightcrew's own rules."""

RUNBOOKS = tuple(sorted({*map(runbook_code, NAMES), OWN_RULE, REVIEW_DEADLINE}))
"""Every code that an alert can carry; there is a runbook for each."""
