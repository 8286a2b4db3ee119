"""Health of the agents and measures of the crew: what is told agrees with what happened, whatever was killed when."""

import json
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.faults import crew_repository as crew
from tests.gate import Gate, prepare
from tests.model_server import OVERLOADED, Asked, Call, Reply, model_server, say

from nightcrew.brains import MustStop
from nightcrew.crew import alerting, backlog
from nightcrew.crew.desk import Desk
from nightcrew.crew.health import AgentHealth, Problem, health
from nightcrew.crew.measuring import Measures
from nightcrew.crew.night import run_shift
from nightcrew.crew.report import latest, markdown
from nightcrew.crew.sampling import sample
from nightcrew.model.budget import Budget
from nightcrew.model.finding import Category, Finding, fingerprint
from nightcrew.model.handoff import Change, Handoff, HandoffKind, Verdict
from nightcrew.model.review import Decision
from nightcrew.model.severity import Severity
from nightcrew.monitoring import query
from nightcrew.store import alerts, findings, handoffs, ids, locks, sessions, shifts, turns
from nightcrew.store.store import Tx

pytestmark = pytest.mark.timeout(300)
NIGHTLY = {"build": ["submitted"], "qa": ["passed"], "security": ["passed"]}


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-true-anthropic")
    made = prepare(tmp_path / "home", monkeypatch)
    yield made
    made.reopen()


# Nights as rows, without running them ---------------------------------------------------------------------------------


def begin(tx: Tx, agent: str, shift: str, tickets: Sequence[str], *, hard: int = 6) -> str:
    session = sessions.create(
        tx, shift=shift, agent=agent, manifest="M-0", budget=Budget(soft=4, hard=hard), brain="it", tickets=tickets
    )
    sessions.start(tx, session)
    return session


def night(
    gate: Gate,
    did: dict[str, list[str]],
    *,
    outcome: str = "quiet",
    used: int = 1,
    ended: str = "done",
    agents: Sequence[str] = ("build", "qa", "security"),
) -> None:
    """A shift of an hour with a session of each agent in ``did``, whose tickets ended as it says; then a day passes."""
    with gate.project.store.begin() as tx:
        shift = shifts.start(tx, agents=agents)
        for agent, outcomes in did.items():
            names = [f"T-{number:04d}" for number in range(9001, 9001 + len(outcomes))]
            session = begin(tx, agent, shift.id, names)
            for number in range(used):
                turns.charge(tx, session, f"turn {number}", None, hard=6)
            for name, became in zip(names, outcomes, strict=True):
                sessions.set_ticket_outcome(tx, session, name, became)
    gate.later(hours=1)
    with gate.project.store.begin() as tx:
        for one in sessions.list(tx, shift=shift.id):
            sessions.end(tx, one.id, outcome=ended)
        shifts.end(tx, shift.id, outcome=outcome)
    gate.later(hours=23)


def seen(gate: Gate, agent: str = "build") -> AgentHealth:
    return next(one for one in health(gate.project, gate.now) if one.agent == agent)


def only(gate: Gate, agent: str = "build") -> Problem:
    [problem] = seen(gate, agent).problems
    return problem


def all_well(gate: Gate) -> bool:
    return all(one.well for one in health(gate.project, gate.now))


# Silent ---------------------------------------------------------------------------------------------------------------


def test_agent_with_work_and_no_session_is_silent_until_it_has_one(gate: Gate) -> None:
    assert all_well(gate), "a crew that never ran has no habit to break"
    for _ in range(5):
        night(gate, NIGHTLY)
    last = gate.now - timedelta(days=1)
    assert all_well(gate)
    gate.later(days=1)
    assert all_well(gate), "nothing waits for it"
    backlog.add(gate.project, title="Think")
    problem = only(gate)
    assert (problem.kind, problem.runbook, problem.since) == ("silent", "AL-AGENT-SILENT", last)
    assert problem.message.startswith("build has had no session for 2 days, and 1 tickets wait at its desk: no shift")
    assert (problem.numbers["hours"], problem.numbers["waiting"]) == (48, 1)
    assert seen(gate, "qa").well
    night(gate, NIGHTLY)
    assert all_well(gate)


