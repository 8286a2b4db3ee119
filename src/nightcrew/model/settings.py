"""The settings of ``nightcrew.toml``: every one with its default and what it does."""

import difflib
from collections.abc import Iterator
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from nightcrew.model.alerting import DEFAULT_CHANNEL, AlertChannel, Alerting, AlertRule, unknown_channels
from nightcrew.model.document import Document
from nightcrew.model.drifting import DriftSettings
from nightcrew.model.errors import DocumentError
from nightcrew.model.outside import Github, Memory


class Merge(Document):
    """The table [merge]."""

    into: str = Field(default="nightcrew/integration", description="branch that finished work is merged into")
    from_branch: str = Field(default="", description="branch that it is begun from; empty: the default branch")


class Turns(Document):
    """The table [budget]."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    soft: int = Field(default=40, ge=1, description="turns after which a session wraps up")
    hard: int = Field(default=60, ge=1, description="turns that no session exceeds")
    tokens: int | None = Field(default=None, ge=1, description="tokens, in and out, after which a session stops")
    dollars: float | None = Field(default=None, gt=0, description="cost by list prices after which a session stops")
    minutes: float | None = Field(default=None, gt=0, description="time after which a session stops")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.soft > self.hard:
            raise ValueError(f"soft ({self.soft}) is above hard ({self.hard})")
        return self


class Agent(Document):
    """The table [agents.NAME]. A name beside build, qa and security is an agent of your own, at a desk of that name.

    It takes up open tickets whose title begins with its name and a colon, and hands its work to QA as build does.
    """

    brains: tuple[str, ...] = Field(default=("mechanical",), description="brains to try, in this order")
    soft: int | None = Field(default=None, ge=1, description="soft cap of this agent's sessions, in turns")
    hard: int | None = Field(default=None, ge=1, description="hard cap of this agent's sessions, in turns")
    prompt: str = Field(default="", description="file in the repository with what this agent is told first")


class Brain(Document):
    """The table [brains.NAME]. Keys are named, never written here."""

    kind: Literal["model", "claude-code", "acp", "codex"] = Field(
        description="model: an API; claude-code, codex, acp: a coding agent's command line"
    )
    model: str = Field(default="", description="PROVIDER:NAME for kind model (anthropic, openai, google, ollama)")
    base_url: str = Field(default="", description="address of the service; empty: the provider's own")
    key_env: str = Field(default="", description="environment variable with the key; empty: the provider's usual one")
    command: tuple[str, ...] = Field(default=(), description="argv of the coding agent; empty: its usual name")
    readable: tuple[str, ...] = Field(default=(), description="further folders that the agent's program is read from")
    environment: dict[str, str] = Field(
        default_factory=dict, description="further environment of the agent; {url} is the way to the model"
    )
    context_tokens: int = Field(default=160_000, ge=2_000, description="what fits into the model's context, in tokens")
    output_tokens: int = Field(default=8_192, ge=256, description="tokens of one answer at most")
    timeout_seconds: float = Field(default=300, gt=0, le=3600, description="time limit of one request")

    @field_validator("base_url")
    @classmethod
    def _an_address(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            raise ValueError("an address begins with http:// or https://")
        if "@" in value.partition("://")[2].partition("/")[0]:
            raise ValueError("a key does not belong into an address: name its environment variable in key_env")
        return value


class Limits(Document):
    """The table [limits]."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    test_minutes: float = Field(default=15, gt=0, description="time limit of one run of the tests")
    scanner_minutes: float = Field(default=10, gt=0, description="time limit of one scanner; beyond it: not checked")
    command_minutes: float = Field(default=10, gt=0, description="time limit of one command of an agent")
    setup_minutes: float = Field(default=15, gt=0, description="time limit of making the environment for the tests")
    stall_minutes: float = Field(
        default=20, gt=0, description="a session in which nothing happens for this long is ended"
    )
    shift_minutes: float = Field(default=480, gt=0, description="a shift ends after this long")
    min_free_gib: float = Field(
        default=1, ge=0, description="a session is ended when less than this is free on its disk, in GiB"
    )
    max_tickets: int = Field(default=20, ge=1, description="tickets in one manifest")
    attempts_per_shift: int = Field(default=2, ge=1, description="how often one shift takes up the same ticket")


class Checks(Document):
    """The table [checks]."""

    setup: str = Field(default="", description="command that makes the environment for the tests; empty: detected")
    python: str = Field(default="", description="interpreter that runs the tests; empty: detected")
    test: str = Field(default="", description="command that runs the tests; empty: detected")
    junit: str = Field(default="", description="where that command writes JUnit XML (a glob in the workspace)")
    test_paths: tuple[str, ...] = Field(
        default=(
            "tests/*",
            "*/tests/*",
            "test/*",
            "*/test/*",
            "test_*.py",
            "*/test_*.py",
            "*_test.py",
            "*_test.go",
            "*.test.*",
            "*.spec.*",
            "*/__tests__/*",
        ),
        description="where the QA agent may add tests (globs; * crosses folders)",
    )
    lint: bool = Field(default=True, description="whether new lint findings are looked for")
    scanners: tuple[str, ...] = Field(
        default=("bandit", "ruff-s", "detect-secrets"), description="built-in scanners that security runs"
    )
    network: bool = Field(default=False, description="whether tests and scanners may use the network")
    package_network: bool = Field(default=True, description="whether set-up may reach the package index")


class ScannerSetting(Document):
    """The table [[scanner]]."""

    name: str = Field(description="name in reports")
    command: tuple[str, ...] = Field(
        min_length=1, description="argv that writes SARIF to {output}; {workspace} is the code"
    )


