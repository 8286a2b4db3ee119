"""The inbox in a real Chromium with a real (virtual) authenticator: from the first touch to the merged commit."""

import re
import shutil
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.acceptance.conftest import Cli, begin
from tests.browser import authenticator, chromium, free_port, served
from tests.model_server import Asked, Call, Reply, model_server, say

pytestmark = [pytest.mark.slow, pytest.mark.timeout(290)]

KEY = "AKIA" + "QJZ5XW7LPK3DVNTE"  # put together here, so that nobody's scanner takes this file for a leak
LEAK = f'"""Settings."""\n\nKEY = "{KEY}"\n'
MENDED = '"""Settings."""\n\nimport os\n\nKEY = os.environ.get("KEY", "")\n'
BROKEN = '"""Sums."""\n\n\ndef add(a, b):\n    """The sum."""\n    return a - b\n'
TITLE = "<script>document.title='owned'</script> Subtract & add"


@pytest.fixture(scope="module")
def spent(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """A project after a night: a leaked key and a change that breaks a test wait in the inbox."""
    place = tmp_path_factory.mktemp("spent")
    for name in ("home", "repo"):
        (place / name).mkdir()
    made = begin(Cli(place / "home", place / "repo"))
    made.commit({"src/sums/settings.py": LEAK}, "Settings")
    made.git("checkout", "-q", "-b", "broken")
    made.commit({"src/sums/__init__.py": BROKEN}, "Subtract")
    made.git("checkout", "-q", "main")
    assert made("init", "--yes").status == 0
    done = made("ticket", "add", TITLE, "--branch", "broken")
    assert done.status == 0, done.err
    assert made("shift", "--json").status == 1
    return made


@pytest.fixture
def night(spent: Cli, tmp_path: Path) -> Any:
    """It, for one test to change."""
    return spent.copied(tmp_path)


def mend(asked: Asked) -> Reply:
    """What the scripted model does with the leaked key; asked to review, it finds nothing."""
    if "write" not in asked.tools or asked.turn > 1:
        return say(Call("finish", {"finished": True, "done": "The key comes from the environment.", "decisions": []}))
    if asked.turn == 0:
        return say(Call("read", {"path": "src/sums/settings.py"}))
    return say(Call("write", {"path": "src/sums/settings.py", "text": MENDED}))


def enter(browser: Browser, link: str, **device: Any) -> Page:
    page = browser.new_page(**device)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda said: problems.append(said.text) if "Content Security Policy" in said.text else None)
    page.problems = problems  # type: ignore[attr-defined]
    page.goto(link)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    return page


def register(page: Page, name: str) -> None:
    page.goto(re.sub(r"^(https?://[^/]+).*", r"\1/reviewers", page.url))
    page.get_by_label("Name").fill(name)
    # The first reviewer's page loads anew: what was begun on the old one is lost.
    with page.expect_navigation():
        page.get_by_role("button", name="Register a passkey").click()
    expect(page.get_by_role("heading", name="Enrolled")).to_be_visible()


def decide(page: Page, choice: str, comment: str) -> None:
    page.locator(f"#decide input[value={choice}]").check(force=True)
    page.locator("#decide textarea").fill(comment)
    page.locator("#decide button.sign").click()


def of(night: Any, word: str) -> dict[str, Any]:
    return next(dict(one) for one in night("inbox", "--json").json() if word in one["reason"])


def test_from_the_first_touch_to_the_merged_commit(night: Any) -> None:
    leak, change = of(night, "detect-secrets"), of(night, "regression")
    with chromium() as browser, served(night.folder, night.environment) as link:
        page = enter(browser, link)
        authenticator(page)
        register(page, "ada")
        assert [one["kind"] for one in night("reviewer", "list", "--json").json()] == ["passkey"]

        # The inbox, the review, its diff; a title of an agent stays text.
        page.goto(link.partition("/enter")[0] + "/inbox")
        page.get_by_role("link", name=re.compile("Subtract & add")).click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("<script>")
        assert page.title() != "owned"
        diff = page.locator(".diff").first
        expect(diff).to_contain_text("return a - b")
        expect(diff).to_contain_text("return a + b")
        expect(page.locator("#decide")).to_contain_text("commit goes on to the security desk")
        assert KEY not in page.content()
        decide(page, "reject", "a sum is a sum")
        page.wait_for_url(lambda url: change["id"] not in url)  # the word stands for a moment, then the next page

        page.goto(link.partition("/enter")[0] + f"/reviews/{leak['id']}")
        expect(page.locator(".finding").first).to_contain_text("settings.py")
        decide(page, "approve", "take it from the environment")
        page.wait_for_url(lambda url: leak["id"] not in url)
        assert page.problems == []  # type: ignore[attr-defined]
    states = {one["id"]: one["state"] for one in night("inbox", "--all", "--json").json()}
    assert states == {leak["id"]: "approved", change["id"]: "rejected"}

    # The next shift builds what was approved: the signature of the passkey is verified again by the planner.
    with model_server(script=mend) as server, (night.folder / "nightcrew.toml").open("a") as settings:
        settings.write(
            '\n[agents.build]\nbrains = ["it"]\n'
            f'[brains.it]\nkind = "model"\nmodel = "anthropic:claude-test"\nbase_url = "{server.url}"\n'
        )
        settings.flush()
        night.more["ANTHROPIC_API_KEY"] = "dummy"
        report = night("shift", "--json").json()
    assert leak["ticket"] in [one["ticket"] for one in report["merged"]], report
    assert KEY not in night.git("show", "nightcrew/integration:src/sums/settings.py")
    assert night("audit", "verify").status == 0


