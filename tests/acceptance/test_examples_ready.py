"""The three examples, from prototype to proof: the lines that are named, and the tutorial's commands as they are typed.

The prototypes are looked at in CI. The proof (load tests and every drill, some minutes each) is for ``make storms``.
"""

import os
import re
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.acceptance.conftest import Cli

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
TUTORIAL = ROOT / "docs" / "tutorial" / "readiness.md"
BOXES = ("inputs", "retries", "monitoring", "state", "reviews", "fallbacks", "tests", "runbooks")

_MODEL = {
    "fraud": "return float(model.predict_proba([features(tx)])[0, 1])",
    "inventory": "solved = linprog(",
    "reports": "answer = client.messages.create(",
}
_LOOP = {
    "fraud": 'flagged = [tx["id"] for tx in transactions(200, seed=8) if score(tx) > 0.5]',
    "inventory": "for order in orders(5):",
    "reports": "for incident in incidents(3):",
}
_PRINTS = {
    "fraud": 'print(f"{len(flagged)} flagged")',
    "inventory": 'print(order["id"], route(order))',
    "reports": 'print(draft(incident["log"]))',
}
_READS = {
    "fraud": ['return [tx["amount"], tx["hour"], tx["km_from_home"]]', _LOOP["fraud"]],
    "inventory": ['shops, houses = len(order["demand"]), len(order["stock"])', _PRINTS["inventory"]],
    "reports": [_PRINTS["reports"]],
}
_WRITES = {"fraud": ['Path("flagged.json").write_text(json.dumps(flagged))'], "inventory": [], "reports": []}


def missing(name: str) -> dict[str, list[str]]:
    """The lines of a prototype that each missing box names, in order."""
    model = [_MODEL[name]]
    boxes = {
        "inputs": _READS[name],
        "retries": model,
        "monitoring": [_PRINTS[name]],
        "state": [_LOOP[name], *_WRITES[name]],
        "reviews": model,
        "fallbacks": model,
        "runbooks": model,
    }
    if name != "reports":
        del boxes["retries"]  # Nothing in it leaves the program.
    return boxes


@pytest.fixture(params=["fraud", "inventory", "reports"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def example(name: str, cli: "Cli") -> "Cli":
    """A clean copy of one example, and a home with nothing in it."""
    cli.folder = shutil.copytree(EXAMPLES / name, cli.folder.with_name(name))
    return cli


def test_a_prototype_lacks_nearly_every_box_and_exactly_these_lines_are_named(name: str, example: "Cli") -> None:
    done = example("ready", "prototype.py", "--json")
    assert done.status == 1
    boxes = {one["box"]: one for one in done.json()["boxes"]}
    assert tuple(boxes) == BOXES
    lines = [line.strip() for line in (example.folder / "prototype.py").read_text().splitlines()]
    for box, texts in missing(name).items():
        assert boxes[box]["status"] == "missing", box
        named = [(gap["path"], lines[gap["line"] - 1]) for gap in boxes[box]["gaps"]]
        assert named == [("prototype.py", text) for text in texts], box
    assert [gap["what"] for gap in boxes["tests"]["gaps"]] == ["no test imports it", "it was never run under load"]
    others = set(BOXES) - set(missing(name)) - {"tests"}
    assert {box: boxes[box]["status"] for box in others} == dict.fromkeys(others, "not_applicable")
    assert not (example.folder / ".nightcrew").exists(), "it leaves nothing behind"
    assert list(example.home.iterdir()) == []


# The tutorial -------------------------------------------------------------------------------------------------------


class Shown:
    """What the tutorial shows: each command, and the lines that are printed below it."""

    def __init__(self) -> None:
        self.commands: list[tuple[str, list[str]]] = []
        for block in re.findall(r"^```console\n(.*?)^```", TUTORIAL.read_text(), re.MULTILINE | re.DOTALL):
            for line in block.splitlines():
                if line.startswith("$ "):
                    self.commands.append((line[2:], []))
                else:
                    self.commands[-1][1].append(line)

    def after(self, *wanted: str) -> list[tuple[str, list[str]]]:
        """The commands that begin with one of these words."""
        return [one for one in self.commands if one[0].startswith(wanted)]


def _plain(line: str) -> str:
    """A line without what is another one each time: days, times, counts of what was under way, rates."""
    return re.sub(r"\d[\d,.-]*", "0", " ".join(line.split()))


def assert_shown(shown: list[str], said: str) -> None:
    """Each line of the tutorial came, in this order; ``...`` stands for any lines, or for the rest of one."""
    came = [_plain(line) for line in said.splitlines()]
    for line in (_plain(line) for line in shown if line.strip() not in ("", "...")):
        start, cut, _ = line.partition(" ...")
        at = next((n for n, one in enumerate(came) if one == line or (cut and one.startswith(start))), None)
        assert at is not None, f"the tutorial shows {line!r}, and this came:\n{said}"
        del came[: at + 1]


def test_the_tutorial_shows_what_a_prototype_comes_to(cli: "Cli") -> None:
    command, shown = Shown().after("nightcrew ready prototype.py")[0]
    cli.folder = shutil.copytree(EXAMPLES / "fraud", cli.folder.with_name("fraud"))
    done = cli(*shlex.split(command)[1:])
    assert_shown(shown, done.out)
    assert [line for line in shown if line.startswith(BOXES)] == [
        line for line in done.out.splitlines() if line.startswith(BOXES)
    ]


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(os.environ.get("NIGHTCREW_ALL_PROJECTS") != "1", reason="the storms run it: every drill, thrice")
def test_the_tutorials_commands_prove_all_eight_boxes_and_a_safeguard_taken_out_is_missed(
    name: str, example: "Cli"
) -> None:
    done: Any = None
    for command, shown in Shown().commands:
        words = [word.replace("fraud", name) for word in shlex.split(command)]
        if words[0] == "export":
            # An address as a user has one; nothing is sent to it.
            example.more["NIGHTCREW_NOTIFY"] = "json://127.0.0.1:9/"
        elif words[0] == "sed":
            assert_all_are_proven(done)
            take_the_fallback_out(example.folder / "production.py")
        elif words[0] == "nightcrew":
            done = example(*words[1:], timeout=1500)
            assert done.status in (0, 1), done.err
            if name == "fraud":
                assert_shown(shown, done.out)
    assert (done.status, "1 missing" in done.out) == (1, True), done.out
    assert "the drill missing-model failed" in done.out


def assert_all_are_proven(last: Any) -> None:
    assert last.status == 0, last.out
    assert [line.split()[:2] for line in last.out.splitlines()[:8]] == [[box, "proven"] for box in BOXES]
    assert "8 proven." in last.out
    assert "Not drilled" not in last.out


def take_the_fallback_out(path: Path) -> None:
    """As the tutorial says: the fallback's argument goes, in whichever step it stands."""
    before = path.read_text()
    after = re.sub(r", fallback=\w+", "", before)
    assert after != before
    path.write_text(after)
