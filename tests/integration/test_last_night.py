"""What is said of the last night: the report's word for what was done, the store's for what waits now."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from nightcrew.crew.last_night import last_night
from nightcrew.crew.project import Project, open_project
from nightcrew.crew.setup import initialise
from nightcrew.model.scheduling import Schedule
from nightcrew.store import schedules, shifts, tickets
from nightcrew.model.ticket import State
from tests.faults import crew_repository as crew

NOW = datetime(2026, 11, 28, 9, tzinfo=UTC)
