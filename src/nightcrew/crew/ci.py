"""The workflows that run the crew on GitHub Actions, made from a repository's settings."""

import difflib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from nightcrew import __version__
from nightcrew.crew.keys import names_in_settings
from nightcrew.crew.published import write_atomically
from nightcrew.model.errors import PolicyError
from nightcrew.model.settings import Settings

SHIFT, GATE = ".github/workflows/nightcrew.yml", ".github/workflows/nightcrew-gate.yml"
_TEMPLATES = {SHIFT: "github-shift.yml", GATE: "github-gate.yml"}
_OWN_TOKEN = "GITHUB_TOKEN"  # noqa: S105 - its name


@dataclass(frozen=True)
class Written:
    """What became of a workflow: ``written``, ``unchanged`` or ``different``; ``diff`` leads to what it would be."""

    path: Path
    state: str
    diff: str = ""


def write_github(root: Path, settings: Settings) -> list[Written]:
    """Write the workflows; where there is another already, that stays. Raises PolicyError for a link."""
    return [_write(root, name, text) for name, text in github_workflows(settings).items()]


def _write(root: Path, name: str, text: str) -> Written:
    path = root / name
    if not path.resolve().is_relative_to(root.resolve()) or path.is_symlink():
        raise PolicyError(f"{name} leads out of the repository", hint="Replace the link by a folder or a file.")
    try:
        there = path.read_bytes().decode("utf-8", "backslashreplace")
    except FileNotFoundError:
        write_atomically(path, text.encode())
        path.chmod(0o644)
        return Written(path, "written")
    if there == text:
        return Written(path, "unchanged")
    lines = difflib.unified_diff(
        there.splitlines(keepends=True), text.splitlines(keepends=True), name, "what nightcrew would write"
    )
    return Written(path, "different", "".join(lines))


def github_workflows(settings: Settings) -> dict[str, str]:
    """The texts by path: the permissions that the settings need, the secrets that they name, no more."""
    filled = {
        "@@PACKAGE@@": f"nightcrew=={__version__}",
        "@@PERMISSIONS@@": _permissions(settings),
        "@@SECRETS@@": _secrets(settings),
    }
    found = {}
    for name, template in _TEMPLATES.items():
        text = resources.files("nightcrew.crew").joinpath(f"workflows/{template}").read_text(encoding="utf-8")
        for mark, value in filled.items():
            text = text.replace(mark, value)
        found[name] = text
    return found


def _permissions(settings: Settings) -> str:
    """What the token of the shift may do; only what [github] has switched on goes beyond reading."""
    github = settings.github
    on = bool(github.repository) and github.token_env == _OWN_TOKEN
    granted = {
        "contents: write  # branches of nightcrew": on and github.pull_requests,
        "contents: read": not (on and github.pull_requests),
        "issues: write  # import, comment": on and github.issues,
        "pull-requests: write": on and github.pull_requests,
        "checks: write  # verdicts": on and github.checks,
        "statuses: write  # verdicts, where checks cannot be made": on and github.checks,
        "security-events: write  # code scanning": on and github.code_scanning,
    }
    return "\n".join(f"      {line}" for line, wanted in granted.items() if wanted)


def _secrets(settings: Settings) -> str:
    """The keys that the settings name, as the environment of the one step that needs them."""
    names = names_in_settings(settings)
    if not names:
        return "        # Keys of models come here once nightcrew.toml names some; then: nightcrew init --ci github"
    lines = [f"          {name}: ${{{{ {_source(name)} }}}}" for name in names]
    return "\n".join(["        env:", *lines])


def _source(name: str) -> str:
    return "github.token" if name == _OWN_TOKEN else f"secrets.{name}"
