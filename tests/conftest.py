"""What tests of all kinds share: a real Postgres, started once."""

import os
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server for all tests of this process; each test makes a database of its own in it."""
    from tests.postgres import start  # takes a while, and most files have no use for it

    server = start(tmp_path_factory.mktemp("pg"))
    yield server
    server.cleanup()


@pytest.fixture(autouse=True)
def nothing_of_ours_stays_in_the_environment() -> Iterator[None]:
    """What drills do in a child is done in this process by their tests: the next test must not meet their listener."""
    before = {name for name in os.environ if name.startswith("NIGHTCREW_")}
    yield
    for name in {name for name in os.environ if name.startswith("NIGHTCREW_")} - before:
        del os.environ[name]
