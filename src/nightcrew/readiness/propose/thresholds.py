"""Alert thresholds from a reference window: what was normal, with room for chance above it.

A share fires above the upper end of its Wilson score interval (Wilson 1927, z = 3, about one false alarm in 700) for
the smallest number of records that the rule looks at, and never below one percent. A time fires above twice the
higher of the window's p95 and half its p99, and never below a twentieth of a second. Resolved is it half way back.
"""

import json
import math
import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from nightcrew.model.alerting import AlertRule
from nightcrew.model.severity import Severity
from nightcrew.monitoring.query import Window, window
from nightcrew.store.store import Tx

DAYS = 7
LOOKED_AT = 200
"""The fewest records in its window that a proposed rule says anything about."""
ENOUGH = 200
"""The fewest records in the reference window for a threshold."""
_Z = 3.0
_LEAST = 0.01
_LEAST_SECONDS = 0.05
_WINDOW = 60


@dataclass(frozen=True)
class Reference:
    """What a pipeline did in the reference window."""

    records: int
    errors: int
    quarantined: int
    fallbacks: int
    p95: float | None
    p99: float | None


def reference_of(tx: Tx, pipeline: str, now: datetime) -> Reference:
    """What a pipeline did in the last seven days."""
    subject, start = f"pipeline:{pipeline}", now - timedelta(days=DAYS)

    def counted(name: str, **labels: str) -> int:
        return round(window(tx, name, subject, start, now, **labels).total)

    seconds: Window = window(tx, "seconds", subject, start, now)
    return Reference(
        records=counted("records"),
        errors=counted("errors"),
        quarantined=counted("records", state="quarantined"),
        fallbacks=counted("records", state="fallback"),
        p95=seconds.quantile(0.95),
        p99=seconds.quantile(0.99),
    )


def rules_from(reference: Reference, pipeline: str) -> list[AlertRule]:
    """The rules that fit a reference; none if it has too few records."""
    if reference.records < ENOUGH:
        return []
    stem = re.sub(r"[^a-z0-9]+", "-", pipeline.lower()).strip("-")
    stem = (stem if stem[:1].isalpha() else f"p-{stem}")[:26]
    subject = f"pipeline:{pipeline}"
    made = [
        _share(f"{stem}-errors", subject, "errors", {}, reference.errors, reference.records, Severity.HIGH),
        _share(
            f"{stem}-quarantine", subject, "records", {"state": "quarantined"}, reference.quarantined,
            reference.records, Severity.MEDIUM,
        ),
        _share(
            f"{stem}-fallback", subject, "records", {"state": "fallback"}, reference.fallbacks, reference.records,
            Severity.MEDIUM,
        ),
    ]  # fmt: skip
    if reference.p95 is not None and reference.p99 is not None:
        above = _two_digits(max(_LEAST_SECONDS, 2 * max(reference.p95, reference.p99 / 2)))
        made.append(
            AlertRule.model_validate(
                {"name": f"{stem}-slow", "metric": "seconds", "subject": subject, "statistic": "p95", "window": _WINDOW,
                 "min_count": LOOKED_AT, "above": above, "clear": _two_digits(above / 2), "for": 2,
                 "severity": Severity.MEDIUM}
            )
        )  # fmt: skip
    return made


def _share(
    name: str, subject: str, metric: str, labels: dict[str, str], hits: int, records: int, severity: Severity
) -> AlertRule:
    above = _two_digits(max(_LEAST, _upper(hits / records, LOOKED_AT)))
    return AlertRule(
        name=name, metric=metric, subject=subject, labels=labels, statistic="share", of="records", window=_WINDOW,
        min_count=LOOKED_AT, above=min(above, 0.99), clear=_two_digits(min(above, 0.99) / 2), severity=severity,
    )  # fmt: skip


def _upper(share: float, count: int) -> float:
    """The share that so many records stay under by chance, at this share in the long run."""
    middle = share + _Z**2 / (2 * count)
    spread = _Z * math.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2))
    return (middle + spread) / (1 + _Z**2 / count)


def _two_digits(value: float) -> float:
    return float(f"{value:.2g}")


def toml_of(rules: list[AlertRule], reference: Reference) -> str:
    """The rules as they stand in ``nightcrew.toml``."""
    said = f"from {reference.records:,} records of {DAYS} days: {reference.errors} errors, "
    said += f"{reference.quarantined} quarantined, {reference.fallbacks} by a fallback"
    if reference.p95 is not None:
        said += f", p95 {reference.p95:.3g} s"
    parts = [f"# Proposed by nightcrew {said}."]
    for rule in rules:
        plain = rule.model_dump(mode="json", by_alias=True, exclude_unset=True)
        lines = [f"{name} = {_toml(value)}" for name, value in plain.items() if value not in ({}, [])]
        parts.append("\n".join(["[[alert]]", *lines]))
    return "\n\n".join(parts) + "\n"


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {_toml(one)}" for name, one in value.items()) + " }"
    return json.dumps(value)