def test_agent_that_shifts_pass_over_is_silent_and_one_for_whom_they_found_nothing_is_not(gate: Gate) -> None:
    backlog.add(gate.project, title="Think")
    for _ in range(5):
        night(gate, NIGHTLY)
    for _ in range(3):
        night(gate, {"qa": ["passed"]}, outcome="out_of_time")
    assert "3 shifts have begun since, and none came to it (out of time)" in only(gate).message
    night(gate, {"qa": ["passed"]}, outcome="quiet")
    assert seen(gate).well, "the planner looked, and what waits there must not be worked"


def test_weekends_of_a_crew_that_works_on_weekdays_are_no_silence(gate: Gate) -> None:
    backlog.add(gate.project, title="Think")
    for week in range(4):
        for _ in range(5):
            night(gate, NIGHTLY)
        assert seen(gate).well
        gate.later(days=1)
        assert seen(gate).well or week == 0, "it cannot know the first weekend for one"
        gate.later(days=1)
    night(gate, NIGHTLY)
    gate.later(days=1)
    assert only(gate).kind == "silent", "a Tuesday without a shift"


# Stalled --------------------------------------------------------------------------------------------------------------


def running(gate: Gate) -> str:
    with gate.project.store.begin() as tx:
        return begin(tx, "build", shifts.start(tx, agents=["build"]).id, ["T-0001"])


def test_session_in_which_nothing_happens_is_stalled_and_a_turn_is_a_sign_of_life(gate: Gate) -> None:
    session = running(gate)
    gate.later(minutes=19)
    assert seen(gate).well
    with gate.project.store.begin() as tx:
        turns.charge(tx, session, "one", None, hard=6)
        locks.acquire(tx, "shift", "somebody", ttl_seconds=7200)
    charged = gate.now
    gate.later(minutes=19)
    assert seen(gate).well
    gate.later(minutes=2)
    problem = only(gate)
    assert (problem.kind, problem.runbook, problem.since) == ("stalled", "AL-AGENT-STALLED", charged)
    assert problem.message == f"build runs {session}, and nothing has happened in it for 21 minutes."
    with gate.project.store.begin() as tx:
        locks.release(tx, "shift", "somebody")
    assert "the process that ran it is gone: go on with nightcrew shift" in only(gate).message


def at_desk(gate: Gate) -> Desk:
    ticket = backlog.add(gate.project, title="Think")
    with gate.project.store.begin() as tx:
        session = sessions.get(tx, begin(tx, "build", shifts.start(tx, agents=["build"]).id, [ticket.id]))
    gate.project.work_dir.mkdir(parents=True, exist_ok=True)
    return Desk.of(gate.project, session, ticket)


def test_long_work_without_a_turn_is_no_stall_while_its_process_says_that_it_lives(gate: Gate) -> None:
    """Tests of a project may run for longer than a session may be idle."""
    desk = at_desk(gate)
    with gate.project.measures.at(desk):
        for _ in range(3):
            gate.later(minutes=15)
            desk.last_event = gate.now
            gate.project.measures.flush()
        assert seen(gate).well
        gate.later(minutes=21)
        assert only(gate).kind == "stalled"


def test_session_that_was_stopped_for_a_stall_is_told_until_the_next(gate: Gate) -> None:
    desk = at_desk(gate)
    gate.later(minutes=21)
    with pytest.raises(MustStop), gate.project.measures.at(desk):
        desk.charge("one")
    with gate.project.store.begin() as tx:
        sessions.end(tx, desk.session, outcome="stopped")
        shifts.end(tx, str(desk.shift), outcome="quiet")
    problem = only(gate)
    assert (problem.kind, problem.since) == ("stalled", gate.now)
    assert problem.message == f"{desk.session} of build was stopped, since nothing happened in it for 20 minutes."
    night(gate, NIGHTLY)
    assert seen(gate).well


# Failing, over budget -------------------------------------------------------------------------------------------------


def test_failures_in_a_row_are_told_from_the_third_on(gate: Gate) -> None:
    night(gate, NIGHTLY)
    began = gate.now
    for number in range(3):
        assert seen(gate).well, number
        night(gate, {"build": ["quarantined", "failed"]})
    problem = only(gate)
    assert (problem.kind, problem.runbook, problem.since) == ("failing", "AL-AGENT-FAILING", began)
    assert problem.message == "The last 3 sessions of build failed."
    assert problem.numbers == {"failed": 3, "of": 4, "in_a_row": 3}
    for _ in range(2):
        night(gate, {"build": ["quarantined", "submitted"]})
    assert seen(gate).well, "one of its tickets came to something, and no more than half of the sessions failed"


