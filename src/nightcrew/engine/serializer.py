"""Durable values as JSON, and the door to pickle shut.

DBOS pickles by default. Even with another serializer a row *marked* as pickled is unpickled when it is read, so that
whoever can write the database could run code. Here the values are canonical JSON, an exception is stored as its name,
text and code, and the pickling serializer is disarmed before DBOS reads anything.
"""

import json
from typing import TYPE_CHECKING, Any, NoReturn

from nightcrew.engine.errors import RecordedError
from nightcrew.model.canonical import canonical_json
from nightcrew.model.errors import IntegrityError

if TYPE_CHECKING:
    from dbos import Serializer

FORMAT = "nightcrew_json"
"""The name of our format, stored beside every value."""

_VALUE, _ERROR = "v", "e"


def plain(value: Any) -> Any:
    """``value`` as it will be read back: JSON values only. Raises TypeError or ValueError if it has no JSON form.

    Used on a first run too, so that a replay cannot see a list where the first run saw a tuple.
    """
    return json.loads(canonical_json(value))


def encode(value: Any) -> str:
    """The stored text of a value or an exception."""
    if isinstance(value, BaseException):
        return canonical_json({_ERROR: describe(value)}).decode()
    return canonical_json({_VALUE: value}).decode()


def decode(text: str) -> Any:
    """The value stored as ``text``, or a RecordedError for an exception; raises IntegrityError if it is neither."""
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    match document:
        case {"v": value} if len(document) == 1:
            return value
        case {"e": {"name": str(name), "message": str(message), "code": code}} if code is None or isinstance(code, str):
            return RecordedError(message, error_name=name, error_code=code)
    raise IntegrityError("a durable value is not in nightcrew's format: something else wrote it")


def describe(error: BaseException) -> dict[str, str | None]:
    """``error`` as data: the name of its class, its text and its stable code."""
    if isinstance(error, RecordedError):
        return {"name": error.error_name, "message": str(error), "code": error.error_code}
    code = getattr(error, "code", None)
    return {"name": type(error).__name__, "message": _text(error), "code": code if isinstance(code, str) else None}


def _text(error: BaseException) -> str:
    try:
        # Lone surrogates (a file name in a message) have no UTF-8 form and would make the outcome unstorable.
        return str(error).encode("utf-8", "backslashreplace").decode()
    except Exception:
        return "(an error without text)"


def json_serializer() -> "Serializer":
    """The serializer to configure DBOS with."""
    from dbos import Serializer

    class JsonSerializer(Serializer):
        def name(self) -> str:
            return FORMAT

        def serialize(self, data: Any) -> str:
            return encode(data)

        def deserialize(self, serialized_data: str) -> Any:
            return decode(serialized_data)

    return JsonSerializer()


def disarm_pickle() -> None:
    """Make DBOS unable to unpickle, for the life of the process. Safe to call again.

    Reading a value marked as pickled raises IntegrityError. Writing one (DBOS does, to end a workflow whose row is
    marked so in an error) stores our JSON under that mark, which again can only be refused.
    """
    from dbos import _serialization

    def refuse(_self: object, _text: object) -> NoReturn:
        raise IntegrityError("a durable value is marked as pickled; nightcrew never writes such a value or reads one")

    def write_json(_self: object, value: Any) -> str:
        return encode(value)

    # On the class, because DBOS imports its one instance by name into several modules.
    _serialization.DefaultSerializer.deserialize = refuse  # type: ignore[method-assign,assignment]
    _serialization.DefaultSerializer.serialize = write_json  # type: ignore[method-assign,assignment]
    vars(_serialization)["pickle"] = _NoPickle()


class _NoPickle:
    """Stands where DBOS imported the pickle module."""

    def __getattr__(self, name: str) -> NoReturn:
        raise IntegrityError(f"pickle.{name} is not available to the durable execution library")