class Sandbox(Document):
    """The table [sandbox]."""

    mode: Literal["auto", "bubblewrap", "off"] = Field(
        default="auto",
        description="auto: this machine's own; bubblewrap: bwrap; off: agents' commands run without a sandbox",
    )


class Notify(Document):
    """The table [notify]."""

    urls_env: str = Field(
        default="NIGHTCREW_NOTIFY",
        description="environment variable with the addresses that alerts go to (apprise URLs, separated by spaces)",
    )
    report: Literal["never", "needs_you", "always"] = Field(
        default="needs_you", description="when the morning report is sent: never, if it needs a person, always"
    )
    report_to: tuple[str, ...] = Field(
        default=(), description="channels ([[channel]]) that it goes to; empty: the addresses of urls_env"
    )


class Measures(Document):
    """The table [metrics]: how long what is measured is kept, and how finely."""

    minutes_days: int = Field(default=7, ge=1, description="days that each minute is kept")
    hours_days: int = Field(default=90, ge=1, description="days that each hour is kept")
    days_days: int = Field(default=1095, ge=1, description="days that each day is kept")


class Settings(Document):
    """Everything in ``nightcrew.toml``."""

    merge: Merge = Merge()
    budget: Turns = Turns()
    agents: dict[str, Agent] = Field(default_factory=lambda: {"build": Agent()})
    brains: dict[str, Brain] = Field(default_factory=dict)
    limits: Limits = Limits()
    checks: Checks = Checks()
    scanner: tuple[ScannerSetting, ...] = ()
    sandbox: Sandbox = Sandbox()
    notify: Notify = Notify()
    memory: Memory = Memory()
    github: Github = Github()
    metrics: Measures = Measures()
    drift: DriftSettings = DriftSettings()
    alerts: Alerting = Alerting()
    alert: tuple[AlertRule, ...] = ()
    channel: tuple[AlertChannel, ...] = ()
    database_url: str = Field(default="", description="Postgres to keep the state in; empty: SQLite in .nightcrew")

    @property
    def builders(self) -> tuple[str, ...]:
        """The agents that change code: build, and those of the user's own."""
        return ("build", *(name for name in self.agents if name not in ("build", "qa", "security")))

    @model_validator(mode="after")
    def _report_to_channels(self) -> Self:
        known = {DEFAULT_CHANNEL, *(channel.name for channel in self.channel)}
        if unknown := sorted(set(self.notify.report_to) - known):
            raise ValueError(f"notify.report_to: there is no channel {', '.join(unknown)}")
        return self

    @model_validator(mode="after")
    def _agents_ordered(self) -> Self:
        for name, agent in self.agents.items():
            if not name.isascii() or not name.replace("-", "").isalnum() or name in ("human", "merge", "router"):
                raise ValueError(f"agents.{name}: an agent's name is letters, digits and hyphens, and no desk of ours")
            soft, hard = agent.soft or self.budget.soft, agent.hard or self.budget.hard
            if soft > hard:
                raise ValueError(f"agents.{name}: soft ({soft}) is above hard ({hard})")
        return self

    @model_validator(mode="after")
    def _channels_known(self) -> Self:
        if (wrong := unknown_channels(self.alerts, self.alert, self.channel)) is not None:
            raise ValueError(wrong)
        return self

    @classmethod
    def read(cls, value: Any, *, source: str) -> Self:
        """Validate parsed TOML; raises DocumentError naming the setting, and the nearest one for an unknown name."""
        if isinstance(value, dict):
            _refuse_unknown(cls, value, source, "")
        return super().read(value, source=source)


_NAMED: dict[str, type[BaseModel]] = {"agents": Agent, "brains": Brain}
"""Tables of tables: their keys are names that the user chose."""

_LISTED: dict[str, type[BaseModel]] = {"scanner": ScannerSetting, "alert": AlertRule, "channel": AlertChannel}
"""Lists of tables, written as [[NAME]]."""


def _refuse_unknown(model: type[BaseModel], value: dict[str, Any], source: str, prefix: str) -> None:
    tables: list[tuple[type[BaseModel], str, Any]]
    known = {field.alias or name: field for name, field in model.model_fields.items()}
    for name, inner in value.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {prefix}{near[0]}?" if near else ""
            raise DocumentError(
                f"{source}: there is no setting {prefix}{name}{hint}", hint="See all settings with: nightcrew doctor"
            )
        nested = known[name].annotation
        if name in _NAMED and not prefix and isinstance(inner, dict):
            tables = [(_NAMED[name], f"{name}.{own}.", table) for own, table in inner.items()]
        elif name in _LISTED and not prefix and isinstance(inner, list):
            tables = [(_LISTED[name], f"{name}.", table) for table in inner]
        elif isinstance(nested, type) and issubclass(nested, BaseModel):
            tables = [(nested, f"{prefix}{name}.", inner)]
        else:
            tables = []
        for table_model, table_prefix, table in tables:
            if isinstance(table, dict):
                _refuse_unknown(table_model, table, source, table_prefix)


def describe() -> list[tuple[str, str, str]]:
    """Every setting as (name, default, what it does)."""
    return list(_described(Settings, ""))


def _described(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, str]]:
    for name, field in model.model_fields.items():
        nested = field.annotation
        if isinstance(nested, type) and issubclass(nested, BaseModel):
            yield from _described(nested, f"{prefix}{name}.")
        elif name in _NAMED and model is Settings:
            yield from _described(_NAMED[name], f"{name}.NAME.")
        elif name in _LISTED and model is Settings:
            yield from _described(_LISTED[name], f"{name}.")
        else:
            default = "" if field.is_required() else str(field.get_default(call_default_factory=True))
            yield f"{prefix}{field.alias or name}", default, field.description or ""
