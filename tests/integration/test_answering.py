"""A question that a reviewer asked back is answered by the desk in the next shift, and the review waits on."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.gate import Gate, prepare
from tests.model_server import Asked, Call, Reply, model_server, say

from nightcrew.crew import audit, inbox
from nightcrew.crew.night import run_shift
from nightcrew.model.review import Decision, ReviewState
from nightcrew.store import memory_sync, sessions, turns

QUESTION = "Is the key used anywhere else?"
ANSWER = "No: settings.py:1 is the only place."

pytestmark = pytest.mark.timeout(200)


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "dummy")
    made = prepare(tmp_path / "home", monkeypatch)
    yield made
    made.reopen()


def settings(gate: Gate, text: str) -> None:
    (gate.home / "repo" / "nightcrew.toml").write_text("[checks]\nscanners = []\nlint = false\n" + text)
    gate.reopen()


def test_question_is_answered_once_in_the_next_shift(gate: Gate) -> None:
    review = gate.review()
    gate.decide(review.id, decision=Decision.ASK, comment=QUESTION)

    offered: list[set[str]] = []

    def script(asked: Asked) -> Reply:
        if QUESTION not in asked.text:  # another ticket's change, which security looks at as well
            return say(Call("finish", {"findings": [], "done": "Nothing."}))
        offered.append(set(asked.tools))
        return say(Call("finish", {"findings": [], "done": ANSWER}))

    with model_server(script=script) as server:
        settings(
            gate,
            '[memory]\nloreconvo = ["no-such-loreconvo"]\n[agents.security]\nbrains = ["it"]\n'
            f'[brains.it]\nkind = "model"\nmodel = "anthropic:claude-test"\nbase_url = "{server.url}"\n',
        )
        assert run_shift(gate.project).outcome == "quiet"
        assert run_shift(gate.project).outcome == "quiet"
    assert len(offered) == 1, "an answered question is not asked again"
    assert not {"write", "edit"} & offered[0]
    view = inbox.view(gate.project, review.id)
    ((question, answer),) = view.questions
    assert answer is not None
    assert (answer.done, answer.sender, answer.supersedes) == (ANSWER, "security", question.id)
    assert view.review.state is ReviewState.PENDING
    with gate.project.store.read() as tx:
        (session,) = [one for one in sessions.list(tx) if one.tickets[0].outcome == "answered"]
        assert turns.used(tx, session.id) == 1, "an answer is charged as any other turn"
        assert session.id in {one.session for one in memory_sync.list(tx)}, "its record goes where all records go"
    gate.decide(review.id)
    assert audit.verify(gate.project).broken == ()


def test_question_to_a_desk_that_cannot_think_is_kept_and_said(gate: Gate) -> None:
    review = gate.review()
    settings(gate, "")
    assert "no brain is configured" in inbox.view(gate.project, review.id).effects["ask"]
    gate.decide(review.id, decision=Decision.ASK, comment=QUESTION)
    assert run_shift(gate.project).outcome == "quiet"
    ((_, answer),) = inbox.view(gate.project, review.id).questions
    assert answer is None


def test_service_that_fails_leaves_an_honest_answer(gate: Gate) -> None:
    review = gate.review()
    gate.decide(review.id, decision=Decision.ASK, comment=QUESTION)
    settings(
        gate,
        '[agents.security]\nbrains = ["it"]\n'
        '[brains.it]\nkind = "model"\nmodel = "anthropic:claude-test"\nbase_url = "http://127.0.0.1:9"\n',
    )
    assert run_shift(gate.project).outcome == "quiet"
    ((_, answer),) = inbox.view(gate.project, review.id).questions
    assert answer is not None
    assert answer.done.startswith("No answer: ")
    assert answer.brain is None
