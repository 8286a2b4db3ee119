"""Alerts in ``nightcrew.toml``: rules, the channels that messages go by, and what holds for all of them."""

import re
from datetime import time
from typing import Literal, Self
from zoneinfo import ZoneInfo

from pydantic import ConfigDict, Field, field_validator, model_validator

from nightcrew.model.document import Document
from nightcrew.model.severity import Severity

Statistic = Literal[
    "p50", "p95", "p99", "mean", "max", "min", "count", "sum", "rate", "share", "last", "age", "change"
]  # fmt: skip
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DEFAULT_CHANNEL = "default"
"""The channel of the addresses in the environment variable that ``[notify] urls_env`` names."""

_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}", re.ASCII)
_TIME = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]", re.ASCII)
_MONTHS = 60 * 24 * 62
_RESERVED = frozenset({"tx", "name", "subject", "start", "end", "step"})


def runbook_code(rule: str) -> str:
    """The code of a rule's runbook: ``AL-NO-SHIFT`` for ``no-shift``."""
    return f"AL-{rule.upper()}"


def clock_time(text: str) -> time:
    """``HH:MM`` as a time of day."""
    return time.fromisoformat(text)


class _Strict(Document):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)


class AlertRule(_Strict):
    """The table [[alert]]. One with the name of a rule that nightcrew brings takes that one's place.

    It says one of these: ``above`` or ``below`` a threshold, ``absent``, ``expected_by``, or ``objective``.
    """

    name: str = Field(description="name in messages: small letters, digits and hyphens")
    metric: str = Field(min_length=1, description="the measure, such as seconds or errors (nightcrew metrics list)")
    subject: str = Field(
        default="*", min_length=1, description="of what, such as pipeline:fraud; with * at the end: an alert for each"
    )
    labels: dict[str, str] = Field(default_factory=dict, description="only what bears these labels")
    by: str = Field(default="", description="a label: an alert for each of its values")
    statistic: Statistic = Field(
        default="last",
        description="what is compared: p50, p95, p99, mean, max, min, count (of values), sum, rate (a second), share "
        "(of the total of another measure, 0..1), last, age (seconds since it was last seen), change (in percent)",
    )
    of: str = Field(default="", description="for share and objective: the measure that metric is a part of")
    of_labels: dict[str, str] = Field(default_factory=dict, description="labels of that measure")
    change_of: Statistic = Field(default="sum", description="for change: the statistic that changes")
    window: float = Field(default=10, ge=1, le=_MONTHS, description="minutes that are looked at")
    before: float | None = Field(
        default=None, ge=1, le=_MONTHS, description="for change: minutes before the window to compare with; its own"
    )
    min_count: int = Field(default=1, ge=1, description="fewer values than this in the window say nothing")
    above: float | None = Field(default=None, description="fires above this")
    below: float | None = Field(default=None, description="fires below this")
    at_least: float | None = Field(
        default=None,
        description="for change and share: the statistic that changes, or the total of metric, is at least this, in "
        "the unit of the measure; what is smaller never fires",
    )
    clear: float | None = Field(
        default=None, description="is over only at or past this (hysteresis); empty: the threshold"
    )
    for_: float = Field(default=0, ge=0, le=_MONTHS, alias="for", description="minutes that it must last to fire")
    clear_for: float = Field(default=5, ge=0, le=_MONTHS, description="minutes that it must be over to be resolved")
    absent: float | None = Field(
        default=None, gt=0, le=_MONTHS, description="fires when nothing was seen for so many minutes, once it was seen"
    )
    habit: bool = Field(
        default=False,
        description="for absent: only once it has come three times over eight days, and not within the longest pause "
        "of four weeks",
    )
    expected_by: str = Field(default="", description="fires when nothing was seen by this time of day (HH:MM)")
    expected_from: str = Field(
        default="", description="what is seen from this time on counts (HH:MM); empty: from expected_by a day earlier"
    )
    days: tuple[Day, ...] = Field(default=DAYS, min_length=1, description="the days of expected_by")
    timezone: str = Field(default="", description="its time zone, such as Europe/Berlin; empty: that of [alerts]")
    objective: float | None = Field(
        default=None, gt=0, lt=1, description="the part that is to be good (0..1): fires when its rest burns too fast"
    )
    objective_days: float = Field(default=30, gt=0, le=366, description="days that the objective is for")
    counts: Literal["bad", "good"] = Field(
        default="bad", description="for objective: whether metric counts bad or good"
    )
    severity: Severity = Field(default=Severity.HIGH, description="info, low, medium, high or critical")
    message: str = Field(default="", max_length=500, description="a sentence for people; empty: made from the rule")
    runbook: str = Field(default="", description="code or address of its runbook; empty: AL-OWN-RULE")
    channels: tuple[str, ...] = Field(
        default=(), description="channels in this order: the next is used when one fails; empty: those of [alerts]"
    )
    also: tuple[str, ...] = Field(default=(), description="further channels, each of which gets it too")
    escalate_after: float | None = Field(
        default=None, gt=0, le=_MONTHS, description="minutes without acknowledgement until the next of escalate_to"
    )
    escalate_to: tuple[str, ...] = Field(default=(), description="channels that are told then, one after the other")

    @field_validator("name")
    @classmethod
    def _a_name(cls, value: str) -> str:
        return _named(value)

    @field_validator("expected_by", "expected_from")
    @classmethod
    def _a_time(cls, value: str) -> str:
        return _timed(value)

    @field_validator("timezone")
    @classmethod
    def _a_zone(cls, value: str) -> str:
        return _zoned(value)

    @field_validator("labels", "of_labels")
    @classmethod
    def _free_labels(cls, value: dict[str, str]) -> dict[str, str]:
        if taken := sorted(_RESERVED & set(value)):
            raise ValueError(f"{', '.join(taken)} cannot be a label")
        return value

    @model_validator(mode="after")
    def _one_condition(self) -> Self:
        kinds = {
            "above": self.above is not None,
            "below": self.below is not None,
            "absent": self.absent is not None,
            "expected_by": bool(self.expected_by),
            "objective": self.objective is not None,
        }
        given = [kind for kind, is_given in kinds.items() if is_given]
        if len(given) != 1:
            raise ValueError(
                f"{self.name}: say one of {', '.join(kinds)}" + (f", not {' and '.join(given)}" if given else "")
            )
        if (self.statistic == "share" or self.objective is not None) != bool(self.of):
            raise ValueError(f"{self.name}: of is for share and objective, and they need it")
        if self.clear is not None:
            limit = self.above if self.above is not None else self.below
            if limit is None or (self.clear > limit if self.above is not None else self.clear < limit):
                raise ValueError(f"{self.name}: clear lies on the good side of above or below")
        if bool(self.escalate_to) != (self.escalate_after is not None):
            raise ValueError(f"{self.name}: escalate_after and escalate_to go together")
        if self.at_least is not None and self.statistic not in ("change", "share"):
            raise ValueError(f"{self.name}: at_least is for change and share")
        if self.change_of in ("share", "age", "change"):
            raise ValueError(f"{self.name}: change_of is a statistic of one measure over a time")
        return self


