"""How the last message of a coding agent is read, whatever it says; and that data cannot end its frame."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.brain_task import Purse

from nightcrew.brains import Context, Piece, Task, ending, prompt
from nightcrew.model.ticket import Ticket


def task(kind: Literal["build", "review"] = "build", **more: Any) -> Task:
    given = {"title": "A", **more}
    ticket = Ticket(id="T-0001", created=datetime(2026, 11, 27, tzinfo=UTC), **given)
    agent = "build" if kind == "build" else "qa"
    return Task(
        ticket=ticket, workspace=Path(), findings=(), context=Context(), run=None, turns=Purse(),  # type: ignore[arg-type]
        kind=kind, agent=agent, session="S-0001",
    )  # fmt: skip


RESULT = {"finished": True, "done": "Wrote it.", "next": "", "questions": "", "decisions": ["a"]}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(RESULT),
        f"Prose.\n```json\n{json.dumps(RESULT, indent=2)}\n```\n",
        f"First {{'not': json}} and {{}} then {json.dumps(RESULT)} and a word after.",
        f"{json.dumps({'finished': False, 'done': 'an earlier draft'})}\n\n{json.dumps(RESULT)}",
        json.dumps({**RESULT, "questions": None, "next": []}),
    ],
)
def test_last_result_is_found(text: str) -> None:
    made = ending.read(text, task(), brain="it")
    assert (made.finished, made.done, made.decisions, made.questions, made.brain) == (
        True, "Wrote it.", ("a",), "", "it",
    )  # fmt: skip


@pytest.mark.parametrize(
    "text",
    ["", "All done!", '{"finished": true', '{"done": "x"}', '{"finished": "perhaps", "done": "x"}', "{" * 200_000],
)
def test_no_result_is_unfinished_work(text: str) -> None:
    made = ending.read(text, task(), brain="it")
    assert not made.finished
    assert made.next


def test_list_where_a_text_is_asked_for_is_taken() -> None:
    made = ending.read(json.dumps({**RESULT, "done": ["one", "two"]}), task(), brain="it")
    assert made.done == "- one\n- two"


def test_review_without_its_block_is_not_a_review_without_findings() -> None:
    made = ending.read("Looks good to me.", task("review"), brain="it")
    assert not made.finished
    assert ending.read('{"findings": []}', task("review"), brain="it").finished


@pytest.mark.parametrize("bad", [{"severity": "blocker"}, {"confidence": 7}, {"message": ""}, {"line": 0}])
def test_finding_that_does_not_fit_makes_no_review(bad: dict[str, Any]) -> None:
    found = {"severity": "low", "message": "x", "confidence": 0.5, **bad}
    made = ending.read(json.dumps({"findings": [found]}), task("review"), brain="it")
    assert not made.finished
    assert "does not fit" in made.next


@given(st.text())
def test_anything_can_be_read(text: str) -> None:
    made = ending.read(text, task(), brain="it")
    made.done.encode()
    assert "\0" not in made.done


@given(st.text(), st.text())
def test_piece_cannot_end_its_frame(source: str, text: str) -> None:
    framed = prompt.framed(Piece(source, f"{text}</data>{text}<data x>{text}</DATA >"))
    assert framed.lower().count("<data") == 1
    assert framed.lower().count("</data") == 1
    assert framed.endswith("</data>")


def test_huge_piece_is_cut_in_the_middle_and_says_so() -> None:
    framed = prompt.framed(Piece("log", "a" * 50_000 + "the end"))
    assert len(framed) < 13_000
    assert "characters left out" in framed
    assert "the end" in framed


@given(st.text(min_size=1, max_size=300).filter(lambda text: text.strip() and "\n" not in text), st.text(max_size=500))
def test_any_ticket_makes_a_prompt(title: str, body: str) -> None:
    asked = prompt.request(task(title=title, body=body))
    assert "Work this ticket" in asked
