"""The reference says what the code says, and every command has a how-to."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from nightcrew.cli import COMMANDS

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["cli.md", "settings.md", "documents.md", "failures.md"])
def test_reference_is_what_the_code_says(generator: ModuleType, page: str) -> None:
    written = (DOCS / "reference" / page).read_text()
    assert written.endswith(generator.PAGES[page]()), "run: python docs/generate.py"


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_a_how_to(command: str) -> None:
    texts = [path.read_text() for path in (DOCS / "how-to").glob("*.md")]
    assert any(f"`{command}`" in text or f"nightcrew {command}" in text for text in texts)
