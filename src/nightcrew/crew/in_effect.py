"""The settings as they are in effect: each with its value, where it comes from, and what it does. No secrets."""

import os
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel

from nightcrew.crew.project import Project, read_text
from nightcrew.model.settings import describe
from nightcrew.monitoring.alerts.configured import SETTINGS_FILE

_HIDDEN = "***"


@dataclass(frozen=True)
class Setting:
    """One setting. ``source`` is ``default`` or the file's name; ``more`` says what an environment variable holds."""

    name: str
    value: str
    default: str
    source: str
    purpose: str
    more: str = ""


def settings(project: Project) -> dict[str, list[Setting]]:
    """Every setting by its table, in the order in which they are declared."""
    written = tomllib.loads(read_text(project.root / SETTINGS_FILE) or "")
    told = {name: (default, purpose) for name, default, purpose in describe()}
    found: dict[str, list[Setting]] = {}
    for path, value in _values(project.settings, ""):
        default, purpose = told.get(_pattern(path, told), ("", ""))
        source = SETTINGS_FILE if _stands_in(written, path) else "default"
        table = path.rpartition(".")[0] or "top level"
        one = Setting(path, _said(path, value), default, source, purpose, _environment(path, value))
        found.setdefault(table, []).append(one)
    return found


def state_of(project: Project) -> list[tuple[str, str]]:
    """Where the project's state lies and what works on it, as (name, value)."""
    return [
        ("nightcrew", version("nightcrew")),
        ("Python", sys.version.split()[0]),
        ("Repository", str(project.root)),
        ("State", _without_password(project.database_url)),
        ("Workspaces", str(project.work_dir)),
        ("Keys of reviewers", str(project.anchor.directory)),
    ]


def _values(model: BaseModel, prefix: str) -> Iterator[tuple[str, Any]]:
    """Each value with its path; tables of tables by the names that the user gave them."""
    for name in type(model).model_fields:
        value = getattr(model, name)
        path = f"{prefix}{name}"
        if isinstance(value, BaseModel):
            yield from _values(value, f"{path}.")
        elif isinstance(value, Mapping) and any(isinstance(one, BaseModel) for one in value.values()):
            for own, inner in value.items():
                yield from _values(inner, f"{path}.{own}.")
        elif isinstance(value, tuple) and any(isinstance(one, BaseModel) for one in value):
            for number, inner in enumerate(value):
                yield from _values(inner, f"{path}.{number}.")
        else:
            yield path, value


def _pattern(path: str, told: Mapping[str, Any]) -> str:
    """The name under which ``describe`` has a setting: with NAME in place of the user's own, without numbers."""
    parts = path.split(".")
    if len(parts) > 2:
        for middle in (["NAME"], []):
            name = ".".join([parts[0], *middle, *parts[2:]])
            if name in told:
                return name
    return path


def _stands_in(written: Any, path: str) -> bool:
    for part in path.split("."):
        if isinstance(written, list) and part.isdigit() and int(part) < len(written):
            written = written[int(part)]
        elif isinstance(written, Mapping) and part in written:
            written = written[part]
        else:
            return False
    return True


def _said(path: str, value: Any) -> str:
    if value is None or value in ("", (), {}):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple | list):
        return ", ".join(_said(path, one) for one in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{name} = {_said(path, one)}" for name, one in value.items())
    return _without_password(str(value))


def _without_password(text: str) -> str:
    """An address without the password in it, and without what may be a key in its query."""
    if "://" not in text:
        return text
    try:
        parts = urlsplit(text)
        if parts.password is None and not parts.query:
            return text
        where = parts.netloc.rpartition("@")
        user = f"{parts.username or ''}:{_HIDDEN}@" if parts.password is not None else where[0] + where[1]
        return parts._replace(netloc=user + where[2], query=_HIDDEN if parts.query else "").geturl()
    except ValueError:
        return _HIDDEN


def _environment(path: str, value: Any) -> str:
    """Whether the environment variable that a setting names is set here; never what it holds."""
    if not path.rpartition(".")[2].endswith("_env") or not isinstance(value, str) or not value:
        return ""
    return "set in this environment" if os.environ.get(value) else "not set in this environment"
