"""Measures for Prometheus and Grafana: the text, who may read it, the files that come along, and the command."""

import json
import math
import os
import re
import secrets
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient
from tests.acceptance.conftest import Cli
from tests.gate import prepare

from nightcrew.model.errors import ConfigurationError
from nightcrew.monitoring import shipped
from nightcrew.monitoring.families import names_given
from nightcrew.monitoring.metrics import Recorder
from nightcrew.monitoring.prometheus import Exposition
from nightcrew.monitoring.retention import maintain
from nightcrew.store import ledger, runs
from nightcrew.store.store import Store
from nightcrew.web import scraper
from nightcrew.web.app import create_app

START = datetime(2026, 11, 27, 2, 0, tzinfo=UTC)
ORIGIN = "http://localhost:8377"
DATA = "a value of a record"


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Store]:
    """On SQLite, or what the test says."""
    url = f"sqlite:///{tmp_path}/it.db"
    if getattr(request, "param", "sqlite") == "postgres":
        server = request.getfixturevalue("postgres")
        name = f"t{uuid.uuid4().hex}"
        server.psql(f"CREATE DATABASE {name};")
        url = str(server.get_uri(name))
    opened = Store(url, seal_key=b"k" * 32, clock=clock)
    with opened.begin() as tx:
        ledger.append(tx, actor="nightcrew", action="genesis", subject="ledger:1", data={})
    yield opened
    opened.close()


def measured(store: Store, clock: Clock, count: int = 5) -> None:
    """What one process measures of everything that has a name of its own."""
    recorder = Recorder(clock)
    recorder.count("records", "pipeline:fraud", count, state="accepted")
    recorder.count("records", "pipeline:fraud", 1, state="quarantined")
    recorder.count("errors", "pipeline:fraud", 1, **{"class": "permanent.contract"})
    recorder.observe("seconds", "pipeline:fraud", [0.1 * (number + 1) for number in range(count)])
    recorder.observe("confidence", "pipeline:fraud", [0.5, 0.9])
    recorder.feature("feature.amount", "pipeline:fraud", [12.5, 13.5], missing=1)
    recorder.items("feature.country", "pipeline:fraud", [DATA, DATA, None])
    recorder.items("prediction", "pipeline:fraud", ["yes", DATA])
    recorder.gauge("queue.age", "pipeline:fraud", 60.0, queue="retry")
    recorder.gauge("queue.depth", "pipeline:fraud", 99.0, queue="retry")
    recorder.gauge("drift", "pipeline:fraud", 0.3, feature="amount")
    for name in ("seconds", "confidence"):
        recorder.observe(name, "step:fraud/score", [0.25, 0.5, 0.75])
    recorder.count("calls", "step:fraud/score", 3, status="accepted")
    recorder.count("errors", "step:fraud/score", 1, **{"class": "transient.network"})
    recorder.count("retries", "step:fraud/score", 2)
    recorder.count("fallbacks", "step:fraud/score", 1, level="1")
    recorder.observe("seconds", "brain:opus", [1.0])
    recorder.count("calls", "brain:opus", 1, status="ok")
    recorder.count("errors", "brain:opus", 1, **{"class": "transient.rate_limit"})
    recorder.count("fallbacks", "brain:opus", 1, level="1")
    recorder.observe("seconds", "check:tests", [3.0])
    recorder.count("errors", "check:tests", 1, **{"class": "permanent.bug"})
    recorder.observe("seconds", "agent:build", [60.0])
    recorder.count("sessions", "agent:build", 1, outcome="done")
    for name in ("turns", "tokens", "dollars"):
        recorder.count(name, "agent:build", 1.5, brain="opus")
    recorder.gauge("queue.depth", "desk:human", 2.0)
    recorder.gauge("queue.age", "desk:human", 3600.0)
    recorder.observe("review.seconds", "desk:human", [100.0])
    recorder.count("shifts", "crew", 1, outcome="quiet")
    recorder.flush(store)


