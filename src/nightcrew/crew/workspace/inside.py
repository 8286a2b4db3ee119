"""git inside a workspace: always in the sandbox, since the agent owns the configuration it reads."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from nightcrew.crew.workspace.clone import AGENT_EMAIL, AGENT_NAME, Workspace
from nightcrew.model.errors import RepositoryError
from nightcrew.sandbox import Completed, Limits, Policy, named, run, scrubbed_environment

_COMMIT = re.compile(rb"([0-9a-f]{40}|[0-9a-f]{64})\n")
_SETTINGS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "commit.gpgSign=false",
    f"user.name={AGENT_NAME}",
    f"user.email={AGENT_EMAIL}",
)


class Runner(Protocol):
    """Runs a command in a workspace's sandbox, in the workspace; ``environment`` is added to what it has anyway."""

    def __call__(self, argv: Sequence[str], /, *, environment: Mapping[str, str] = ...) -> Completed:
        """How the command ended; raises SandboxError when it cannot be held."""
        ...


def sandboxed(
    workspace: Workspace,
    *,
    temp: Path,
    timeout: float = 300.0,
    limits: Limits | None = None,
    mode: str = "auto",
    should_stop: Callable[[], bool] | None = None,
) -> Runner:
    """The usual runner: it may write the workspace and ``temp``, read what the workspace borrows, reach no network.

    ``temp`` is a directory of this workspace alone; ``timeout`` in seconds for each command.
    """
    policy = Policy(
        writable=(workspace.path, temp), readable=workspace.borrowed, limits=limits or Limits(), off=mode == "off"
    )
    sandbox = named(mode)

    def runner(argv: Sequence[str], /, *, environment: Mapping[str, str] | None = None) -> Completed:
        return run(
            argv,
            cwd=workspace.path,
            policy=policy,
            environment=scrubbed_environment(environment or {}, temp=temp),
            timeout=timeout,
            output_limit=16_000_000,
            should_stop=should_stop,
            sandbox=sandbox,
        )

    return runner


def git_inside(run_inside: Runner, *arguments: str, environment: Mapping[str, str] | None = None) -> bytes:
    """Standard output of a git command in the workspace; raises RepositoryError when it fails."""
    settings = [word for setting in _SETTINGS for word in ("-c", setting)]
    completed = run_inside(["git", "--no-pager", *settings, *arguments], environment=environment or {})
    if not completed.ok:
        how = "was stopped" if completed.returncode is None else f"failed ({completed.returncode})"
        raise RepositoryError(
            f"git {arguments[0]} {how} in the workspace: {completed.tail(300)}",
            hint="The workspace is kept as it is: look at it, or discard it explicitly.",
        )
    return completed.stdout


def commit_inside(run_inside: Runner, revision: str) -> str:
    """The commit that ``revision`` names in the workspace, by its own word; raises RepositoryError."""
    output = git_inside(run_inside, "rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}")
    match = _COMMIT.fullmatch(output)
    if match is None:
        raise RepositoryError(f"git in the workspace gives no commit for {revision}")
    return match[1].decode()


def workspace_head(workspace: Workspace, run_inside: Runner) -> str:
    """The commit that the workspace's work has come to; raises RepositoryError when its git directory is broken."""
    return commit_inside(run_inside, workspace.ref)
