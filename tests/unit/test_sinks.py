"""Sinks: replaced as a whole or not at all, one row a key, nothing lost to a column's type."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from nightcrew.model.errors import ConfigurationError, TransientError, UsageError
from nightcrew.pipeline.sinks import CallableSink, Delivery, JsonlSink, ParquetSink, SqlSink, open_sink


def delivery(number: int, output: Any) -> Delivery:
    return Delivery(f"k{number}", output, "accepted", 0.5, "model", "", number)


def test_lines_have_all_names_and_replace_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("old")
    assert JsonlSink(path).write([delivery(1, {"a": "ü\ud800"})]) == 1
    found = json.loads(path.read_text())
    assert list(found) == ["key", "status", "output", "confidence", "made_by", "notice"]
    assert (found["key"], found["output"], found["confidence"]) == ("k1", {"a": "ü\ud800"}, 0.5)
    assert [one.name for one in tmp_path.iterdir()] == ["out.jsonl"]


@pytest.mark.parametrize("kind", [JsonlSink, ParquetSink])
def test_failure_while_writing_leaves_the_old_file(tmp_path: Path, kind: Any) -> None:
    path = tmp_path / "out"
    path.write_text("old")

    def broken() -> Iterator[Delivery]:
        yield delivery(1, 1)
        raise KeyError("no more")

    with pytest.raises(KeyError):
        kind(path).write(broken())
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["out"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_full_disk_is_said_and_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("old")
    real = os.fdopen

    def onto_a_full_disk(descriptor: int, *how: Any, **more: Any) -> Any:
        os.close(descriptor)
        return real(os.open("/dev/full", os.O_WRONLY), *how, **more)

    monkeypatch.setattr(os, "fdopen", onto_a_full_disk)
    with pytest.raises(TransientError, match=r"no space left for .*out\.jsonl"):
        JsonlSink(path).write([delivery(n, "x" * 100) for n in range(50_000)])
    assert path.read_text() == "old"


def test_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot write"):
        JsonlSink(tmp_path / "no" / "out.jsonl").write([])


def test_parquet_has_a_column_for_each_plain_field_and_loses_no_row(tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"
    many = [delivery(n, {"x": n, "y": "a", "z": None}) for n in range(9000)]
    strange: list[Any] = [{"x": "text"}, {"x": 1, "new": 2}, [1, 2], {"x": 2**70}]
    odd = [delivery(9000 + n, output) for n, output in enumerate(strange)]
    assert ParquetSink(path).write([*many, *odd]) == 9004
    rows = pq.read_table(path).to_pylist()
    assert len(rows) == 9004
    assert (rows[5]["key"], rows[5]["output.x"], rows[5]["output.y"], rows[5]["output"]) == ("k5", 5, "a", None)
    assert [json.loads(row["output"]) for row in rows[9000:]] == [one.output for one in odd]
    assert ParquetSink(path).write([]) == 0
    assert pq.read_table(path).num_rows == 0


def test_table_has_one_row_a_key_however_often_it_is_delivered(tmp_path: Path) -> None:
    import sqlite3

    sink = SqlSink(f"sqlite:///{tmp_path / 'out.db'}", "results")
    assert sink.write([delivery(1, {"v": 1}), delivery(2, 2)]) == 2
    sink.write([delivery(1, {"v": 9})])
    with sqlite3.connect(tmp_path / "out.db") as database:
        assert database.execute("SELECT key, output FROM results ORDER BY key").fetchall() == [
            ("k1", '{"v": 9}'),
            ("k2", "2"),
        ]


def test_function_is_a_sink_async_too() -> None:
    got: list[str] = []

    async def take(one: Delivery) -> None:
        got.append(one.key)

    assert CallableSink(take).write([delivery(1, 1), delivery(2, 2)]) == 2
    assert CallableSink(lambda one: got.append(one.key)).write([delivery(3, 3)]) == 1
    assert got == ["k1", "k2", "k3"]


@pytest.mark.parametrize("given", ["out.txt", "", 7])
def test_what_is_no_sink_says_so(given: Any) -> None:
    with pytest.raises(UsageError):
        open_sink(given)


def test_name_of_a_table_is_checked() -> None:
    with pytest.raises(UsageError, match="no name for a table"):
        SqlSink("sqlite:///x.db", "results; DROP TABLE users")
