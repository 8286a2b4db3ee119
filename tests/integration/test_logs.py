"""Logs as JSON lines: what is in an entry, and that no secret is, wherever it stands."""

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nightcrew.monitoring import logs, telemetry
from nightcrew.monitoring.redaction import Redaction, is_secret_name

KEY = "correct-horse-battery"
ENVIRONMENT = {"MY_SERVICE_KEY": KEY, "HOME": "/home/ada", "DATABASE_URL": "postgres://ada:hunter2hunter2@db/x"}


class Log:
    """A logger whose entries are read back."""

    def __init__(self, stream: io.StringIO) -> None:
        self._stream = stream
        self.logger = logging.getLogger("nightcrew.test")

    @property
    def text(self) -> str:
        return self._stream.getvalue()

    @property
    def entries(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[Log]:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    root, ours = logging.getLogger(), logging.getLogger("nightcrew")
    before = (list(root.handlers), root.level, ours.level)
    stream = io.StringIO()
    logs.configure(stream, environment=ENVIRONMENT)
    yield Log(stream)
    root.handlers[:], root.level, ours.level = before
    telemetry.configure()


def test_an_entry_says_when_what_and_where_in_the_trace(log: Log) -> None:
    log.logger.info("a record of %s", "fraud", extra={"pipeline": "fraud", "count": 3})
    with telemetry.within("state", "run:7"):
        log.logger.warning("within")
    first, second = log.entries
    assert first["event"] == "a record of fraud"
    assert (first["level"], first["logger"], first["pipeline"], first["count"]) == (
        "info",
        "nightcrew.test",
        "fraud",
        3,
    )
    assert first["at"].endswith("Z")
    assert "trace_id" not in first
    assert second["trace_id"] == telemetry.trace_id_of("state", "run:7")


def test_the_end_of_a_span_is_an_entry(log: Log) -> None:
    with pytest.raises(ValueError), telemetry.span("check", check="lint"):  # noqa: PT011
        raise ValueError(f"no access with {KEY}")
    [entry] = log.entries
    assert (entry["event"], entry["level"], entry["nightcrew.check"]) == ("check", "error", "lint")
    assert (entry["error.type"], entry["error"]) == ("ValueError", "no access with ***")
    assert entry["seconds"] >= 0


def test_what_libraries_chat_about_is_left_out_and_their_warnings_are_not(log: Log) -> None:
    library = logging.getLogger("some.library")
    library.info("hello")
    library.warning("careful: %s", KEY)
    [entry] = log.entries
    assert (entry["logger"], entry["event"]) == ("some.library", "careful: ***")


SECRETS = [
    KEY,
    "hunter2hunter2",
    "sk-ant-api03-abcdefghijklmnop",
    "sk-proj-abcdef0123456789",
    "ghp_0123456789abcdefghijklmnopqrstuvwxyz",
    "xoxb-123456789012-abcdefghij",
    "AKIAIOSFODNN7EXAMPLE",
    "AIzaSyA1234567890abcdefghijklmnopqrstuv",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
    "nightcrew-abcdefghijklmnopqrstuvwxyz012345",
]


class Odd:
    """An object whose text holds a secret."""

    def __init__(self, secret: str) -> None:
        self.secret = secret

    def __repr__(self) -> str:
        return f"<Odd {self.secret}>"


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_is_masked_wherever_it_stands(log: Log, secret: str) -> None:
    log.logger.info("the key %s and again %r", secret, {"x": secret})
    log.logger.info(f'a={secret}, then "{secret}".')
    log.logger.info("in an extra", extra={"one": secret, "nested": {"a": [{"b": (secret, Odd(secret))}], secret: 1}})
    try:
        try:
            raise KeyError(secret)
        except KeyError as inner:
            raise RuntimeError(f"because of {secret}") from inner
    except RuntimeError:
        log.logger.exception("it failed")
    assert len(log.entries) == 4
    assert "RuntimeError" in log.entries[-1]["exception"]
    assert secret not in log.text
    assert "***" in log.text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("GET https://ada:pass@example.invalid/x", "GET https://***@example.invalid/x"),
        ("GET https://example.invalid/x?api_key=abc123&page=2", "GET https://example.invalid/x?api_key=***&page=2"),
        (
            "https://e.invalid/x?key=4f6a&sv=1&amp;X-Goog-Signature=9c&sig=a%2Bb%3D#top",
            "https://e.invalid/x?key=***&sv=1&amp;X-Goog-Signature=***&sig=***#top",
        ),
        (r"a?page=2\u0026sig=abc\u0026b=1", r"a?page=2\u0026sig=***\u0026b=1"),
        ("https://hooks.slack.com/services/T0AB/B0CD/xyzXYZ123 failed", "https://hooks.slack.com/*** failed"),
        ('"https://discord.com/api/v10/webhooks/123/ab-CD_e"', '"https://discord.com/api/v10/webhooks/***"'),
        ("https://discordapp.com/api/webhooks/123/ab", "https://discordapp.com/api/webhooks/***"),
        (
            "to https://acme.webhook.office.com/webhookb2/1a-2b@3c-4d/IncomingWebhook/5e/6f: 404",
            "to https://acme.webhook.office.com/*** 404",
        ),
        (
            "https://prod-1.logic.azure.com:443/workflows/1a/triggers/manual/paths/invoke?sp=%2Fx&sv=1.0&sig=u_v-W",
            "https://prod-1.logic.azure.com:443/workflows/1a/triggers/manual/paths/invoke?sp=%2Fx&sv=1.0&sig=***",
        ),
        ("https://api.telegram.org/bot12:AA-b/sendMessage", "https://api.telegram.org/bot***"),
        (
            "the key=4 of ?monkey=5&page=6, postgres+x://ada@db/y",
            "the key=4 of ?monkey=5&page=6, postgres+x://***@db/y",
        ),
        ("Authorization: Bearer abcdefgh12345678", "Authorization: *** ***"),
        ("sent Bearer abcdefgh12345678 to it", "sent Bearer *** to it"),
        ('{"password": "a b c", "user": "ada"}', '{"password": ***, "user": "ada"}'),
        ("-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\nafter", "***\nafter"),
        ("it took max_tokens=4096, input_tokens: 12", "it took max_tokens=4096, input_tokens: 12"),
        ("the tokenizer and the secretary passed", "the tokenizer and the secretary passed"),
        ("T-0012 at 8f14e45fceea167a5a36dedd4bea2543", "T-0012 at 8f14e45fceea167a5a36dedd4bea2543"),
    ],
)
def test_text_is_masked_as_far_as_needed_and_no_further(text: str, shown: str) -> None:
    assert Redaction({}).text(text) == shown


