"""The name under which a process runs durable work.

DBOS's default, ``local``, is the same for every process: two of them take each other's running work.
"""

import os
import re
import socket
import uuid
from pathlib import Path

from nightcrew.model.errors import ConfigurationError

_VALID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{2,127}")


def stable_executor_id(state_dir: Path) -> str:
    """The executor id of the one engine of ``state_dir``, made on first use.

    For SQLite: only one process at a time has it, by the lock file, and a restart finds its own work by it.
    """
    path = state_dir / "executor-id"
    try:
        return checked_executor_id(path.read_text(encoding="ascii").strip())
    except (FileNotFoundError, ConfigurationError, ValueError):
        executor_id = f"engine-{uuid.uuid4().hex}"
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.write_text(f"{executor_id}\n", encoding="ascii")
    temporary.replace(path)
    return executor_id


def unique_executor_id() -> str:
    """An executor id of this process alone, for a worker on a shared database that was given none."""
    host = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname()) or "host"
    return f"worker-{host}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


def checked_executor_id(executor_id: str) -> str:
    """``executor_id`` itself; raises ConfigurationError for one that cannot be told from others."""
    if executor_id == "local" or not _VALID.fullmatch(executor_id):
        raise ConfigurationError(
            f"{executor_id!r} cannot name a worker",
            hint="Use 3 to 128 letters, digits, dots, dashes and underscores, different for each worker.",
        )
    return executor_id