def test_most_of_the_last_sessions_failing_is_told_though_one_succeeds_between(gate: Gate) -> None:
    for ended in ("failed", "failed", "done", "failed", "failed", "done"):
        night(gate, {"build": ["submitted"]}, ended=ended)
    assert only(gate).message == "4 of the last 6 sessions of build failed."


def test_sessions_that_take_up_nothing_count_neither_way(gate: Gate) -> None:
    for _ in range(3):
        night(gate, {"build": ["failed"]})
        night(gate, {"build": ["not_started", "refused"]})
    assert only(gate).message == "The last 3 sessions of build failed."


def test_sessions_at_their_hard_cap_again_and_again(gate: Gate) -> None:
    for used in (6, 1, 6, 1):
        night(gate, NIGHTLY, used=used)
    assert all_well(gate)
    night(gate, {"build": ["deferred"]}, used=6)
    problem = only(gate)
    assert (problem.kind, problem.runbook) == ("over-budget", "AL-AGENT-OVER-BUDGET")
    assert problem.message == "3 of the last 5 sessions of build used all of their budget."


def test_sessions_that_take_more_than_they_used_to(gate: Gate) -> None:
    for used in [*(1 + number % 3 for number in range(20)), *(3 + number % 2 for number in range(20))]:
        night(gate, {"build": ["submitted"]}, used=used)
    problem = only(gate)
    assert problem.kind == "over-budget"
    assert (
        "build does worse than it used to: 3.5 turns a session in the last 20, 1.95 in the 20 before" in problem.message
    )
    assert problem.since == gate.now - timedelta(days=20)


# Quality --------------------------------------------------------------------------------------------------------------


def test_tickets_put_off_more_often_than_before(gate: Gate) -> None:
    for number in range(40):
        night(gate, {"build": ["submitted", "deferred" if number % 10 == 0 or number >= 28 else "submitted"]})
    problem = only(gate)
    assert (problem.kind, problem.runbook) == ("quality", "AL-AGENT-QUALITY")
    assert "of a session's tickets put off" in problem.message
    assert problem.numbers["latest"] > problem.numbers["past"]
    assert problem.numbers["p"] < 0.01 / 12


def test_what_was_always_so_is_no_fall_in_quality(gate: Gate) -> None:
    for number in range(40):
        night(gate, {"build": ["submitted", "deferred" if number % 2 else "submitted"]})
        assert seen(gate).well, number


def test_reviewers_who_find_an_agent_wrong_more_often_than_before(gate: Gate) -> None:
    for number in range(20):
        review = gate.review(f"A key {number}", path=f"settings_{number}.py")
        gate.decide(review.id, decision=Decision.APPROVE if number < 10 else Decision.REJECT)
        gate.later(hours=1)
    began = gate.now - timedelta(hours=10)
    assert seen(gate, "security").well, "it is looked at once a night"
    night(gate, {"security": ["passed"]})
    problem = only(gate, "security")
    assert "100% of its reviews decided against it in the last 10, 0% in the 10 before" in problem.message
    assert problem.since == began
    assert seen(gate, "build").well


def hand_over(gate: Gate, number: int, new: int) -> None:
    """A change of build, checked by QA, which finds ``new`` findings in it."""
    ticket = backlog.add(gate.project, title=f"Change {number}")
    commit = f"{number:040x}"

    def put(tx: Tx, session: str, sender: str, kind: HandoffKind, verdict: Verdict | None) -> str:
        said: dict[str, Any] = {
            "id": ids.next_id(tx, "H", width=6), "from": sender, "to": "qa", "ticket": ticket.id, "session": session,
            "kind": kind, "verdict": verdict, "created": tx.now(),
            "change": Change(branch="b", base=commit, head=commit),
        }  # fmt: skip
        handoff = Handoff.read(said, source="test")
        handoffs.put(tx, handoff)
        return handoff.id

    with gate.project.store.begin() as tx:
        shift = shifts.start(tx, agents=["build"])
        session = begin(tx, "build", shift.id, [ticket.id])
        made = put(tx, session, "build", HandoffKind.WORK, None)
        sessions.set_ticket_outcome(tx, session, ticket.id, "submitted", handoff=made)
        sessions.end(tx, session, outcome="done")
    gate.later(minutes=5)
    with gate.project.store.begin() as tx:
        put(tx, "S-0000", "qa", HandoffKind.VERDICT, Verdict.FAILED if new else Verdict.PASSED)
        for one in range(new):
            mark = fingerprint(tool="ruff", rule="F401", path=f"{number}.py", code=str(one))
            finding = Finding(
                fingerprint=mark, tool="ruff", rule="F401", category=Category.LINT, severity=Severity.LOW, message="m"
            )
            findings.record(tx, finding, ticket=ticket.id)
        shifts.end(tx, shift.id, outcome="quiet")
    gate.later(hours=23, minutes=55)


