"""A contract: the schema a record must satisfy before anything is done with it, and a result before anyone gets it."""

import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from functools import cached_property
from types import UnionType
from typing import Any, Union, get_args, get_origin
from uuid import UUID

from pydantic import BaseModel, SecretBytes, SecretStr, TypeAdapter, ValidationError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import ErrorDetails, from_json
from pydantic_core.core_schema import ErrorType

from nightcrew.model.errors import ConfigurationError
from nightcrew.reliability.errors import ContractError, CorruptError
from nightcrew.reliability.frames import check_frame, is_frame_schema
from nightcrew.reliability.secrets import Secret, mask_names, plain_names, secret_names

MAX_PROBLEMS = 5
_MAX_VALUE = 60
_KEYWORDS = frozenset(
    (
        "$schema",
        "$ref",
        "type",
        "properties",
        "required",
        "items",
        "enum",
        "const",
        "anyOf",
        "oneOf",
        "allOf",
        "not",
        "if",
    )
)
_PYDANTICS_OWN = frozenset(get_args(ErrorType)) - {"value_error", "assertion_error"}
"""Errors whose words are those of the rule and not of somebody's validator."""
__all__ = ["Contract", "Secret"]
_FLAT = {int, float, str, bool, bytes, type(None), datetime, date, Decimal, UUID, SecretStr, SecretBytes}


class _OpenSchema(GenerateJsonSchema):
    """A type that JSON Schema has no word for may be anything: only its validator knows."""

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> JsonSchemaValue:  # noqa: ARG002
        return {}