def samples(text: bytes | str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """The samples by name and labels, by the parser that Prometheus's own client has."""
    decoded = text.decode() if isinstance(text, bytes) else text
    found: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for family in text_string_to_metric_families(decoded):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found, f"twice: {key}"
            found[key] = sample.value
    return found


def one(text: bytes, name: str, **labels: str) -> float:
    return samples(text)[name, tuple(sorted(labels.items()))]


def counters(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {key: value for key, value in samples(text).items() if key[0].endswith(("_total", "_sum", "_count"))}


# The text -------------------------------------------------------------------------------------------------------------


def test_counters_gauges_and_summaries_have_names_units_and_labels(store: Store, clock: Clock) -> None:
    measured(store, clock)
    text = Exposition().text(store)
    assert one(text, "nightcrew_records_total", pipeline="fraud", state="accepted") == 5
    assert one(text, "nightcrew_record_errors_total", pipeline="fraud", **{"class": "permanent.contract"}) == 1
    step = {"pipeline": "fraud", "step": "score"}
    assert one(text, "nightcrew_step_seconds", quantile="0.5", **step) == pytest.approx(0.5)
    assert one(text, "nightcrew_step_seconds_sum", **step) == pytest.approx(1.5)
    assert one(text, "nightcrew_step_seconds_count", **step) == 3
    assert one(text, "nightcrew_agent_dollars_total", agent="build", brain="opus") == 1.5
    assert one(text, "nightcrew_desk_oldest_seconds", desk="human") == 3600
    assert one(text, "nightcrew_shifts_total", outcome="quiet") == 1
    assert one(text, "nightcrew_drift_effect", pipeline="fraud", feature="amount") == pytest.approx(0.3)
    assert b"# TYPE nightcrew_records_total counter" in text
    assert b"# TYPE nightcrew_step_seconds summary" in text


def test_no_value_of_a_record_is_exported(store: Store, clock: Clock) -> None:
    measured(store, clock)
    text = Exposition().text(store)
    assert one(text, "nightcrew_feature_values_total", pipeline="fraud", feature="amount") == 2
    assert one(text, "nightcrew_feature_missing_total", pipeline="fraud", feature="country") == 1
    assert one(text, "nightcrew_predictions_total", pipeline="fraud") == 2
    assert DATA.encode() not in text
    assert b"12.5" not in text
    assert b"13.5" not in text


def test_measures_of_somebody_elses_have_names_that_fit(store: Store, clock: Clock) -> None:
    recorder = Recorder(clock)
    recorder.count("cache.hits", "model-server:a/b", 3, **{"odd-label": 'quo"ted\nline'})
    recorder.gauge("temperature", "model-server:a/b", 20.5)
    recorder.flush(store)
    text = Exposition().text(store)
    labels = {"model_server": "a/b", "odd_label": 'quo"ted\nline'}
    assert one(text, "nightcrew_model_server_cache_hits_total", **labels) == 3
    assert one(text, "nightcrew_model_server_temperature", model_server="a/b") == 20.5


HOSTILE = [
    'quo"ted', "new\nline", "back\\slash", "back\\nslash", "ends in \\", '"', "\\", "", " ", "{a=\"b\"} 1", "# HELP x",
    "carriage\rreturn", "line\u2028separator", "tab\t", "naïve ☂", "\x00", "\x7f",
]  # fmt: skip


def test_label_values_of_any_kind_are_told_apart_and_come_back_as_they_were(store: Store, clock: Clock) -> None:
    recorder = Recorder(clock)
    for number, value in enumerate(HOSTILE, 1):
        recorder.count("calls", "brain:opus", number, status=value)
    recorder.flush(store)
    kept = Exposition()
    for accept in ("text/plain", "application/openmetrics-text;version=1.0.0"):
        text, _ = kept.negotiated(store, accept)
        lines = [line for line in text.decode().split("\n") if line.startswith("nightcrew_brain_calls_total{")]
        assert len(lines) == len(HOSTILE)
        found = [re.fullmatch(r'nightcrew_brain_calls_total\{brain="opus",status="(.*)"\} (\S+)', one) for one in lines]
        unquoted = {
            re.sub(r"\\(.)", lambda one: "\n" if one[1] == "n" else one[1], one[1]): float(one[2])
            for one in found
            if one is not None
        }
        assert unquoted == {value: float(number) for number, value in enumerate(HOSTILE, 1)}


def test_thousands_of_series_are_told_each_once(store: Store, clock: Clock) -> None:
    recorder = Recorder(clock)
    for number in range(1000):
        recorder.count("calls", f"step:p{number}/s", 1, status="accepted")
        recorder.observe("seconds", f"step:p{number}/s", [0.5])
        recorder.gauge("temperature", f"room:{number}", number)
    recorder.flush(store)
    found = samples(Exposition().text(store))  # which checks that none comes twice
    assert sum(name == "nightcrew_step_calls_total" for name, _ in found) == 1000
    assert sum(name == "nightcrew_step_seconds" for name, _ in found) == 4000
    assert sum(name == "nightcrew_step_seconds_count" for name, _ in found) == 1000
    assert found["nightcrew_room_temperature", (("room", "999"),)] == 999


def test_two_processes_are_added_up_and_their_quantiles_merged(store: Store, clock: Clock) -> None:
    for values in ([1.0] * 50, [3.0] * 50):
        recorder = Recorder(clock)
        recorder.observe("seconds", "step:fraud/score", values)
        recorder.flush(store)
    text = Exposition().text(store)
    step = {"pipeline": "fraud", "step": "score"}
    assert one(text, "nightcrew_step_seconds_count", **step) == 100
    assert one(text, "nightcrew_step_seconds", quantile="0.5", **step) == 1.0
    assert one(text, "nightcrew_step_seconds", quantile="0.9", **step) == 3.0


def test_quantiles_are_of_the_last_five_minutes_and_sums_of_ever(store: Store, clock: Clock) -> None:
    measured(store, clock)
    clock.now += timedelta(minutes=10)
    found = samples(Exposition().text(store))
    assert not [key for key in found if key[0] == "nightcrew_step_seconds"]
    assert found["nightcrew_step_seconds_count", (("pipeline", "fraud"), ("step", "score"))] == 3
    assert ("nightcrew_desk_depth", (("desk", "human"),)) in found
    clock.now += timedelta(days=2)
    assert ("nightcrew_desk_depth", (("desk", "human"),)) not in samples(Exposition().text(store))


@pytest.mark.parametrize("store", ["sqlite", "postgres"], indirect=True)
def test_counters_never_fall_over_restarts_merging_and_deletion(store: Store, clock: Clock) -> None:
    """Every few hours for weeks, with points kept so short that each kind of them is deleted meanwhile."""
    kept = Exposition()
    before: dict[Any, float] = {}
    for number in range(90):
        measured(store, clock, count=number % 7 + 1)
        if number % 3:
            maintain(store, clock.now, minutes_days=1, hours_days=3, days_days=10)
        found = counters(kept.text(store))
        assert found == pytest.approx(counters(Exposition().text(store)))  # what a restarted server says
        assert all(found[key] >= value - 1e-9 for key, value in before.items())
        assert before.keys() <= found.keys()
        before = found
        clock.now += timedelta(hours=7, minutes=number % 60)
    total = sum(number % 7 + 1 for number in range(90))
    assert before["nightcrew_records_total", (("pipeline", "fraud"), ("state", "accepted"))] == total
    assert before["nightcrew_step_seconds_count", (("pipeline", "fraud"), ("step", "score"))] == 3 * 90
    assert before["nightcrew_feature_missing_total", (("feature", "amount"), ("pipeline", "fraud"))] == 90


def test_queues_are_those_of_now(store: Store) -> None:
    with store.begin() as tx:
        row = runs.pipeline(tx, "fraud", secret=())
        runs.start(tx, row, kind="JsonlSource", source="in", fingerprint="f", sink=None, parts=[(0, None, 0, 1)])
    text = Exposition().text(store)
    assert one(text, "nightcrew_queue_records", pipeline="fraud", queue="quarantine") == 0
    assert one(text, "nightcrew_shift_running") == 0
    assert not [key for key in samples(text) if key[0] == "nightcrew_shift_last_end_timestamp_seconds"]


def test_a_scraper_may_ask_for_openmetrics(store: Store, clock: Clock) -> None:
    measured(store, clock)
    text, kind = Exposition().negotiated(store, "application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert kind.startswith("application/openmetrics-text; version=1.0.0")
    assert text.endswith(b"# EOF\n")
    plain, kind = Exposition().negotiated(store, "*/*")
    assert kind.startswith("text/plain; version=0.0.4")
    assert samples(plain)


# Who may read it ------------------------------------------------------------------------------------------------------


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    for name in (scraper.TOKEN, scraper.TOKEN_FILE):
        monkeypatch.delenv(name, raising=False)
    gate = prepare(tmp_path / "home", monkeypatch)
    token = secrets.token_urlsafe(32)
    app = create_app(gate.project.root, origin=ORIGIN, token=token, open_project=lambda _: gate.project)
    with TestClient(app, base_url=ORIGIN, raise_server_exceptions=False) as client:
        client.headers["x-link"] = token
        yield client


def bearer(token: str, **more: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}", **{name.replace("_", "-"): value for name, value in more.items()}}


TOKEN = "0123456789abcdef0123"


def test_metrics_are_closed_unless_a_token_was_given(client: TestClient) -> None:
    for headers in ({}, bearer(""), bearer("None"), bearer(TOKEN)):
        answer = client.get("/metrics", headers=headers)
        assert answer.status_code == 401
        assert "nightcrew_info" not in answer.text
        assert answer.headers["www-authenticate"].startswith("Bearer")


def test_the_token_opens_metrics_and_nothing_else(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(scraper.TOKEN, TOKEN)
    answer = client.get("/metrics", headers=bearer(TOKEN))
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert any(name == "nightcrew_info" for name, _ in samples(answer.text))
    assert client.get("/metrics", headers=bearer(TOKEN[:-1])).status_code == 401
    assert client.get("/metrics", headers={"authorization": f"Basic {TOKEN}"}).status_code == 401
    for path in ("/", "/api/reviews", "/metrics/", "/metrics/..", "/openapi.json"):
        assert client.get(path, headers=bearer(TOKEN)).status_code == 401, path
    assert client.post("/metrics", headers=bearer(TOKEN)).status_code in (403, 405)


@pytest.mark.parametrize(
    "of_a_browser",
    [{"origin": "http://evil.invalid"}, {"sec_fetch_site": "same-origin"}, {"cookie": "a=b"}, {"host": "evil.invalid"}],
)
def test_a_page_in_a_browser_cannot_use_the_token(
    of_a_browser: dict[str, str], client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(scraper.TOKEN, TOKEN)
    answer = client.get("/metrics", headers=bearer(TOKEN, **of_a_browser))
    assert answer.status_code in (401, 403, 421)
    assert "nightcrew_info" not in answer.text


def test_a_browser_with_a_session_may_look(client: TestClient) -> None:
    entered = client.get("/enter", params={"token": client.headers["x-link"]}, follow_redirects=False)
    assert entered.status_code == 303
    assert client.get("/metrics").status_code == 200


def test_the_token_may_be_in_a_file_that_changes(
    client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    monkeypatch.setenv(scraper.TOKEN_FILE, str(path))
    assert client.get("/metrics", headers=bearer(TOKEN)).status_code == 200
    path.write_text(TOKEN[::-1])
    assert client.get("/metrics", headers=bearer(TOKEN)).status_code == 401
    assert client.get("/metrics", headers=bearer(TOKEN[::-1])).status_code == 200
    path.unlink()
    assert client.get("/metrics", headers=bearer(TOKEN[::-1])).status_code == 401


@pytest.mark.parametrize("given", ["short", "   ", "missing"])
def test_a_token_that_is_none_is_told_when_the_server_starts(
    given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "token"
    if given != "missing":
        path.write_text(given)
    monkeypatch.setenv(scraper.TOKEN_FILE, str(path))
    with pytest.raises(ConfigurationError, match=r"fewer than 16|cannot be read"):
        scraper.token()


# The files ------------------------------------------------------------------------------------------------------------

_NAME = re.compile(r"\bnightcrew_[a-z0-9_]+\b")


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(shipped.read("nightcrew-dashboard.json"))
    return found


def expressions() -> list[str]:
    rules = yaml.safe_load(shipped.read("nightcrew-rules.yml"))
    found = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    found += [target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", ())]
    return [
        *found,
        *(variable["definition"] for variable in dashboard()["templating"]["list"] if "definition" in variable),
    ]


def test_every_metric_of_the_dashboard_and_the_rules_is_one_that_is_given() -> None:
    named = {name for expression in expressions() for name in _NAME.findall(expression)}
    assert len(named) > 25
    assert named <= names_given()


def test_every_name_that_is_said_to_be_given_is_given(store: Store, clock: Clock) -> None:
    measured(store, clock)
    found = {name for name, _ in samples(Exposition().text(store))}
    # A shift, tickets, alerts and runs are needed for the others.
    others = {
        "nightcrew_shift_last_end_timestamp_seconds",
        "nightcrew_tickets",
        "nightcrew_alerts",
        "nightcrew_queue_records",
    }
    assert names_given() - others == found


def test_every_recorded_expression_that_is_used_is_made_by_a_rule() -> None:
    rules = yaml.safe_load(shipped.read("nightcrew-rules.yml"))
    made = {rule["record"] for group in rules["groups"] for rule in group["rules"] if "record" in rule}
    used = {name for expression in expressions() for name in re.findall(r"\bnightcrew:[a-z0-9_:]+", expression)}
    assert used <= made


def test_every_alert_says_how_bad_it_is_and_what_to_do() -> None:
    rules = yaml.safe_load(shipped.read("nightcrew-rules.yml"))
    alerts = [rule for group in rules["groups"] for rule in group["rules"] if "alert" in rule]
    assert len(alerts) > 10
    for alert in alerts:
        assert alert["labels"]["severity"] in ("critical", "warning"), alert["alert"]
        assert set(alert["annotations"]) == {"summary", "description"}


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    board = dashboard()
    assert (board["uid"], board["schemaVersion"] >= 36, board.get("id")) == ("nightcrew", True, None)
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert taken.isdisjoint(cells), panel["title"]
        taken |= cells
        if panel["type"] == "row":
            continue
        assert panel["targets"], panel["title"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        for target in panel["targets"]:
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert target["expr"].count("(") == target["expr"].count(")")
            assert target["expr"].count("{") == target["expr"].count("}")
    assert [variable["name"] for variable in board["templating"]["list"]] == ["datasource", "pipeline"]


@pytest.fixture(scope="session")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        if os.environ.get("NIGHTCREW_REQUIRE_PROMTOOL"):
            pytest.fail("promtool is required and not installed (Debian: prometheus)")
        pytest.skip("promtool is not installed (Debian: prometheus)")
    return found


def run(*argv: str, given: bytes | None = None) -> str:
    done = subprocess.run(argv, input=given, capture_output=True, check=False, timeout=60)
    output = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, output
    return output


def test_promtool_takes_the_rules_and_the_way_to_scrape(promtool: str, tmp_path: Path) -> None:
    shipped.write(tmp_path)
    assert "SUCCESS" in run(promtool, "check", "rules", str(tmp_path / "nightcrew-rules.yml"))
    scrape = (tmp_path / "nightcrew-scrape.yml").read_text()
    (tmp_path / "nightcrew.token").write_text(TOKEN)
    changed = scrape.replace("credentials_file: /etc/prometheus/", f"credentials_file: {tmp_path}/")
    assert changed != scrape
    (tmp_path / "prometheus.yml").write_text(changed)
    run(promtool, "check", "config", str(tmp_path / "prometheus.yml"))


def test_rules_fire_when_they_should_and_only_then(promtool: str, tmp_path: Path) -> None:
    shipped.write(tmp_path)
    text = (Path(__file__).parents[1] / "nightcrew-rules-test.yml").read_text()
    (tmp_path / "test.yml").write_text(text.replace("RULES", str(tmp_path / "nightcrew-rules.yml")))
    run(promtool, "test", "rules", str(tmp_path / "test.yml"))
    rules = yaml.safe_load(shipped.read("nightcrew-rules.yml"))
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"] if "alert" in rule}
    tested = {case["alertname"] for test in yaml.safe_load(text)["tests"] for case in test["alert_rule_test"]}
    assert tested == alerts


def test_promtool_finds_nothing_wrong_in_the_text(promtool: str, store: Store, clock: Clock) -> None:
    measured(store, clock)
    assert run(promtool, "check", "metrics", given=Exposition().text(store)) == ""


# The command ----------------------------------------------------------------------------------------------------------

APP = """
import nightcrew as nc

fraud = nc.Pipeline("fraud", key="id")

@fraud.step
def score(record):
    return nc.Prediction(record["amount"] * 2, 0.9)
"""


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    for name in ("home", "folder"):
        (tmp_path / name).mkdir()
    return Cli(tmp_path / "home", tmp_path / "folder")


@pytest.fixture
def ran(cli: Cli) -> Cli:
    """A folder in which a pipeline has run."""
    (cli.folder / "app.py").write_text(APP)
    lines = [json.dumps({"id": f"r{number}", "amount": number}) for number in range(20)]
    (cli.folder / "in.jsonl").write_text("\n".join(lines) + "\n")
    assert cli("run", "app.py:fraud", "--input", "in.jsonl").status == 0
    return cli


def test_metrics_of_a_run_are_listed_shown_and_exported(ran: Cli) -> None:
    listed = ran("metrics", "list", "--subject", "step:*", "--json").json()
    assert {"name": "seconds", "subject": "step:fraud/score", "labels": {}, "kind": "distribution"} in listed
    assert "step:fraud/score" in ran("metrics", "list").out

    shown = ran("metrics", "show", "records", "pipeline:fraud", "--last", "1h", "--step", "30m", "--json").json()
    assert sum(window["total"] for window in shown["windows"]) == 20
    none = ran("metrics", "show", "records", "pipeline:fraud", "--label", "state=quarantined", "--json").json()
    assert sum(window["total"] for window in none["windows"]) == 0
    table = ran("metrics", "show", "seconds", "step:fraud/score").out.splitlines()
    assert table[0].split() == ["from", "(UTC)", "values", "missing", "mean", "p50", "p95", "p99", "lowest", "highest"]
    assert sum(int(line.split()[2]) for line in table[1:]) == 20

    text = ran("metrics", "export").out
    assert samples(text)["nightcrew_records_total", (("pipeline", "fraud"), ("state", "accepted"))] == 20
    assert all(math.isfinite(value) for value in samples(text).values())
    exported = {one["name"]: one for one in ran("metrics", "export", "--json").json()}
    assert exported["nightcrew_records"]["values"] == [
        {"labels": {"pipeline": "fraud", "state": "accepted"}, "value": 20.0}
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("show", "seconds", "step:fraud/nothing"), "was never measured"),
        (("show", "seconds", "step:fraud/score", "--last", "soon"), "is no time"),
        (("show", "seconds", "step:fraud/score", "--step", "0m"), "is no time"),
        (("show", "seconds", "step:fraud/score", "--last", "3660d", "--step", "1m"), "more than 10,000 lines"),
        (("show", "seconds", "step:fraud/score", "--last", "999999d", "--step", "999d"), "more than ten years"),
        (("show", "seconds", "step:fraud/score", "--step", "999999d"), "more than ten years"),
        (("show", "seconds", "step:fraud/score", "--label", "odd"), "NAME=VALUE"),
        (("show", "seconds"), "Missing argument"),
    ],
)
def test_what_cannot_be_shown_is_told(arguments: tuple[str, ...], said: str, ran: Cli) -> None:
    done = ran("metrics", *arguments)
    assert (done.status, said in done.err) == (2, True), done.err


@pytest.mark.parametrize("label", ["name=x", "subject=x", "step=x", "start=x", "tx=x", "where=x", "self=x"])
def test_any_label_may_be_asked_for(label: str, ran: Cli) -> None:
    done = ran("metrics", "show", "seconds", "step:fraud/score", "--label", label)
    assert (done.status, done.out) == (0, "Nothing was measured of it in the last 24h.\n"), done.err


@pytest.mark.parametrize(
    ("option", "value"),
    [("--days", "1e12"), ("--days", "inf"), ("--days", "nan"), ("--days", "-1"), ("--limit", "9" * 20)],
)
def test_drift_of_a_time_or_number_that_cannot_be_is_a_wrong_use(option: str, value: str, ran: Cli) -> None:
    done = ran("drift", "show", "--all", option, value, "--json")
    assert (done.status, done.error()["code"]) == (2, "NC-USAGE")
    assert option in done.error()["message"]
    assert ran("drift", "show", "--all", "--days", "3660").status == 0


def test_metrics_where_nothing_ran_say_what_to_run(cli: Cli) -> None:
    done = cli("metrics", "export", "--json")
    assert (done.status, done.error()["code"]) == (2, "NC-USAGE")
    assert not (cli.folder / ".nightcrew").exists()


def test_files_are_written_and_not_over_what_somebody_changed(cli: Cli) -> None:
    assert cli("metrics", "files", "out").status == 0
    assert cli("metrics", "files", "out").status == 0
    rules = cli.folder / "out" / "nightcrew-rules.yml"
    assert rules.read_bytes() == shipped.read("nightcrew-rules.yml")
    rules.write_text("mine")
    done = cli("metrics", "files", "out")
    assert (done.status, "nightcrew-rules.yml" in done.err) == (2, True)
    assert rules.read_text() == "mine"
    assert cli("metrics", "files", "out", "--force", "--json").json() == [
        str(Path("out") / name) for name in shipped.NAMES
    ]
    assert rules.read_bytes() == shipped.read("nightcrew-rules.yml")
