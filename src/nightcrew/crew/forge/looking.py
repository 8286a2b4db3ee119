"""Whether GitHub can be used as the settings ask: for ``nightcrew doctor``."""

from pydantic import TypeAdapter

from nightcrew.approvals.github import GithubKey
from nightcrew.crew.forge.errors import ForgeRefused
from nightcrew.crew.forge.pushing import remote_of
from nightcrew.crew.forge.repository import Answered, connect
from nightcrew.crew.project import Project
from nightcrew.model.statement import SignerKind
from nightcrew.reliability import Failure, FailureClass
from nightcrew.store import effects


class _User(Answered):
    login: str


_USER: TypeAdapter[_User] = TypeAdapter(_User)


def look(project: Project) -> str:
    """What is used of it, in one line; raises ForgeAway, ForgeRefused, ConfigurationError with what is missing."""
    settings = project.settings.github
    with connect(settings) as forge:
        about = forge.about()
    remote = remote_of(project.git, settings.remote)
    if about.permissions and not about.permissions.get("push", False):
        message = f"the token in {settings.token_env} may read {settings.repository} and not write to it"
        raise ForgeRefused(message, failure=Failure(FailureClass.AUTH, "NoPush", message))
    used = [
        name
        for name, on in (
            ("issues", settings.issues),
            ("pull requests", settings.pull_requests),
            ("checks", settings.checks),
            ("code scanning", settings.code_scanning),
        )
        if on
    ]
    seen = "private" if about.private else "public: everybody can read what goes there"
    return f"{settings.repository} ({seen}; {', '.join(used)}); branches to {remote.shown}"


def reviews_itself(project: Project) -> str:
    """The enrolled reviewer whose own account the token is of, if GitHub says so; empty if it is nobody's.

    What may write as a reviewer could approve as that reviewer.
    """
    logins = {
        GithubKey.read(reviewer.public_key).login.lower(): reviewer.name
        for reviewer in project.anchor.reviewers(project.repository_id)
        if reviewer.active and reviewer.kind is SignerKind.GITHUB
    }
    if not logins:
        return ""
    with connect(project.settings.github) as forge:
        user = forge.api.get("/user", _USER, absent=(401, 403, 404))
    return logins.get(user.login.lower(), "") if user else ""


def waits(project: Project) -> str:
    """What is not at GitHub yet, and the first reason; empty if nothing waits."""
    with project.store.read() as tx:
        waiting = effects.waiting(tx)
    if not waiting:
        return ""
    problem = next((effect.problem for effect in waiting if effect.problem), "")
    return f"{len(waiting)} things wait" + (f": {problem}" if problem else "")
