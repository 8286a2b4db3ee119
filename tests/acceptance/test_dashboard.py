"""The dashboard in a real Chromium: readable by everybody, by keyboard and on a phone, and light."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import pytest
from bench.web import pages, run
from bench.web_rows import Sizes
from bench.web_state import fill, prepare
from playwright.sync_api import Browser, Page, Request, Response, expect
from tests.browser import chromium, served
from tests.coding_agents import package_file

pytestmark = [pytest.mark.slow, pytest.mark.timeout(290)]

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
DESKTOP: dict[str, Any] = {"viewport": {"width": 1280, "height": 860}}
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 780}, "is_mobile": True, "has_touch": True}
LOOKS = [
    (DESKTOP, "light"), (PHONE, "dark"),
    # The storms look at the other two as well: colours and widths are each seen above.
    *([(DESKTOP, "dark"), (PHONE, "light")] if "NIGHTCREW_STORM_EXAMPLES" in os.environ else []),
]  # fmt: skip
MAX_REQUESTS = 14
MAX_BYTES = 300 * 1024
"""What a page may bring with it the first time, apart from the timeline, whose plots need their library."""


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, str], list[str]]]:
    """A project after many nights; its environment, and an address of every page."""
    folder = tmp_path_factory.mktemp("dashboard")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NIGHTCREW_CONFIG_DIR", str(folder / "config"))
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        made = fill(prepare(folder), Sizes.at(0.002))
        shown = [path for path in pages(made) if not path.startswith("/api/")]
        yield folder / "repo", dict(os.environ), shown


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


def one_of_each(paths: list[str]) -> list[str]:
    """One address of each page, whatever it is asked for: in the storms all of them."""
    if "NIGHTCREW_STORM_EXAMPLES" in os.environ:
        return paths
    found: dict[str, str] = {}
    for path in paths:
        found.setdefault(re.sub(r"[A-Z]+-[0-9]+|[0-9]+", "#", path.partition("?")[0]), path)
    return [*found.values()]


def entered(browser: Browser, link: str) -> Any:
    """What a browser keeps that has entered."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(link)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    kept = context.storage_state()
    context.close()
    return kept


def looking(browser: Browser, kept: Any, device: dict[str, Any], scheme: Literal["light", "dark"] = "light") -> Page:
    return browser.new_context(**device, color_scheme=scheme, storage_state=kept, bypass_csp=True).new_page()


@pytest.mark.parametrize(("device", "scheme"), LOOKS, ids=lambda one: one if isinstance(one, str) else "")
def test_no_page_breaks_a_rule_of_accessibility(
    state: tuple[Path, dict[str, str], list[str]],
    browser: Browser,
    device: dict[str, Any],
    scheme: Literal["light", "dark"],
) -> None:
    axe = package_file("axe-core/axe.min.js").read_text()
    repo, environment, paths = state
    with served(repo, environment, more=("--no-open",)) as link:
        origin = link.partition("/enter")[0]
        page = looking(browser, entered(browser, link), device, scheme)
        for path in paths if scheme == "light" else one_of_each(paths):
            page.goto(origin + path)
            page.evaluate(axe)
            found = page.evaluate("(tags) => axe.run(document, { runOnly: tags })", RULES)
            wrong = [(one["id"], one["nodes"][0]["html"][:200]) for one in found["violations"]]
            assert wrong == [], (path, wrong)
            wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wide <= 0, f"{path} is {wide} pixels wider than the screen"


def test_pages_are_light_and_come_from_here_only(
    state: tuple[Path, dict[str, str], list[str]], browser: Browser
) -> None:
    repo, environment, paths = state
    with served(repo, environment, more=("--no-open",)) as link:
        origin = link.partition("/enter")[0]
        kept = entered(browser, link)
        for path in one_of_each(paths):
            page = looking(browser, kept, DESKTOP)  # a fresh one: nothing is kept of the page before
            asked: list[Request] = []
            answers: list[Response] = []

            def seen(one: Request, into: list[Request] = asked) -> None:
                into.append(one)

            def answered(one: Response, into: list[Response] = answers) -> None:
                into.append(one)

            page.on("request", seen)
            page.on("response", answered)
            page.goto(origin + path, wait_until="load")
            own = [one for one in asked if not one.url.endswith("/api/events")]
            assert {urlsplit(one.url).netloc for one in own if not one.url.startswith("data:")} == {
                urlsplit(origin).netloc
            }, path
            assert len(own) <= MAX_REQUESTS * (2 if path.startswith("/timeline") else 1), (
                path,
                [one.url for one in own],
            )
            if not path.startswith("/timeline"):
                weight = sum(len(one.body()) for one in answers if one.request in own and one.ok)
                assert weight <= MAX_BYTES, (path, weight)
            page.context.close()


def test_lists_are_walked_by_keys_and_the_menu_opens_on_a_phone(
    state: tuple[Path, dict[str, str], list[str]], browser: Browser
) -> None:
    repo, environment, _ = state
    with served(repo, environment, more=("--no-open",)) as link:
        origin = link.partition("/enter")[0]
        kept = entered(browser, link)
        page = looking(browser, kept, DESKTOP)
        page.goto(f"{origin}/sessions")
        for key in ("j", "j", "k", "j"):
            page.keyboard.press(key)
        second = page.locator("[data-item] [data-open]").nth(1)
        expect(second).to_be_focused()
        wanted = second.get_attribute("href")
        page.keyboard.press("Enter")
        page.wait_for_url(f"{origin}{wanted}")
        page.keyboard.press("u")
        page.wait_for_url(f"{origin}/sessions")
        for key, path in (("t", "/tickets"), ("l", "/ledger"), ("h", "/")):
            page.keyboard.press(key)
            page.wait_for_url(f"{origin}{path}")
        phone = looking(browser, kept, PHONE)
        phone.goto(origin)
        ledger = phone.get_by_role("navigation", name="Main").get_by_role("link", name="Ledger", exact=True)
        expect(ledger).to_have_count(0)
        phone.get_by_text("Menu", exact=True).click()
        ledger.click()
        phone.wait_for_url(f"{origin}/ledger")


def test_quarantine_is_released_from_the_browser(
    state: tuple[Path, dict[str, str], list[str]], browser: Browser
) -> None:
    repo, environment, _ = state
    with served(repo, environment, more=("--no-open",)) as link:
        origin = link.partition("/enter")[0]
        page = looking(browser, entered(browser, link), DESKTOP)
        page.goto(f"{origin}/records?state=quarantined")
        expect(page.get_by_role("button", name="Release")).to_be_disabled()
        boxes = page.locator("input[name=record]")
        first = boxes.first.get_attribute("value")
        boxes.first.check()
        page.get_by_role("button", name="Release 1").click()
        expect(page.locator(f'input[value="{first}"]')).to_have_count(0)
        page.goto(f"{origin}/records/{first}")
        expect(page.locator(".marks")).to_contain_text("waiting_retry")


def test_the_bench_measures_every_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTCREW_CONFIG_DIR", str(tmp_path / "config"))
    lines = run(tmp_path, 0.001, 1)
    assert [line["page"] for line in lines if line["status"] != 200] == []
