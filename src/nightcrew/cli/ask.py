"""Asking a person for a passphrase; where there is nobody to ask, the file of NIGHTCREW_PASSPHRASE_FILE must do."""

import getpass
import sys

from nightcrew.approvals import read_passphrase
from nightcrew.model.errors import UsageError


def passphrase(text: str = "Passphrase: ") -> str:
    """The passphrase from the file that the environment names, else from the terminal; a new one is asked for twice."""
    return read_passphrase(_ask if sys.stdin.isatty() else None, text=text)


def _ask(text: str) -> str:
    first = getpass.getpass(text)
    if text.startswith("New") and getpass.getpass("The same again: ") != first:
        raise UsageError("the two passphrases differ", hint="Try again.")
    return first
