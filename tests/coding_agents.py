"""Where the real coding agents lie that the tests drive: npm packages that the test set-up installs."""

import os
from pathlib import Path

import pytest

BIN = (
    Path(os.environ.get("NIGHTCREW_TEST_AGENTS", Path(__file__).parents[1] / ".venv" / "agents")) / "node_modules/.bin"
)
MISSING = "npm was missing when the tests were set up: the real coding agents were NOT driven (run: make agents)"


def program(name: str) -> str:
    """The path of an agent's program. Without it the test is skipped, loudly; where they must be there, it fails."""
    return str(_there(BIN / name))


def package_file(path: str) -> Path:
    """A file of a package beside the agents, as ``program`` finds theirs."""
    return _there(BIN.parent / path)


def _there(found: Path) -> Path:
    if not found.exists():
        if os.environ.get("NIGHTCREW_REQUIRE_AGENTS"):
            pytest.fail(f"{found.name} is not installed, and NIGHTCREW_REQUIRE_AGENTS is set")
        pytest.skip(MISSING)
    return found
