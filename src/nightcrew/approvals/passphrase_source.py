"""Where a passphrase comes from: the file that an environment variable names, or a prompt."""

import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

from nightcrew.approvals.private_files import check_private
from nightcrew.model.errors import ConfigurationError

PASSPHRASE_FILE_VARIABLE = "NIGHTCREW_PASSPHRASE_FILE"  # noqa: S105 - the name of a variable
MAX_PASSPHRASE_BYTES = 4096


def read_passphrase(
    prompt: Callable[[str], str] | None,
    *,
    text: str = "Passphrase: ",
    environment: Mapping[str, str] | None = None,
) -> str:
    """The passphrase from the file named by ``NIGHTCREW_PASSPHRASE_FILE`` if set, else what ``prompt(text)`` gives.

    One trailing newline of the file is stripped. ``prompt`` None means that nobody can be asked. Raises
    ConfigurationError if there is neither, if the file cannot be read or other users can read it, or if the passphrase
    is empty.
    """
    environment = os.environ if environment is None else environment
    named = environment.get(PASSPHRASE_FILE_VARIABLE)
    if named:
        passphrase = _from_file(Path(named))
    elif prompt is not None:
        passphrase = prompt(text)
    else:
        raise ConfigurationError(
            "a passphrase is needed and there is nobody to ask",
            hint=f"Run this in a terminal, or name a file of mode 600 in {PASSPHRASE_FILE_VARIABLE}.",
        )
    if not passphrase:
        raise ConfigurationError("the passphrase is empty", hint="Give the passphrase of the reviewer's key.")
    return passphrase


def _from_file(path: Path) -> str:
    # A pipe (/dev/fd/3) and a link (a mounted secret) are fine: what counts is who else can read what was opened.
    try:
        with path.open("rb") as file:
            state = os.fstat(file.fileno())
            if stat.S_ISREG(state.st_mode):
                check_private(state, path)
            data = file.read(MAX_PASSPHRASE_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(
            f"the passphrase file {path} cannot be read: {error.strerror}",
            hint=f"Correct or unset {PASSPHRASE_FILE_VARIABLE}.",
        ) from None
    if len(data) > MAX_PASSPHRASE_BYTES:
        raise ConfigurationError(f"the passphrase file {path} is longer than {MAX_PASSPHRASE_BYTES} bytes")
    try:
        return data.removesuffix(b"\n").removesuffix(b"\r").decode()
    except UnicodeDecodeError:
        raise ConfigurationError(f"the passphrase file {path} is not UTF-8 text") from None
