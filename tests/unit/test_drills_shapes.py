"""Drills of pipelines do not depend on how their records, keys and steps are shaped."""

import json
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

import nightcrew as nc
from nightcrew.pipeline.chain import Step
from nightcrew.readiness.drills import accounted, failing_records, transient_storm
from nightcrew.readiness.drills.context_overflow import _long
from nightcrew.readiness.drills.damaging import damages
from nightcrew.readiness.drills.making import made
from nightcrew.readiness.drills.protocol import NotApplicable
from nightcrew.readiness.drills.samples import known
from nightcrew.readiness.drills.standing_in import answering
from nightcrew.reliability import Contract


class Card(BaseModel):
    kind: Literal["card"]
    id: str
    number: str


class Transfer(BaseModel):
    kind: Literal["transfer"]
    id: str
    iban: str
    parts: list[str] | str | None = None
    more: str | dict[str, int] = ""


PAID = Annotated[Card | Transfer, Field(discriminator="kind")]
PAYMENTS = [{"kind": "transfer", "id": f"t{n}", "iban": "x"} for n in range(5)]
PAYMENTS += [{"kind": "card", "id": "c", "number": "1"}]


def offered(*records: Any, count: int = 24) -> dict[str, Any]:
    return {"samples": {"given": list(records), "last": {}}, "count": count}


# Damaged records ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("contract", "records", "at_least"),
    [(PAID, PAYMENTS, 8), (Transfer, PAYMENTS[:2], 6), (str, ["a", "b"], 3), (list[float], [[1.0]], 3)],
)
def test_what_is_damaged_is_refused_by_the_contract_whatever_its_shape(
    contract: Any, records: list[Any], at_least: int
) -> None:
    checked = Contract.of(contract)
    found = list(damages(records, checked.json_schema()))
    assert len(found) >= at_least
    assert any(one.by_contract for one in found)
    for one in found:
        with pytest.raises(Exception, match=r".+"):
            checked.validate_json(one.line)


def test_a_schema_of_two_parts_is_made_with_both() -> None:
    part = {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}}
    other = {"type": "object", "required": ["b"], "properties": {"b": {"type": "string"}}}
    assert set(made({"allOf": [part, other]}, 1)) == {"a", "b"}


# Samples ------------------------------------------------------------------------------------------------------------


def test_records_given_that_the_contract_does_not_take_are_not_replaced_by_others() -> None:
    with pytest.raises(NotApplicable, match="none of the first 2 records"):
        known(nc.Pipeline("p", record=Card), offered({"x": 1}, {"x": 2}))


def test_without_a_key_records_that_a_step_cannot_tell_apart_are_one() -> None:
    lines = [{"kind": "card", "id": "c", "number": "1", "ignored": number} for number in range(3)]
    assert known(nc.Pipeline("p", record=Card), offered(*lines)) == lines[:1]


@pytest.mark.parametrize("key", ["id", "number", None])
def test_a_short_sample_is_filled_up_under_other_keys(key: str | None) -> None:
    sample = [{"id": f"r{number}", "number": number} for number in range(7)]
    found = failing_records._enough(nc.Pipeline("p", key=key), sample)
    assert len(found) == failing_records._WANTED
    if key is not None:
        assert len({record[key] for record in found}) == len(found)


def test_a_step_that_changes_what_it_is_given_changes_a_copy() -> None:
    pipeline = nc.Pipeline("p")

    @pipeline.step
    def take(record: dict[str, Any]) -> Any:
        return record.pop("text")

    record = {"text": "hello"}
    step = pipeline._stages[0]
    assert isinstance(step, Step)
    assert answering(step, [(record,)]).values == ["hello"]
    assert record == {"text": "hello"}


class _Bench:
    """As much of a bench as a long text needs."""

    def __init__(self, pipeline: nc.Pipeline, *records: Any) -> None:
        self.pipeline, self.records = pipeline, records

    def parsed(self, record: Any) -> Any:
        return record if self.pipeline.contract is None else self.pipeline.contract.validate_json(json.dumps(record))


def test_texts_are_made_long_wherever_they_lie_but_not_the_key() -> None:
    record = {"id": "a", "messages": [{"role": "user", "content": "hello"}]}
    long, size = _long(_Bench(nc.Pipeline("p", key="id"), record))  # type: ignore[arg-type]
    assert (long["id"], len(long["messages"][0]["content"]) >= size > 1000) == ("a", True)
    assert _long(_Bench(nc.Pipeline("p", key="id"), {"id": "a"})) == ({"id": "a"}, 0)  # type: ignore[arg-type]


# Judging ------------------------------------------------------------------------------------------------------------

STORM: dict[str, Any] = {
    "attempts": 3, "calls_of_all": [3, 3],
    "outage": {"error": None, "adds_up": True, "records": 2, "outcomes": [
        {"state": "waiting_retry", "status": "failed", "rounds": 0} for _ in range(2)
    ]},
    "later": {"outcomes": [{"state": "accepted"}, {"state": "accepted"}]},
}  # fmt: skip


def test_a_further_round_in_the_run_allows_further_calls_and_nothing_else_does() -> None:
    assert transient_storm._wrong_outage("step f", STORM) == []
    more = {**STORM, "calls_of_all": [3, 6]}
    assert transient_storm._wrong_outage("step f", more) == [
        "step f was called 6 times for one record; its policy allows 3"
    ]
    first, second = STORM["outage"]["outcomes"]
    again = {**STORM["outage"], "outcomes": [first, {**second, "rounds": 1}]}
    assert transient_storm._wrong_outage("step f", {**more, "outage": again}) == []


def seen(**changed: Any) -> dict[str, Any]:
    """A run of two records that was broken off after the first."""
    after = {"outcomes": {"a": "accepted", "b": "accepted"}, "double": [], "problems": []}
    return {
        "before": {"outcomes": {"a": "accepted"}}, "called": ["a", "b"], "called_again": ["b"], "after": after,
        "second": {"answer": {"adds_up": True}}, "delivered": ["a", "b"], "seconds": 1.0, **changed,
    }  # fmt: skip


def test_what_waits_to_be_tried_again_may_be_worked_again_and_what_is_settled_may_not() -> None:
    waiting = seen(before={"outcomes": {"a": "waiting_retry"}}, called_again=["a", "b"])
    assert accounted.judged([{}, {}], waiting, broken_off="kill").passed
    nameless = seen(called=["x", "y"], called_again=["x", "y"])
    happened = accounted.judged([{}, {}], nameless, broken_off="kill").happened
    assert happened == "1 records were worked again that were stored already"


def test_a_message_about_something_else_is_none_about_the_failures() -> None:
    wrong = failing_records._wrong
    about = "A-0001 pipeline-errors, pipeline:app (high)"
    assert wrong(["pipeline-errors"], [], [about], [], "pipeline:app") == []
    other = "A-0002 disk-full, an application's disk"
    assert "no message about it" in wrong(["pipeline-errors"], [], [other], [], "pipeline:app")[0]
    assert wrong([], [], [], [], "pipeline:app") == ["every record failed, and no alert fired: nobody would know"]
    assert wrong(["a"], ["NC-NOWHERE"], ["a pipeline:app"], [], "pipeline:app") == [
        "NC-NOWHERE leads to no runbook that says what to do"
    ]


def test_quiet_hours_are_left_out_of_the_copy() -> None:
    quiet = {"alerts": {"quiet_from": "22:00", "quiet_until": "07:00", "disabled": ["drift"]}, "notify": {}}
    assert failing_records._at_any_hour(quiet) == {"alerts": {"disabled": ["drift"]}, "notify": {}}
