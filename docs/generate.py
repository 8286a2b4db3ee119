"""Writes docs/reference/ from the code: commands from --help, settings and documents from their models.

Run: python docs/generate.py (a test checks that it changes nothing).
"""

import importlib
import os
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nightcrew
from nightcrew.cli import COMMANDS
from nightcrew.model.errors import NightcrewError
from nightcrew.model.schemas import SCHEMAS
from nightcrew.model.settings import describe

REFERENCE = Path(__file__).parent / "reference"
GROUPS = {
    "ticket": ("add", "list", "show", "release", "prioritise"),
    "import": ("github", "gitlab", "jsonl", "sarif", "junit", "todo"),
    "export": ("sarif", "junit", "html", "jsonl"),
    "inbox": ("list", "show", "approve", "reject", "escalate", "ask", "stats"),
    "key": ("add", "list", "allow", "remove"),
    "reviewer": ("add", "admit", "list", "revoke"),
    "handoff": ("list", "show"),
    "session": ("list", "show"),
    "memory": ("status", "sync"),
    "retry": ("run", "list"),
    "quarantine": ("list", "show", "release", "discard"),
    "metrics": ("list", "show", "export", "files"),
    "outcome": ("list", "show", "runs"),
    "alerts": ("list", "show", "ack", "silence", "unsilence", "test", "history", "rules", "check", "watch"),
    "state": ("save", "restore"),
    "schedule": ("install", "show", "remove", "run-now", "history", "fire", "serve"),
    "audit": ("verify", "show", "export", "attestations", "prove"),
}
_HEADER = "<!-- Written by docs/generate.py: change the code, then run it. -->\n\n"


def help_of(*words: str) -> str:
    """What ``nightcrew WORDS --help`` prints, 100 columns wide."""
    plain = {**os.environ, "COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1"}
    argv = [sys.executable, "-m", "nightcrew", *words, "--help"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, env=plain)
    return "\n".join(line.rstrip() for line in done.stdout.strip().splitlines())


def cli() -> str:
    """The reference of all commands."""
    parts = [f"# Commands\n\n```text\n{help_of()}\n```"]
    for name in COMMANDS:
        parts.append(f"## nightcrew {name}\n\n```text\n{help_of(name)}\n```")
        for inner in GROUPS.get(name, ()):
            parts.append(f"### nightcrew {name} {inner}\n\n```text\n{help_of(name, inner)}\n```")
    return "\n\n".join(parts) + "\n"


def settings() -> str:
    """The reference of ``nightcrew.toml``."""
    rows = "\n".join(f"| `{name}` | `{default}` | {text} |" for name, default, text in describe())
    return f"# Settings: nightcrew.toml\n\n| setting | default | what it does |\n|---|---|---|\n{rows}\n"


def documents() -> str:
    """The reference of the documents' fields."""
    parts = ["# Documents\n\nThe JSON Schemas are printed by `nightcrew schema NAME`."]
    for name, model in sorted(SCHEMAS.items()):
        fields = "\n".join(f"- `{field.alias or key}`" for key, field in model.model_fields.items())
        parts.append(f"## {name}\n\n{(model.__doc__ or '').strip()}\n\n{fields}")
    return "\n\n".join(parts) + "\n"


def failures() -> str:
    """The reference of failure codes: what each means, its exit status, what to do."""
    for module in pkgutil.walk_packages(nightcrew.__path__, "nightcrew."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    rows = sorted({_failure(error) for error in _subclasses(NightcrewError)})
    table = "\n".join(rows)
    heading = "| code | what happened | exit status | what to do |\n|---|---|---|---|"
    return f"# Failures\n\nEach code leads to its runbook: `nightcrew runbook CODE`.\n\n{heading}\n{table}\n"


def _subclasses(error: type[NightcrewError]) -> Iterator[type[NightcrewError]]:
    yield error
    for inner in error.__subclasses__():
        if inner.__module__.startswith("nightcrew."):
            yield from _subclasses(inner)


def _failure(error: type[NightcrewError]) -> str:
    what = (error.__doc__ or "").strip().split("\n")[0]
    runbook = f"../../src/nightcrew/readiness/runbooks/{error.code}.md"
    return f"| [`{error.code}`]({runbook}) | {what} | {error.exit_status} | {error.hint} |"


PAGES = {"cli.md": cli, "settings.md": settings, "documents.md": documents, "failures.md": failures}


def main() -> None:
    """Write all pages."""
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(_HEADER + page())


if __name__ == "__main__":
    main()
