"""The key of a brain: read when it is needed, kept nowhere, never handed to an agent."""

from nightcrew import key_hosts
from nightcrew.brains.protocol import BrainUnavailable
from nightcrew.credentials import has, secret
from nightcrew.model.errors import ConfigurationError
from nightcrew.model.settings import Brain
from nightcrew.reliability import Failure, FailureClass

_BY_PROVIDER = {
    "anthropic": ("ANTHROPIC_API_KEY",),
    "openai": ("OPENAI_API_KEY",),
    "openai-responses": ("OPENAI_API_KEY",),
    "google": ("GOOGLE_API_KEY", "GEMINI_API_KEY"),
}
_BY_KIND = {
    "claude-code": ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"),
    "codex": ("OPENAI_API_KEY", "CODEX_API_KEY"),
    "acp": ("ANTHROPIC_API_KEY", "OPENAI_API_KEY"),
}


def names_of(brain: Brain) -> tuple[str, ...]:
    """The environment variables that may hold the brain's key, in the order in which they are looked at."""
    if brain.key_env:
        return (brain.key_env,)
    return _BY_PROVIDER.get(brain.model.partition(":")[0], ()) if brain.kind == "model" else _BY_KIND[brain.kind]


def key_of(name: str, brain: Brain) -> str:
    """The key; raises BrainUnavailable, saying which variable to set, if there is none.

    Raises KeyNotAllowed if it would go to a host that the user did not allow it for.
    """
    names = names_of(brain)
    for variable in names:
        if not has(variable):
            continue
        key_hosts.check(variable, brain.base_url)
        try:
            value = secret(variable)
        except ConfigurationError as error:
            raise BrainUnavailable(Failure(FailureClass.AUTH, "NoKey", f"brain {name}: {error}", None)) from None
        if value:
            return value
    message = f"brain {name} has no key: {' or '.join(names)} is not set in the environment of nightcrew"
    raise BrainUnavailable(Failure(FailureClass.AUTH, "NoKey", message, None))
