"""Keys by name: where they are looked for, who may read them, and that no repository has a say in it."""

import os
import stat
from pathlib import Path

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.errors import PasswordDeleteError

from nightcrew import credentials
from nightcrew.brains.keys import key_of
from nightcrew.brains.protocol import BrainUnavailable
from nightcrew.model.alerting import DEFAULT_CHANNEL
from nightcrew.model.errors import ConfigurationError, UsageError
from nightcrew.model.settings import Brain, Settings
from nightcrew.monitoring.alerts.routing import addresses
from nightcrew.monitoring.redaction import Redaction

NAME = "EXAMPLE_API_KEY"
VALUE = "example-value-of-a-key"


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NIGHTCREW_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.delenv(NAME, raising=False)
    return tmp_path / "config"


class Chain(KeyringBackend):
    """A keychain in memory, behind the interface of the real ones."""

    priority = 1

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        if self.kept.pop((service, username), None) is None:
            raise PasswordDeleteError(username)


@pytest.fixture
def chain() -> "object":
    before, chain = keyring.get_keyring(), Chain()
    keyring.set_keyring(chain)
    yield chain
    keyring.set_keyring(before)


def test_the_environment_comes_first_and_then_what_the_user_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert credentials.secret(NAME) == ""
    assert not credentials.has(NAME)
    credentials.keep_in_file(NAME, tmp_path / "key", VALUE)
    assert credentials.secret(NAME) == VALUE
    assert credentials.located([NAME]) == [credentials.Key(NAME, "file", str(tmp_path / "key"))]
    monkeypatch.setenv(NAME, "of the environment")
    assert credentials.secret(NAME) == "of the environment"
    assert credentials.located([NAME])[0].place == "environment"


def test_what_is_kept_is_readable_by_the_user_alone_and_the_list_holds_no_secret(directory: Path) -> None:
    credentials.keep_in_file(NAME, credentials.own_file(NAME), VALUE)
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert {path.name for path in files} == {"keys.toml", NAME}
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in files)
    assert VALUE not in (directory / "keys.toml").read_text()


def test_a_key_is_replaced_and_forgotten(directory: Path) -> None:
    for value in ("first-value", "second-value"):
        credentials.keep_in_file(NAME, credentials.own_file(NAME), value)
    assert credentials.secret(NAME) == "second-value"
    credentials.forget(NAME)
    assert credentials.secret(NAME) == ""
    assert not credentials.own_file(NAME).exists()
    with pytest.raises(UsageError, match="no key"):
        credentials.forget(NAME)


def test_another_file_is_never_written_over_and_never_deleted(tmp_path: Path) -> None:
    file = tmp_path / "mine"
    file.write_text(VALUE)
    file.chmod(0o600)
    with pytest.raises(UsageError, match="is there already"):
        credentials.keep_in_file(NAME, file, "another")
    credentials.keep_in_file(NAME, file)
    credentials.forget(NAME)
    assert file.read_text() == VALUE


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        (VALUE, 0o644, "can be read by others"),
        ("", 0o600, "does not hold one line"),
        ("two\nlines", 0o600, "does not hold one line"),
        ("a\0b", 0o600, "does not hold one line"),
        ("x" * 70_000, 0o600, "does not hold one line"),
    ],
)
def test_a_file_that_will_not_do_is_refused_when_it_is_named(
    tmp_path: Path, content: str, mode: int, said: str
) -> None:
    file = tmp_path / "key"
    file.write_text(content)
    file.chmod(mode)
    with pytest.raises(ConfigurationError, match=said):
        credentials.keep_in_file(NAME, file)
    assert credentials.references() == {}


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(ConfigurationError, match="not a file"):
        credentials.keep_in_file(NAME, tmp_path / "pipe")


def test_what_was_ours_of_a_key_goes_when_it_is_kept_elsewhere(tmp_path: Path, chain: Chain) -> None:
    own = credentials.own_file(NAME)
    credentials.keep_in_file(NAME, own, VALUE)
    credentials.keep_in_keychain(NAME, VALUE)
    assert not own.exists()
    credentials.keep_in_file(NAME, tmp_path / "key", VALUE)
    assert chain.kept == {}
    assert credentials.secret(NAME) == VALUE


def test_a_file_that_is_gone_at_night_is_an_error_with_a_way_out(tmp_path: Path) -> None:
    credentials.keep_in_file(NAME, tmp_path / "key", VALUE)
    (tmp_path / "key").unlink()
    with pytest.raises(ConfigurationError, match="cannot be read") as caught:
        credentials.secret(NAME)
    assert f"nightcrew key add {NAME}" in caught.value.hint
    with pytest.raises(BrainUnavailable, match="cannot be read"):
        key_of("mine", Brain(kind="model", model="anthropic:x", key_env=NAME))


def test_a_keychain_keeps_it_and_gives_it_up(chain: Chain) -> None:
    credentials.keep_in_keychain(NAME, VALUE)
    assert chain.kept == {("nightcrew", NAME): VALUE}
    assert credentials.secret(NAME) == VALUE
    chain.kept.clear()
    with pytest.raises(ConfigurationError, match="not in the keychain any more"):
        credentials.secret(NAME)
    credentials.keep_in_keychain(NAME, VALUE)
    credentials.forget(NAME)
    assert chain.kept == {}


def test_without_a_keychain_the_way_out_is_told() -> None:
    from keyring.backends import fail

    before = keyring.get_keyring()
    keyring.set_keyring(fail.Keyring())  # type: ignore[no-untyped-call]
    try:
        with pytest.raises(ConfigurationError, match="did not take") as caught:
            credentials.keep_in_keychain(NAME, VALUE)
    finally:
        keyring.set_keyring(before)
    assert "--file" in caught.value.hint


def test_a_keychain_that_keeps_nothing_is_none() -> None:
    from keyring.backends import null

    before = keyring.get_keyring()
    keyring.set_keyring(null.Keyring())  # type: ignore[no-untyped-call]
    try:
        with pytest.raises(ConfigurationError, match="did not keep"):
            credentials.keep_in_keychain(NAME, VALUE)
    finally:
        keyring.set_keyring(before)
    assert credentials.references() == {}


@pytest.mark.parametrize(
    "text",
    ["no toml", 'A = "nowhere:x"', "A = 3", 'A = "file:"', 'A = "file:in/the/repository"', 'A = "file:/a\\u0000b"'],
)
def test_a_damaged_list_of_keys_is_an_error_with_its_place(directory: Path, text: str) -> None:
    directory.mkdir()
    (directory / "keys.toml").write_text(text)
    with pytest.raises(ConfigurationError, match=r"keys\.toml"):
        credentials.secret(NAME)


def test_what_was_read_is_kept_out_of_texts_that_are_logged(tmp_path: Path) -> None:
    redaction, value = Redaction({}), "a word that nobody else uses"
    assert redaction.text(f"it is {value}") == f"it is {value}"
    credentials.keep_in_file(NAME, tmp_path / "key", value)
    credentials.secret(NAME)
    assert value not in redaction.text(f"it is {value}")


def test_brains_and_channels_find_their_keys_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NIGHTCREW_NOTIFY", raising=False)
    credentials.keep_in_file(NAME, tmp_path / "key", VALUE)
    assert key_of("mine", Brain(kind="model", model="anthropic:x", key_env=NAME)) == VALUE
    credentials.keep_in_file("NIGHTCREW_NOTIFY", tmp_path / "urls", "json://127.0.0.1:1 json://127.0.0.1:2")
    assert len(addresses(Settings(), DEFAULT_CHANNEL, root=None).urls) == 2
