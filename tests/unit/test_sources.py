"""Sources give every record once, from wherever reading goes on, and name what cannot be read."""

import csv
import gzip
import io
import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nightcrew.model.errors import DocumentError, UsageError
from nightcrew.pipeline.sources import (
    CsvSource,
    DirectorySource,
    GzipJsonlSource,
    IterableSource,
    JsonlSource,
    Malformed,
    ParquetSource,
    Source,
    SqlSource,
    open_source,
)

SHARED = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def content(source: Source, start: int = 0, stop: int | None = None) -> list[Any]:
    return [raw for _, raw in source.read(start, stop)]


def reads_alike(source: Source) -> None:
    """Reading on from any end, and reading any split, gives what reading at once gives."""
    whole = list(source.read())
    ends = [end for end, _ in whole]
    assert ends == sorted(set(ends))
    for index, end in enumerate(ends):
        assert list(source.read(end)) == whole[index + 1 :]
        assert list(source.read(0, end)) == whole[: index + 1]
        assert list(source.read(end, end)) == []
    for parts in (1, 2, 3, 7):
        ranges = source.split(parts)
        assert 1 <= len(ranges) <= parts
        assert [one for start, stop in ranges for one in source.read(start, stop)] == whole


LINES = st.lists(st.one_of(st.text(alphabet=st.characters(exclude_characters="\n\r", codec="utf-8"), max_size=20),
                           st.just(""), st.just("{}")), max_size=12)  # fmt: skip


@SHARED
@given(LINES, st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_lines_are_read_alike_from_anywhere(tmp_path: Path, lines: list[str], ending: str, last: bool) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes((ending.join(lines) + (ending if last else "")).encode())
    reads_alike(JsonlSource(path))
    assert [raw.strip() for raw in content(JsonlSource(path))] == [
        line.encode().strip() for line in lines if line.encode().strip()
    ]


def test_mark_of_byte_order_is_left_out_and_binary_is_passed_on(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\n\n\xff\x00\n{"b": 2}')
    assert content(JsonlSource(path)) == [b'{"a": 1}\n', b"\xff\x00\n", b'{"b": 2}']
    reads_alike(JsonlSource(path))


def test_line_beyond_the_limit_is_malformed_and_the_next_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"x" * 5000 + b"\n{}\n")
    [long, short] = content(JsonlSource(path, max_line=1000))
    assert isinstance(long, Malformed)
    assert "5001 bytes" in long.reason
    assert len(long.data) == 1000
    assert short == b"{}\n"
    reads_alike(JsonlSource(path, max_line=1000))


def test_compressed_lines_and_what_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    data = gzip.compress(b'{"a": 1}\n{"a": 2}\n' * 2000)
    path.write_bytes(data)
    assert len(content(GzipJsonlSource(path))) == 4000
    path.write_bytes(data[: len(data) // 2])
    found = content(GzipJsonlSource(path))
    assert isinstance(found[-1], Malformed)
    assert "damaged" in found[-1].reason


CELLS = st.text(alphabet=st.sampled_from('ab,"\n\r ü'), max_size=6)


@SHARED
@given(st.lists(st.tuples(CELLS, CELLS), max_size=8))
def test_quoted_cells_come_back_as_they_were(tmp_path: Path, rows: list[tuple[str, str]]) -> None:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, quoting=csv.QUOTE_ALL)
    writer.writerows([("one", "two"), *rows])
    path = tmp_path / "a.csv"
    path.write_bytes(buffer.getvalue().encode())
    assert content(CsvSource(path)) == [{"one": a, "two": b} for a, b in rows]
    reads_alike(CsvSource(path))


def test_rows_that_do_not_fit_are_malformed_each_with_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"id,name\n1,a\n2\n3,b,c\n4,\xff\n5,\x00\n6,d\n")
    found = content(CsvSource(path))
    assert [one if isinstance(one, dict) else one.reason for one in found] == [
        {"id": "1", "name": "a"},
        "a row has 1 values, the header 2 columns",
        "a row has 3 values, the header 2 columns",
        "a row cannot be read: not UTF-8 at byte 2",
        "a row cannot be read: it holds a NUL character",
        {"id": "6", "name": "d"},
    ]
    reads_alike(CsvSource(path))


def test_header_that_names_a_column_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,id\n1,2\n")
    with pytest.raises(DocumentError, match="twice"):
        content(CsvSource(tmp_path / "a.csv"))


def test_parquet_is_read_by_row_groups(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table({"id": [f"r{n}" for n in range(25)], "x": [float(n) for n in range(25)]})
    pq.write_table(table, path, row_group_size=4)
    source = ParquetSource(path, batch_rows=3)
    assert content(source)[3] == {"id": "r3", "x": 3.0}
    assert source.total() == 25
    reads_alike(source)
    (tmp_path / "b.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(DocumentError, match="not a Parquet file"):
        content(ParquetSource(tmp_path / "b.parquet"))


def test_directory_gives_its_files_by_name_and_refuses_links_out(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    (folder / "b.txt").write_text("hello")
    (folder / "deep" / "a.bin").write_bytes(b"\xff")
    (folder / "z").symlink_to("/etc/hostname")
    found = content(DirectorySource(folder))
    assert found[0] == {"path": "b.txt", "name": "b.txt", "size": 5, "text": "hello"}
    assert found[1] == {"path": "deep/a.bin", "name": "a.bin", "size": 1, "base64": "/w=="}
    assert isinstance(found[2], Malformed)
    assert "leads out" in found[2].reason
    reads_alike(DirectorySource(folder))


def test_iterables_are_read_again_and_iterators_once() -> None:
    reads_alike(IterableSource([{"a": n} for n in range(5)]))
    once = IterableSource(iter([1, 2]))
    assert content(once) == [1, 2]
    with pytest.raises(UsageError, match="read already"):
        content(once)


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.tsv", "a.ndjson"])
def test_empty_file_holds_no_records(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    source = open_source(tmp_path / name)
    assert isinstance(source, Source)
    assert content(source) == []
    assert source.split(4) == [(0, None)]


def test_fingerprint_changes_with_the_content(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"a": 1}))
    before = JsonlSource(path).fingerprint()
    os.utime(path, (0, 0))
    assert JsonlSource(path).fingerprint() == before
    path.write_text(json.dumps({"a": 2}))
    assert JsonlSource(path).fingerprint() != before


@pytest.mark.parametrize("given_", ["", "nowhere.jsonl", "a.docx", 7])
def test_what_is_no_source_says_what_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given_: Any) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.docx").touch()
    with pytest.raises(UsageError):
        open_source(given_)


def test_query_without_an_order_is_refused() -> None:
    with pytest.raises(UsageError, match="ORDER BY"):
        SqlSource("sqlite:///x.db", "SELECT * FROM t")
