"""From a brain's settings to a model of pydantic-ai, with the key out of the environment."""

from pydantic_ai.models import Model
from pydantic_ai.settings import ModelSettings

from nightcrew.brains.keys import key_of
from nightcrew.model.errors import ConfigurationError
from nightcrew.model.settings import Brain

PROVIDERS = ("anthropic", "openai", "openai-responses", "google", "ollama")
_OLLAMA = "http://127.0.0.1:11434/v1"


def model_of(name: str, brain: Brain) -> Model:
    """The model that the settings name.

    Raises ConfigurationError for an unknown provider or one whose package is not installed, BrainUnavailable if there
    is no key.
    """
    provider, found, model = brain.model.partition(":")
    if not found or provider not in PROVIDERS or not model:
        raise ConfigurationError(
            f"brain {name}: {brain.model!r} names no model",
            hint=f"Write PROVIDER:NAME; providers: {', '.join(PROVIDERS)}.",
        )
    try:
        return _made(provider, model, brain, name)
    except ImportError as error:
        raise ConfigurationError(
            f"brain {name} needs a package that is not installed: {error.name or error}",
            hint="Install it with: pip install 'nightcrew[models]'",
        ) from None


def _made(provider: str, model: str, brain: Brain, name: str) -> Model:
    url = brain.base_url or None
    if provider == "anthropic":
        from pydantic_ai.models.anthropic import AnthropicModel
        from pydantic_ai.providers.anthropic import AnthropicProvider

        return AnthropicModel(model, provider=AnthropicProvider(api_key=key_of(name, brain), base_url=url))
    if provider == "google":
        from pydantic_ai.models.google import GoogleModel
        from pydantic_ai.providers.google import GoogleProvider

        return GoogleModel(model, provider=GoogleProvider(api_key=key_of(name, brain), base_url=url))
    from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
    from pydantic_ai.providers.openai import OpenAIProvider

    if provider == "ollama":
        key = key_of(name, brain) if brain.key_env else ""
        return OpenAIChatModel(model, provider=OpenAIProvider(base_url=url or _OLLAMA, api_key=key or "ollama"))
    openai = OpenAIProvider(base_url=url, api_key=key_of(name, brain))
    return (OpenAIResponsesModel if provider == "openai-responses" else OpenAIChatModel)(model, provider=openai)


def settings_of(brain: Brain) -> ModelSettings:
    """Settings of every request. Retries are ours: those of the client would be requests that nobody charged."""
    if brain.model.startswith("anthropic:") and not brain.base_url:
        from pydantic_ai.models.anthropic import AnthropicModelSettings

        return AnthropicModelSettings(
            max_tokens=brain.output_tokens,
            timeout=brain.timeout_seconds,
            max_retries=0,
            anthropic_cache=True,
            anthropic_cache_instructions=True,
        )
    return ModelSettings(max_tokens=brain.output_tokens, timeout=brain.timeout_seconds, max_retries=0)
