"""The same problem named by two tools is one finding: ruff's S rules are bandit's under another letter."""

from collections.abc import Iterable

from nightcrew.model.finding import Finding


def without_doubles(found: Iterable[Finding]) -> list[Finding]:
    """``found`` without the S findings whose B twin is there; the twin takes the higher severity of the two."""
    listed = list(found)
    twins = {_place(finding): finding for finding in listed if finding.tool == "ruff-s"}
    merged = []
    doubled = set()
    for finding in listed:
        twin = twins.get(_place(finding)) if finding.tool == "bandit" else None
        if twin is not None:
            doubled.add(twin.fingerprint)
            finding = finding.model_copy(update={"severity": finding.severity.raised_to(twin.severity)})
        merged.append(finding)
    return [finding for finding in merged if not (finding.tool == "ruff-s" and finding.fingerprint in doubled)]


def _place(finding: Finding) -> tuple[str, str | None, int | None]:
    return finding.rule[1:], finding.path, finding.line
