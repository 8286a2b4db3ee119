"""The command line: one module a command group; parses, calls, prints. No logic."""

import gc
import os
import sys
from collections.abc import Sequence

# What `nightcrew --help` shows; a group's module is imported only when it is called.
COMMANDS = {
    "init": ("setup", "prepare a repository for the crew"),
    "doctor": ("setup", "say what works on this machine and what each setting does"),
    "ticket": ("ticket", "file, list and show the backlog's tickets"),
    "import": ("importing", "bring in work as tickets: github, gitlab, jsonl, sarif, junit, todo"),
    "export": ("exporting", "write out for other tools: sarif, junit, html, jsonl"),
    "sync": ("sync", "GitHub brought up to date: issues in; branches, pull requests, checks out"),
    "plan": ("work", "write the manifest of one agent's next session"),
    "work": ("work", "run one session of one agent"),
    "shift": ("work", "run one night: plan, work, check, merge, report"),
    "check": ("checking", "QA and security on a range of commits: the gate of a pull request"),
    "run": ("records", "work every record of an input through a pipeline"),
    "retry": ("records", "records that failed for now: list them, work them"),
    "quarantine": ("records", "records that cannot be processed: list, show, release, discard"),
    "metrics": ("metrics", "what was measured: list, show, export for Prometheus, files for Grafana"),
    "drift": ("drift", "what is not like it was: show, check, reference"),
    "outcome": ("records", "what became of each record: list, show, runs"),
    "alerts": ("alerts", "what fires: list, show, ack, silence, test, history, check, watch"),
    "ready": ("ready", "whether what runs unattended is ready: eight boxes, each proven or not"),
    "drill": ("drill", "inject faults into a copy, and see whether the safeguards hold"),
    "load": ("load", "drive a pipeline at a set or rising rate, and find what it holds"),
    "schedule": ("schedule", "shifts at set times: install, show, remove, run-now, history, serve"),
    "stop": ("work", "stop the running shift before its next turn"),
    "inbox": ("inbox", "what waits for a person: show, approve, reject, escalate"),
    "serve": ("serve", "the inbox in the browser, on this machine"),
    "mcp": ("mcp", "serve backlog, handoffs, memory, report and inbox to editors and agents"),
    "key": ("key", "where keys and tokens lie: add, list, remove"),
    "reviewer": ("reviewer", "who may decide: add, list, revoke"),
    "handoff": ("read", "list and show handoffs"),
    "session": ("read", "list and show sessions"),
    "memory": ("memory", "session records in LoreConvo: status, sync"),
    "recall": ("read", "search what past sessions left for the next"),
    "report": ("read", "the morning report"),
    "health": ("health", "whether each agent is well: silent, stalled, failing, over budget, worse than it was"),
    "runbook": ("runbook", "what a failure or an alert means, and what to do about it"),
    "audit": ("audit", "verify, show and export the ledger; prove an outcome"),
    "state": ("state", "the crew's state in one sealed file, for machines that do not last: save, restore"),
    "schema": ("read", "the JSON Schemas of the documents"),
    "completion": ("completion", "completion for bash, zsh and fish"),
    "help": ("helping", "the manual page of a command"),
    "man": ("helping", "write the manual pages for man(1)"),
    "demo": ("demo", "two shifts on a small real repository, explained"),
}
UNLISTED = {"overview": ("overview", "last night and what waits: nightcrew alone")}
"""Commands that are not typed by their name."""

EPILOG = """\
Options of every command:
  --repo PATH   the repository (default: the current directory)
  --json        one JSON document on standard output, for machines
  --debug       show the traceback of an error
  --log-json    logs as JSON lines on standard error (also: NIGHTCREW_LOG=json)
  --help        help of the command, with an example

Exit status: 0 done; 1 done, and something needs a person; 2 wrong usage; 3 refused by policy;
4 configuration or environment; 70 bug; 75 try again; 130 interrupted."""


def usage() -> str:
    """The text of ``nightcrew --help``."""
    width = max(map(len, COMMANDS))
    listed = "\n".join(f"  {name:<{width}}  {text}" for name, (_, text) in COMMANDS.items())
    return (
        "Usage: nightcrew COMMAND [ARGS]\n\n"
        "Runs AI work unattended, at 2 AM, and is trusted in the morning.\n"
        f"\nCommands:\n{listed}\n\n{EPILOG}\n\nBegin with: nightcrew demo"
    )


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """The options of every command that stand before the command, and the rest."""
    place = 0
    while place < len(arguments):
        word = arguments[place]
        if word not in ("--json", "--debug", "--log-json", "--repo") and not word.startswith("--repo="):
            break
        place += 2 if word == "--repo" else 1
    return arguments[:place], arguments[place:]


def _prepared() -> bool:
    """Whether the current directory is in a repository that has a crew; nothing heavy is loaded to find that out."""
    try:
        folder = os.getcwd()  # noqa: PTH109 - pathlib takes a tenth of the time that help may take
    except FileNotFoundError:
        return False
    while not os.path.isdir(os.path.join(folder, ".nightcrew")):  # noqa: PTH112, PTH118
        folder, below = os.path.dirname(folder), folder  # noqa: PTH120
        if folder == below:
            return False
    return True


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command and exit with its status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["__complete"]:
        from nightcrew.cli.completing import main as complete

        complete(arguments[1:])
        sys.exit(0)
    common, rest = _split(arguments)
    if not rest and (common or _prepared()):
        rest = ["overview"]
    elif not rest or rest[0] in ("--help", "-h"):
        _print(usage())
        sys.exit(0)
    if rest[0] == "--version":
        from nightcrew import __version__

        _print(f"nightcrew {__version__}")
        sys.exit(0)
    from nightcrew.cli.dispatch import dispatch

    try:
        sys.exit(dispatch([rest[0], *common, *rest[1:]]))
    finally:
        _leave_garbage()


def _leave_garbage() -> None:
    """Not look for garbage before the end: that is a quarter of a short command's time.

    But where code of the user's ran, or extensions that count what is left (nanobind's print all of it).
    """
    if not {"nightcrew.pipeline", "_datasketches"} & sys.modules.keys():
        gc.freeze()


def _print(text: str) -> None:
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