def test_more_findings_in_its_changes_than_before(gate: Gate) -> None:
    for number in range(12):
        hand_over(gate, number, new=number % 2)
    assert seen(gate).well
    for number in range(12, 24):
        hand_over(gate, number, new=3)
    problem = only(gate)
    assert (
        "build does worse than it used to: 3 findings a change in the last 12, 0.5 in the 12 before" in problem.message
    )


# Where it is told -----------------------------------------------------------------------------------------------------


def test_report_has_one_line_if_all_are_well_and_what_is_wrong_if_not(gate: Gate) -> None:
    night(gate, NIGHTLY)
    assert "## Agent health\n\n- all 3 agents are well\n" in markdown(latest(gate.project))
    for _ in range(3):
        night(gate, {"build": ["failed"]})
    report = latest(gate.project)
    assert report.health == ("The last 3 sessions of build failed. Runbook: AL-AGENT-FAILING",)


def test_damaged_row_is_told_in_the_report_and_does_not_keep_the_night_from_its_end(gate: Gate) -> None:
    night(gate, NIGHTLY)
    with closing(sqlite3.connect(gate.project.state_dir / "nightcrew.db")) as database, database:
        database.execute("UPDATE reviews SET decided = 'never'")
        database.execute("INSERT INTO journal VALUES ('S-0001', 'T-0001', 'alive', 'no JSON', '')")
        database.execute("UPDATE sessions SET state = 'running' WHERE id = 'S-0001'")
    [line] = latest(gate.project).health
    assert line.startswith("the health of the agents cannot be told")
    assert sample(gate.project) == []


def test_command_tells_people_and_machines_and_exits_with_one_if_something_is_wrong(gate: Gate) -> None:
    repo, env = gate.home / "repo", dict(os.environ)
    for _ in range(2):
        night(gate, {"build": ["failed"]})
    done = crew.nightcrew(repo, "health", env=env)
    assert (done.returncode, done.stderr) == (0, "")
    night(gate, {"build": ["failed"]})
    done = crew.nightcrew(repo, "health", env=env)
    assert done.returncode == 1
    assert "The last 3 sessions of build failed. (nightcrew runbook AL-AGENT-FAILING)" in done.stdout
    found = json.loads(crew.nightcrew(repo, "health", "--json", env=env).stdout)
    assert [one["agent"] for one in found] == ["build", "qa", "security"]
    assert found[0]["problems"][0]["runbook"] == "AL-AGENT-FAILING"


def test_alert_fires_on_a_problem_and_resolves_when_it_is_over(gate: Gate) -> None:
    watcher = alerting.watcher(gate.project)
    gate.later(seconds=5)
    for _ in range(3):
        night(gate, {"build": ["failed"]})
    assert not watcher.look().problems
    with gate.project.store.read() as tx:
        [alert] = [one for one in alerts.open_ones(tx) if one.rule.startswith("agent-")]
    assert (alert.rule, alert.subject, alert.runbook) == ("agent-failing", "agent:build", "AL-AGENT-FAILING")
    for _ in range(3):
        night(gate, NIGHTLY)
    watcher.look()
    with gate.project.store.read() as tx:
        assert not [one for one in alerts.open_ones(tx) if one.rule.startswith("agent-")]


# Measures -------------------------------------------------------------------------------------------------------------


def total(gate: Gate, name: str, subject: str, **labels: str) -> float:
    return measured(gate, name, subject, **labels).total


def measured(gate: Gate, name: str, subject: str, **labels: str) -> query.Window:
    with gate.project.store.read() as tx:
        start = datetime(2026, 1, 1, tzinfo=UTC)
        return query.window(tx, name, subject, start, gate.now + timedelta(minutes=1), **labels)


def sums(gate: Gate) -> dict[str, Any]:
    """The same from the tables."""
    with gate.project.store.read() as tx:
        found = sessions.list(tx)
        return {
            one: (
                sum(turns.used(tx, s.id) for s in found if s.agent == one),
                sum(turns.usage(tx, s.id).tokens for s in found if s.agent == one),
                sum(s.outcome == "done" for s in found if s.agent == one),
            )
            for one in {s.agent for s in found}
        }


