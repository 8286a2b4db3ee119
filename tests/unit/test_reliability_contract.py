"""A contract names field, type and rule of what does not fit, and never leaks what is secret."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)
from typing_extensions import TypedDict

import nightcrew as nc
from nightcrew.model.errors import ConfigurationError
from nightcrew.reliability import ContractError, CorruptError, FrameSchema


class Order(BaseModel):
    id: str
    amount: float = Field(gt=0)
    lines: list[int] = Field(default_factory=list, max_length=3)


def refused(contract: nc.Contract, value: Any) -> str:
    with pytest.raises(ContractError) as raised:
        contract.validate(value)
    assert raised.value.__context__ is None or raised.value.__suppress_context__
    return str(raised.value)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (
            {"id": "a", "amount": "abc"},
            "amount: input should be a valid number, unable to parse string as a number (got string 'abc')",
        ),
        ({"id": "a", "amount": -1}, "amount: input should be greater than 0 (got int -1)"),
        ({"id": "a"}, "amount: this field is missing"),
        ({"id": 7, "amount": 1}, "id: input should be a valid string (got int 7)"),
        ({"id": "a", "amount": 1, "lines": [1, "x"]}, "lines.1: input should be a valid integer"),
        ({"id": "a", "amount": float("nan")}, "amount: "),
        ({"id": "a", "amount": float("inf")}, "amount: expected a finite number, got inf"),
        (None, "Order: input should be a valid dictionary or instance of Order (got null)"),
    ],
)
def test_mismatch_names_field_type_and_rule(value: Any, said: str) -> None:
    assert refused(nc.Contract(Order), value).startswith(said)


def test_long_value_and_many_problems_are_cut() -> None:
    class Wide(BaseModel):
        a: int
        b: int
        c: int
        d: int
        e: int
        f: int
        g: int

    said = refused(nc.Contract(Wide), dict.fromkeys("abcdefg", "x" * 1000))
    assert said.endswith("; and 2 more")
    assert len(said) < 900


def test_json_that_cannot_be_read_is_corrupt_not_a_mismatch() -> None:
    contract = nc.Contract(Order)
    for data, said in ((b"{", "not JSON"), (b"\xff", "not UTF-8: byte 0 of 1"), (b"", "not JSON")):
        with pytest.raises(CorruptError, match=said):
            contract.validate_json(data)
    assert contract.validate_json(b'{"id": "a", "amount": 1}') == Order(id="a", amount=1)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", '"nan"', '"inf"', "1e999"])
def test_no_number_gets_through_json(text: str) -> None:
    class Measured(BaseModel):
        amount: float | None

    with pytest.raises(ContractError, match="finite"):
        nc.Contract(Measured).validate_json(f'{{"amount": {text}}}')


def test_nan_is_allowed_where_it_is_asked_for_and_found_in_depth() -> None:
    class Deep(BaseModel):
        points: list[dict[str, float]]

    value = {"points": [{"x": 1.0}, {"y": float("nan")}]}
    assert "points.1.y" in refused(nc.Contract(Deep), value)
    assert nc.Contract(Deep, allow_nan=True).validate(value)


class Inner(BaseModel):
    pin: Annotated[int, nc.Secret]
    name: str = ""


class Secretive(BaseModel):
    token: Annotated[str, nc.Secret, Field(min_length=40)]
    password: SecretStr = Field(default=SecretStr(""), min_length=40)
    key: str = Field(default="", json_schema_extra={"secret": True}, max_length=1)
    inner: Inner | None = None
    many: list[Inner] = Field(default_factory=list)
    named: str = Field(default="", validation_alias=AliasChoices("named", "other"), max_length=1)

    @field_validator("token")
    @classmethod
    def shown(cls, value: str) -> str:
        raise ValueError(f"bad token {value}")

    @model_validator(mode="after")
    def never(self) -> "Secretive":
        raise ValueError(f"model holds {self.token}")


@given(st.text(min_size=12, max_size=30, alphabet="ABCDEFGHJKLMNPQRSTUVWXYZ"))
def test_secret_is_never_in_a_message(secret: str) -> None:
    contract = nc.Contract(Secretive, secret=["named"])
    for value in (
        {"token": secret},
        {"token": secret * 4},
        {"token": [secret]},
        {"token": "x" * 40, "password": secret},
        {"token": "x" * 40, "key": secret},
        {"token": "x" * 40, "inner": {"pin": secret}},
        {"token": "x" * 40, "inner": secret},
        {"token": "x" * 40, "many": [{"pin": 1}, {"pin": secret}]},
        {"token": "x" * 40, "named": secret},
        [secret],
        secret,
    ):
        checks: tuple[tuple[Callable[[Any], Any], Any], ...] = (
            (contract.validate, value),
            (contract.validate_json, json.dumps(value)),
        )
        for check, given_value in checks:
            with pytest.raises(ContractError) as raised:
                check(given_value)
            error: BaseException | None = raised.value
            assert secret not in str(error)
            assert secret not in repr(error)
            assert raised.value.__cause__ is None


def test_secret_fields_are_known_and_masked() -> None:
    contract = nc.Contract(Secretive)
    assert {"token", "password", "key", "pin"} <= contract.secret_names
    shown = contract.mask({"token": "t", "inner": {"pin": 1, "name": "n"}, "many": [{"pin": 2}], "free": 3})
    assert shown == {"token": "***", "inner": {"pin": "***", "name": "n"}, "many": [{"pin": "***"}], "free": 3}


SCHEMA = {
    "title": "order",
    "type": "object",
    "required": ["id"],
    "properties": {
        "id": {"type": "string"},
        "amount": {"type": "number", "exclusiveMinimum": 0},
        "token": {"type": "string", "maxLength": 3, "writeOnly": True},
    },
}


def test_type_that_json_schema_has_no_word_for_is_open_in_it_and_the_others_are_not() -> None:
    class Measured(BaseModel):
        model_config = ConfigDict(arbitrary_types_allowed=True)
        id: int
        values: Annotated[bytearray, BeforeValidator(bytearray)]

    contract = nc.Contract(Measured)
    assert contract.field_names == ("id", "values")
    assert contract.json_schema()["properties"]["id"]["type"] == "integer"
    assert "type" not in contract.json_schema()["properties"]["values"]
    assert contract.validate_json(b'{"id": 1, "values": [1, 2]}').values == bytearray([1, 2])


def test_json_schema_is_a_contract() -> None:
    contract = nc.Contract(SCHEMA)
    assert contract.validate({"id": "a", "amount": 1}) == {"id": "a", "amount": 1}
    assert contract.validate_json(b'{"id": "a"}') == {"id": "a"}
    assert refused(contract, {"id": "a", "amount": 0}) == "amount: exclusiveMinimum is 0 (got int 0)"
    assert refused(contract, {"amount": 1}) == "id: this field is missing"
    assert "hunter2" not in refused(contract, {"id": "a", "token": "hunter2"})
    assert contract.field_names == ("id", "amount", "token")
    with pytest.raises(ContractError, match="finite"):
        contract.validate_json(b'{"id": "a", "amount": Infinity}')


def test_dataclass_and_plain_type_are_contracts() -> None:
    @dataclass
    class Point:
        x: int

    assert nc.Contract(Point).validate({"x": "3"}) == Point(3)
    assert "x: input should be a valid integer" in refused(nc.Contract(Point), {"x": "far"})
    assert nc.Contract(dict[str, int]).validate({"a": 1}) == {"a": 1}


def test_table_is_checked_by_column() -> None:
    table = pa.table({"id": ["a", "b"], "amount": [1.0, None]})
    wanted = FrameSchema({"id": str, "amount": float, "hour": int})
    said = refused(nc.Contract(wanted), table)
    assert "hour: this column is missing" in said
    assert "amount: 1 values are missing" in said
    fitting = FrameSchema({"id": "string", "amount": float}, exact=True, nullable=frozenset({"amount"}))
    assert nc.Contract(fitting).validate(table) is table
    narrow = FrameSchema({"id": int}, exact=True)
    said = refused(nc.Contract(narrow), table)
    assert "id: expected int, got string" in said
    assert "not in the schema: amount" in said
    positive = FrameSchema({"amount": (float, lambda column: column.null_count == 0)}, nullable=frozenset({"amount"}))
    assert "rule" in refused(nc.Contract(positive), table)


@pytest.mark.parametrize("schema", [7, object(), {"type": "no such type"}, {"id": str}])
def test_what_is_no_schema_says_so(schema: Any) -> None:
    with pytest.raises(ConfigurationError):
        nc.Contract(schema)


@dataclass
class Card:
    number: Annotated[str, nc.Secret, Field(max_length=4)]


class Keyed(TypedDict):
    number: Annotated[str, nc.Secret, Field(max_length=4)]


class Carded(BaseModel):
    number: Annotated[str, nc.Secret, Field(max_length=4)] = ""


class Either(BaseModel):
    who: Carded | int = 0
    by: dict[str, Carded] = Field(default_factory=dict)
    other: Annotated[str, nc.Secret, Field(max_length=4)] = Field(default="", validation_alias="theOther")
    plain: int = 0

    @field_validator("plain")
    @classmethod
    def tells(cls, value: int, info: ValidationInfo) -> int:
        if value == 7:
            raise ValueError(f"with {info.data}")
        return value


class Strict(BaseModel, extra="forbid"):
    token: SecretStr = SecretStr("")


HIDDEN = "hunter2secret"
ITEMS = {
    "type": "object",
    "properties": {
        "xs": {"type": "array", "items": {"$ref": "#/$defs/card"}},
        "pin": {"$ref": "#/$defs/pin"},
        "more": {"type": "string", "maxLength": 1},
    },
    "$defs": {
        "card": {"properties": {"number": {"type": "string", "secret": True, "maxLength": 2}}},
        "pin": {"type": "string", "writeOnly": True, "maxLength": 2},
    },
}


@pytest.mark.parametrize(
    ("contract", "value"),
    [
        (nc.Contract(Card), {"number": HIDDEN}),
        (nc.Contract(Keyed), {"number": HIDDEN}),
        (nc.Contract(list[Carded]), [{"number": HIDDEN}]),
        (nc.Contract(Either), {"who": {"number": HIDDEN}}),
        (nc.Contract(Either), {"by": {"a": {"number": HIDDEN}}}),
        (nc.Contract(Either), {"theOther": HIDDEN}),
        (nc.Contract(Either), {"theOther": HIDDEN[:4], "plain": 7}),
        (nc.Contract(Strict), {"tokn": HIDDEN}),
        (nc.Contract(ITEMS), {"xs": [{"number": HIDDEN}]}),
        (nc.Contract(ITEMS), {"pin": HIDDEN}),
        (nc.Contract(ITEMS, secret=["more"]), {"more": HIDDEN}),
    ],
)
def test_secret_is_hidden_wherever_it_lies(contract: nc.Contract, value: Any) -> None:
    assert HIDDEN[:4] not in refused(contract, value)
    with pytest.raises(ContractError) as raised:
        contract.validate_json(json.dumps(value))
    assert HIDDEN[:4] not in str(raised.value)
    assert "tokn" in value or HIDDEN[:4] not in json.dumps(contract.mask({"v": value}))


def test_plain_field_beside_a_secret_is_still_told() -> None:
    assert refused(nc.Contract(Either), {"plain": "far"}).endswith("(got string 'far')")
