"""One repository on GitHub: where it is asked, and what the settings say of it."""

from dataclasses import dataclass
from typing import Self

from pydantic import BaseModel, ConfigDict, TypeAdapter

from nightcrew import key_hosts
from nightcrew.crew.forge.api import Api, token_of
from nightcrew.model.errors import ConfigurationError
from nightcrew.model.outside import Github

WITH_RIGHTS = ("OWNER", "MEMBER", "COLLABORATOR")
"""What ``author_association`` says of who may write in a repository."""


class Answered(BaseModel):
    """A part of an answer: the fields we use. GitHub adds fields as it likes."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class About(Answered):
    """What GitHub says of the repository; ``permissions`` is there for who is signed in."""

    default_branch: str
    full_name: str = ""
    private: bool = False
    permissions: dict[str, bool] = {}

    @property
    def owner(self) -> str:
        """The account that it is in now."""
        return self.full_name.partition("/")[0]


_ABOUT: TypeAdapter[About] = TypeAdapter(About)


@dataclass(frozen=True)
class Forge:
    """The API and ``OWNER/NAME``; use it as a context manager."""

    api: Api
    name: str

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.api.close()

    @property
    def owner(self) -> str:
        """The account that the repository is in."""
        return self.name.partition("/")[0]

    @property
    def source(self) -> str:
        """What links and tickets call it."""
        return f"github:{self.name}"

    def at(self, path: str) -> str:
        """The path of the API for ``path`` of this repository."""
        return f"/repos/{self.name}{path}"

    def has(self, repository_url: str) -> bool:
        """Whether this address of the API is that of this repository, under its present name too."""
        name = "/".join(repository_url.rsplit("/", 2)[1:]).lower()
        return name == self.name.lower() or name == self.about().full_name.lower()

    def about(self) -> About:
        """What it is; raises ForgeAway, ForgeRefused."""
        found = self.api.get(self.at(""), _ABOUT)
        if found is None:
            raise ConfigurationError(f"{self.name}: GitHub says nothing of it")
        return found


def connect(settings: Github) -> Forge:
    """The repository that [github] names; nothing is asked yet. Raises ConfigurationError if it names none.

    Raises KeyNotAllowed if the token would go to a host that the user did not allow it for.
    """
    if not settings.repository:
        raise ConfigurationError(
            "GitHub is not used here", hint='Write repository = "OWNER/NAME" under [github] in nightcrew.toml.'
        )
    key_hosts.check(settings.token_env, settings.api)
    api = Api(settings.api, token_of(settings.token_env), token_env=settings.token_env)
    return Forge(api, settings.repository)