def test_authenticator_that_does_not_know_its_owner_signs_nothing(night: Any) -> None:
    with chromium() as browser, served(night.folder, night.environment) as link:
        page = enter(browser, link)
        authenticator(page, verified=False)
        page.goto(link.partition("/enter")[0] + "/reviewers")
        page.get_by_label("Name").fill("ada")
        page.get_by_role("button", name="Register a passkey").click()
        expect(page.locator("#register .result.bad")).to_be_visible(timeout=70_000)
    assert night("reviewer", "list", "--json").json() == []


def test_changed_or_decided_elsewhere_is_said_and_refused(night: Any) -> None:
    change = of(night, "regression")
    with chromium() as browser, served(night.folder, night.environment) as link:
        page = enter(browser, link)
        authenticator(page)
        register(page, "ada")
        page.goto(link.partition("/enter")[0] + f"/reviews/{change['id']}")
        expect(page.locator(".diff").first).to_be_visible()
        database = sqlite3.connect(night.folder / ".nightcrew" / "nightcrew.db", isolation_level=None)
        database.execute("UPDATE tickets SET head = base WHERE id = ?", (change["ticket"],))  # the attacker's hand
        database.close()
        decide(page, "approve", "looks well")
        expect(page.locator("#decide .result.bad")).to_be_visible()
        page.reload()
        expect(page.get_by_role("alert").first).to_contain_text("not what was asked for")
        expect(page.locator("#decide button.sign")).to_have_count(0)
    assert of(night, "regression")["state"] == "pending"


def test_page_is_read_on_a_phone_and_without_javascript(night: Any) -> None:
    change = of(night, "regression")
    with chromium() as browser, served(night.folder, night.environment) as link:
        phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
        page = enter(browser, link, **phone)
        for path in (
            "/",
            "/inbox",
            f"/reviews/{change['id']}",
            "/reviewers",
            "/report",
            "/tickets",
            "/sessions",
            "/ledger",
        ):
            page.goto(link.partition("/enter")[0] + path)
            wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wide <= 0, f"{path} is {wide} pixels wider than a phone"
        plain = browser.new_context(java_script_enabled=False, storage_state=page.context.storage_state()).new_page()
        plain.goto(link.partition("/enter")[0] + f"/reviews/{change['id']}")
        for word in ("return a - b", "commit goes on to the security desk", "nightcrew inbox approve"):
            assert word in (plain.locator("body").text_content() or "")


def test_two_people_decide_what_is_critical(night: Any) -> None:
    """Grace's passkey is registered at her own browser, admitted by Ada's touch; then each of them signs."""
    playbook = night.folder / ".nightcrew" / "playbook.md"
    playbook.write_text(playbook.read_text().replace("four_eyes_from: critical", "four_eyes_from: low"))
    port = free_port()
    with chromium() as browser, served(night.folder, night.environment, port=port) as link:
        ada = enter(browser, link)
        authenticator(ada)
        register(ada, "ada")
        hers = browser.new_context(storage_state=ada.context.storage_state()).new_page()
        authenticator(hers)
        hers.goto(link.partition("/enter")[0] + "/reviewers")
        hers.get_by_label("Name").fill("grace")
        hers.get_by_role("button", name="Register a passkey").click()
        expect(hers.get_by_role("heading", name="Wait for a signature")).to_be_visible()
        ada.reload()
        ada.get_by_role("button", name="Admit grace").click()
        expect(ada.get_by_role("heading", name="Wait for a signature")).to_have_count(0)
        assert [one["name"] for one in night("reviewer", "list", "--json").json() if one["active"]] == [
            "ada",
            "grace",
        ]
        found = of(night, "detect-secrets")
    assert found["state"] == "pending"


def test_agent_process_gets_nothing_from_the_server(night: Any) -> None:
    """An agent's command, in its sandbox and out of it, without the link: no page, no list, no decision."""
    port = free_port()
    with served(night.folder, night.environment, port=port) as link:
        origin = f"http://localhost:{port}"
        assert link.startswith(origin + "/enter?token=")
        curl = shutil.which("curl")
        assert curl is not None
        for more in (
            [],
            ["-H", f"Origin: {origin}"],
            ["-H", "Cookie: nightcrew_session=guess"],
            ["-H", "Host: evil.example"],
        ):
            for path in ("/", "/inbox", "/api/reviews", "/reviews/R-0001", "/openapi.json", "/enter?token=guess"):
                done = subprocess.run(
                    [curl, "-s", "-o", "-", "-w", "\n%{http_code}", *more, origin + path],
                    capture_output=True,
                    text=True,
                )
                body, _, status = done.stdout.rpartition("\n")
                assert status in ("401", "403", "421", "400"), (path, more, status)
                assert "R-000" not in body
                assert KEY not in body
        done = night("ticket", "add", "Call home", "--command", f"curl -s --max-time 3 {origin}/ > got.txt || true")
        assert done.status == 0
        night("shift", "--json")
    found = night.git("ls-tree", "-r", "--name-only", "nightcrew/integration")
    if "got.txt" in found.splitlines():
        assert night.git("show", "nightcrew/integration:got.txt") == "", "the sandbox has no way to the server"
