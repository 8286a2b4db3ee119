"""Which fields of a schema are secret: in models, dataclasses, TypedDicts, unions, containers and JSON Schemas."""

import dataclasses
import typing
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, get_args, get_origin

from pydantic import AliasChoices, AliasPath, BaseModel, SecretBytes, SecretStr
from pydantic.fields import FieldInfo

MASK = "***"
_SCALARS = ("string", "number", "integer", "boolean")
_PLAIN = (str, int, float, bool, type(None))


class _SecretMarker:
    def __repr__(self) -> str:
        return "Secret"


Secret: Final = _SecretMarker()
"""Marks a field whose value is never shown: ``token: Annotated[str, nc.Secret]``."""


def secret_names(schema: Any) -> frozenset[str]:
    """The names, aliases included, of every field marked as secret, however deep it lies."""
    return frozenset(_in_document(schema, schema) if isinstance(schema, Mapping) else _in_type(schema, set()))


def plain_names(schema: Any) -> frozenset[str]:
    """The names of the fields at the top of a schema that hold one plain value each."""
    if isinstance(schema, Mapping):
        found = schema.get("properties")
        fields = found.items() if isinstance(found, Mapping) else ()
        return frozenset(name for name, inner in fields if isinstance(inner, Mapping) and inner.get("type") in _SCALARS)
    return frozenset(label for labels, annotation, _ in _fields(schema) if _is_plain(annotation) for label in labels)


def mask_names(value: Any, names: frozenset[str]) -> Any:
    """``value`` with what stands under one of ``names``, at any depth, replaced by ``***``."""
    if isinstance(value, Mapping):
        return {name: MASK if name in names else mask_names(inner, names) for name, inner in value.items()}
    return [mask_names(inner, names) for inner in value] if isinstance(value, list) else value


def _in_type(kind: Any, seen: set[Any]) -> Iterator[str]:
    for inner in get_args(kind):
        yield from _in_type(inner, seen)
    kind = get_origin(kind) if isinstance(get_origin(kind), type) else kind
    if not isinstance(kind, type) or kind in seen:
        return
    seen.add(kind)
    for labels, annotation, marked in _fields(kind):
        if marked or _holds_marker(annotation):
            yield from labels
        yield from _in_type(annotation, seen)


def _fields(kind: Any) -> Iterator[tuple[set[str], Any, bool]]:
    """(names, annotation, whether it is marked) of each field of a model, a dataclass or a TypedDict."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        for name, field in kind.model_fields.items():
            yield {name, *_aliases(field)}, field.annotation, _is_marked(field)
    elif dataclasses.is_dataclass(kind) or hasattr(kind, "__required_keys__"):
        for name, annotation in typing.get_type_hints(kind, include_extras=True).items():
            found = [part for part in get_args(annotation)[1:] if isinstance(part, FieldInfo)]
            labels = {name, *(alias for field in found for alias in _aliases(field))}
            yield labels, annotation, any(_is_marked(field) for field in found)


def _aliases(field: FieldInfo) -> Iterator[str]:
    if field.alias:
        yield field.alias
    given = field.validation_alias
    for one in given.choices if isinstance(given, AliasChoices) else [given]:
        if isinstance(one, str):
            yield one
        elif isinstance(one, AliasPath):
            yield from (part for part in one.path if isinstance(part, str))


def _is_marked(field: FieldInfo) -> bool:
    extra = field.json_schema_extra
    return Secret in field.metadata or (isinstance(extra, Mapping) and extra.get("secret") is True)


def _holds_marker(annotation: Any) -> bool:
    """Whether a field's own value is secret: not whether a field within it is."""
    if annotation in (SecretStr, SecretBytes):
        return True
    if get_origin(annotation) is Annotated and Secret in get_args(annotation)[1:]:
        return True
    return any(_holds_marker(inner) for inner in get_args(annotation))


def _is_plain(annotation: Any) -> bool:
    if get_origin(annotation) is Annotated:
        return _is_plain(get_args(annotation)[0])
    inner = get_args(annotation)
    return all(_is_plain(one) for one in inner) if inner else annotation in _PLAIN


def _in_document(part: Any, root: Mapping[str, Any]) -> Iterator[str]:
    """Secret properties of a JSON Schema, in every part of it."""
    if isinstance(part, Mapping):
        properties = part.get("properties")
        for name, inner in properties.items() if isinstance(properties, Mapping) else ():
            if _document_marks(inner, root, 8):
                yield name
        for inner in part.values():
            yield from _in_document(inner, root)
    elif isinstance(part, list):
        for inner in part:
            yield from _in_document(inner, root)


def _document_marks(part: Any, root: Mapping[str, Any], depth: int) -> bool:
    if not isinstance(part, Mapping) or depth == 0:
        return False
    if part.get("secret") is True or part.get("writeOnly") is True:
        return True
    options = [one for name in ("anyOf", "oneOf", "allOf") for one in part.get(name) or ()]
    reference = part.get("$ref")
    if isinstance(reference, str) and reference.startswith("#/"):
        target: Any = root
        for step in reference[2:].split("/"):
            target = target.get(step) if isinstance(target, Mapping) else None
        options.append(target)
    return any(_document_marks(one, root, depth - 1) for one in options)