def test_measures_of_a_night_with_a_model_are_what_the_tables_say(gate: Gate) -> None:
    asked: list[Asked] = []

    def script(one: Asked) -> Reply:
        asked.append(one)
        if len(asked) == 2:
            return OVERLOADED
        if "Say what it is" not in one.text:  # a ticket that was filed for a finding on the first night
            return say(Call("finish", {"finished": False, "done": "Nothing.", "next": "See."}))
        if one.turn == 0:
            return say(Call("write", {"path": "ABOUT.md", "text": "A secret-looking word: hunter2\n"}))
        return say(Call("finish", {"finished": True, "done": "Wrote it."}))

    backlog.add(gate.project, title="Say what it is")
    backlog.add(gate.project, title="Say it by command", command="printf 'A thing.\\n' > MORE.md")
    with model_server(script=script) as server:
        (gate.home / "repo" / "nightcrew.toml").write_text(
            '[agents.build]\nbrains = ["it", "mechanical"]\n'
            f'[brains.it]\nkind = "model"\nmodel = "anthropic:claude-test"\nbase_url = "{server.url}"\n'
        )
        gate.reopen()
        report = run_shift(gate.project)
    assert report.outcome == "quiet"
    for agent, (used, tokens, done) in sums(gate).items():
        subject = f"agent:{agent}"
        assert total(gate, "turns", subject) == used
        assert total(gate, "tokens", subject) == tokens
        assert total(gate, "sessions", subject, outcome="done") == done
        assert measured(gate, "seconds", subject).count == done
    assert total(gate, "turns", "agent:build", brain="it") == len(asked) > 3
    assert total(gate, "turns", "agent:build", brain="mechanical") == 1
    assert total(gate, "tokens", "agent:build", brain="it") > 0
    assert total(gate, "calls", "brain:it", status="ok") == len(asked) - 1
    assert total(gate, "calls", "brain:it", status="failed") == 1
    assert total(gate, "errors", "brain:it", **{"class": "transient.overloaded"}) == 1
    assert measured(gate, "seconds", "brain:it").count == len(asked)
    assert total(gate, "shifts", "crew", outcome="quiet") == 1
    assert measured(gate, "seconds", "check:tests").count > 0
    assert measured(gate, "seconds", "check:bandit").count > 0
    assert total(gate, "errors", "check:*") == 0
    assert measured(gate, "queue.depth", "desk:human").last == len(report.inbox)
    assert measured(gate, "health", "agent:build", problem="failing").last == 0
    with closing(sqlite3.connect(gate.project.state_dir / "nightcrew.db")) as database:
        named = database.execute("SELECT name || subject || labels FROM series").fetchall()
    assert not [name for (name,) in named if "hunter2" in name or "sk-true" in name or "Say" in name]


