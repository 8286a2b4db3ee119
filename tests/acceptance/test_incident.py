"""The incident in real Chromium: spike, failures and drift on one axis, and under a drag just the failing records."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.acceptance.conftest import PROJECT, Cli
from tests.browser import chromium, served
from tests.incident import Played, one_more, play

pytestmark = [pytest.mark.slow, pytest.mark.timeout(290)]


@pytest.fixture(scope="module")
def incident(tmp_path_factory: pytest.TempPathFactory, cli_type: type[Cli]) -> tuple[Cli, Played]:
    """A project in which the incident was an hour that ended just now."""
    folder = tmp_path_factory.mktemp("incident")
    for name in ("home", "repo"):
        (folder / name).mkdir()
    cli = cli_type(folder / "home", folder / "repo")
    cli.git("init", "--quiet", "--initial-branch=main")
    cli.commit(PROJECT, "Begin")
    assert cli("init", "--yes").status == 0
    begin = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=61)
    return cli, play(cli.folder, cli.environment, begin)


@contextmanager
def opened(incident: tuple[Cli, Played]) -> Iterator[tuple[Browser, str, Any]]:
    """A browser, the served project's origin, and the session to read it with."""
    cli, _ = incident
    with chromium() as browser, served(cli.folder, cli.environment, more=("--no-open",)) as link:
        first = browser.new_context()
        first.new_page().goto(link)
        yield browser, link.partition("/enter")[0], first.storage_state()


def address(played: Played, **more: str) -> str:
    span = {"subject": "pipeline:payments", "from": text(played.start), "to": text(played.end), **more}
    return "/timeline?" + "&".join(f"{name}={quote(value, safe=':')}" for name, value in span.items())


