"""Pipelines, query sources and table sinks on SQLite and on Postgres alike."""

import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from sqlalchemy import create_engine, text

import nightcrew as nc
from nightcrew.model.errors import ConfigurationError, NightcrewError
from nightcrew.pipeline.overview import problems, prove
from nightcrew.pipeline.parked import listed, release
from nightcrew.pipeline.sources import SqlSource
from nightcrew.store import outcomes


class Row(BaseModel):
    id: str
    amount: float


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("NIGHTCREW_CONFIG_DIR", str(tmp_path / "config"))
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'data.db'}"
    server, name = request.getfixturevalue("postgres"), f"t{uuid.uuid4().hex[:12]}"
    server.psql(f"CREATE DATABASE {name}")
    return str(server.get_uri(database=name))


def engine_of(url: str) -> Any:
    return create_engine(url.replace("postgresql://", "postgresql+psycopg://"))


def fill(url: str, count: int) -> None:
    engine = engine_of(url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE payments (id VARCHAR(20), amount FLOAT)"))
        connection.execute(
            text("INSERT INTO payments VALUES (:id, :amount)"),
            [{"id": f"p{number:05d}", "amount": float(number)} for number in range(count)],
        )
    engine.dispose()


def test_query_to_table_through_a_pipeline_in_the_same_database(url: str, tmp_path: Path) -> None:
    fill(url, 2500)
    made = nc.Pipeline("p", record=Row, key="id", state=tmp_path, database_url=url, max_rejected=1)

    @made.step(retry=nc.Retry(attempts=1))
    def double(row: Row) -> float:
        if row.amount == 7:
            raise FileNotFoundError("model.bin")
        return row.amount * 2

    source = SqlSource(url, "SELECT id, amount FROM payments ORDER BY id")
    summary = made.run(source, sink=nc.SqlSink(url, "results"))
    assert (summary.seen, summary.states, summary.adds_up) == (2500, {"accepted": 2499, "quarantined": 1}, True)
    engine = engine_of(url)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM results")).scalar() == 2499
        assert connection.execute(text("SELECT output FROM results WHERE key = 'p00003'")).scalar() == "6.0"
    engine.dispose()
    with made.state.store.read() as tx:
        assert list(problems(tx)) == []
        assert Counter(row.state for row in outcomes.list(tx, 1)) == summary.states
    assert prove(made.state.store, "p/p00003")["root"]
    [held] = listed(made.state.store, states=["quarantined"])
    assert held.key == "p00007"
    assert release(made.state.store, [held.name], actor="human") == 1
    assert made.retry().states == {"accepted": 2499, "quarantined": 1}
    again = made.run(source)
    assert (again.repeated, again.adds_up) == (2500, True)
    made.close()


def test_keys_and_texts_of_all_kinds_are_stored(url: str, tmp_path: Path) -> None:
    made = nc.Pipeline("p", key="id", state=tmp_path, database_url=url, max_rejected=1)
    made.step(retry=nc.Retry(attempts=1))(lambda row: row["text"])
    odd = ["ünïcödé", "a/b c", "quote'\"", "x" * 500, "a\u00a0b", "\U0001f600"]
    records = [{"id": key, "text": f"{key}\u0000"} for key in odd]
    records += [
        {"id": "nul\0", "text": ""},
        {"id": "", "text": ""},
        {"id": "x" * 501, "text": ""},
        {"id": "half\ud800", "text": ""},
        {"text": "no key"},
        {"id": "no text", "text": "half\ud800"},
    ]
    summary = made.run(records)
    assert (summary.seen, summary.states, summary.adds_up) == (12, {"accepted": 6, "quarantined": 6}, True)
    with made.state.store.read() as tx:
        assert set(odd) <= set(outcomes.existing(tx, 1, odd))
        assert list(problems(tx)) == []
    made.close()


def test_source_that_cannot_be_reached_says_so(url: str) -> None:
    gone = url.replace("data.db", "no/data.db") if url.startswith("sqlite") else "postgresql://nobody@127.0.0.1:1/x"
    with pytest.raises(NightcrewError):
        list(SqlSource(gone, "SELECT 1 ORDER BY 1").read())
    with pytest.raises((ConfigurationError, NightcrewError, Exception), match="payments"):
        list(SqlSource(url, "SELECT id FROM payments ORDER BY id").read())
