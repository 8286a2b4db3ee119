"""Take the pictures in docs/images: the demo's inbox, and the timeline of an incident, in a real Chromium.

Run: ``python docs/screenshots.py [inbox|timeline]``. It needs a Chromium and the development dependencies; the pictures
differ by the time of day, those of the timeline by how busy the machine is too.
"""

import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Page, expect

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests import incident
from tests.browser import NIGHTCREW, authenticator, chromium, served
from tests.faults import crew_repository

from nightcrew.crew.demo import play

IMAGES = Path(__file__).parent / "images"
DESKTOP: dict[str, Any] = {"viewport": {"width": 1280, "height": 860}}
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 780}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True
}  # fmt: skip
PICTURES: tuple[tuple[str, str, Literal["light", "dark"], dict[str, Any]], ...] = (
    ("inbox", "inbox", "light", DESKTOP),
    ("review", "review", "light", DESKTOP),
    ("review-dark", "review", "dark", DESKTOP),
    ("inbox-phone", "inbox", "light", PHONE),
    ("review-phone", "review", "light", PHONE),
)

INCIDENT: tuple[tuple[str, Literal["light", "dark"], dict[str, Any]], ...] = (
    ("timeline", "light", {"viewport": {"width": 1280, "height": 1480}}),
    ("timeline-dark", "dark", {"viewport": {"width": 1280, "height": 1480}}),
    ("timeline-phone", "light", {**PHONE, "viewport": {"width": 390, "height": 1180}}),
    ("timeline-phone-dark", "dark", {**PHONE, "viewport": {"width": 390, "height": 1180}}),
)


def take(folder: Path) -> None:
    """Play the first night of the demo in ``folder`` and take the pictures."""
    played = play(folder / "demo", lambda _: None, decide=False)
    waiting = played.reports[0].inbox
    change = next(one.id for one in waiting if "regression" in one.reason)
    environment = {**os.environ, **played.environment}
    with chromium() as browser, served(played.repository, environment, more=("--no-open",)) as link:
        origin = link.partition("/enter")[0]
        context = browser.new_context()
        first = context.new_page()
        first.goto(link)
        enrol(first, origin)
        state = context.storage_state()
        for name, what, scheme, device in PICTURES:
            page = browser.new_context(**device, color_scheme=scheme, storage_state=state).new_page()
            page.goto(f"{origin}/inbox" if what == "inbox" else f"{origin}/reviews/{change}")
            expect(page.get_by_role("heading", level=1)).to_be_visible()
            page.screenshot(path=str(IMAGES / f"{name}.png"))


def take_timeline(folder: Path) -> None:
    """Play the incident in a repository in ``folder`` and take pictures of its timeline, its failures marked."""
    places = {"NIGHTCREW_CONFIG_DIR": str(folder / "config"), "XDG_STATE_HOME": str(folder / "state")}
    environment = {**os.environ, **crew_repository.environment(folder), **places}
    repository = folder / "shop"
    crew_repository.make(repository, environment)
    subprocess.run([NIGHTCREW, "init", "--yes"], cwd=repository, env=environment, check=True, capture_output=True)
    began = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(hours=1)
    played = incident.play(repository, environment, began)
    times = {"from": played.start, "to": played.end, "under_from": played.fails, "under_to": played.mended}
    query = "&".join(f"{name}={at.isoformat().replace('+00:00', 'Z')}" for name, at in times.items())
    with chromium() as browser, served(repository, environment, more=("--no-open",)) as link:
        context = browser.new_context()
        context.new_page().goto(link)
        state = context.storage_state()
        for name, scheme, device in INCIDENT:
            page = browser.new_context(**device, color_scheme=scheme, storage_state=state).new_page()
            page.goto(f"{link.partition('/enter')[0]}/timeline?subject=pipeline:payments&{query}")
            expect(page.locator("#chart[data-drawn]")).to_be_visible()
            expect(page.locator("#under tr.failed").first).to_be_attached()
            if "phone" in name:
                page.locator("figure.chart").evaluate("(chart) => scrollTo(0, chart.offsetTop - 70)")
            page.screenshot(path=str(IMAGES / f"{name}.png"))


def enrol(page: Page, origin: str) -> None:
    """Register the passkey of the first reviewer."""
    authenticator(page)
    page.goto(f"{origin}/reviewers")
    page.get_by_label("Name").fill("ada")
    page.get_by_role("button", name="Register a passkey").click()
    expect(page.get_by_text("ada may decide now")).to_be_visible()


if __name__ == "__main__":
    wanted = sys.argv[1:] or ["inbox", "timeline"]
    for what in wanted:
        with tempfile.TemporaryDirectory(prefix="shots") as place:
            {"inbox": take, "timeline": take_timeline}[what](Path(place))
