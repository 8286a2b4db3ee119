"""What recall compares by, and how records are fitted into a budget: pure functions."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightcrew.brains import Piece
from nightcrew.crew.recollection import as_text, fitted, piece_of, size
from nightcrew.model.errors import DocumentError
from nightcrew.model.outside import Memory
from nightcrew.model.recalling import FLOOR, HALF_LIFE, Clues, Hit, TextScores, freshness, ranked
from nightcrew.model.record import SessionRecord
from nightcrew.model.words import asked, indexed, split

NOW = datetime(2026, 11, 28, 2, 0, tzinfo=UTC)


def record(session: str = "S-0001", **fields: object) -> SessionRecord:
    given = {"agent": "build", "title": "Title", "summary": "Summary.", "created": NOW, **fields}
    return SessionRecord.read({"session": session, **given}, source="test")


def order(*records: SessionRecord, clues: Clues, text: TextScores | None = None, **rarity: float) -> list[str]:
    found = ranked(records, text=text or TextScores(), clues=clues, file_rarity=rarity, now=NOW)
    return [one.record.session for one in found if one.score > 0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("RateLimiter.take", ["rate", "limiter", "ratelimiter", "take"]),
        ("rate_limiter.py", ["rate", "limiter", "ratelimiter", "py"]),
        ("a rate-limit", ["rate", "limit", "ratelimit"]),
        ("HTTPServer2Client", ["http", "server2", "client", "httpserver2client"]),
        ("src/store/db.py", ["src", "store", "db", "py"]),
        ("T-0012", ["0012", "t0012"]),
        ("Müller's Café isn't 2FA", ["muller", "cafe", "isn", "2fa"]),
        ("\ud800 \0 ☃ ' \" * --", []),
    ],
)
def test_names_are_taken_apart_and_kept_whole(text: str, words: list[str]) -> None:
    assert list(split(text)) == words


def test_questions_are_asked_by_their_telling_words_only() -> None:
    assert asked("Why don't we use the pandas library, pandas?") == ["pandas", "library"]
    assert len(asked(" ".join(f"word{n}" for n in range(500)))) == 48


@given(st.text())
def test_any_text_becomes_words_of_letters_and_digits(text: str) -> None:
    assert all(word.isalnum() and len(word) <= 60 for word in split(text))
    assert indexed([text]).replace(" ", "").isalnum() or not indexed([text])


def test_the_tickets_own_record_comes_before_a_related_one_before_none() -> None:
    clues = Clues({"T-0001": 1.0, "T-0002": 0.6})
    records = (
        record("S-0001", tickets=["T-0003"]),
        record("S-0002", tickets=["T-0002"]),
        record("S-0003", tickets=["T-0001"]),
    )
    assert order(*records, clues=clues) == ["S-0003", "S-0002"]


def test_a_file_that_few_sessions_touch_counts_more() -> None:
    clues = Clues(files=frozenset({"common", "rare"}))
    records = (record("S-0001", files=["common"]), record("S-0002", files=["rare"]))
    assert order(*records, clues=clues, common=0.1, rare=2.0) == ["S-0002", "S-0001"]


def test_open_questions_and_then_the_later_day_decide_between_equals() -> None:
    clues = Clues({"T-0001": 1.0})
    early = record("S-0001", tickets=["T-0001"], created=NOW - timedelta(days=9))
    late = record("S-0002", tickets=["T-0001"], created=NOW - timedelta(days=2))
    assert order(early, late, clues=clues) == ["S-0002", "S-0001"]
    asking = early.model_copy(update={"questions": ("Which one?",)})
    assert order(asking, late, clues=clues) == ["S-0001", "S-0002"]


def test_age_halves_what_it_can_take_and_never_takes_all() -> None:
    assert freshness(timedelta()) == freshness(timedelta(days=-1)) == 1.0
    assert freshness(HALF_LIFE) == pytest.approx(FLOOR + (1 - FLOOR) / 2)
    assert freshness(timedelta(days=10_000)) == pytest.approx(FLOOR)


def test_a_very_good_match_of_words_beats_age_and_a_long_query_need_not_be_found_whole() -> None:
    text = TextScores()
    for number in range(40):
        text.add(1.0, [Hit("S-0001", 1.0)] if number < 8 else [])
    text.add(1.0, [Hit("S-0002", 0.5)])
    old = record("S-0001", created=NOW - timedelta(days=170))
    assert text.share("S-0001") == 1.0
    assert order(old, record("S-0002"), clues=Clues(), text=text) == ["S-0001", "S-0002"]


def test_a_long_query_without_paths_is_read_in_linear_time() -> None:
    assert Clues().and_of("a" * 300_000).files == frozenset()


def test_no_age_of_records_is_beyond_the_calendar() -> None:
    with pytest.raises(DocumentError, match="max_age_days"):
        Memory.read({"max_age_days": 10_000_000}, source="test")


def test_a_query_names_tickets_and_paths() -> None:
    found = Clues().and_of("see t-7 and src/a_b.py, not and/")
    assert found.tickets == {"T-0007": 1.0}
    assert found.files == {"src/a_b.py"}
    assert Clues({"T-0001": 1.0, "T-0003": 0.5}).and_of("T-0002, T-0003").tickets == {
        "T-0001": 1.0,
        "T-0002": 0.6,
        "T-0003": 0.5,
    }


PIECES = st.lists(st.builds(Piece, st.text(max_size=60), st.text(max_size=4_000)), max_size=12)


@given(PIECES, st.integers(min_value=0, max_value=9_000))
def test_the_budget_holds_and_each_piece_is_given_cut_or_named_as_left_out(pieces: list[Piece], budget: int) -> None:
    found = fitted(pieces, budget)
    assert sum(size(piece) for piece in found) <= budget
    if budget > 240:
        told = [piece for piece in found if piece.source == "records left out"]
        given = len(found) - len(told)
        assert given == len(pieces) or told or any(piece.source == "records left out" for piece in pieces)


def test_what_is_cut_or_left_out_is_said() -> None:
    pieces = [piece_of(record(f"S-000{n}", summary="word " * 400)) for n in range(1, 6)]
    first, second, note = fitted(pieces, 2_400)
    assert first.source == "record of session S-0001 of 2026-11-28, build"
    assert first.text.endswith("[... cut: 2,006 characters]")
    assert second.text.endswith("characters]")
    assert note == Piece(
        "records left out",
        "Left out for size: session S-0003 of 2026-11-28, build; session S-0004 of 2026-11-28, build; "
        "session S-0005 of 2026-11-28, build.",
    )


def test_open_questions_are_read_first_and_secrets_not_at_all() -> None:
    key = "AKIA" + "QJZ5XW7LPK3DVNTE"
    text = as_text(record(questions=["Which region?"], decisions=[f"Used {key}"], files=[f"f{n}" for n in range(40)]))
    assert text.index("Which region?") < text.index("Decisions") < text.index("Summary.") < text.index("Files")
    assert key not in text
    assert text.endswith("- and 10 more")
