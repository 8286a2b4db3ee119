"""Runbooks: there is one for every code, and what each says exists: commands, settings, variables, other runbooks."""

import importlib
import json
import pkgutil
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

import nightcrew
from nightcrew.cli import COMMANDS, dispatch
from nightcrew.cli.output import OPTIONS
from nightcrew.crew.health import KINDS
from nightcrew.model.errors import NightcrewError, NotFoundError
from nightcrew.model.settings import describe
from nightcrew.monitoring.alerts.defaults import RUNBOOKS
from nightcrew.readiness import runbook
from nightcrew.reliability.failure import FailureClass

SOURCE = Path(nightcrew.__file__).parent
TEXT = "\n".join(path.read_text() for path in sorted(SOURCE.rglob("*.py")))
LITERAL = re.compile(r"""["']((?:NC|FC|AL)(?:-[A-Z0-9]+)+)["']""")
FAMILY = re.compile(r"""f["']((?:NC|FC|AL)(?:-[A-Z0-9]+)+)-\{""")
SPAN = re.compile(r"`([^`\n]+)`")
MENTIONED = re.compile(r"\b(?:NC|FC|AL)(?:-[A-Z0-9]+)+\b")
COMMON = {"--json", "--debug", "--log-json"}
PAGES = runbook.search()


def subclasses(error: type[NightcrewError]) -> Iterator[type[NightcrewError]]:
    yield error
    for inner in error.__subclasses__():
        if inner.__module__.startswith("nightcrew."):
            yield from subclasses(inner)


def codes_of_errors() -> set[str]:
    for module in pkgutil.walk_packages(nightcrew.__path__, "nightcrew."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    return {error.code for error in subclasses(NightcrewError)}


def codes_in_the_code() -> set[str]:
    found = codes_of_errors() | set(RUNBOOKS) | {f"AL-AGENT-{kind.upper()}" for kind in KINDS}
    return found | {kind.value for kind in FailureClass} | set(LITERAL.findall(TEXT))


def commands_of(page: runbook.Runbook) -> Iterator[str]:
    """Every call of nightcrew that a page shows, in a block or within a sentence."""
    fenced = re.findall(r"^```sh\n(.*?)^```$", page.markdown, flags=re.MULTILINE | re.DOTALL)
    prose = re.sub(r"^```sh\n.*?^```$", "", page.markdown, flags=re.MULTILINE | re.DOTALL)
    for line in [*"\n".join(fenced).splitlines(), *SPAN.findall(prose)]:
        if line.startswith("nightcrew "):
            yield line


def check_call(line: str) -> None:
    """Parse a call as the command line would; raises for a command, an option or a value that does not fit.

    A command may be named without what it needs.
    """
    words = shlex.split(line, comments=True)[1:]
    words = [word for word in words if word not in COMMON]
    if words in (["--help"], ["--version"]):
        return
    name, *rest = words
    module = importlib.import_module(f"nightcrew.cli.{COMMANDS[name][0]}")
    command: Any = typer.main.get_command(module.APPS[name])
    parent = None
    while hasattr(command, "commands") and rest and rest[0] in command.commands:
        parent = command.make_context(name, [], parent=parent, resilient_parsing=True)
        name, *rest = rest
        command = command.commands[name]
    if rest in ([], ["--help"]):
        return  # It is only named, or its help is asked for.
    own_options = hasattr(command, "commands") and command.invoke_without_command
    assert not hasattr(command, "commands") or own_options, f"{line}: not a whole command"
    command.make_context(name, list(rest), parent=parent)


def test_every_code_of_the_code_has_a_runbook() -> None:
    assert {code for code in codes_in_the_code() if not runbook.exists(code)} == set()


def test_codes_that_are_put_together_are_of_families_that_are_known() -> None:
    assert set(FAMILY.findall(TEXT)) == {"NC-HTTP", "AL-AGENT"}


def test_every_runbook_is_of_a_code_of_the_code() -> None:
    assert set(runbook.codes()) == {runbook.normal(code) for code in codes_in_the_code()}


def test_every_file_of_a_runbook_is_found() -> None:
    names = {path.name for path in (SOURCE / "readiness" / "runbooks").iterdir()}
    assert names == {f"{code}.md" for code in runbook.codes()}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.code)
def test_a_runbook_has_all_sections_filled(page: runbook.Runbook) -> None:
    assert tuple(page.sections) == runbook.SECTIONS
    assert all(len(text) > 40 for text in page.sections.values()) or page.code.startswith("NC-")
    assert all(page.sections.values())
    assert page.title
    assert page.kind == {"NC": "error", "FC": "failure", "AL": "alert"}[page.code[:2]]
    assert len(page.markdown.splitlines()) <= 60


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.code)
def test_a_runbook_is_named_by_its_code(page: runbook.Runbook) -> None:
    assert runbook.find(page.code) is page


@pytest.mark.parametrize("kind", FailureClass)
def test_a_failure_class_leads_to_the_page_that_says_its_name(kind: FailureClass) -> None:
    page = runbook.find(kind.value)
    assert page.code == f"FC-{kind.name.replace('_', '-')}"
    assert page.title.startswith(f"{kind.value}: ")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.code)
