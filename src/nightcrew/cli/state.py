"""nightcrew state."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nightcrew.cli.output import OPTIONS, opened, say, show_json
from nightcrew.model.clock import isoformat
from nightcrew.model.errors import ConfigurationError

if TYPE_CHECKING:
    from nightcrew.crew.carried import Carried

app = typer.Typer(add_completion=False, no_args_is_help=True, help="The crew's state in one sealed file.")
APPS = {"state": app}
_File = Annotated[Path, typer.Argument(help="the sealed file")]


@app.command(epilog="Example: nightcrew state save nightcrew-state.sealed")
def save(file: _File) -> None:
    """Write database, handoffs, trust anchor and nightcrew's branches, sealed with the key NIGHTCREW_STATE_KEY."""
    from nightcrew.crew import carried

    key = _key()
    with opened() as project:
        _told("saved", carried.save(project, file, key))


@app.command(epilog="Example: nightcrew state restore nightcrew-state.sealed")
def restore(file: _File) -> None:
    """Bring back what save wrote, in a fresh clone, for a user who has no trust anchor yet."""
    from nightcrew.crew import carried

    _told("restored", carried.restore(OPTIONS.repo, file, _key()))


def _key() -> str:
    from nightcrew import credentials
    from nightcrew.crew.carried import KEY

    if not (key := credentials.secret(KEY)):
        raise ConfigurationError(
            f"there is no key {KEY} to seal the state with",
            hint=f"Make one (openssl rand -hex 32) and keep it: nightcrew key add {KEY}; in CI, as a secret.",
        )
    return key


def _told(what: str, found: "Carried") -> None:
    if OPTIONS.json:
        told = {"did": what, "bytes": found.size, "files": found.files, "refs": found.refs}
        show_json({**told, "saved": isoformat(found.saved)})
    else:
        said = f"{found.files} files and {found.refs} branches and other refs, {found.size:,} bytes"
        say(f"{what}: {said}, of {found.saved:%Y-%m-%d %H:%M} UTC")
