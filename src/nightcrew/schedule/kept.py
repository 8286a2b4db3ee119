"""Where the captured environment of each schedule lies: in the user's configuration directory, not in the store.

It says which programs a run starts and where its trust anchor is. Whoever could write it could have nightcrew itself
run a program of his, or believe reviewers of his; and of the store it is assumed that an agent may write it.
"""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from nightcrew.location import config_directory
from nightcrew.model.errors import ConfigurationError
from nightcrew.schedule.captured import NAMES


def save(job: str, environment: Mapping[str, str]) -> None:
    """Keep the environment of a job, for the user alone to read; raises ConfigurationError if it cannot be written."""
    path = _file(job)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".kept-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                json.dump(dict(environment), stream, indent=2)
                stream.flush()
                os.fsync(stream.fileno())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from None


def load(job: str) -> dict[str, str] | None:
    """The environment of a job; None if none is kept. Raises ConfigurationError for a file that is damaged."""
    path = _file(job)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _damaged(path, str(error)) from None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise _damaged(path, "it holds no names and values")
    return {name: found[name] for name in NAMES if name in found}


def forget(job: str) -> None:
    """Delete what is kept of a job; nothing there is no error."""
    path = _file(job)
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be deleted: {error.strerror}") from None


def _damaged(path: Path, why: str) -> ConfigurationError:
    return ConfigurationError(f"{path} cannot be read: {why}", hint="Delete it, and install the schedule again.")


def _file(job: str) -> Path:
    return config_directory() / "schedules" / f"{job}.json"