def test_commands_of_a_runbook_exist(page: runbook.Runbook) -> None:
    for line in commands_of(page):
        try:
            check_call(line)
        except Exception as error:
            pytest.fail(f"{page.code}: {line}: {error!r}")


@pytest.mark.parametrize("line", ["nightcrew tikcet list", "nightcrew ticket lst", "nightcrew ticket list --sate x",
                                  "nightcrew inbox show R-1 R-2", "nightcrew shift --max-minutes soon"])  # fmt: skip
def test_a_call_that_does_not_exist_would_be_noticed(line: str) -> None:
    with pytest.raises(Exception, match=r".*"):
        check_call(line)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.code)
def test_settings_and_variables_of_a_runbook_exist(page: runbook.Runbook) -> None:
    settings = {name for name, _, _ in describe()}
    tables = {name.partition(".")[0] for name in settings}
    named = {span.partition(" ")[0] for span in SPAN.findall(page.markdown)}
    dotted = {span for span in named if re.fullmatch(r"[a-z_]+(\.[A-Za-z_]+)+", span)}
    assert {span for span in dotted if span.partition(".")[0] in tables} <= settings
    assert all(name in TEXT for name in re.findall(r"NIGHTCREW_[A-Z_]+", page.markdown))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.code)
def test_runbooks_name_only_runbooks_and_classes_that_exist(page: runbook.Runbook) -> None:
    assert all(runbook.exists(code) for code in MENTIONED.findall(page.markdown))
    classes = re.findall(r"\b(?:permanent|transient)\.[a-z_]+", page.markdown)
    assert set(classes) <= {kind.value for kind in FailureClass}


@pytest.mark.parametrize("given", ["nc-busy", " NC-BUSY ", "Nc-Busy"])
def test_a_code_is_found_however_it_is_written(given: str) -> None:
    assert runbook.find(given).code == "NC-BUSY"


@pytest.mark.parametrize("given", ["NC-HTTP-404", "nc-http-405"])
def test_all_codes_of_http_statuses_share_a_page(given: str) -> None:
    assert runbook.find(given).code == "NC-HTTP"


@pytest.mark.parametrize(("given", "near"), [("NC-BUSSY", "NC-BUSY"), ("AL-NOSHIFT", "AL-NO-SHIFT"),
                                             ("permanent.contrct", "FC-CONTRACT"), ("BUSY", "NC-BUSY")])  # fmt: skip
def test_a_misspelt_code_is_answered_with_the_nearest(given: str, near: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        runbook.find(given)
    assert near in caught.value.hint


@pytest.mark.parametrize(
    "given", ["", "../../../etc/passwd", "NC-BUSY.md", "NC-BUSY/../NC-BUSY", "NC-\0", "x" * 100_000]
)
def test_what_is_no_code_is_refused(given: str) -> None:
    with pytest.raises(NotFoundError):
        runbook.find(given)


def test_pages_are_found_by_their_words() -> None:
    assert "NC-CRASH-LOOP" in {page.code for page in runbook.search("memory died ticket")}
    assert runbook.search("no such words at all") == ()


# The command ----------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _options() -> Iterator[None]:
    before = dict(vars(OPTIONS))
    yield
    vars(OPTIONS).update(before)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = dispatch.dispatch(list(arguments))
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def test_the_command_shows_a_page(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "runbook", "nc-busy")
    assert status == 0
    assert out.startswith("# NC-BUSY: ")
    assert [line[3:] for line in out.splitlines() if line.startswith("## ")] == list(runbook.SECTIONS)


def test_the_command_shows_a_page_in_a_terminal_without_marks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    _, out, _ = run(capsys, "runbook", "NC-BUSY")
    assert "First look" in out
    assert "## First look" not in out


def test_the_command_lists_all_pages_and_those_that_hold_words(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "runbook")
    assert [line.split()[0] for line in out.splitlines()[1:]] == list(runbook.codes())
    _, out, _ = run(capsys, "runbook", "--search", "crontab")
    assert "AL-NO-SHIFT" in out
    assert "NC-CSRF" not in out


def test_the_command_gives_json(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "runbook", "AL-DRIFT", "--json")
    page = json.loads(out)
    assert (page["code"], page["kind"], tuple(page["sections"])) == ("AL-DRIFT", "alert", runbook.SECTIONS)
    _, out, _ = run(capsys, "runbook", "--json")
    assert [page["code"] for page in json.loads(out)] == list(runbook.codes())


def test_an_error_names_its_runbook(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(capsys, "runbook", "NC-BUSSY")
    assert status == 2
    assert err.splitlines()[-1].strip() == "Runbook: nightcrew runbook NC-NOT-FOUND"
    _, _, err = run(capsys, "nothing", "--json")
    assert json.loads(err)["error"]["runbook"] == "nightcrew runbook NC-USAGE"


def test_an_error_of_the_users_own_names_none(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class OwnError(NightcrewError):
        """Something of the user's own."""

        code = "MY-CODE"

    def fail(*_: object) -> None:
        raise OwnError

    monkeypatch.setattr(runbook, "search", fail)
    status, _, err = run(capsys, "runbook")
    assert (status, "Runbook" in err) == (70, False)
