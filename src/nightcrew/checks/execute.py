"""How checks run commands: on one checkout, through a callable that holds them in a sandbox."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from nightcrew.sandbox import Completed, Policy, run, scrubbed_environment


class Run(Protocol):
    """Runs one command whole: the seam between checks and the sandbox."""

    def __call__(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        environment: Mapping[str, str],
        timeout: float,
        readable: Sequence[Path] = (),
        writable: Sequence[Path] = (),
        network: bool = False,
        output_limit: int = 1_000_000,
    ) -> Completed:
        """Run ``argv``; ``readable`` and ``writable`` are trees beside those that the command may always use.

        ``timeout`` in seconds, after which the command and all its children are killed; ``output_limit`` in bytes.
        """
        ...


@dataclass(frozen=True)
class Checkout:
    """One commit's files, ready to be checked.

    ``root``: the workspace. ``scratch``: a private directory outside it for reports, builds and temporary files.
    ``run``: runs commands that may write both. ``environment``: their whole environment.
    """

    root: Path
    scratch: Path
    run: Run
    environment: Mapping[str, str]


def checkout(
    root: Path, *, scratch: Path, policy: Policy | None = None, should_stop: Callable[[], bool] | None = None
) -> Checkout:
    """A ``Checkout`` of the workspace ``root``, whose commands may write ``root`` and ``scratch`` and what ``policy`` adds.

    ``scratch`` is made if missing. The network is closed, whatever ``policy`` says, but for a call that asks for it.
    """
    root, scratch = root.resolve(), scratch.resolve()
    temp = scratch / "tmp"
    temp.mkdir(parents=True, exist_ok=True)
    given = policy or Policy()
    base = replace(given, writable=_merged(given.writable, (root, scratch)), network=False)
    return Checkout(root, scratch, bound(base, should_stop=should_stop), scrubbed_environment(temp=temp))


def bound(policy: Policy, *, should_stop: Callable[[], bool] | None = None) -> Run:
    """The sandbox's ``run`` with ``policy`` as what every command may touch."""

    def runner(
        argv: Sequence[str],
        *,
        cwd: Path,
        environment: Mapping[str, str],
        timeout: float,
        readable: Sequence[Path] = (),
        writable: Sequence[Path] = (),
        network: bool = False,
        output_limit: int = 1_000_000,
    ) -> Completed:
        wider = replace(
            policy,
            readable=_merged(policy.readable, readable),
            writable=_merged(policy.writable, writable),
            network=policy.network or network,
        )
        return run(
            argv,
            cwd=cwd,
            policy=wider,
            environment=environment,
            timeout=timeout,
            output_limit=output_limit,
            should_stop=should_stop,
        )

    return runner


def python_path(environment: Mapping[str, str], roots: Sequence[Path]) -> dict[str, str]:
    """``environment`` in which Python finds modules in ``roots`` first and leaves no byte code behind."""
    return {
        **environment,
        "PYTHONPATH": os.pathsep.join(str(root) for root in roots),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONNOUSERSITE": "1",
    }


def _merged(first: Sequence[Path], second: Sequence[Path]) -> tuple[Path, ...]:
    return tuple(dict.fromkeys([*first, *(path for path in second if path.exists())]))
