"""``nightcrew.toml`` in the copy: read, made harmless, written again."""

import json
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nightcrew.model.errors import DocumentError
from nightcrew.monitoring.alerts.configured import SETTINGS_FILE

_OUTSIDE = ("database_url", "github", "memory", "brains", "scanner")
"""What reaches beyond the copy, or costs money there."""
_USUAL = ("budget", "limits")
"""What is as it is by default in the copy, so that no drill's work ends at it: the disk there may be another, too."""
_CAPS = ("soft", "hard")

_NOWHERE = "NIGHTCREW_DRILL_NOWHERE"
"""The variable, which is not set, of channels whose addresses lie in a file: that would be read from anywhere."""


def load(folder: Path) -> dict[str, Any]:
    """The settings in ``folder`` as plain values; empty if there is no file. Raises DocumentError."""
    try:
        return tomllib.loads((folder / SETTINGS_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DocumentError(f"{SETTINGS_FILE}: not TOML: {error}") from None


def save(folder: Path, settings: Mapping[str, Any]) -> None:
    """Write the settings of the copy; comments are lost. A link is replaced: it may lead out of the copy."""
    lines = [f"{_key(name)} = {_value(value)}\n" for name, value in settings.items()]
    path = folder / SETTINGS_FILE
    path.unlink(missing_ok=True)
    path.write_text("".join(lines), encoding="utf-8")


def harmless(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings without what reaches outside: databases, forges, other memories, models, scanners.

    Channels of alerts stay, and reach nobody: their addresses are named by variables that are not set in the copy.
    Agents get the mechanical brain, and the turns, times and disk that they have by default, but in the drill that is
    about their caps. The repository's own tests are not run: a drill is about what the crew
    does with a result, and they may take hours, or need what is not in the copy.
    """
    kept = {name: value for name, value in settings.items() if name not in (*_OUTSIDE, *_USUAL)}
    channels = [
        {k: v for k, v in one.items() if k != "urls_file"} | ({"urls_env": _NOWHERE} if "urls_file" in one else {})
        for one in kept.get("channel", [])
    ]
    if channels:
        kept["channel"] = channels
    agents = {
        name: {k: v for k, v in agent.items() if k not in ("brains", *_CAPS)}
        for name, agent in _tables(kept.get("agents"))
    }
    if agents:
        kept["agents"] = agents
    checks = kept["checks"] if isinstance(kept.get("checks"), dict) else {}
    paths = {"test_paths": checks["test_paths"]} if "test_paths" in checks else {}
    kept["checks"] = {
        "python": sys.executable, "test": "true", "lint": False, "scanners": ["ruff-s"], "package_network": False,
        **paths,
    }  # fmt: skip
    return kept


def _tables(value: Any) -> list[tuple[str, dict[str, Any]]]:
    items = value.items() if isinstance(value, dict) else ()
    return [(name, table) for name, table in items if isinstance(table, dict)]


def _key(name: str) -> str:
    return json.dumps(name, ensure_ascii=False)


def _value(value: Any) -> str:
    """A value in TOML, on one line: tables are inline."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(name)} = {_value(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return str(value)  # Numbers, and times, which print themselves as TOML has them.
