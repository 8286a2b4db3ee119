"""nightcrew completion."""

import os
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from nightcrew.cli.output import OPTIONS, say, show_json
from nightcrew.model.errors import UsageError

app = typer.Typer(add_completion=False)
APPS = {"completion": app}
_SHELLS = ("bash", "zsh", "fish")


@app.command(epilog="Example: nightcrew completion bash --install")
def completion(
    shell: Annotated[str, typer.Argument(help="bash, zsh or fish; default: the one in SHELL")] = "",
    install: Annotated[bool, typer.Option("--install", help="write it to where the shell looks for it")] = False,
) -> None:
    """Print what makes a shell complete commands, options and ids; with --install, put it in its place.

    Without installing anything: eval "$(nightcrew completion bash)", or the same for zsh, in the shell's start-up file.
    """
    name = shell or Path(os.environ.get("SHELL", "")).name
    if name not in _SHELLS:
        raise UsageError(f"there is no completion for {name or 'no shell'}", hint=f"There is: {', '.join(_SHELLS)}")
    script = resources.files("nightcrew.cli").joinpath(f"shells/nightcrew.{name}").read_text(encoding="utf-8")
    if not install:
        if OPTIONS.json:
            show_json({"shell": name, "script": script})
        else:
            say(script.rstrip())
        return
    from nightcrew.crew.published import write_atomically

    path, then = _place(name)
    write_atomically(path, script.encode())
    path.chmod(0o644)
    if OPTIONS.json:
        show_json({"shell": name, "written": path, "then": then})
    else:
        say(f"wrote {path}")
        say(then)


def _place(shell: str) -> tuple[Path, str]:
    """Where a shell looks for it, and what else a person has to do."""
    home = Path.home()
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    if shell == "fish":
        config = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
        return config / "fish" / "completions" / "nightcrew.fish", "The next fish that you start has it."
    if shell == "zsh":
        folder = data / "zsh" / "site-functions"
        line = f"fpath=({folder} $fpath); autoload -Uz compinit; compinit"
        return folder / "_nightcrew", f"If it is not there yet, put this line into ~/.zshrc: {line}"
    path = data / "bash-completion" / "completions" / "nightcrew"
    return path, f"The package bash-completion finds it; without that, put this line into ~/.bashrc: . {path}"
