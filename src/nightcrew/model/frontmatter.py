"""Markdown with YAML front matter: reading and writing, as data only."""

import re
from typing import Any

import yaml

from nightcrew.model.errors import DocumentError

_FENCE = "---"
MAX_BYTES = 4 * 1024 * 1024


class _Loader(yaml.SafeLoader):
    """YAML without aliases and without a key that stands twice.

    An alias can make a small text unfold without bound. Of two keys PyYAML takes the last, and a person who reads the
    first would believe another rule.
    """

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.composer.ComposerError(None, None, "aliases are not allowed", None)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"{key.value} stands twice", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def decoded(data: bytes, *, source: str) -> str:
    """The text of a document; raises DocumentError naming ``source`` if it is not UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise DocumentError(f"{source}: not UTF-8 at byte {error.start}") from None


def load_yaml(text: str, *, source: str) -> Any:
    """Parse YAML (no tags, no aliases); raises DocumentError naming ``source`` and the line."""
    if len(text) > MAX_BYTES:
        raise DocumentError(f"{source}: larger than {MAX_BYTES} characters")
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DocumentError(f"{source}: not YAML: {' '.join(str(error).split())}") from None


class _Dumper(yaml.SafeDumper):
    """YAML whose lists are indented under their key and whose values never become aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _represent_str(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    """In double quotes if it holds a line break of Unicode, which YAML would read as a plain one."""
    style = '"' if _UNICODE_BREAK.search(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_UNICODE_BREAK = re.compile("[\x85\u2028\u2029]")
_Dumper.add_representer(str, _represent_str)


def dump_yaml(value: Any) -> str:
    """``value`` as YAML in the order of its keys; the same value always gives the same text."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def split(text: str, *, source: str) -> tuple[dict[str, Any], str]:
    """Front matter and body of a document; raises DocumentError if there is no front matter."""
    if len(text) > MAX_BYTES:
        raise DocumentError(f"{source}: larger than {MAX_BYTES} characters")
    lines = text.replace("\r\n", "\n").split("\n")
    if lines[0].strip() != _FENCE:
        raise DocumentError(f"{source}: does not begin with front matter (a line of ---)")
    try:
        end = next(number for number, line in enumerate(lines[1:], 1) if line.rstrip() == _FENCE)
    except StopIteration:
        raise DocumentError(f"{source}: its front matter has no end (a line of ---)") from None
    front = load_yaml("\n".join(lines[1:end]), source=source)
    if not isinstance(front, dict):
        raise DocumentError(f"{source}: its front matter is not a mapping")
    return front, "\n".join(lines[end + 1 :]).strip("\n")


def join(front: dict[str, Any], body: str) -> str:
    """A document of ``front`` and ``body``, ending in one newline."""
    return f"{_FENCE}\n{dump_yaml(front)}{_FENCE}\n\n{body.strip()}\n"
