"""Whether GitHub can be used as the settings ask: for ``nightcrew doctor``."""

from nightcrew.crew.forge.errors import ForgeRefused
from nightcrew.crew.forge.pushing import remote_of
from nightcrew.crew.forge.repository import connect
from nightcrew.crew.project import Project
from nightcrew.reliability import Failure, FailureClass
from nightcrew.store import effects


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
    return f"{settings.repository} ({', '.join(used)}); branches to {remote.shown}"


def waits(project: Project) -> str:
    """What is not at GitHub yet, and the first reason; empty if nothing waits."""
    with project.store.read() as tx:
        waiting = effects.waiting(tx)
    if not waiting:
        return ""
    problem = next((effect.problem for effect in waiting if effect.problem), "")
    return f"{len(waiting)} things wait" + (f": {problem}" if problem else "")
