"""Writing findings as SARIF 2.1.0, for other tools and for evidence."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from nightcrew.model.finding import Finding
from nightcrew.model.severity import Severity
from nightcrew.monitoring.redaction import Redaction

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS = {
    Severity.INFO: "none",
    Severity.LOW: "note",
    Severity.MEDIUM: "warning",
    Severity.HIGH: "error",
    Severity.CRITICAL: "error",
}
_SCORES = {
    Severity.INFO: "0.0",
    Severity.LOW: "2.0",
    Severity.MEDIUM: "5.0",
    Severity.HIGH: "8.0",
    Severity.CRITICAL: "9.5",
}


_NOTHING: Mapping[str, str] = MappingProxyType({})


def write_sarif(
    findings: Sequence[Finding], *, suppressed: Mapping[str, str] = _NOTHING, absent: Collection[str] = ()
) -> bytes:
    """``findings`` as one SARIF log (UTF-8 JSON), a run for each tool; same findings, same bytes.

    What looks like a secret in a message or in evidence is masked: the file is made to be given away.
    ``suppressed`` says of fingerprints why people set them aside (3.27.23); those in ``absent`` are mended (3.27.24).
    """
    by_tool: dict[str, list[Finding]] = {}
    for finding in findings:
        by_tool.setdefault(finding.tool, []).append(finding)
    masked = Redaction().text
    runs = [_run(tool, found, suppressed, absent, masked) for tool, found in by_tool.items()]
    log = {"$schema": _SCHEMA, "version": "2.1.0", "runs": runs}
    return json.dumps(log, ensure_ascii=False, indent=1).encode("utf-8", "replace")


def _run(
    tool: str,
    findings: Sequence[Finding],
    suppressed: Mapping[str, str],
    absent: Collection[str],
    masked: Callable[[str], str],
) -> dict[str, Any]:
    rules = {rule: index for index, rule in enumerate(dict.fromkeys(finding.rule for finding in findings))}
    results = []
    for finding in findings:
        result = _result(finding, rules[finding.rule], masked)
        if finding.fingerprint in suppressed:
            result["suppressions"] = [
                {"kind": "external", "status": "accepted", "justification": suppressed[finding.fingerprint]}
            ]
        if finding.fingerprint in absent:
            result["baselineState"] = "absent"
        results.append(result)
    return {
        "tool": {"driver": {"name": tool, "rules": [{"id": rule} for rule in rules]}},
        "results": results,
        "columnKind": "unicodeCodePoints",
    }


def _result(finding: Finding, rule_index: int, masked: Callable[[str], str]) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": finding.rule,
        "ruleIndex": rule_index,
        "level": _LEVELS[finding.severity],
        "message": {"text": masked(finding.message)},
        "fingerprints": {"nightcrew/v1": finding.fingerprint},
        "properties": {
            "security-severity": _SCORES[finding.severity],
            "category": finding.category.value,
            "breaksBuild": finding.breaks_build,
            "fixable": finding.fixable,
            "confidence": finding.confidence,
        },
    }
    if finding.path is not None:
        physical: dict[str, Any] = {"artifactLocation": {"uri": quote(finding.path), "uriBaseId": "%SRCROOT%"}}
        if finding.line is not None:
            physical["region"] = _region(finding, finding.line, masked)
        result["locations"] = [{"physicalLocation": physical}]
    return result


def _region(finding: Finding, line: int, masked: Callable[[str], str]) -> dict[str, Any]:
    region: dict[str, Any] = {"startLine": line}
    if finding.end_line is not None:
        region["endLine"] = finding.end_line
    if finding.evidence:
        region["snippet"] = {"text": masked(finding.evidence)}
    return region