def test_brain_that_takes_over_from_another_is_counted_with_its_level(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    backlog.add(gate.project, title="Think")
    (gate.home / "repo" / "nightcrew.toml").write_text(
        '[agents.build]\nbrains = ["keyless", "mechanical"]\n[checks]\nscanners = []\nlint = false\n'
        '[brains.keyless]\nkind = "model"\nmodel = "anthropic:claude-test"\nbase_url = "http://127.0.0.1:9"\n'
    )
    gate.reopen()
    run_shift(gate.project)
    with gate.project.store.read() as tx:
        worked = [row for one in sessions.list(tx) if one.agent == "build" for row in one.tickets]
    assert total(gate, "fallbacks", "brain:mechanical", level="1") == len(worked) > 0
    assert total(gate, "fallbacks", "brain:*") == len(worked)


def test_waiting_of_a_review_is_measured_when_it_is_decided(gate: Gate) -> None:
    review = gate.review()
    gate.later(hours=3)
    sample(gate.project)
    assert measured(gate, "queue.age", "desk:human").last == 3 * 3600
    gate.decide(review.id, decision=Decision.REJECT)
    waited = measured(gate, "review.seconds", "desk:human")
    assert (waited.count, waited.total) == (1, 3 * 3600)


def test_check_that_cannot_be_made_is_an_error_and_one_that_was_stopped_says_nothing(gate: Gate) -> None:
    measures = gate.project.measures

    def broken() -> None:
        raise OSError("no such program")

    def stopped() -> None:
        raise MustStop("stopped")

    with pytest.raises(OSError, match="no such"):
        measures.check("lint", broken, lambda _: None)
    with pytest.raises(MustStop):
        measures.check("lint", stopped, lambda _: None)
    measures.flush()
    assert total(gate, "errors", "check:lint", **{"class": "bug"}) == 1
    assert measured(gate, "seconds", "check:lint").count == 1


def test_turn_that_was_charged_before_the_process_died_is_not_counted_again(gate: Gate) -> None:
    desk = at_desk(gate)
    desk.charge("command", brain="mechanical")
    again = Desk.of(gate.project, _session(gate, desk.session), desk.ticket)
    again.charge("command", brain="mechanical")
    again.charge("another", brain="mechanical")
    assert total(gate, "turns", "agent:build", brain="mechanical") == 2


def _session(gate: Gate, name: str) -> sessions.Session:
    with gate.project.store.read() as tx:
        return sessions.get(tx, name)


def test_store_that_is_busy_gets_measures_the_next_time(gate: Gate, tmp_path: Path) -> None:
    measures = gate.project.measures
    measures.request("it", 0.5, None)
    file = gate.project.state_dir / "nightcrew.db"
    kept = file.rename(tmp_path / "away.db")
    gate.reopen()  # Its connections are gone, and the file is nowhere: nothing can be written.
    file.mkdir()
    measures.flush()
    file.rmdir()
    kept.rename(file)
    measures.flush()
    assert total(gate, "calls", "brain:it", status="ok") == 1


@pytest.mark.slow
def test_measures_of_a_night_that_was_killed_are_what_the_tables_say(tmp_path: Path) -> None:
    """Killed once a turn is charged, and once more when the next session runs; nothing is counted twice or lost."""
    home = tmp_path / "home"
    repo, env = home / "repo", crew.environment(home)
    crew.make(repo, env)
    crew.fill(repo, env)
    file = repo / ".nightcrew" / "nightcrew.db"
    for until in ("SELECT count(*) FROM turns", "SELECT count(*) FROM sessions WHERE state = 'ended'"):
        _shift_killed_when(repo, env, file, until)
    again = crew.nightcrew(repo, "shift", env=env)
    assert again.returncode in (0, 1), again.stderr
    with closing(sqlite3.connect(file)) as database:
        rows = database.execute(
            "SELECT subject, name, json_extract(labels, '$.outcome'), sum(total), sum(count) FROM series"
            " JOIN points ON points.series = series.id WHERE span = 60 AND name IN ('turns', 'sessions', 'shifts')"
            " GROUP BY 1, 2, 3"
        ).fetchall()
        charged = database.execute(
            "SELECT 'agent:' || agent, 'turns', NULL, count(*), count(*) FROM turns JOIN sessions ON id = session"
            " GROUP BY 1"
        ).fetchall()
        ended = database.execute(
            "SELECT 'agent:' || agent, 'sessions', outcome, count(*), count(*) FROM sessions GROUP BY 1, 3"
        ).fetchall()
        nights = database.execute(
            "SELECT 'crew', 'shifts', outcome, count(*), count(*) FROM shifts GROUP BY 3"
        ).fetchall()
        timed = database.execute(
            "SELECT sum(count) FROM series JOIN points ON points.series = series.id"
            " WHERE span = 60 AND name = 'seconds' AND subject LIKE 'agent:%'"
        ).fetchone()
    assert sorted(rows, key=str) == sorted([*charged, *ended, *nights], key=str)
    assert timed == (sum(row[3] for row in ended),)


def _shift_killed_when(repo: Path, env: dict[str, str], file: Path, until: str) -> None:
    """Start a shift and kill it as soon as the query gives a number above zero."""
    shift = subprocess.Popen(
        [*crew.NIGHTCREW, "shift"], cwd=repo, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    while shift.poll() is None:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
            if database.execute(until).fetchone()[0]:
                os.killpg(shift.pid, signal.SIGKILL)
                break
        time.sleep(0.01)
    assert shift.wait() == -signal.SIGKILL


def test_measures_share_one_recorder_among_threads_and_write_only_what_is_new(gate: Gate) -> None:
    measures = Measures(gate.project.store, gate.project.clock)
    measures.flush()
    for _ in range(3):
        measures.request("it", 1.0, None)
        measures.flush()
    assert total(gate, "calls", "brain:it") == 3
