"""Take the pictures in docs/images: the demo's inbox in a real Chromium.

Run: ``python docs/screenshots.py``. It needs a Chromium and the development dependencies; the pictures differ by the
time of day only.
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Page, expect

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.browser import authenticator, chromium, served

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
            page.goto(f"{origin}/" if what == "inbox" else f"{origin}/reviews/{change}")
            expect(page.get_by_role("heading", level=1)).to_be_visible()
            page.screenshot(path=str(IMAGES / f"{name}.png"))


def enrol(page: Page, origin: str) -> None:
    """Register the passkey of the first reviewer."""
    authenticator(page)
    page.goto(f"{origin}/reviewers")
    page.get_by_label("Name").fill("ada")
    page.get_by_role("button", name="Register a passkey").click()
    expect(page.get_by_text("ada may decide now")).to_be_visible()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="shots") as place:
        take(Path(place))
