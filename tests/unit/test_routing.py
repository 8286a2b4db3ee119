"""Where a handoff goes: the gate first, whatever an agent says and whatever the playbook holds."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightcrew.model.finding import Category, Finding
from nightcrew.model.handoff import Change, Handoff, HandoffKind, Verdict
from nightcrew.model.playbook import Gates, Match, Playbook, RouteRule
from nightcrew.model.routing import MERGE, Route, route, state_of_finding
from nightcrew.model.severity import Severity, highest
from nightcrew.model.ticket import APPROVING, Event, State, Ticket

CREATED = datetime(2026, 1, 1, tzinfo=UTC)
CHANGE = Change(branch="b", base="a" * 40, head="b" * 40, files=("src/app.py", "uv.lock"))


def finding(severity: Severity, *, breaks_build: bool = False, category: Category = Category.LINT) -> Finding:
    return Finding(
        fingerprint="0" * 32, tool="t", rule="r", category=category, severity=severity, message="it is so",
        breaks_build=breaks_build,
    )  # fmt: skip


def handoff(sender: str, kind: HandoffKind, **fields: object) -> Handoff:
    return Handoff.read(
        {"id": "H-000001", "from": sender, "to": "router", "ticket": "T-0001", "session": "S-1", "kind": kind,
         "created": CREATED, **fields},
        source="test",
    )  # fmt: skip


def ticket(*, head: str | None = "b" * 40) -> Ticket:
    return Ticket(id="T-0001", title="t", created=CREATED, head=head)


def routed(sender: str, kind: HandoffKind, playbook: Playbook | None = None, **fields: object) -> Route:
    return route(handoff(sender, kind, **fields), ticket(), playbook or Playbook())


WORK, VERDICT, QUESTION = HandoffKind.WORK, HandoffKind.VERDICT, HandoffKind.QUESTION
FINDINGS, DEFERRAL = HandoffKind.FINDINGS, HandoffKind.DEFERRAL
PASSED, FAILED, NOT_CHECKED = Verdict.PASSED, Verdict.FAILED, Verdict.NOT_CHECKED
INFO, LOW, HIGH = (finding(severity) for severity in (Severity.INFO, Severity.LOW, Severity.HIGH))


@pytest.mark.parametrize(
    ("sender", "kind", "fields", "desk", "event"),
    [
        ("build", WORK, {"change": CHANGE}, "qa", Event.SUBMIT),
        ("build", DEFERRAL, {}, "build", Event.DEFER),
        ("qa", DEFERRAL, {}, "qa", Event.DEFER),
        ("security", DEFERRAL, {}, "security", Event.DEFER),
        ("qa", DEFERRAL, {"findings": (HIGH,)}, "human", Event.GATE),
        ("build", DEFERRAL, {"breaks_build": True}, "human", Event.GATE),
        ("build", DEFERRAL, {"severity": Severity.CRITICAL}, "human", Event.GATE),
        ("build", QUESTION, {}, "human", Event.GATE),
        ("qa", VERDICT, {"verdict": PASSED}, "security", Event.PASS_QA),
        ("qa", VERDICT, {"verdict": PASSED, "findings": (INFO,)}, "security", Event.PASS_QA),
        ("qa", VERDICT, {"verdict": PASSED, "findings": (LOW,)}, "build", Event.SEND_BACK),
        ("qa", VERDICT, {"verdict": PASSED, "findings": (HIGH,)}, "human", Event.GATE),
        ("qa", VERDICT, {"verdict": PASSED, "severity": Severity.HIGH}, "human", Event.GATE),
        ("qa", VERDICT, {"verdict": PASSED, "breaks_build": True}, "human", Event.GATE),
        ("qa", VERDICT, {"verdict": FAILED}, "build", Event.SEND_BACK),
        ("qa", VERDICT, {"verdict": FAILED, "findings": (INFO, LOW)}, "build", Event.SEND_BACK),
        ("qa", VERDICT, {"verdict": NOT_CHECKED}, "human", Event.GATE),
        ("qa", FINDINGS, {"findings": (INFO,)}, "build", Event.SEND_BACK),
        ("qa", VERDICT, {}, "human", Event.GATE),
        ("security", VERDICT, {"verdict": PASSED}, MERGE, Event.PASS_SECURITY),
        ("security", VERDICT, {"verdict": PASSED, "findings": (LOW,)}, "build", Event.SEND_BACK),
        ("security", VERDICT, {"verdict": NOT_CHECKED, "findings": (LOW,)}, "human", Event.GATE),
        ("build", VERDICT, {"verdict": PASSED}, "human", Event.GATE),
        ("docs", VERDICT, {"verdict": PASSED}, "human", Event.GATE),
    ],
)
def test_table(sender: str, kind: HandoffKind, fields: Any, desk: str, event: Event) -> None:
    way = routed(sender, kind, **fields)
    assert (way.desk, way.event) == (desk, event)


@pytest.mark.parametrize(
    ("sender", "head", "event"),
    [
        ("build", "b" * 40, Event.APPROVE_WORK),
        ("qa", "b" * 40, Event.APPROVE_TO_SECURITY),
        ("security", "b" * 40, Event.APPROVE_CHANGE),
        ("qa", None, Event.APPROVE_WORK),
        ("security", None, Event.APPROVE_WORK),
    ],
)
def test_what_an_approval_would_do(sender: str, head: str | None, event: Event) -> None:
    way = route(handoff(sender, VERDICT, findings=(HIGH,)), ticket(head=head), Playbook())
    assert way.on_approve is event


def test_reasons_name_the_finding() -> None:
    broken = finding(Severity.LOW, breaks_build=True)
    assert routed("qa", VERDICT, findings=(LOW, broken)).reason == "breaks the build: it is so"
    assert routed("qa", VERDICT, findings=(LOW, HIGH, HIGH)).reason == "high lint: it is so and 1 more"
    assert routed("qa", VERDICT, severity=Severity.CRITICAL).reason == "qa says it is critical"
    assert routed("qa", VERDICT, findings=(broken,)).severity is Severity.HIGH


@pytest.mark.parametrize(
    ("when", "fits"),
    [
        (Match(), True),
        (Match(kind=WORK), True),
        (Match(kind=VERDICT), False),
        (Match(sender="build"), True),
        (Match(sender="qa"), False),
        (Match(verdict=PASSED), False),
        (Match(path="*.lock"), True),
        (Match(path="docs/*"), False),
        (Match(category=Category.LINT), True),
        (Match(category=Category.SECRET), False),
        (Match(severity_at_least=Severity.INFO), True),
        (Match(severity_at_least=Severity.MEDIUM), False),
        (Match(kind=WORK, path="docs/*"), False),
    ],
)
def test_a_route_of_the_playbook_adds_a_gate(when: Match, fits: bool) -> None:
    playbook = Playbook(routes=(RouteRule(when=when, reason="we look at those"),))
    way = routed("build", WORK, playbook, change=CHANGE, findings=(LOW,))
    assert (way.event is Event.GATE) is fits
    assert (way.reason == "we look at those") is fits


def test_a_finding_about_code_at_large_begins_where_the_gate_says() -> None:
    assert state_of_finding(LOW, Playbook()) is State.OPEN
    assert state_of_finding(HIGH, Playbook()) is State.IN_REVIEW
    assert state_of_finding(finding(Severity.INFO, breaks_build=True), Playbook()) is State.IN_REVIEW
    assert state_of_finding(LOW, Playbook(gates=Gates(severity=Severity.LOW))) is State.IN_REVIEW


severities = st.sampled_from(Severity)
found = st.lists(st.builds(lambda s, b: finding(s, breaks_build=b), severities, st.booleans()), max_size=3)
handoffs = st.builds(
    lambda sender, kind, verdict, severity, breaks, findings: handoff(
        sender, kind, verdict=verdict, severity=severity, breaks_build=breaks, findings=findings, change=CHANGE
    ),
    st.sampled_from(["build", "qa", "security", "docs"]),
    st.sampled_from(HandoffKind),
    st.none() | st.sampled_from(Verdict),
    st.none() | severities,
    st.booleans(),
    found,
)
matches = st.builds(
    Match,
    kind=st.none() | st.sampled_from(HandoffKind),
    sender=st.none() | st.sampled_from(["build", "qa", "security"]),
    verdict=st.none() | st.sampled_from(Verdict),
    severity_at_least=st.none() | severities,
    path=st.none() | st.just("*.lock"),
)
gates = st.sampled_from([Severity.LOW, Severity.MEDIUM, Severity.HIGH])


@given(handoffs, gates, st.lists(st.builds(lambda when: RouteRule(when=when), matches), max_size=3))
@settings(max_examples=500, deadline=None)
def test_the_gate_holds_whatever_is_said(said: Handoff, gate: Severity, rules: list[RouteRule]) -> None:
    plain = Playbook(gates=Gates(severity=gate))
    way = route(said, ticket(), plain)
    said_severities = [one.severity for one in said.findings] + ([said.severity] if said.severity else [])
    worst = highest(said_severities)
    if worst is not None:
        assert way.severity is not None
        assert way.severity.at_least(worst)
    breaks = said.breaks_build or any(one.breaks_build for one in said.findings)
    if breaks or (worst is not None and worst.at_least(gate)):
        assert (way.desk, way.event) == ("human", Event.GATE)
    if said.verdict is not Verdict.PASSED or said.kind is not HandoffKind.VERDICT:
        assert way.event not in (Event.PASS_QA, Event.PASS_SECURITY)
    if way.event is Event.PASS_SECURITY:
        assert said.sender == "security"
    assert (way.on_approve in APPROVING) is (way.event is Event.GATE)
    ruled = route(said, ticket(), plain.model_copy(update={"routes": tuple(rules)}))
    assert ruled == way or (ruled.event is Event.GATE and way.event is not Event.GATE)
