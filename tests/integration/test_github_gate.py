"""A pull-request review on GitHub, by an enrolled login on the exact commit, decides a review here; no other does."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.gate import Gate, prepare
from tests.github_server import Github, Pull, Review, github_server

from nightcrew.crew import admission, backlog, github_reviews, inbox, reviewers
from nightcrew.crew.night import run_shift
from nightcrew.model import review as asked
from nightcrew.model.errors import ApprovalError, UsageError
from nightcrew.model.ticket import Event, State
from nightcrew.store import tickets

pytestmark = pytest.mark.timeout(250)
VARIABLE = "NIGHTCREW_TEST_TOKEN"


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    made = prepare(tmp_path / "home", monkeypatch)
    (made.home / "repo" / "nightcrew.toml").write_text("[checks]\nscanners = []\nlint = false\n")
    made.reopen()
    yield made
    made.reopen()


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch) -> Iterator[Github]:
    with github_server() as running:
        monkeypatch.setenv(VARIABLE, running.token)
        yield running


def waiting(gate: Gate) -> asked.Review | None:
    """The review of the change that breaks a test, while it waits."""
    return next((one for one in inbox.pending(gate.project) if one.on_approve is Event.APPROVE_TO_SECURITY), None)


def enrol(gate: Gate, github: Github, name: str = "grace", login: str = "grace-h") -> None:
    reviewers.add_github(
        gate.project,
        name,
        login,
        repository=github.repository,
        token_env=VARIABLE,
        api=github.url,
        passphrase=lambda _: "",
        by="ada",
        signer=gate.signers["ada"][0],
    )


def test_approval_on_github_admits_exactly_that_commit(gate: Gate, github: Github) -> None:
    enrol(gate, github)
    backlog.add(gate.project, title="Triple it", branch="broken")
    run_shift(gate.project)
    review = waiting(gate)
    assert review is not None
    with gate.project.store.read() as tx:
        head = tickets.get(tx, review.ticket).head
    assert head is not None
    pull = github.add(Pull(7, head))
    pull.reviews = [Review(9, "grace-h", "APPROVED", head, submitted_at="2026-01-01T02:00:00Z")]
    assert github_reviews.collect(gate.project) == [], "approved before anybody was asked"
    gate.later(days=40)
    for other in (
        Review(1, "mallory", "APPROVED", head),
        Review(2, "grace-h", "APPROVED", "d" * 40),
        Review(3, "grace-h", "COMMENTED", head),
    ):
        pull.reviews = [other]
        assert github_reviews.collect(gate.project) == []
    still = waiting(gate)
    assert still is not None

    pull.reviews = [Review(4, "grace-h", "APPROVED", head)]
    (line,) = github_reviews.collect(gate.project)
    assert "grace approved it in pull request 7" in line
    assert waiting(gate) is None
    with gate.project.store.read() as tx:
        ticket = tickets.get(tx, review.ticket)
        assert ticket.state is State.IN_SECURITY
        assert admission.change_approval_of(gate.project, tx, ticket, Event.APPROVE_TO_SECURITY) == review.id

    pull.reviews.append(Review(5, "grace-h", "CHANGES_REQUESTED", head, submitted_at="2026-02-01T02:00:00Z"))
    with gate.project.store.read() as tx, pytest.raises(ApprovalError):
        admission.change_approval_of(gate.project, tx, ticket, Event.APPROVE_TO_SECURITY)


def test_service_that_refuses_costs_a_line_and_no_night(
    gate: Gate, github: Github, monkeypatch: pytest.MonkeyPatch
) -> None:
    enrol(gate, github)
    backlog.add(gate.project, title="Triple it", branch="broken")
    run_shift(gate.project)
    monkeypatch.setenv(VARIABLE, "wrong")
    (line,) = github_reviews.collect(gate.project)
    assert "grace on GitHub" in line
    assert "wrong" not in line
    assert waiting(gate) is not None


def test_key_of_github_is_enrolled_by_a_person_and_signs_no_enrolment(gate: Gate, github: Github) -> None:
    enrol(gate, github)
    with pytest.raises(UsageError):
        reviewers.add_github(
            gate.project, "x", "x", repository="", token_env=VARIABLE, api=github.url, passphrase=lambda _: ""
        )
    with pytest.raises(Exception, match="no key that can sign"):
        reviewers.opened(gate.project, "grace", passphrase=lambda _: "")
