"""The whole job on real projects that are not ours: what the report says is what the tools say when run by hand.

itsdangerous (with a change that breaks exactly one of its tests) always runs; markupsafe (compiled) and
tomlkit (a large test environment) run too with ``NIGHTCREW_ALL_PROJECTS=1``, as in ``make storms``. Sources come from
the package index as source distributions; if they cannot be fetched, the tests fail.
"""

import json
import os
import re
import subprocess
import sys
import tarfile
import xml.etree.ElementTree as ElementTree
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.network, pytest.mark.timeout(600)]

_IDENTITY = {
    f"GIT_{role}_{field}": value
    for role in ("AUTHOR", "COMMITTER")
    for field, value in (("NAME", "Ada"), ("EMAIL", "ada@example.invalid"))
}
# Asserts and made-up passwords: in tests they are noise, and nightcrew says nothing of them there.
_NOISE = {f"{letter}{number}" for letter in "BS" for number in (101, 105, 106, 107)}


@dataclass(frozen=True)
class Real:
    """A release on the index, and what its own documentation says to install for its tests."""

    name: str
    version: str
    installs: tuple[str, ...]
    always: bool = True


_PROJECTS = (
    Real("itsdangerous", "2.2.0", ("-r", "requirements/tests.txt", ".")),
    Real("markupsafe", "3.0.4", ("--group", "tests", "."), always=False),
    Real("tomlkit", "0.15.2", ("--group", "dev", "."), always=False),
)
_ALL = os.environ.get("NIGHTCREW_ALL_PROJECTS") == "1"
_CHOSEN = [pytest.param(real, id=real.name) for real in _PROJECTS if real.always or _ALL]


class Night:
    """A repository made of a release, with a home of its own."""

    def __init__(self, real: Real, folder: Path) -> None:
        self.real, self.folder, self.home = real, folder, folder / "home"
        self.home.mkdir()
        kept = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "LC_"))}
        kept |= {name: os.environ[name] for name in ("PATH", "LANG", "HTTPS_PROXY", "NO_PROXY") if name in os.environ}
        self.env = {**kept, **_IDENTITY, "HOME": str(self.home), "TMPDIR": str(self.home)}
        self.repo = folder / "repo"
        _source(real, folder).rename(self.repo)
        self.git("init", "-q", "-b", "main")
        self.git("add", "-A", "-f")
        self.git("commit", "-qm", f"{real.name} {real.version}")

    def run(self, *argv: str, cwd: Path | None = None, codes: tuple[int, ...] = (0,)) -> str:
        done = subprocess.run(argv, cwd=cwd or self.repo, env=self.env, capture_output=True, text=True, check=False)
        assert done.returncode in codes, f"{argv}: {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    def git(self, *arguments: str) -> str:
        return self.run("git", *arguments).strip()

    def crew(self, *arguments: str, codes: tuple[int, ...] = (0, 1)) -> str:
        return self.run(sys.executable, "-m", "nightcrew", *arguments, codes=codes)

    def json(self, *arguments: str) -> Any:
        return json.loads(self.crew(*arguments, "--json"))

    def shift(self) -> None:
        self.crew("shift")

    def check(self, ticket: str, name: str) -> dict[str, str]:
        """The check of that name in the report, on that ticket."""
        found = [one for one in self.json("report")["checks"] if (one["ticket"], one["check"]) == (ticket, name)]
        assert len(found) == 1, self.crew("report")
        row: dict[str, str] = found[0]
        return row


