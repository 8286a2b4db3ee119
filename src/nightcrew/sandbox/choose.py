"""Which sandbox this machine has."""

import sys
from functools import cache

from nightcrew.model.errors import SandboxError
from nightcrew.sandbox.protocol import Sandbox


@cache
def choose() -> Sandbox | None:
    """The machine's usual sandbox: Landlock, else bubblewrap, on Linux; seatbelt on macOS; None if there is none."""
    system: str = sys.platform  # as a plain string: type checkers take this comparison for the machine they run on
    if system == "linux":
        from nightcrew.sandbox.bubblewrap import Bubblewrap
        from nightcrew.sandbox.landlock import Landlock, abi

        if abi() > 0:
            return Landlock()
        return Bubblewrap() if Bubblewrap.installed() else None
    if system == "darwin":
        from nightcrew.sandbox.seatbelt import Seatbelt

        return Seatbelt() if Seatbelt.installed() else None
    return None


def named(mode: str) -> Sandbox | None:
    """The sandbox that the user asked for; None for the machine's usual one. Raises SandboxError if it is missing."""
    if mode != "bubblewrap":
        return None
    from nightcrew.sandbox.bubblewrap import Bubblewrap

    if not Bubblewrap.installed():
        raise SandboxError(
            "bubblewrap is asked for, and not installed", hint="Install bubblewrap, or change [sandbox]."
        )
    return Bubblewrap()


def available() -> str | None:
    """The name of this machine's sandbox (``landlock ABI 7``, ``bubblewrap``, ``seatbelt``), or None."""
    sandbox = choose()
    return None if sandbox is None else sandbox.name
