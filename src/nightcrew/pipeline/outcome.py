"""The document of one outcome: JSON text that is hashed, stored and proven as it stands."""

import json
from json.encoder import encode_basestring as _quote
from typing import Any, NamedTuple

from pydantic_core import PydanticSerializationError, to_json

from nightcrew.model.canonical import canonical_json
from nightcrew.pipeline.chain import Made
from nightcrew.reliability import Failure, FailureClass
from nightcrew.store.outcomes import Row


class Origin(NamedTuple):
    """Where a record came from: its key, the SHA-256 of its bytes, the position after it, the bytes themselves."""

    key: str
    sha256: str
    at: int
    data: bytes


def output_json(value: Any) -> str:
    """``value`` as JSON text. Raises ValueError for what JSON has no form for: NaN, infinities, unknown objects."""
    if value is None:
        return "null"
    try:
        text = to_json(value)
    except (PydanticSerializationError, ValueError) as error:
        raise ValueError(f"the output has no JSON form: {str(error).splitlines()[0]}") from None
    if b"NaN" in text or b"Infinity" in text:
        text = _strict(text)
    return text.decode()


def _strict(text: bytes) -> bytes:
    def refuse(name: str) -> None:
        raise ValueError(f"the output holds {name}, which is no number")

    json.loads(text, parse_constant=refuse)  # "NaN" inside a string is fine.
    return text


def input_bytes(raw: Any) -> bytes:
    """The bytes of a raw record that are hashed and, while it is not settled, stored: JSON where it has such a form."""
    if isinstance(raw, bytes):
        return raw.rstrip(b"\r\n")
    try:
        return canonical_json(raw)
    except (TypeError, ValueError):
        try:
            return to_json(raw)
        except (TypeError, PydanticSerializationError, ValueError):
            return repr(raw).encode(errors="backslashreplace")


class Writing:
    """Makes rows of one pipeline under one version."""

    def __init__(self, pipeline: str, version: str) -> None:
        # Fields stand in a fixed order, so that the same outcome always has the same bytes; the state is the first.
        self._head = f'"pipeline":{_quote(pipeline)},"version":{_quote(version)},"key":'

    def row(self, origin: Origin, made: Made, *, next_at: str | None = None, rounds: int = 0, extra: str = "") -> Row:
        """The row of what a record became. An output without a JSON form makes it a quarantined one."""
        try:
            output = output_json(made.output)
            confidence = "null" if made.confidence is None else _number(made.confidence)
        except ValueError as error:
            return self.refused(origin, Failure(FailureClass.CONTRACT, "ValueError", str(error), None), made.attempts)
        kind = None if made.failure is None else str(made.failure.kind)
        doc = (
            f'{{"state":"{made.state}",{self._head}{_quote(origin.key)},"at":{origin.at},"input":"{origin.sha256}","status":"{made.status}",'
            f'"output":{output},"confidence":{confidence},"level":{made.level},"made_by":{_quote(made.made_by)},'
            f'"reason":{_quote(made.reason)},"notice":{_quote(made.notice)},"attempts":{made.attempts},'
            f'"rounds":{rounds},"stage":{made.stage},"failure":{_failure(made.failure)}{extra}}}'
        )
        return Row(origin.key, made.state, kind, next_at, origin.data, doc)

    def refused(self, origin: Origin, failure: Failure, attempts: int = 0) -> Row:
        """The row of a record that is quarantined before, or apart from, its steps."""
        made = Made("quarantined", "failed", None, None, 0, "", failure.message, "", attempts, failure, 0)
        return self.row(origin, made)


def _failure(failure: Failure | None) -> str:
    if failure is None:
        return "null"
    return json.dumps(
        {"kind": str(failure.kind), "error": failure.error, "message": failure.message}, ensure_ascii=False
    )


def _number(value: float) -> str:
    if value != value or value in (float("inf"), float("-inf")):
        raise ValueError(f"the confidence is {value}")
    return repr(float(value))