def _source(real: Real, folder: Path) -> Path:
    archives = folder / "archives"
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
    done = subprocess.run(
        [*pip, "--no-build-isolation", "-d", str(archives), f"{real.name}=={real.version}"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:  # some indexes build metadata in isolation only
        done = subprocess.run(
            [*pip, "-d", str(archives), f"{real.name}=={real.version}"], capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, f"{real.name} cannot be fetched: {done.stderr[-2000:]}"
    (archive,) = archives.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder / f"{real.name}-{real.version}"


def _by_hand(night: Night) -> Counter[str]:
    """The tests of the same commit as a person would run them: a clone, a virtual environment, pip, pytest."""
    clone, venv, report = (night.folder / name for name in ("clone", "venv", "by-hand.xml"))
    night.run("git", "clone", "-q", "-b", "main", str(night.repo), str(clone))
    night.run(sys.executable, "-m", "venv", str(venv))
    python = str(venv / "bin" / "python")
    if "--group" in night.real.installs:  # pip 25.1 and later
        night.run(python, "-m", "pip", "install", "-q", "--upgrade", "pip")
    night.run(python, "-m", "pip", "install", "-q", *night.real.installs, cwd=clone)
    night.run(python, "-m", "pytest", "-q", f"--junitxml={report}", cwd=clone, codes=(0, 1))
    counted: Counter[str] = Counter()
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        kinds = {child.tag for child in case} & {"failure", "error", "skipped"}
        counted[{"failure": "failed"}.get(kind := min(kinds, default="passed"), kind)] += 1
    return counted


def _counts(words: str) -> Counter[str]:
    return Counter({name: int(number) for number, name in re.findall(r"(\d+) (passed|failed|error|skipped)", words)})


def _scanned_by_hand(night: Night) -> dict[str, set[tuple[str, str, int]]]:
    """What each scanner says by itself: rule, path and line."""
    clone = night.folder / "clone"
    tool = [sys.executable, "-m"]
    bandit = night.run(*tool, "bandit", "-q", "-r", "--ignore-nosec", "-f", "json", ".", cwd=clone, codes=(0, 1))
    ruff = [*tool, "ruff", "check", "--no-cache", "--no-fix", "--exit-zero", "--output-format", "json"]
    rules = night.run(*ruff, "--isolated", "--ignore-noqa", "--select", "S", ".", cwd=clone)
    lint = night.run(*ruff, ".", cwd=clone)
    secrets = night.run(*tool, "detect_secrets", "scan", "--all-files", "--no-verify", ".", cwd=clone)

    def rows(text: str) -> set[tuple[str, str, int]]:
        return {
            (row["code"], Path(row["filename"]).relative_to(clone.resolve()).as_posix(), row["location"]["row"])
            for row in json.loads(text)
        }

    return {
        "bandit": {
            (row["test_id"], row["filename"].removeprefix("./"), row["line_number"])
            for row in json.loads(bandit)["results"]
        },
        "ruff-s": rows(rules),
        "ruff": rows(lint),
        "detect-secrets": {
            (row["type"], path.removeprefix("./"), row["line_number"])
            for path, found in json.loads(secrets)["results"].items()
            for row in found
        },
    }


def _baseline(night: Night) -> list[dict[str, Any]]:
    listed = [one for one in night.json("ticket", "list") if one["origin"] == "baseline"]
    return [found for one in listed for found in night.json("ticket", "show", one["id"])["known_findings"]]


def _is_test(path: str) -> bool:
    return path.startswith("tests/")


@pytest.mark.parametrize("real", _CHOSEN)
def test_a_night_on_a_real_project(real: Real, tmp_path: Path) -> None:
    night = Night(real, tmp_path)
    night.crew("init", "--yes")
    night.crew("ticket", "add", "Say hello", "--command", "printf hi > HELLO.md")
    night.shift()

    by_hand = _by_hand(night)
    tests = night.check("T-0001", "tests")
    head, base = re.search(r"head: (.*?); base: ([^;]*)", tests["detail"]).groups()  # type: ignore[union-attr]
    assert by_hand["passed"] > 50, by_hand
    assert (_counts(head), _counts(base)) == (by_hand, by_hand), tests
    assert tests["status"] == "passed"
    assert night.json("ticket", "show", "T-0001")["state"] == "done"
    assert night.git("show", "nightcrew/integration:HELLO.md") == "hi"

    alone = _scanned_by_hand(night)
    found = _baseline(night)
    named = [(one["tool"], (one["rule"], one["path"], one["line"])) for one in found]
    assert [one for one in named if one[1] not in alone[one[0]]] == []
    missed = alone["bandit"] - {place for tool, place in named if tool == "bandit"}
    assert {one for one in missed if not (one[0] in _NOISE and _is_test(one[1]))} == set()
    assert not [place for _, place in named if place[0] in _NOISE and _is_test(place[1])]

    if real.name == "itsdangerous":
        _one_regression(night)


def _one_regression(night: Night) -> None:
    """A commit of an ordinary author that breaks exactly one test: QA names that one, and nothing is merged."""
    ticket = night.json("ticket", "add", "Shorten the encoding of zero")["id"]
    night.git("switch", "-q", "-c", f"nightcrew/{ticket}", "main")
    file = night.repo / "src/itsdangerous/encoding.py"
    was = 'return _int_to_bytes(num).lstrip(b"\\x00")'
    text = file.read_text()
    assert was in text
    file.write_text(text.replace(was, was + ' or b"\\x00"'))
    night.git("commit", "-qam", "Encode zero as one byte")
    broken = night.git("rev-parse", "HEAD")
    night.git("switch", "-q", "main")
    before = night.git("rev-parse", "nightcrew/integration")
    night.shift()

    detail = night.check(ticket, "tests")
    assert (detail["status"], "1 regression" in detail["detail"]) == ("failed", True), detail
    shown = night.json("ticket", "show", ticket)
    verdicts = [one for one in shown["handoffs"] if one["from"] == "qa" and one["verdict"] == "failed"]
    regressions = {
        found["message"].split(" ")[0]
        for verdict in verdicts
        for found in verdict["findings"]
        if found["rule"] == "regression"
    }
    assert regressions == {"tests/test_itsdangerous/test_encoding.py::test_int_bytes[0-]"}
    assert shown["state"] == "in_review"
    assert night.git("rev-parse", "nightcrew/integration") == before
    merged = subprocess.run(
        ["git", "merge-base", "--is-ancestor", broken, "nightcrew/integration"], cwd=night.repo, env=night.env
    )
    assert merged.returncode == 1
