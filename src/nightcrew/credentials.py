"""Keys and tokens by name: from the environment, or from where the user said that they lie.

A run at night has not the environment of a terminal. So ``keys.toml`` in the user's configuration directory says, name
by name, where the value is: in the system's keychain, or in a file that only the user can read. The file itself holds
no secret. A repository cannot say where a key lies: what a repository holds, agents may write.
"""

import contextlib
import fcntl
import os
import re
import stat
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nightcrew.location import config_directory
from nightcrew.model.errors import ConfigurationError, UsageError

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_SERVICE = "nightcrew"
_LARGEST = 65_536

Place = Literal["environment", "keychain", "file", "nowhere"]


@dataclass(frozen=True)
class Key:
    """Where a key lies; ``detail`` is the path of a file, or the account in the keychain. Never its value."""

    name: str
    place: Place
    detail: str


def secret(name: str) -> str:
    """The value of the key ``name``: the environment's if it is set there, else the user's; empty if there is none.

    Raises ConfigurationError if it should lie somewhere and cannot be read.
    """
    value = os.environ.get(name, "").strip()
    if value:
        return value
    found = references().get(name)
    if found is None:
        return ""
    _values.add(value := _read(found))
    return value


_values: set[str] = set()


def values_read() -> frozenset[str]:
    """The values that this process has read out of files and keychains, for who has to keep them out of texts."""
    return frozenset(_values)


def has(name: str) -> bool:
    """Whether the key is in the environment, or said to lie somewhere; it is not read."""
    return bool(os.environ.get(name, "").strip()) or name in references()


def references() -> dict[str, Key]:
    """What the user said of where keys lie; raises ConfigurationError for a damaged file."""
    path = _file()
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from None
    try:
        said = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(
            f"{path}: {error}", hint="Mend the file, or delete it and add the keys again."
        ) from None
    return {name: _reference(path, name, value) for name, value in said.items()}


def located(names: "tuple[str, ...] | list[str]") -> list[Key]:
    """Where each of the keys is found at this moment, in the order in which ``secret`` looks."""
    known = references()
    found = []
    for name in dict.fromkeys((*names, *known)):
        if os.environ.get(name, "").strip():
            found.append(Key(name, "environment", ""))
        else:
            found.append(known.get(name, Key(name, "nowhere", "")))
    return found


def keep_in_keychain(name: str, value: str) -> Key:
    """Put a key into the system's keychain; raises ConfigurationError if there is none that can be used."""
    _check(name)
    import keyring

    hint = f"Keep it in a file of your own: nightcrew key add {name} --file PATH"
    try:
        keyring.set_password(_SERVICE, name, value)
        kept = keyring.get_password(_SERVICE, name) == value  # there is a keychain that takes all and keeps nothing
    except Exception as error:  # keychains are plug-ins, and raise what they like
        raise ConfigurationError(f"the keychain did not take {name}: {_said(error)}", hint=hint) from None
    if not kept:
        raise ConfigurationError(f"the keychain did not keep {name}", hint=hint)
    return _remember(Key(name, "keychain", name))


def keep_in_file(name: str, path: Path, value: str | None = None) -> Key:
    """Say that a key lies in ``path``, and write it there if ``value`` is given (mode 0600).

    Only nightcrew's own file is written over. Raises ConfigurationError if the file cannot be read or others can read
    it, UsageError if a file that is not ours is there already.
    """
    _check(name)
    path = path.expanduser().absolute()
    if value is not None:
        if path == own_file(name):
            _write(path, value + "\n")
        else:
            _write_new(path, value)
    key = Key(name, "file", str(path))
    _read(key)
    return _remember(key)


def own_file(name: str) -> Path:
    """Where ``nightcrew key add`` keeps a key if there is no keychain."""
    return _file().parent / "keys" / name


def forget(name: str) -> Key:
    """Take back where a key lies; what is nightcrew's own of it goes too: the keychain's item, the file it wrote.

    Raises UsageError if nothing is known of it.
    """
    with _alone():
        known = references()
        key = known.pop(name, None)
        if key is None:
            raise UsageError(f"no key {name} is known", hint="See: nightcrew key list")
        _drop(key)
        _save(known)
    return key


