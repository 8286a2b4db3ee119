"""Reading SARIF 2.1.0 (OASIS standard), the format in which scanners of any language report.

Everything in a report is data: text is cleaned, paths are made relative to the repository or dropped, and whatever
does not fit the standard is an error that names the place.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nightcrew.checks.errors import ReportError
from nightcrew.checks.located import Hit
from nightcrew.checks.reports import read_report
from nightcrew.checks.sarif_paths import Locator, Place
from nightcrew.checks.text import plain_text
from nightcrew.model.finding import Category
from nightcrew.model.severity import Severity

LIMIT = 64 * 1024 * 1024
"""Reports above this many bytes are refused."""

_LEVELS = {"error": Severity.HIGH, "warning": Severity.MEDIUM, "note": Severity.LOW, "none": Severity.INFO}
_CONFIDENCE = {"HIGH": 0.9, "MEDIUM": 0.6, "LOW": 0.3}
_MESSAGE, _ARGUMENT = 5_000, 1_000
"""Characters of a message, and of an argument in it: placeholders must not make terabytes of megabytes."""

_PLACEHOLDER = re.compile(r"\{(\d{1,3})\}")


@dataclass(frozen=True)
class SarifReport:
    """What a SARIF log says: its tools, its results, and ``failures``: what the tools say they could not do."""

    tools: tuple[str, ...]
    hits: tuple[Hit, ...]
    failures: tuple[str, ...] = ()


def read_sarif(
    path: Path, workspace: Path, *, category: Category = Category.SECURITY, limit: int = LIMIT
) -> SarifReport:
    """Read the SARIF file ``path`` about the checkout at ``workspace``; see ``parse_sarif``. ``limit`` in bytes."""
    try:
        data = read_report(path, limit=limit)
    except OSError as error:  # the scanner put something else there, such as a directory
        raise ReportError(f"{path.name}: cannot be read: {error.strerror}") from None
    return parse_sarif(data, workspace, category=category, source=path.name)


def parse_sarif(
    data: bytes, workspace: Path, *, category: Category = Category.SECURITY, source: str = "SARIF"
) -> SarifReport:
    """The results of a SARIF 2.1.0 log, those that passed or are suppressed left out.

    Severity is the higher of the level and of ``security-severity`` (0 to 10, in the bands of CVSS 3.1).

    Raises ReportError naming what does not fit.
    """
    log = _load(data, source)
    version = log.get("version")
    if version != "2.1.0":
        raise ReportError(f"{source}: version is {version!r:.40}, not '2.1.0'")
    tools: list[str] = []
    failures: list[str] = []
    hits: list[Hit] = []
    for index, run in enumerate(_array(log, "runs", source, required=True)):
        where = f"{source}: runs[{index}]"
        reader = _RunReader(_as_object(run, where), where, workspace, category)
        tools.append(reader.tool)
        failures += reader.failures()
        hits += reader.hits()
    return SarifReport(tuple(tools), tuple(hits), tuple(failures))


def _load(data: bytes, source: str) -> Mapping[str, Any]:
    if not data.strip():
        raise ReportError(f"{source}: empty")
    try:
        value = json.loads(data.removeprefix(b"\xef\xbb\xbf"))
    except RecursionError:
        raise ReportError(f"{source}: nested too deeply") from None
    except ValueError as error:  # covers JSONDecodeError and UnicodeDecodeError
        raise ReportError(f"{source}: not JSON: {plain_text(str(error), limit=200)}") from None
    return _as_object(value, source)


class _RunReader:
    """One run of a log."""

    def __init__(self, run: Mapping[str, Any], where: str, root: Path, category: Category) -> None:
        self.run, self.where, self.category = run, where, category
        tool = _object(run, "tool", where, required=True)
        driver = _object(tool, "driver", f"{where}.tool", required=True)
        self.tool = plain_text(_string(driver, "name", f"{where}.tool.driver") or "unnamed tool", limit=100).lower()
        extensions = _array(tool, "extensions", f"{where}.tool")
        components = [driver, *(_as_object(item, f"{where}.tool.extensions") for item in extensions)]
        self.rules = [
            [_as_object(rule, f"{where}.tool: rules") for rule in _array(component, "rules", f"{where}.tool")]
            for component in components
        ]
        self.by_id = {rule["id"]: rule for rules in self.rules for rule in rules if isinstance(rule.get("id"), str)}
        self.locator = Locator(run, root)

    def failures(self) -> list[str]:
        """What the tool says if it did not finish (section 3.20.14)."""
        return [
            "; ".join(text for text, _ in notes) or "the tool reports that it did not finish"
            for invocation, notes in self._invocations()
            if invocation.get("executionSuccessful") is False
        ]

    def _invocations(self) -> Iterator[tuple[Mapping[str, Any], list[tuple[str, Place]]]]:
        """Each invocation with the errors that it notes (3.20.20 and 3.20.21)."""
        for index, item in enumerate(_array(self.run, "invocations", self.where)):
            where = f"{self.where}.invocations[{index}]"
            invocation = _as_object(item, where)
            notes = []
            for key in ("toolExecutionNotifications", "toolConfigurationNotifications"):
                for each in _array(invocation, key, where):
                    note = _as_object(each, f"{where}.{key}")
                    if note.get("level") == "error":
                        locations = _array(note, "locations", where)
                        place = self.locator.place(_as_object(locations[0], where) if locations else {})
                        notes.append((plain_text(_message_text(note.get("message"), {}) or "no reason given"), place))
            yield invocation, notes

    def _unscanned(self) -> Iterator[Hit]:
        """What a tool that finished could not look at, often a file that it cannot parse."""
        for invocation, notes in self._invocations():
            if invocation.get("executionSuccessful") is not False:
                for text, place in notes:
                    message = f"not scanned: {text}"
                    yield Hit(self.tool, "not-scanned", self.category, Severity.LOW, message, place.path, code=text)

    def hits(self) -> list[Hit]:
        """The results that count, and what could not be scanned."""
        found = list(self._unscanned())
        for index, item in enumerate(_array(self.run, "results", self.where)):
            where = f"{self.where}.results[{index}]"
            hit = self._hit(_as_object(item, where), where)
            if hit is not None:
                found.append(hit)
        return found

    def _hit(self, result: Mapping[str, Any], where: str) -> Hit | None:
        if _suppressed(result, where) or result.get("baselineState") == "absent":
            return None
        if result.get("kind", "fail") not in ("fail", "open", "review"):
            return None
        rule_id, rule = self._rule(result, where)
        message = _message_text(_object(result, "message", where, required=True), rule)
        if message is None:
            raise ReportError(f"{where}.message: has no text")
        locations = _array(result, "locations", where)
        place = self.locator.place(_as_object(locations[0], f"{where}.locations[0]") if locations else {})
        return Hit(
            tool=self.tool,
            rule=rule_id,
            category=self.category,
            severity=_severity(result, rule, where),
            message=plain_text(message),
            path=place.path,
            line=place.line,
            end_line=place.end_line,
            confidence=_confidence(result),
            code=place.snippet or "",
        )

    def _rule(self, result: Mapping[str, Any], where: str) -> tuple[str, Mapping[str, Any]]:
        reference = _object(result, "rule", where)
        rule_id = _string(result, "ruleId", where) or _string(reference, "id", where)
        component = _integer(_object(reference, "toolComponent", where).get("index"))
        index = _integer(result.get("ruleIndex"))
        index = _integer(reference.get("index")) if index is None else index
        chosen = 0 if component is None else component + 1
        rules = self.rules[chosen] if chosen < len(self.rules) else []
        rule: Mapping[str, Any] = rules[index] if index is not None and 0 <= index < len(rules) else {}
        if not rule and rule_id is not None:
            # A hierarchical id (CA1000/1) falls back on its parent (3.27.5).
            rule = self.by_id.get(rule_id) or self.by_id.get(rule_id.rpartition("/")[0]) or {}
        name = rule_id or rule.get("id")
        return plain_text(name if isinstance(name, str) else "unnamed", limit=200), rule


def _severity(result: Mapping[str, Any], rule: Mapping[str, Any], where: str) -> Severity:
    level = result.get("level")
    if level is None:
        level = _object(rule, "defaultConfiguration", where).get("level", "warning")
    if not isinstance(level, str) or level not in _LEVELS:
        raise ReportError(f"{where}.level: {level!r:.40} is not one of none, note, warning, error")
    severity = _LEVELS[level]
    for holder in (rule, result):
        score = _object(holder, "properties", where).get("security-severity")
        severity = severity.raised_to(_band(score))
    return severity


def _band(score: object) -> Severity | None:
    """CVSS 3.1 section 5: 9.0 critical, 7.0 high, 4.0 medium, 0.1 low."""
    try:
        value = float(score) if isinstance(score, (str, int, float)) and not isinstance(score, bool) else math.nan
    except (ValueError, OverflowError):
        return None
    if not 0 <= value <= 10:
        return None
    bands = ((9.0, Severity.CRITICAL), (7.0, Severity.HIGH), (4.0, Severity.MEDIUM), (0.1, Severity.LOW))
    return next((severity for floor, severity in bands if value >= floor), Severity.INFO)


def _confidence(result: Mapping[str, Any]) -> float | None:
    properties = result.get("properties")
    word = properties.get("issue_confidence") if isinstance(properties, dict) else None
    return _CONFIDENCE.get(word) if isinstance(word, str) else None


def _suppressed(result: Mapping[str, Any], where: str) -> bool:
    """Section 3.35.3: a suppression counts unless it is under review or rejected."""
    return any(
        _as_object(item, f"{where}.suppressions").get("status", "accepted") == "accepted"
        for item in _array(result, "suppressions", where)
    )


def _message_text(message: object, rule: Mapping[str, Any]) -> str | None:
    """Section 3.11: the text, else the markdown, else the rule's string of that id; placeholders filled."""
    if not isinstance(message, dict):
        return None
    found = message.get("text") or message.get("markdown")
    if not found and isinstance(message.get("id"), str):
        strings = rule.get("messageStrings")
        entry = strings.get(message["id"]) if isinstance(strings, dict) else None
        found = entry.get("text") or entry.get("markdown") if isinstance(entry, dict) else None
    if not isinstance(found, str):
        return None
    arguments = message.get("arguments")
    if not isinstance(arguments, list):
        return found

    filled = [str(one)[:_ARGUMENT] if isinstance(one, str | int | float) else "" for one in arguments[:1000]]

    def fill(match: re.Match[str]) -> str:
        index = int(match[1])
        return filled[index] if index < len(filled) else match[0]

    return _PLACEHOLDER.sub(fill, found[:_MESSAGE])


def _as_object(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ReportError(f"{where}: not an object")
    return value


def _object(holder: Mapping[str, Any], key: str, where: str, *, required: bool = False) -> Mapping[str, Any]:
    value = holder.get(key)
    if value is None and not required:
        return {}
    return _as_object(value, f"{where}.{key}")


def _array(holder: Mapping[str, Any], key: str, where: str, *, required: bool = False) -> list[Any]:
    value = holder.get(key)
    if value is None and not required:
        return []
    if not isinstance(value, list):
        raise ReportError(f"{where}.{key}: not an array")
    return value


def _string(holder: Mapping[str, Any], key: str, where: str) -> str | None:
    value = holder.get(key)
    if value is not None and not isinstance(value, str):
        raise ReportError(f"{where}.{key}: not a string")
    return value or None


def _integer(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
