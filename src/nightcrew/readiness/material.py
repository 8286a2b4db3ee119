"""What of a file is material: its parts by name, each with a digest that comments and layout leave as it is."""

import ast
import hashlib
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from nightcrew.model import frontmatter
from nightcrew.model.errors import DocumentError

UNREADABLE = (SyntaxError, ValueError, OSError, RecursionError, MemoryError)
"""What reading and parsing a file raises that is not Python, or that nests too deeply for the parser."""
_DEPTH = 3
_MOST = 500_000
_CREDENTIALS = re.compile(r"(://[^/@\s:]*):[^@\s]*@")
_HEADING = re.compile(r"^##[ \t]+(\S.*)$", re.MULTILINE)
_YAML: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parts_of(name: str, path: Path) -> dict[str, str]:
    """The material parts of a file that is called ``name``: of settings, each that is set; of other files, the whole.

    A file that cannot be read as what its name says is taken byte for byte.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        return {name: _digest(f"unreadable: {error.strerror}")}
    try:
        if path.suffix == ".py":
            return {name: _digest(_written(ast.parse(data)))}
        if path.suffix == ".toml":
            return _settings(name, tomllib.loads(data.decode()))
        if path.suffix in (".yml", ".yaml"):
            return _settings(name, yaml.load(data, Loader=_YAML))  # noqa: S506 - a SafeLoader
        if path.suffix == ".txt":
            lines = (line.partition(" #")[0].strip() for line in data.decode().splitlines())
            return {name: _digest("\n".join(line for line in lines if line and not line.startswith("#")))}
    except (*UNREADABLE, yaml.YAMLError):
        pass
    return {name: hashlib.sha256(data).hexdigest()}


def parts_of_playbook(text: str) -> dict[str, str]:
    """Each rule of a playbook, and each section of its text: agents are given that, so it counts as well."""
    try:
        rules, body = frontmatter.split(text, source="playbook")
    except DocumentError:
        return {"playbook": _digest(text)}
    first, *rest = _HEADING.split(body)
    sections: dict[str, str] = {"text": first}
    for heading, section in zip(rest[::2], rest[1::2], strict=True):
        sections[heading.strip()] = f"{sections.get(heading.strip(), '')}{section}"
    said = {f"playbook, {heading}": _digest(" ".join(section.split())) for heading, section in sections.items()}
    return {**_settings("playbook", rules), **said}


def _settings(name: str, data: Any) -> dict[str, str]:
    """Each setting, by its dotted name; in the third level, whole."""
    return {
        f"{name}, {'.'.join(keys)}" if keys else name: _digest(_written(value)) for keys, value in _leaves(data, ())
    }


def _leaves(data: Any, keys: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(data, dict) and data and len(keys) < _DEPTH:
        for key, value in data.items():
            yield from _leaves(value, (*keys, " ".join(str(key).split())))
    else:
        yield keys, data


def _written(value: Any) -> str:
    """One text for one meaning, the same under every Python: fields of a syntax tree that are empty are left out."""
    found: list[str] = []
    _write(value, found)
    return "".join(found)


def _write(value: Any, found: list[str]) -> None:
    if len(found) > _MOST:
        raise ValueError("it unfolds without bound")  # YAML has aliases.
    if isinstance(value, ast.AST):
        found.append(f"{type(value).__name__}(")
        for name in value._fields:
            inner = getattr(value, name, None)
            if inner is not None and inner != [] and name != "ctx":
                found.append(f"{name}=")
                _write(inner, found)
        found.append(")")
    elif isinstance(value, list | tuple):
        found.append("[")
        for inner in value:
            _write(inner, found)
            found.append(",")
        found.append("]")
    elif isinstance(value, dict):
        found.append("{")
        for key, inner in sorted(value.items(), key=lambda item: str(item[0])):
            found.append(f"{key!a}:")
            _write(inner, found)
            found.append(",")
        found.append("}")
    else:
        found.append(ascii(_CREDENTIALS.sub(r"\1@", value) if isinstance(value, str) else value))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