class Contract:
    """A schema for records or results.

    ``schema`` is a pydantic model or any type that pydantic knows (dataclass, TypedDict, ...), a JSON Schema (a dict
    with ``type``, ``properties`` or ``$schema``; needs ``jsonschema``), or a schema of a dataframe: a
    ``FrameSchema``, or an object with ``validate`` such as pandera's. NaN and infinities are refused unless
    ``allow_nan``. ``secret`` names more fields (``"user.token"``) whose values are never shown.
    """

    def __init__(self, schema: Any, *, allow_nan: bool = False, secret: Iterable[str] = (), name: str = "") -> None:
        self.schema = schema
        self.allow_nan = allow_nan
        self.name = (
            name
            or getattr(schema, "__name__", None)
            or (str(schema.get("title", "record")) if isinstance(schema, Mapping) else type(schema).__name__)
        )
        self._more_secret = frozenset(secret)
        self._check, self._check_json = self._validators()

    @classmethod
    def of(cls, schema: Any) -> "Contract":
        """``schema`` as a contract; a contract as it is."""
        return schema if isinstance(schema, Contract) else cls(schema)

    def _validators(self) -> tuple[Callable[[Any], Any], Callable[[bytes | str], Any] | None]:
        if isinstance(self.schema, Mapping) and not is_frame_schema(self.schema):
            return _json_schema_validator(self.schema, self.name, self._may_show), None
        if is_frame_schema(self.schema) or (hasattr(self.schema, "validate") and not isinstance(self.schema, type)):
            return lambda value: check_frame(self.schema, value, self.name), None
        adapter = self._adapter
        return adapter.validator.validate_python, adapter.validator.validate_json

    @cached_property
    def _adapter(self) -> TypeAdapter[Any]:
        try:
            return TypeAdapter(self.schema)
        except Exception as error:
            raise ConfigurationError(
                f"{self.schema!r} is no schema: {str(error).splitlines()[0]}",
                hint="Give a pydantic model, a type, a JSON Schema, or a schema of a dataframe.",
            ) from None

    # Validating -----------------------------------------------------------------------------------------------------

    def validate(self, value: Any) -> Any:
        """``value`` as the schema has it (a model's instance, say). Raises ContractError."""
        try:
            record = self._check(value)
        except ValidationError as error:
            raise self._explained(error) from None
        if not self.allow_nan:
            self._finite(record)
        return record

    def validate_json(self, data: bytes | str) -> Any:
        """A record from JSON text. Raises CorruptError for what is not JSON in UTF-8, ContractError for a mismatch."""
        if self._check_json is None:
            return self.validate(self._parsed(data))
        try:
            record = self._check_json(data)
        except ValidationError as error:
            if (
                error.error_count() == 1
                and error.errors(include_url=False, include_input=False)[0]["type"] == "json_invalid"
            ):
                raise CorruptError(_not_json(data)) from None
            raise self._explained(error) from None
        if not self.allow_nan:
            self._finite(record)
        return record

    def _parsed(self, data: bytes | str) -> Any:
        try:
            return from_json(data, allow_inf_nan=True)
        except ValueError:
            raise CorruptError(_not_json(data)) from None

    def _finite(self, record: Any) -> None:
        names = self._float_fields
        if names is not None:
            values = record.__dict__
            for name in names:
                value = values[name]
                if value is not None and value - value != 0.0:  # True for NaN and infinities only.
                    break
            else:
                return
        for path, value in _floats(record, ""):
            if not math.isfinite(value):
                raise ContractError(
                    f"{path or self.name}: expected a finite number, got "
                    + (str(value) if self._may_show(path) else "another, which is not shown"),
                    problems=(path,),
                )

    @cached_property
    def _float_fields(self) -> tuple[str, ...] | None:
        """The fields to look at for NaN where a model is flat; None where all of it has to be searched."""
        if not isinstance(self.schema, type) or not issubclass(self.schema, BaseModel):
            return None
        if self.schema.model_config.get("extra") == "allow":
            return None
        floats = []
        for name, field in self.schema.model_fields.items():
            if not _is_flat(field.annotation):
                return None
            if float in set(_types(field.annotation)):
                floats.append(name)
        return tuple(floats)

    # What it says ---------------------------------------------------------------------------------------------------

    @cached_property
    def secret_names(self) -> frozenset[str]:
        """The names of fields whose values are never shown, wherever in a record they stand."""
        return frozenset(path.rpartition(".")[2] for path in self._more_secret) | secret_names(self.schema)

    @cached_property
    def field_names(self) -> tuple[str, ...] | None:
        """The names of the record's fields as they stand in the input; None where the schema does not say."""
        properties = self.json_schema().get("properties")
        return tuple(properties) if isinstance(properties, Mapping) and properties else None

    def json_schema(self) -> dict[str, Any]:
        """The JSON Schema of the input; empty where there is none, and open where a type has none (an array's, say)."""
        if isinstance(self.schema, Mapping):
            return {} if is_frame_schema(self.schema) else dict(self.schema)
        if self._check_json is None:
            return {}
        return self._adapter.json_schema(mode="validation", schema_generator=_OpenSchema)

    def mask(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """``value`` with its secret fields replaced by ``***``."""
        masked: dict[str, Any] = mask_names(value, self.secret_names)
        return masked

    @cached_property
    def _plain_names(self) -> frozenset[str]:
        return plain_names(self.schema) - self.secret_names

    def _may_show(self, path: str) -> bool:
        """Whether the value at ``path`` may be shown.

        Where a schema has a secret at all, only the plain fields at its top that are not secret: the path of anything
        deeper can hold keys of the data and names of a union's parts, and is not trusted to tell.
        """
        return not self.secret_names or path in self._plain_names

    def _explained(self, error: ValidationError) -> ContractError:
        details = error.errors(include_url=False)
        problems = tuple(self._problem(detail) for detail in details)
        shown = "; ".join(problems[:MAX_PROBLEMS])
        more = f"; and {len(problems) - MAX_PROBLEMS} more" if len(problems) > MAX_PROBLEMS else ""
        return ContractError(f"{shown}{more}", problems=problems)

    def _problem(self, detail: ErrorDetails) -> str:
        path = ".".join(str(part) for part in detail["loc"])
        value = detail["input"]
        if detail["type"] == "missing":
            return f"{path}: this field is missing"
        if not self._may_show(path) or (self.secret_names and detail["type"] not in _PYDANTICS_OWN):
            # A validator's own words may hold the value: only the kind of rule is told.
            rule = detail["type"].replace("_", " ")
            return f"{path or self.name}: {rule} (got a {_kind(value)}; the value is not shown)"
        rule = detail["msg"][:1].lower() + detail["msg"][1:]
        return f"{path or self.name}: {rule} (got {_shown(value)})"


def _kind(value: Any) -> str:
    names = {type(None): "null", dict: "object", list: "list", str: "string", bytes: "bytes"}
    return names.get(type(value), type(value).__name__)


def _shown(value: Any) -> str:
    kind = _kind(value)
    if isinstance(value, str | int | float | bool):
        text = repr(value)
        return f"{kind} {text if len(text) <= _MAX_VALUE else text[:_MAX_VALUE] + '…'}"
    return kind


def _not_json(data: bytes | str) -> str:
    try:
        json.loads(data)
    except UnicodeDecodeError as error:
        return f"not UTF-8: byte {error.start} of {len(data)}"
    except (ValueError, RecursionError) as error:
        return f"not JSON: {getattr(error, 'msg', 'too deep')} at character {getattr(error, 'pos', 0)} of {len(data)}"
    return f"not JSON as RFC 8259 has it ({len(data)} bytes)"


def _floats(value: Any, path: str) -> Iterator[tuple[str, float]]:
    if isinstance(value, float):
        yield path, value
        return
    fields: Iterable[tuple[Any, Any]]
    if isinstance(value, BaseModel):
        fields = value.__dict__.items()
    elif isinstance(value, Mapping):
        fields = value.items()
    elif isinstance(value, list | tuple | set | frozenset):
        fields = enumerate(value)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
    else:
        return
    for name, inner in fields:
        if isinstance(inner, float):
            yield f"{path}.{name}" if path else str(name), inner
        elif not isinstance(inner, str | int | bool | None):
            yield from _floats(inner, f"{path}.{name}" if path else str(name))


def _types(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) is None:
        yield annotation
    for inner in get_args(annotation):
        yield from _types(inner)


def _is_flat(annotation: Any) -> bool:
    """Whether it is a plain value, or a union of such."""
    if get_origin(annotation) in (Union, UnionType):
        return all(_is_flat(inner) for inner in get_args(annotation))
    return annotation in _FLAT


def _json_schema_validator(
    schema: Mapping[str, Any], name: str, may_show: Callable[[str], bool]
) -> Callable[[Any], Any]:
    try:
        from jsonschema import validators
    except ImportError:
        raise ConfigurationError(
            "a JSON Schema as a contract needs the package jsonschema", hint="pip install 'nightcrew[jsonschema]'"
        ) from None
    if schema and not _KEYWORDS & set(schema):
        raise ConfigurationError(
            f"a mapping of {', '.join(map(str, schema))[:100]} is no JSON Schema",
            hint="For columns give a FrameSchema.",
        )
    kind = validators.validator_for(schema, default=validators.Draft202012Validator)
    try:
        kind.check_schema(dict(schema))
    except Exception as error:
        raise ConfigurationError(f"{name} is not a JSON Schema: {str(error).splitlines()[0]}") from None
    validator = kind(schema)

    def check(value: Any) -> Any:
        problems = tuple(_schema_problem(error, name, may_show) for error in validator.iter_errors(value))
        if problems:
            more = f"; and {len(problems) - MAX_PROBLEMS} more" if len(problems) > MAX_PROBLEMS else ""
            raise ContractError("; ".join(problems[:MAX_PROBLEMS]) + more, problems=problems)
        return value

    return check


def _schema_problem(error: Any, name: str, may_show: Callable[[str], bool]) -> str:
    path = ".".join(str(part) for part in error.absolute_path)
    rule = f"{error.validator} is {json.dumps(error.validator_value)[:100]}"
    if error.validator == "required":
        missing = [field for field in error.validator_value if field not in error.instance]
        return f"{f'{path}.' if path else ''}{', '.join(missing)}: this field is missing"
    got = _shown(error.instance) if may_show(path) else f"a {_kind(error.instance)}; the value is not shown"
    return f"{path or name}: {rule} (got {got})"