class AlertChannel(_Strict):
    """The table [[channel]]. The addresses hold tokens: they are named, never written here."""

    name: str = Field(description="name in rules: small letters, digits and hyphens")
    kind: Literal["message", "ticket"] = Field(
        default="message", description="message: sent to addresses; ticket: filed in the backlog"
    )
    urls_env: str = Field(default="", description="environment variable with its addresses (apprise URLs)")
    urls_file: str = Field(
        default="", description="or the absolute path of a file with them, one a line, outside the repository"
    )

    @field_validator("name")
    @classmethod
    def _a_name(cls, value: str) -> str:
        if value == DEFAULT_CHANNEL:
            raise ValueError(f"{DEFAULT_CHANNEL} is the channel of [notify]")
        return _named(value)

    @field_validator("urls_env")
    @classmethod
    def _a_variable(cls, value: str) -> str:
        if ":" in value or "/" in value:
            raise ValueError("an address does not belong here: name the environment variable that holds it")
        return value

    @field_validator("urls_file")
    @classmethod
    def _a_path(cls, value: str) -> str:
        if value and (not value.startswith(("/", "~/")) or "://" in value):
            raise ValueError("it is the absolute path of a file that holds the addresses")
        return value

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = bool(self.urls_env) + bool(self.urls_file)
        if given != (1 if self.kind == "message" else 0):
            raise ValueError(f"{self.name}: a message has urls_env or urls_file, a ticket neither")
        return self


