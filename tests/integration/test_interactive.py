"""Talking to a command in the sandbox while it runs."""

import time
from pathlib import Path

import pytest

from nightcrew.model.errors import TransientError
from nightcrew.sandbox import Policy, live, scrubbed_environment


def start(folder: Path, *argv: str, timeout: float = 20, stop: str | None = None, should_stop=None):  # type: ignore[no-untyped-def]
    (folder / "tmp").mkdir(exist_ok=True)
    return live(
        argv,
        cwd=folder,
        policy=Policy(writable=(folder,)),
        environment=scrubbed_environment(temp=folder / "tmp"),
        timeout=timeout,
        should_stop=should_stop or (lambda: stop),
    )


def test_lines_go_to_and_fro(tmp_path: Path) -> None:
    with start(tmp_path, "sed", "-u", "s/^/got /") as running:
        for word in (b"one\n", b"two\n"):
            assert running.send(word)
            assert running.stdout.readline() == b"got " + word
        running.hang_up()
        assert list(running.lines()) == []
    assert running.why_stopped == ""


def test_line_without_an_end_does_not_fill_the_memory(tmp_path: Path) -> None:
    with start(tmp_path, "sh", "-c", "echo first; head -c 3000000 /dev/zero; echo; echo last") as running:
        assert list(running.lines(longest=1 << 20)) == [b"first\n", b"last\n"]


def test_command_is_ended_when_its_time_is_over(tmp_path: Path) -> None:
    began = time.monotonic()
    with start(tmp_path, "sleep", "60", timeout=0.5) as running:
        assert list(running.lines()) == []
    assert running.why_stopped == "time is over"
    assert time.monotonic() - began < 10


def test_command_that_does_not_want_to_end_is_ended_with_all_it_started(tmp_path: Path) -> None:
    script = "trap '' TERM; (setsid sh -c 'trap \"\" TERM; while :; do date >> beat; sleep 0.05; done' &); cat"
    with start(tmp_path, "sh", "-c", script) as running:
        time.sleep(0.5)
        running.stop("enough")
    size = (tmp_path / "beat").stat().st_size
    time.sleep(0.3)
    assert (tmp_path / "beat").stat().st_size == size
    assert running.why_stopped == "enough"


def test_store_that_is_busy_for_a_moment_does_not_end_the_watch(tmp_path: Path) -> None:
    asked: list[int] = []

    def should_stop() -> str | None:
        asked.append(1)
        if len(asked) < 3:
            raise TransientError("the database is locked")
        return "somebody asked"

    with start(tmp_path, "sleep", "60", should_stop=should_stop) as running:
        assert list(running.lines()) == []
    assert running.why_stopped == "somebody asked"


def test_program_that_is_not_there_says_so(tmp_path: Path) -> None:
    with start(tmp_path, "no-such-program") as running:
        assert list(running.lines()) == []
    assert "no-such-program" in running.errors()


def test_error_in_the_block_ends_the_command(tmp_path: Path) -> None:
    with pytest.raises(KeyError), start(tmp_path, "sleep", "60") as running:
        raise KeyError("x")
    assert not running.send(b"x\n")