HOSTILE = """
import itertools, resource, sys
from nightcrew.monitoring.redaction import Redaction, is_secret_name

resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
parts = [
    "a.", "1.2.", "a-", "a+", "A", "-", " ", "_", ".", "/", "\\\\", "\\n", "'", '"', "?", "&", "=", "@", ":",
    "eyJ", "eyJ-", "eyJaaaaaaaa.", "sk-", "xoxb-", "AKIA", "-----BEGIN ", "-----BEGIN A PRIVATE KEY-----", "-----END ",
    "PRIVATE KEY", "Bearer ", "Token", "://", "a://b", "a://b:c@", "token", "token=", 'token="', "token='", "api_key ",
    "?key=", "&a_", "&a_key", "&amp;sig", "hooks.slack.com/", ".webhook.office.com/", "discord.com/api/v1/", "https",
    "password: ", "input_tokens", "secretToken",
]
redaction = Redaction({"MY_TOKEN": "aaaaaaaaaaaaaaaaaaaaaaab", "A_KEY": "1.2.1.2.1.2.3"})

def repeated(part, size):
    return part * (size // len(part))

for part in parts:
    redaction.text(repeated(part, 200_000))
    is_secret_name(repeated(part, 200_000))
for before, after in itertools.product(parts, repeat=2):
    redaction.text(before + repeated(after, 4_000))
    redaction.text(repeated(before + after, 4_000))
    redaction.text(repeated(before, 2_000) + repeated(after, 2_000))
redaction.value({"x": ["a." * 8000, {"y": "1.2." * 6000}]})
print("done")
"""


def test_no_text_takes_more_than_its_length(tmp_path: Path) -> None:
    """In a process of its own, with so much of a processor as is ample for work in proportion, and for no other."""
    (tmp_path / "hostile.py").write_text(HOSTILE)
    argv = [sys.executable, str(tmp_path / "hostile.py")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=600)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


def test_a_very_long_text_is_cut_and_no_secret_with_it(log: Log) -> None:
    for shift in range(len(KEY) + 1):
        text = Redaction(ENVIRONMENT).text("x" * (200_000 - shift) + KEY + " y" * 100_000)
        assert len(text) < 201_000
        assert text.endswith(f"[... cut: {400_000 - shift + len(KEY):,} characters]")
        assert KEY[:4] not in text
    log.logger.warning("%s", "z" * 5_000_000)
    assert len(log.entries[0]["event"]) < 201_000


@pytest.mark.parametrize("name", ["password", "api_key", "API-KEY", "apiKey", "x-api-key", "Authorization", "cookie",
                                  "client_secret", "access_token", "DB_PASSWORD", "set-cookie"])  # fmt: skip
def test_what_stands_under_a_secret_name_is_masked(log: Log, name: str) -> None:
    assert is_secret_name(name)
    log.logger.info("sent", extra={"headers": {name: "plain", "accept": "text/plain"}})
    assert log.entries[0]["headers"] == {name: "***", "accept": "text/plain"}


@pytest.mark.parametrize("name", ["input_tokens", "gen_ai.usage.output_tokens", "author", "passed", "key", "monkey"])
def test_a_name_that_only_sounds_secret_is_shown(name: str) -> None:
    assert not is_secret_name(name)


def test_an_entry_that_refers_to_itself_ends(log: Log) -> None:
    endless: dict[str, Any] = {}
    endless["self"] = endless
    log.logger.info("odd", extra={"it": endless})
    assert log.entries[0]["event"] == "odd"


# The command line -----------------------------------------------------------------------------------------------------


def nightcrew(*arguments: str, folder: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    env = {"PATH": "/usr/bin:/bin", "HOME": str(folder), **environment}
    argv = [sys.executable, "-m", "nightcrew", *arguments]
    return subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("told", [("--log-json",), ()])
def test_an_error_of_a_command_is_an_entry_too(told: tuple[str, ...], tmp_path: Path) -> None:
    environment = {} if told else {"NIGHTCREW_LOG": "json"}
    done = nightcrew("metrics", "list", *told, folder=tmp_path, **environment)
    [entry] = [json.loads(line) for line in done.stderr.splitlines()]
    assert done.returncode == 2
    assert (entry["level"], entry["code"]) == ("error", "NC-USAGE")
    assert entry["hint"]


def test_without_being_asked_an_error_is_for_people(tmp_path: Path) -> None:
    done = nightcrew("metrics", "list", folder=tmp_path)
    assert done.stderr.startswith("error: ")
