"""Which keys and tokens a repository's settings need, by name."""

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


def _brains(settings: Settings) -> list[str]:
    asked = [name for agent in settings.agents.values() for name in agent.brains if name != MECHANICAL]
    return [*dict.fromkeys((*asked, *settings.brains))]