def text(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def drawn(page: Page, where: str) -> Page:
    """The page with its chart; what goes against its policy is kept as a problem."""
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
    page.problems = problems  # type: ignore[attr-defined]
    page.goto(where)
    expect(page.locator("#chart[data-drawn]")).to_be_visible()
    return page


def lines(page: Page) -> dict[str, list[float | None]]:
    """The chart's lines by their names, as Plotly has them; all of them hang on one axis of time."""
    found = page.evaluate("() => document.getElementById('chart').data.map((one) => [one.name, one.xaxis, one.y])")
    assert {axis for _, axis, _ in found} == {"x"}
    return {name: values for name, _, values in found}


def minutes(values: list[float | None]) -> set[int]:
    return {minute for minute, value in enumerate(values) if value}


def drag(page: Page, played: Played, start: datetime, end: datetime, *, height: float = 0.15) -> None:
    """Drag over the chart from one time to another."""
    box = page.locator("#chart").bounding_box()
    assert box is not None
    margin = page.evaluate("() => document.getElementById('chart').layout.margin")
    width = box["width"] - margin["l"] - margin["r"]
    whole = (played.end - played.start) / timedelta(seconds=1)
    parts = [(at - played.start) / timedelta(seconds=1) / whole for at in (start, end)]
    places = [box["x"] + margin["l"] + width * part for part in parts]
    y = box["y"] + box["height"] * height
    page.mouse.move(places[0], y)
    page.mouse.down()
    page.mouse.move((places[0] + places[1]) / 2, y + 12, steps=5)
    page.mouse.move(places[1], y + 12, steps=5)
    page.mouse.up()
    page.wait_for_url(lambda url: "under_from" in url)


def marked(page: Page) -> tuple[datetime, datetime]:
    query = parse_qs(urlsplit(page.url).query)
    begin, end = (datetime.fromisoformat(query[name][0]) for name in ("under_from", "under_to"))
    return begin, end


def listed(page: Page) -> list[str]:
    """The names of the failing records in the list, over all its pages."""
    found: list[str] = []
    number = 1
    while True:
        rows = page.locator("#under tr.failed th")
        found += rows.all_inner_texts()
        after = page.locator("#under").get_by_role("link", name="After")
        if after.count() == 0:
            return found
        after.click()
        number += 1
        expect(page.locator("#under")).to_contain_text(f"Page {number} of")


def failing(cli: Cli, start: datetime | None = None, end: datetime | None = None) -> set[str]:
    """What the store has: the records that failed, by when the ledger says that was written."""
    with sqlite3.connect(cli.folder / ".nightcrew" / "nightcrew.db") as database:
        rows = database.execute(
            "SELECT key, at FROM outcomes JOIN batches ON batches.id = outcomes.batch "
            "JOIN ledger ON ledger.seq = batches.entry WHERE kind IS NOT NULL"
        ).fetchall()
    return {
        f"payments/{key}"
        for key, at in rows
        if start is None or end is None or start <= datetime.fromisoformat(at) < end
    }


def test_spike_failures_and_drift_stand_on_one_axis_and_a_drag_lists_the_failing_records(
    incident: tuple[Cli, Played],
) -> None:
    cli, played = incident
    fails, mended = played.minute(played.fails), played.minute(played.mended)
    with opened(incident) as (browser, origin, state):
        page = drawn(browser.new_context(storage_state=state).new_page(), origin + address(played))
        shown = lines(page)
        # The spike: slower before it fails, and until it is mended; the failures: in those minutes and no other.
        slow, before = [shown["p95"][at] or 0 for at in range(fails - 4, fails)], shown["p95"][5] or 0
        assert min(slow) > 3 * before
        assert minutes(shown["transient.timeout"]) | minutes(shown["bug"]) <= set(range(fails, mended))
        # The drift: of the field that moved, after it moved.
        assert "amount" in shown
        assert min(minutes(shown["amount"])) >= played.minute(played.drifts)
        expect(page.locator("#chart")).to_contain_text("payments v2")
        expect(page.locator("#chart")).to_contain_text("pipeline-errors")

        drag(page, played, played.fails - timedelta(seconds=30), played.mended + timedelta(seconds=30))
        begin, end = marked(page)
        expected = failing(cli, begin, end)
        assert expected == failing(cli)
        expect(page.locator("#under [data-summary]")).to_contain_text(f"{len(expected)} records failed")
        found = listed(page)
        assert len(found) == len(set(found))
        assert set(found) == expected
        assert page.problems == []  # type: ignore[attr-defined]

        # Part of it: exactly those of the part. A healthy part: none.
        page.goto(origin + address(played))
        expect(page.locator("#chart[data-drawn]")).to_be_visible()
        drag(page, played, played.fails + timedelta(minutes=2.5), played.fails + timedelta(minutes=4.5), height=0.4)
        some = failing(cli, *marked(page))
        assert 0 < len(some) < len(expected)
        expect(page.locator("#under [data-summary]")).to_contain_text(f"{len(some)} records failed")
        assert set(listed(page)) == some
        page.goto(origin + address(played))
        expect(page.locator("#chart[data-drawn]")).to_be_visible()
        drag(page, played, played.start + timedelta(minutes=3), played.start + timedelta(minutes=9))
        expect(page.locator("#under [data-summary]")).to_contain_text("0 records failed")


def test_marking_by_keys_links_and_the_back_button(incident: tuple[Cli, Played]) -> None:
    _, played = incident
    part = {"under_from": text(played.fails), "under_to": text(played.fails + timedelta(minutes=4))}
    with opened(incident) as (browser, origin, state):
        page = drawn(browser.new_context(storage_state=state).new_page(), origin + address(played, **part))
        assert marked(page) == (played.fails, played.fails + timedelta(minutes=4))
        summary = page.locator("#under [data-summary]")
        before = summary.inner_text()
        page.locator("#chart").focus()
        page.keyboard.press("ArrowRight")
        page.wait_for_url(lambda url: part["under_from"] not in url)
        assert marked(page) == (played.fails + timedelta(minutes=1), played.fails + timedelta(minutes=5))
        page.keyboard.press("Shift+ArrowRight")
        page.wait_for_url(lambda url: text(played.fails + timedelta(minutes=5)).removesuffix("Z") not in url)
        expect(summary).not_to_have_text(before)
        page.keyboard.press("Escape")
        expect(page.locator("#h-under")).to_have_text("What lies under a part of it")
        page.go_back()
        expect(summary).to_be_visible()
        # From the list to the record, and to it with the address as it is.
        page.locator("#under tr.failed a").first.click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("payments/")
        page.go_back()
        expect(page.locator("#under tr.failed").first).to_be_visible()


def test_the_same_is_read_without_javascript(incident: tuple[Cli, Played]) -> None:
    cli, played = incident
    with opened(incident) as (browser, origin, state):
        context = browser.new_context(storage_state=state, java_script_enabled=False)
        page = context.new_page()
        page.goto(origin + address(played))
        page.get_by_text("As a table").click()
        row = page.get_by_role("row").filter(has_text=played.fails.strftime("%Y-%m-%d %H:%M"))
        row.get_by_role("link").first.click()
        expect(page.locator("#under [data-summary]")).to_be_visible()
        minute = failing(cli, played.fails, played.fails + timedelta(minutes=1))
        assert set(page.locator("#under tr.failed th").all_inner_texts()) == minute


def test_a_page_that_follows_the_present_shows_what_is_written_now(incident: tuple[Cli, Played]) -> None:
    cli, _ = incident
    with opened(incident) as (browser, origin, state):
        page = drawn(
            browser.new_context(storage_state=state).new_page(), f"{origin}/timeline?subject=pipeline:payments&span=1h"
        )
        one_more(cli.folder, cli.environment)
        page.wait_for_function(
            "() => document.getElementById('chart').data"
            ".some((one) => one.name === 'accepted' && one.y.slice(-3).some(Boolean))"
        )
        assert page.problems == []  # type: ignore[attr-defined]
