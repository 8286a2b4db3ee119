"""What tests of all kinds share: a real Postgres, started once."""

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
