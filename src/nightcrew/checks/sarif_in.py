"""SARIF 2.1.0 in: any scanner's results as findings. What does not fit the format is refused with its place."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from nightcrew.checks.located import Hit
from nightcrew.checks.running import CheckError
from nightcrew.model.finding import Category
from nightcrew.model.severity import Severity

MAX_BYTES = 64 * 1024 * 1024
_LEVELS = {"error": Severity.HIGH, "warning": Severity.MEDIUM, "note": Severity.LOW, "none": Severity.INFO}


def read_sarif(path: Path, workspace: Path, *, category: Category = Category.SECURITY) -> list[Hit]:
    """The results of a SARIF file, suppressed ones left out; raises CheckError (missing, too large, not SARIF)."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise CheckError(f"{path.name} is larger than {MAX_BYTES} bytes")
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise CheckError("the scanner wrote no SARIF") from None
    except (ValueError, RecursionError) as error:
        raise CheckError(f"{path.name} is not JSON: {str(error)[:200]}") from None
    if not isinstance(value, dict) or not isinstance(value.get("runs"), list):
        raise CheckError(f"{path.name} is not SARIF: it has no list of runs")
    try:
        return [hit for run in value["runs"] for hit in _run(run, workspace, category)]
    except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
        raise CheckError(f"{path.name} is not valid SARIF: {type(error).__name__} {str(error)[:200]}") from None


def _run(run: dict[str, Any], workspace: Path, category: Category) -> Iterator[Hit]:
    driver = run["tool"]["driver"]
    rules = driver.get("rules") or []
    by_id = {rule["id"]: rule for rule in rules}
    artifacts = run.get("artifacts") or []
    for result in run.get("results") or []:
        if result.get("suppressions"):
            continue
        rule = rules[result["ruleIndex"]] if result.get("ruleIndex", -1) >= 0 else by_id.get(result.get("ruleId"), {})
        path, line, end = _place(result, artifacts, workspace)
        yield Hit(
            tool=str(driver["name"]).lower(),
            rule=str(result.get("ruleId") or rule.get("id") or "unnamed"),
            category=category,
            severity=_severity(result, rule),
            message=_message(result, rule),
            path=path,
            line=line,
            end_line=end,
        )


def _severity(result: dict[str, Any], rule: dict[str, Any]) -> Severity:
    """By ``security-severity`` (a CVSS score) where there is one, else by level."""
    properties = {**(rule.get("properties") or {}), **(result.get("properties") or {})}
    score = properties.get("security-severity")
    if score is not None:
        number = float(score)
        scale = ((9.0, Severity.CRITICAL), (7.0, Severity.HIGH), (4.0, Severity.MEDIUM), (0.1, Severity.LOW))
        return next((severity for least, severity in scale if number >= least), Severity.INFO)
    named = str(properties.get("issue_severity", "")).lower()
    if named in ("low", "medium", "high"):
        return Severity(named)
    level = result.get("level") or (rule.get("defaultConfiguration") or {}).get("level") or "warning"
    return _LEVELS.get(level, Severity.MEDIUM)


def _message(result: dict[str, Any], rule: dict[str, Any]) -> str:
    message = result.get("message") or {}
    text = message.get("text") or message.get("markdown")
    if text is None and message.get("id"):
        text = (rule.get("messageStrings") or {}).get(message["id"], {}).get("text")
    return str(text or (rule.get("shortDescription") or {}).get("text") or "no message")


def _place(
    result: dict[str, Any], artifacts: list[dict[str, Any]], workspace: Path
) -> tuple[str | None, int | None, int | None]:
    locations = result.get("locations") or []
    physical = locations[0].get("physicalLocation") if locations else None
    if not physical:
        return None, None, None
    artifact = physical.get("artifactLocation") or {}
    if "uri" not in artifact and artifact.get("index", -1) >= 0:
        artifact = artifacts[artifact["index"]]["location"]
    region = physical.get("region") or {}
    line, end = region.get("startLine"), region.get("endLine")
    return _relative(str(artifact.get("uri", "")), workspace), _positive(line), _positive(end)


def _relative(uri: str, workspace: Path) -> str | None:
    name = unquote(urlparse(uri).path if uri.startswith("file:") else uri)
    if not name:
        return None
    path = Path(name)
    if path.is_absolute():
        root = workspace.resolve()
        return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
    parts = [part for part in path.parts if part not in (".", "..")]
    return "/".join(parts) or None


def _positive(number: Any) -> int | None:
    return number if isinstance(number, int) and number >= 1 else None
