"""Which brains there are: by the settings' names, by the names of coding agents, by PROVIDER:MODEL."""

import importlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress

from nightcrew import key_hosts
from nightcrew.brains.keys import key_of, names_of
from nightcrew.brains.mechanical import MechanicalBrain
from nightcrew.brains.program import argv_of
from nightcrew.brains.protocol import Brain, BrainUnavailable
from nightcrew.credentials import has
from nightcrew.model.errors import ConfigurationError
from nightcrew.model.settings import Brain as BrainSettings
from nightcrew.model.settings import Settings

MECHANICAL = MechanicalBrain.name
_USUAL = {"claude-code": BrainSettings(kind="claude-code"), "codex": BrainSettings(kind="codex")}


def settings_of(name: str, settings: Settings) -> BrainSettings | None:
    """The settings of a brain, None for the mechanical one. Raises ConfigurationError for one that does not exist."""
    if name == MECHANICAL:
        return None
    if name in settings.brains:
        return settings.brains[name]
    if name in _USUAL:
        return _USUAL[name]
    if ":" in name:
        return BrainSettings(kind="model", model=name)
    known = ", ".join([MECHANICAL, *_USUAL, *(own for own in settings.brains if own not in _USUAL)])
    raise ConfigurationError(
        f"there is no brain {name}", hint=f"Brains: {known}, PROVIDER:MODEL, or a table [brains.{name}]."
    )


def brains(names: Sequence[str], settings: Settings) -> Iterator[Brain]:
    """The brains of these names; packages that a brain needs are imported when it is made."""
    for name in names:
        found = settings_of(name, settings)
        yield MechanicalBrain() if found is None else _made(name, found)


def look(name: str, settings: Settings) -> tuple[bool, str, str]:
    """Whether a brain can be tried, what it is, and what to do if not. Asks no service and starts no program.

    Raises ConfigurationError for a brain that does not exist.
    """
    found = settings_of(name, settings)
    if found is None:
        return True, "needs nothing", ""
    what = f"{found.kind} {found.model}".strip()
    try:
        key_of(name, found)
        if found.kind != "model":
            usual = {"claude-code": ("claude",), "codex": ("codex",)}.get(found.kind, ("",))
            argv, _ = argv_of(name, found, usual)
            what = f"{what} at {argv[0]}"
    except BrainUnavailable as error:
        return False, f"{what}: {error.failure.message}", _HINTS[found.kind]
    except key_hosts.KeyNotAllowed as error:
        return False, f"{what}: {error}", error.hint
    variable = next((variable for variable in names_of(found) if has(variable)), "nothing")
    return True, f"{what}, with the key in {variable}", ""


_HINTS = {
    "model": "Set the variable where the shift is started, or say where the key lies: nightcrew key add NAME",
    "claude-code": (
        "Unattended, Claude Code wants an API key, or a token made with: claude setup-token (in"
        " CLAUDE_CODE_OAUTH_TOKEN). The login of your own terminal is not used."
    ),
    "codex": "Install it, and set OPENAI_API_KEY; the login of your own terminal is not used.",
    "acp": "Name the agent's command in the brain's table, and the variable with its key in key_env.",
}


def warm(names: Sequence[str], settings: Settings) -> None:
    """Import in a thread what the brains of these names need: clients of models take seconds to import."""
    providers = {
        found.model.partition(":")[0]
        for name in names
        if (found := settings_of(name, settings)) is not None and found.kind == "model"
    }

    def load() -> None:
        with suppress(ImportError):  # Said when the brain is made.
            importlib.import_module("nightcrew.brains.model")
            for provider in providers & {"anthropic", "openai", "google"}:
                importlib.import_module(f"pydantic_ai.models.{provider}")

    if providers:
        threading.Thread(target=load, name="warm brains", daemon=True).start()


def check_hosts(names: Sequence[str], settings: Settings) -> None:
    """Raise KeyNotAllowed if a key of one of these brains would go to a host that the user did not allow it for."""
    for name in names:
        found = settings_of(name, settings)
        for variable in names_of(found) if found is not None else ():
            if has(variable):
                key_hosts.check(variable, found.base_url if found is not None else "")


def _made(name: str, settings: BrainSettings) -> Brain:
    try:
        if settings.kind == "model":
            from nightcrew.brains.model import ModelBrain

            return ModelBrain(name, settings)
        if settings.kind == "claude-code":
            from nightcrew.brains.claude_code import ClaudeCodeBrain

            return ClaudeCodeBrain(name, settings)
        if settings.kind == "codex":
            from nightcrew.brains.codex import CodexBrain

            return CodexBrain(name, settings)
        from nightcrew.brains.acp import AcpBrain

        return AcpBrain(name, settings)
    except ImportError as error:
        extra = "acp" if settings.kind == "acp" else "models"
        raise ConfigurationError(
            f"brain {name} needs a package that is not installed: {error.name}",
            hint=f"Install it with: pip install 'nightcrew[{extra}]'",
        ) from None
