"""Where the user's own configuration lies, the trust anchor too: outside every path that a sandbox can reach."""

import os
from collections.abc import Mapping
from pathlib import Path

from nightcrew.model.errors import ConfigurationError

CONFIG_DIRECTORY_VARIABLE = "NIGHTCREW_CONFIG_DIR"


def config_directory(environment: Mapping[str, str] | None = None) -> Path:
    """The directory of nightcrew's user configuration (``environment`` is the process's by default).

    ``NIGHTCREW_CONFIG_DIR`` if set, else ``$XDG_CONFIG_HOME/nightcrew``, else ``~/.config/nightcrew`` (XDG Base
    Directory Specification). The variable is no way around the anchor: an agent runs in a child process and cannot set
    the environment of nightcrew's own, nightcrew reads no ``.env`` file of a repository, and who can start nightcrew
    with an environment of his choice is the user. Raises ConfigurationError for a relative path: it would mean a
    different anchor in each working directory, one of which an agent may write.
    """
    environment = os.environ if environment is None else environment
    chosen = environment.get(CONFIG_DIRECTORY_VARIABLE)
    if chosen:
        if not Path(chosen).is_absolute():
            raise ConfigurationError(
                f"{CONFIG_DIRECTORY_VARIABLE} is not an absolute path: {chosen}",
                hint=f"Set {CONFIG_DIRECTORY_VARIABLE} to an absolute path outside every repository.",
            )
        return Path(chosen)
    xdg = environment.get("XDG_CONFIG_HOME", "")
    if xdg and Path(xdg).is_absolute():  # the specification says to ignore a relative one
        return Path(xdg) / "nightcrew"
    home = environment.get("HOME", "")
    return (Path(home) if Path(home).is_absolute() else Path.home()) / ".config" / "nightcrew"
