"""The workflow for GitHub Actions: what it says, and its commands run in order, as a runner would run them."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from nightcrew.crew.carried import restore, save
from nightcrew.crew.ci import GATE, SHIFT, github_workflows, write_github
from nightcrew.crew.project import open_project
from nightcrew.crew.sealed import seal, unseal
from nightcrew.model.errors import IntegrityError, PolicyError, UsageError
from nightcrew.model.settings import Settings

EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}")
SETTINGS = '[checks]\nscanners = ["ruff-s"]\nlint = false\ntest = "true"\n'
KEY = "0123456789abcdef0123456789abcdef"
WITH_GITHUB = Settings.read(
    {
        "github": {"repository": "ada/sums", "code_scanning": True},
        "agents": {"build": {"brains": ["api"]}},
        "brains": {"api": {"kind": "model", "model": "anthropic:claude"}},
    },
    source="test",
)


def only_job(text: str) -> dict[str, Any]:
    (found,) = yaml.safe_load(text)["jobs"].values()
    return dict(found)


def steps(text: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = only_job(text)["steps"]
    return found


class TestText:
    """What the workflows say, for plain settings and for those that ask for all of it."""

    @pytest.fixture(params=[Settings(), WITH_GITHUB], ids=["plain", "github"])
    def texts(self, request: pytest.FixtureRequest) -> dict[str, str]:
        return github_workflows(request.param)

    @pytest.fixture
    def files(self, texts: dict[str, str], tmp_path: Path) -> list[str]:
        (tmp_path / SHIFT).parent.mkdir(parents=True)
        for name, text in texts.items():
            (tmp_path / name).write_text(text)
        return [str(tmp_path / name) for name in texts]

    def test_they_fit_the_published_schema(self, files: list[str]) -> None:
        argv = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", *files]
        done = subprocess.run(argv, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout

    def test_a_scanner_of_workflows_finds_no_weakness(self, files: list[str]) -> None:
        argv = [str(Path(sys.executable).with_name("zizmor")), "--offline", "--no-progress", "--format", "plain"]
        done = subprocess.run([*argv, *files], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout

    def test_no_data_of_others_stands_in_a_command(self, texts: dict[str, str]) -> None:
        commands = [step["run"] for text in texts.values() for step in steps(text) if "run" in step]
        assert len(commands) == 7
        for command in commands:
            assert "${{" not in command
            done = subprocess.run(["bash", "-n"], input=command, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr

    def test_a_pull_request_gets_no_secret_and_may_only_read(self, texts: dict[str, str]) -> None:
        gate = yaml.safe_load(texts[GATE])
        assert gate["permissions"] == {}
        assert gate["jobs"]["gate"]["permissions"] == {"contents": "read"}
        assert "secrets." not in texts[GATE]
        assert not {"pull_request", "pull_request_target"} & set(yaml.safe_load(texts[SHIFT])[True])
        for text in texts.values():
            assert steps(text)[0]["with"]["persist-credentials"] is False

    def test_the_gate_is_never_skipped_and_looks_again_when_the_base_is_another(self, texts: dict[str, str]) -> None:
        gate = yaml.safe_load(texts[GATE])
        # A skipped job has passed, to a rule that requires it: no condition, and no event that it has no use for.
        assert "if" not in gate["jobs"]["gate"]
        assert set(gate[True]) == {"pull_request", "merge_group"}  # "on" in YAML 1.1
        assert set(gate[True]["pull_request"]["types"]) == {"opened", "synchronize", "reopened", "edited"}

    def test_actions_are_pinned_to_commits(self, texts: dict[str, str]) -> None:
        text = "".join(texts.values())
        used = re.findall(r"uses: (\S+)  # v[0-9.]+$", text, re.MULTILINE)
        assert len(used) == text.count(" uses: ")
        assert all(re.fullmatch(r"actions/[a-z/-]+@[0-9a-f]{40}", one) for one in used)


def test_only_what_the_settings_switch_on_is_permitted() -> None:
    plain, full = (only_job(github_workflows(one)[SHIFT]) for one in (Settings(), WITH_GITHUB))
    assert plain["permissions"] == {"contents": "read"}
    writable = {"contents", "issues", "pull-requests", "checks", "statuses", "security-events"}
    assert full["permissions"] == dict.fromkeys(writable, "write")
    shift = next(step for step in full["steps"] if step["name"] == "Run the shift")
    assert shift["env"] == {
        "ANTHROPIC_API_KEY": "${{ secrets.ANTHROPIC_API_KEY }}",
        "GITHUB_TOKEN": "${{ github.token }}",
    }


@dataclass
class Runner:
    """A machine that runs one job of the workflow: a new home and a new clone, as GitHub gives one."""

    folder: Path
    source: Path
    cache: Path
    values: dict[str, str]
    environment: dict[str, str]
    said: dict[str, "subprocess.CompletedProcess[str]"] = field(default_factory=dict)

    @property
    def repo(self) -> Path:
        return self.folder / "repo"

    @property
    def summary(self) -> str:
        return (self.folder / "summary.md").read_text()

    def run(self, name: str, *, but: str = "") -> None:
        """Run the steps of a workflow ``but`` one until one fails; the last entry of ``said`` is that one then."""
        text = (self.source / name).read_text()
        for folder in ("home", "temp"):
            (self.folder / folder).mkdir(parents=True)
        (self.folder / "summary.md").touch()
        kept = {name: os.environ[name] for name in ("LANG", "TMPDIR") if name in os.environ}
        base = {
            **kept,
            **self.environment,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(self.folder / "home"),
            "RUNNER_TEMP": str(self.folder / "temp"),
            "GITHUB_STEP_SUMMARY": str(self.folder / "summary.md"),
            **self._filled(yaml.safe_load(text)["env"]),
            **self._filled(only_job(text).get("env", {})),
        }
        for step in steps(text):
            if "uses" in step:
                self._action(step["uses"].partition("@")[0])
                continue
            if step["name"] == but:
                continue
            script = self.folder / "step.sh"
            script.write_text(step["run"])
            done = subprocess.run(
                # As `shell: bash` is run by GitHub.
                ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],
                cwd=self.repo,
                env={**base, **self._filled(step.get("env", {}))},
                capture_output=True,
                text=True,
                timeout=240,
            )
            self.said[step["name"]] = done
            if done.returncode:
                return

    def _filled(self, variables: dict[str, str]) -> dict[str, str]:
        return {name: EXPRESSION.sub(self._value, str(value)) for name, value in variables.items()}

    def _value(self, found: "re.Match[str]") -> str:
        return next((self.values[part.strip()] for part in found[1].split("||") if part.strip() in self.values), "")

    def _action(self, name: str) -> None:
        sealed = self.folder / "temp" / "nightcrew-state.sealed"
        if name == "actions/checkout":
            subprocess.run(["git", "clone", "--quiet", str(self.source), str(self.repo)], check=True)
        elif name == "actions/cache/restore" and self.cache.exists():
            shutil.copyfile(self.cache, sealed)
        elif name == "actions/cache/save":
            shutil.copyfile(sealed, self.cache)


@pytest.fixture
def source(bare_project: Any) -> Any:
    """The repository on the server, with the workflows that nightcrew wrote for it."""
    bare_project.commit({"nightcrew.toml": SETTINGS})
    texts = github_workflows(Settings())
    bare_project.commit(dict(texts), "Nightcrew")
    return bare_project


def runner(source: Any, name: str, **values: str) -> Runner:
    known = {key.replace("__", "."): value for key, value in values.items()}
    folder = source.home.parent
    person = {key: value for key, value in source.environment.items() if key.startswith("GIT_")}
    return Runner(folder / name, source.folder, folder / "cache", known, person)


def test_a_workflow_that_was_changed_is_never_written_over(tmp_path: Path) -> None:
    assert [one.state for one in write_github(tmp_path, Settings())] == ["written", "written"]
    path = tmp_path / SHIFT
    path.write_text(path.read_text().replace("17 2 * * *", "30 4 * * *"))
    shift, gate = write_github(tmp_path, Settings())
    assert (shift.state, gate.state) == ("different", "unchanged")
    assert '-    - cron: "30 4 * * *"' in shift.diff
    assert "30 4 * * *" in path.read_text()
    path.unlink()
    path.symlink_to(tmp_path.parent / "elsewhere.yml")
    with pytest.raises(PolicyError):
        write_github(tmp_path, Settings())
    assert not (tmp_path.parent / "elsewhere.yml").exists()


def test_the_command_writes_them_and_says_what_differs(bare_project: Any) -> None:
    assert bare_project("init", "--yes", "--ci", "jenkins").status == 2
    done = bare_project("init", "--yes", "--ci", "github")
    assert (done.status, "openssl rand" in done.out) == (0, True)
    (bare_project.folder / GATE).write_text("mine\n")
    done = bare_project("init", "--yes", "--ci", "github", "--json")
    assert (done.status, [one["state"] for one in done.json()["ci"]]) == (1, ["unchanged", "different"])


def test_the_state_of_one_night_is_there_in_the_next(source: Any) -> None:
    """Two machines that have nothing in common but the sealed file: what the first did, the second knows."""
    without = runner(source, "without")
    without.run(SHIFT, but="Install nightcrew")
    assert "gh secret set NIGHTCREW_STATE_KEY" in without.said["Restore the state"].stdout
    assert without.said["Restore the state"].returncode == 1
    # Work of the first night, without the minutes that it would take: a ticket, and a branch with a commit of its own.
    work = "nightcrew ticket add Note; git branch nightcrew/kept $(git commit-tree -m Kept HEAD^{tree} -p HEAD)"
    path = source.folder / SHIFT
    path.write_text(path.read_text().replace("nightcrew shift --", f"{work}; nightcrew shift --agent qa --"))
    secret = {"secrets__NIGHTCREW_STATE_KEY": KEY}
    first = runner(source, "first", **secret)
    playbook = Path(".nightcrew", "playbook.md")
    (source.folder / "nightcrew.toml").write_text("[checks]\nscanners = []\nlint = false\n")
    source.git("commit", "--quiet", "--all", "--message", "Work")
    first.run(SHIFT, but="Install nightcrew")
    assert list(first.said)[-1] == "Save the state", first.said
    shift = first.said["Run the shift"]
    assert shift.returncode == 0, shift.stderr
    marks = re.findall(r"^::(?:stop-commands::)?([0-9a-f]{32})(?:::)?$", shift.stdout, re.MULTILINE)
    assert len(marks) == 2
    assert marks[0] == marks[1]
    assert first.summary.startswith("# Shift N-0001")
    assert b"Note" not in first.cache.read_bytes()
    # A playbook that comes into the repository between the nights is the one that holds.
    path.write_text(
        path.read_text().replace(f"{work}; nightcrew shift --agent qa", "nightcrew ticket list --json; true")
    )
    (source.folder / playbook).parent.mkdir()
    mine = (first.repo / playbook).read_text() + "\nOurs.\n"
    (source.folder / playbook).write_text(mine)
    source.git("add", "--force", str(playbook))
    source.git("commit", "--quiet", "--all", "--message", "Rest")
    second = runner(source, "second", **secret)
    second.run(SHIFT, but="Install nightcrew")
    assert '"title": "Note"' in second.said["Run the shift"].stdout
    assert second.summary.startswith("# Shift N-0001")
    assert (second.repo / playbook).read_text() == mine
    argv = ["git", "log", "-1", "--format=%s", "nightcrew/kept"]
    assert subprocess.run(argv, cwd=second.repo, capture_output=True, text=True, check=True).stdout == "Kept\n"


def test_the_gate_looks_at_what_a_pull_request_brings_from_its_base(source: Any) -> None:
    start = source.git("rev-parse", "HEAD")
    base = source.commit({"later.py": "import os\n"}, "Main goes on")
    source.git("switch", "--quiet", "--create", "change", start)
    head = source.commit({"more.py": '"""More."""\n', "less.py": '"""Less."""\n'}, "Add more")
    gate = runner(
        source,
        "gate",
        github__event__pull_request__base__sha=base,
        github__event__pull_request__head__sha=head,
    )
    gate.run(GATE, but="Install nightcrew")
    # Nothing of the change is where commands run.
    assert not (gate.repo / "more.py").exists()
    checked = gate.said["Check what head has and base has not"]
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "2 files" in gate.summary
    assert "passed" in gate.summary
    assert "later.py" not in checked.stdout
    assert (gate.folder / "temp" / "nightcrew.sarif").exists()


def test_a_state_is_restored_only_where_none_is_and_where_it_comes_from(
    project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed, other, clone = (project.folder.parent / name for name in ("state.sealed", "other", "clone"))
    assert project("state", "save", str(sealed)).status == 4
    for name, value in project.environment.items():
        monkeypatch.setenv(name, value)
    opened = open_project(project.folder)
    saved = save(opened, sealed, KEY)
    opened.close()
    with pytest.raises(PolicyError, match="only where there is none"):
        restore(project.folder, sealed, KEY)
    monkeypatch.setenv("NIGHTCREW_CONFIG_DIR", str(project.home / "fresh"))
    subprocess.run(["git", "init", "--quiet", str(other)], check=True)
    subprocess.run(["git", "-C", str(other), "commit", "--quiet", "--allow-empty", "-m", "x"], check=True)
    with pytest.raises(PolicyError, match="another repository"):
        restore(other, sealed, KEY)
    subprocess.run(["git", "clone", "--quiet", str(project.folder), str(clone)], check=True)
    (clone / "assets").mkdir()
    (clone / ".nightcrew").symlink_to("assets")
    with pytest.raises(PolicyError, match="leads elsewhere"):
        restore(clone, sealed, KEY)
    assert not list((clone / "assets").iterdir())
    (clone / ".nightcrew").unlink()
    assert restore(clone, sealed, KEY).saved == saved.saved


def test_what_is_sealed_opens_only_whole_and_with_its_key() -> None:
    sealed = seal(b"state", KEY)
    assert unseal(sealed, KEY) == b"state"
    assert seal(b"state", KEY) != sealed
    wrong = [(sealed, KEY[::-1]), (sealed[:-1] + bytes([sealed[-1] ^ 1]), KEY), (sealed[:30], KEY), (b"", KEY)]
    for data, key in wrong:
        with pytest.raises(IntegrityError):
            unseal(data, key)
    with pytest.raises(UsageError):
        seal(b"state", "short")
