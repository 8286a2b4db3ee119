"""The settings as ``nightcrew.toml`` says now: a process that runs for days follows what the user changes."""

import tomllib
from pathlib import Path

from nightcrew.model.errors import DocumentError, NightcrewError
from nightcrew.model.settings import Settings

SETTINGS_FILE = "nightcrew.toml"
MAX_BYTES = 1_000_000


def read_settings(path: Path) -> Settings:
    """The settings in a file, the defaults if there is none; raises DocumentError."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Settings()
    except OSError as error:
        raise DocumentError(f"{path.name}: cannot be read: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise DocumentError(f"{path.name}: larger than {MAX_BYTES} bytes")
    try:
        value = tomllib.loads(data.decode())
    except UnicodeDecodeError as error:
        raise DocumentError(f"{path.name}: not UTF-8 at byte {error.start}") from None
    except tomllib.TOMLDecodeError as error:
        raise DocumentError(f"{path.name}: not TOML: {error}") from None
    return Settings.read(value, source=path.name)


class SettingsFile:
    """A settings file, read again when it has changed. While it is damaged, what it said before holds."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mark: object = None
        self._settings = Settings()
        self.problem: str | None = None
        """What is wrong with the file now, None if nothing is."""

    def now(self) -> Settings:
        """The settings; ``problem`` says whether they are those in the file."""
        mark = self._seen()
        if mark != self._mark:
            self._mark = mark
            try:
                self._settings, self.problem = read_settings(self._path), None
            except NightcrewError as error:
                self.problem = str(error)
        return self._settings

    def _seen(self) -> object:
        try:
            found = self._path.stat()
        except OSError:
            return ()
        return found.st_mtime_ns, found.st_size, found.st_ino