def _drop(key: Key) -> None:
    """Delete what is ours of a key that is kept elsewhere now, or nowhere."""
    if key.place == "keychain":
        import keyring

        with contextlib.suppress(Exception):  # it is gone already, or there is no keychain any more
            keyring.delete_password(_SERVICE, key.detail)
    elif Path(key.detail) == own_file(key.name):
        Path(key.detail).unlink(missing_ok=True)


def _read(key: Key) -> str:
    return _from_keychain(key) if key.place == "keychain" else _from_file(key)


def _from_keychain(key: Key) -> str:
    import keyring

    hint = f"A run at night may have no keychain: keep it in a file with nightcrew key add {key.name} --file PATH"
    try:
        value = keyring.get_password(_SERVICE, key.detail)
    except Exception as error:  # keychains are plug-ins, and raise what they like
        raise ConfigurationError(f"{key.name} cannot be read from the keychain: {_said(error)}", hint=hint) from None
    if not value:
        raise ConfigurationError(f"{key.name} is not in the keychain any more", hint=hint)
    return value.strip()


def _from_file(key: Key) -> str:
    path = Path(key.detail)
    try:
        # Not to wait for who writes into a pipe: one is refused, since it gives the key but once.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            data = stream.read(_LARGEST + 1) if stat.S_ISREG(mode) else b""
    except OSError as error:
        raise ConfigurationError(
            f"{key.name} cannot be read from {path}: {error.strerror}", hint=f"Run: nightcrew key add {key.name}"
        ) from None
    if not stat.S_ISREG(mode):
        raise ConfigurationError(f"{path} with {key.name} is not a file", hint=f"Run: nightcrew key add {key.name}")
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigurationError(f"{path} with {key.name} can be read by others", hint=f"Run: chmod 600 {path}")
    try:
        value = data.decode("utf-8").strip()
    except UnicodeDecodeError:
        value = ""
    if not is_one_line(value) or len(data) > _LARGEST:
        raise ConfigurationError(f"{path} does not hold one line with {key.name}", hint="Put the key alone into it.")
    return value


def is_one_line(value: str) -> bool:
    """Whether a value can be a key: one line of text, without control characters that no header would take."""
    return bool(value) and value.isprintable()


def _reference(path: Path, name: str, value: object) -> Key:
    place, _, detail = str(value).partition(":")
    # A relative path would mean another file in each directory, one of which an agent may write.
    fits = place == "keychain" or (place == "file" and detail.startswith("/") and "\0" not in detail)
    if not NAME.fullmatch(name) or not detail or not fits:
        raise ConfigurationError(
            f"{path}: {name} does not say where a key lies", hint='Expected NAME = "keychain:NAME" or "file:/PATH".'
        )
    return Key(name, "keychain" if place == "keychain" else "file", detail)


def _remember(key: Key) -> Key:
    with _alone():
        known = references()
        before = known.get(key.name)
        _save({**known, key.name: key})
        if before is not None and before != key:
            _drop(before)
    return key


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """No other process changes the list of keys meanwhile: each writes all of it."""
    directory = _file().parent
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(directory, os.O_RDONLY)
    except OSError as error:
        raise ConfigurationError(f"{directory} cannot be written: {error.strerror}") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _save(known: dict[str, Key]) -> None:
    path = _file()
    lines = [f"{name} = {_quoted(f'{key.place}:{key.detail}')}\n" for name, key in sorted(known.items())]
    text = "# Where keys and tokens lie; none is in this file. Written by: nightcrew key\n" + "".join(lines)
    _write(path, text)


def _write(path: Path, text: str) -> None:
    """Write a file that only the user can read, whole or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".keys-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from None


def _quoted(text: str) -> str:
    """As a basic string of TOML."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in escaped) + '"'


def _write_new(path: Path, value: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise UsageError(f"{path} is there already", hint="Delete it first, or name another file.") from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from None
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(value + "\n")
        stream.flush()
        os.fsync(stream.fileno())


def _check(name: str) -> None:
    if not NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no name of a key", hint="Letters, digits and _, as ANTHROPIC_API_KEY.")


def _said(error: Exception) -> str:
    """What a keychain says, on one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def _file() -> Path:
    return config_directory() / "keys.toml"
