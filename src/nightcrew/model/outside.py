"""The settings of what reaches beyond the repository: memory, GitHub. Off unless they are filled in."""

import re

from pydantic import Field, field_validator

from nightcrew.model.document import Document


class Memory(Document):
    """The table [memory]: what past sessions left, and how much of it a session is given."""

    records: int = Field(default=5, ge=0, le=50, description="records of past sessions that a session is given at most")
    characters: int = Field(default=8_000, ge=0, description="characters that they may take of its context in all")
    max_age_days: int = Field(
        default=180, ge=1, le=36_500, description="older records stay in the store and out of the context"
    )
    loreconvo: tuple[str, ...] = Field(
        default=(), description="argv of LoreConvo's MCP server, as loreconvo; empty: records stay in the own store"
    )
    project: str = Field(default="", description="LoreConvo's name of this project; empty: the repository's folder")


class Github(Document):
    """The table [github]. Without a repository nothing of it happens. The token is named, never written here."""

    repository: str = Field(default="", description="OWNER/NAME; empty: GitHub is not used")
    api: str = Field(default="https://api.github.com", description="address of the API")
    token_env: str = Field(default="GITHUB_TOKEN", description="name of the token: see nightcrew key")
    remote: str = Field(default="origin", description="remote, or address, that branches are pushed to")
    base: str = Field(
        default="",
        description="branch that pull requests go into; empty: merge.into if that is none of nightcrew's own, else the"
        " repository's default branch",
    )
    labels: tuple[str, ...] = Field(
        default=("nightcrew",), description="issues with one of these labels become tickets"
    )
    issues: bool = Field(
        default=True, description="whether a shift imports issues first and says in them what became of them"
    )
    pull_requests: bool = Field(default=True, description="whether finished and reviewable work becomes pull requests")
    checks: bool = Field(default=True, description="whether verdicts of QA and security become checks of the commit")
    code_scanning: bool = Field(default=False, description="whether findings are uploaded to code scanning as SARIF")

    publish_security: bool = Field(
        default=False, description="whether fixes of security holes are pushed to a public repository too"
    )

    @field_validator("repository")
    @classmethod
    def _named(cls, value: str) -> str:
        if value and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]{0,99}/(?!\.{1,2}$)[A-Za-z0-9._-]{1,100}", value):
            raise ValueError("expected OWNER/NAME")
        return value
