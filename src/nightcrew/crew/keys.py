"""Which keys and tokens a repository's settings need, by name."""

from collections.abc import Sequence
from contextlib import suppress

from nightcrew import key_hosts
from nightcrew.brains import MECHANICAL, settings_of
from nightcrew.brains.keys import names_of
from nightcrew.model.errors import ConfigurationError
from nightcrew.model.settings import Settings


def names_in_settings(settings: Settings) -> list[str]:
    """The names in the order of the settings, each once. Of brains that take one of several, all that may be it."""
    names: list[str] = []
    for brain in _brains(settings):
        try:
            found = settings_of(brain, settings)
        except ConfigurationError:  # Told by who uses it.
            continue
        if found is not None:
            names += names_of(found)
    if settings.github.repository:
        names.append(settings.github.token_env)
    names += [channel.urls_env for channel in settings.channel if channel.urls_env]
    return [*dict.fromkeys(names)]


def sent_to(settings: Settings) -> list[str]:
    """Where the settings would send keys, by name, for who did not write them; addresses as they stand there."""
    lines = []
    for name in _brains(settings):
        with suppress(ConfigurationError):
            found = settings_of(name, settings)
            if found is not None:
                lines.append(_line(f"brain {name}", found.base_url, names_of(found)))
    github = settings.github
    if github.repository:
        lines.append(_line(f"GitHub repository {github.repository}", github.api, (github.token_env,)))
        lines.append(f"branches are pushed to {github.remote}")
    return lines


def _line(what: str, address: str, names: Sequence[str]) -> str:
    held = [name for name in names if not key_hosts.is_allowed(name, address)]
    host = key_hosts.host_of(address) if address else "its provider's own host"
    told = f"; to allow it: nightcrew key allow {held[0]} {host}" if held else ""
    return f"{what} sends {' or '.join(names) or 'no key'} to {host}{told}"


def _brains(settings: Settings) -> list[str]:
    asked = [name for agent in settings.agents.values() for name in agent.brains if name != MECHANICAL]
    return [*dict.fromkeys((*asked, *settings.brains))]