class Alerting(_Strict):
    """The table [alerts]."""

    every_seconds: float = Field(default=15, ge=1, le=3600, description="how often rules are looked at")
    disabled: tuple[str, ...] = Field(default=(), description="rules of nightcrew's own that are off")
    channels: tuple[str, ...] = Field(
        default=(), description="channels in this order: the next is used when one fails; empty: all there are"
    )
    critical_channels: tuple[str, ...] = Field(default=(), description="those of critical alerts; empty: the same")
    also: tuple[str, ...] = Field(default=(), description="further channels, each of which gets every alert too")
    timezone: str = Field(default="", description="time zone of the times of day; empty: this machine's own")
    shift_by: str = Field(default="", description="time of day by which a shift has ended (HH:MM); empty: learnt")
    shift_days: tuple[Day, ...] = Field(default=DAYS, min_length=1, description="the days of shift_by")
    quiet_from: str = Field(default="", description="quiet hours begin (HH:MM); empty: there are none")
    quiet_until: str = Field(default="", description="and end: what was held back is sent then, if it still holds")
    quiet_below: Severity = Field(
        default=Severity.CRITICAL, description="what is less severe than this waits for the end of quiet hours"
    )
    escalate_after: float | None = Field(
        default=None, gt=0, le=_MONTHS, description="minutes without acknowledgement until the next of escalate_to"
    )
    escalate_to: tuple[str, ...] = Field(default=(), description="channels that are told then, one after the other")
    give_up_hours: float = Field(default=24, gt=0, description="a message that no channel takes is given up after this")
    url: str = Field(default="", description="address of the dashboard, for links in messages; empty: paths only")

    @field_validator("shift_by", "quiet_from", "quiet_until")
    @classmethod
    def _a_time(cls, value: str) -> str:
        return _timed(value)

    @field_validator("timezone")
    @classmethod
    def _a_zone(cls, value: str) -> str:
        return _zoned(value)

    @field_validator("url")
    @classmethod
    def _an_address(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            raise ValueError("an address begins with http:// or https://")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _both(self) -> Self:
        if bool(self.quiet_from) != bool(self.quiet_until):
            raise ValueError("quiet_from and quiet_until go together")
        if bool(self.escalate_to) != (self.escalate_after is not None):
            raise ValueError("escalate_after and escalate_to go together")
        return self


def unknown_channels(alerts: Alerting, rules: tuple[AlertRule, ...], channels: tuple[AlertChannel, ...]) -> str | None:
    """What is wrong with names of channels and rules over the tables; None if nothing is."""
    names = [channel.name for channel in channels]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        return f"channel: there are two named {', '.join(twice)}"
    rule_names = [rule.name for rule in rules]
    if twice := sorted({name for name in rule_names if rule_names.count(name) > 1}):
        return f"alert: there are two named {', '.join(twice)}"
    known = {*names, DEFAULT_CHANNEL}
    uses = [("alerts", (*alerts.channels, *alerts.critical_channels, *alerts.also, *alerts.escalate_to))]
    uses += [(f"alert {rule.name}", (*rule.channels, *rule.also, *rule.escalate_to)) for rule in rules]
    for where, used in uses:
        if missing := sorted(set(used) - known):
            return f"{where}: there is no channel {', '.join(missing)}; there are {', '.join(sorted(known))}"
    return None


def _named(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError("a name is small letters, digits and hyphens, at most 40, and begins with a letter")
    return value


def _timed(value: str) -> str:
    if value and not _TIME.fullmatch(value):
        raise ValueError("a time of day is written HH:MM")
    return value


def _zoned(value: str) -> str:
    if value:
        try:
            ZoneInfo(value)
        except (ValueError, OSError, KeyError):
            raise ValueError(f"there is no time zone {value!r}; it is written like Europe/Berlin") from None
    return value
