"""What a sandboxed command can do, and how it ends."""

import os
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from nightcrew.model.errors import SandboxError
from nightcrew.sandbox import Completed, Limits, Policy, available, landlock, run, runner, scrubbed_environment
from nightcrew.sandbox.bubblewrap import Bubblewrap
from nightcrew.sandbox.capture import Capture
from nightcrew.sandbox.seatbelt import profile

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Landlock is of Linux")


class Box(Protocol):
    def __call__(
        self,
        *argv: str,
        policy: Policy | None = None,
        timeout: float = 20,
        output_limit: int = 1_000_000,
        should_stop: Callable[[], bool] | None = None,
        stdin: bytes | None = None,
    ) -> Completed: ...


@pytest.fixture(params=["namespaces", "plain"])
def mode(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """With namespaces, and as on a machine that does not permit them."""
    monkeypatch.setattr(landlock, "_refused", None if request.param == "namespaces" else "a test")
    yield request.param
    # A machine that refuses namespaces would have tested the same thing twice.
    assert (landlock._refused is None) == (request.param == "namespaces")


@pytest.fixture
def work(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    (tmp_path / "temp").mkdir()
    return tmp_path / "work"


@pytest.fixture
def box(work: Path) -> Box:
    temp = work.parent / "temp"
    usual = Policy(writable=(work, temp))

    def call(
        *argv: str,
        policy: Policy | None = None,
        timeout: float = 20,
        output_limit: int = 1_000_000,
        should_stop: Callable[[], bool] | None = None,
        stdin: bytes | None = None,
    ) -> Completed:
        return run(
            argv,
            cwd=work,
            policy=policy or usual,
            environment=scrubbed_environment(temp=temp),
            timeout=timeout,
            output_limit=output_limit,
            should_stop=should_stop,
            stdin=stdin,
        )

    return call


def test_this_machine_has_a_sandbox() -> None:
    assert (available() or "").startswith("landlock ABI ")


@pytest.mark.usefixtures("mode")
def test_a_command_works_in_its_own_trees(box: Box, work: Path) -> None:
    script = "echo out; echo err >&2; mkdir d && mv d e && touch e/f && ln -s f e/g && chmod 700 e && pwd && exit 3"
    completed = box("sh", "-c", script)
    assert completed.returncode == 3
    assert completed.stdout == f"out\n{work}\n".encode()
    assert completed.stderr == b"err\n"
    assert (work / "e" / "g").is_symlink()
    assert not completed.ok
    assert completed.sandbox.startswith("landlock ABI")


def test_what_is_not_enforced_is_said(box: Box, mode: str) -> None:
    told = box("true").sandbox
    assert ("not enforced" in told) == (mode == "plain")
    assert ("namespaces (a test)" in told) == (mode == "plain")


@pytest.mark.usefixtures("mode")
def test_this_python_and_git_run_inside(box: Box) -> None:
    assert box(sys.executable, "-c", "import pytest, ssl, sqlite3, tempfile; tempfile.TemporaryFile()").ok
    assert box("sh", "-c", "git init -q . && git config user.name x && git config user.email x && "
               "git commit -q --allow-empty -m x && git log").ok  # fmt: skip


def test_test_suites_find_what_they_use(box: Box) -> None:
    """A loopback of their own, semaphores, pseudo-terminals, /tmp."""
    script = """
import multiprocessing, pty, socket, tempfile
multiprocessing.Queue(), multiprocessing.Lock(), pty.openpty()
server = socket.create_server(("127.0.0.1", 0))
socket.create_connection(server.getsockname())
open("/tmp/x", "w").write("x")
"""
    completed = box(sys.executable, "-c", script)
    assert completed.ok, completed.tail()


@pytest.mark.usefixtures("mode")
def test_input_is_passed_on_and_absent_by_default(box: Box) -> None:
    data = os.urandom(3_000_000)
    assert box("wc", "-c", stdin=data).stdout.strip() == b"3000000"
    assert box("true", stdin=data).ok
    assert box("cat").stdout == b""


def test_a_command_that_cannot_be_started_is_told_as_a_shell_does(box: Box, work: Path) -> None:
    missing = box("no-such-program")
    assert (missing.returncode, missing.ok) == (127, False)
    assert b"no-such-program" in missing.stderr
    (work / "plain").write_text("x")
    assert box("./plain").returncode == 126
    with pytest.raises(ValueError, match="no command"):
        box()


@pytest.mark.usefixtures("mode")
def test_signals_are_told(box: Box) -> None:
    assert box("sh", "-c", "kill -9 $$").returncode == -signal.SIGKILL
    assert box(sys.executable, "-c", "import os; os.abort()").returncode == -signal.SIGABRT


@pytest.mark.usefixtures("mode")
def test_huge_output_is_capped_and_does_not_block(box: Box) -> None:
    script = "yes begin | head -c 5000; yes | head -c 40000000; yes | head -c 40000000 >&2; echo the end"
    completed = box("sh", "-c", script, output_limit=10_000)
    assert completed.ok
    assert completed.truncated
    assert completed.stdout.startswith(b"begin\n")
    assert completed.stdout.endswith(b"the end\n")
    assert b"bytes left out" in completed.stdout
    assert len(completed.stdout) < 10_100
    assert len(completed.stderr) < 10_100


def test_capture_keeps_all_that_fits() -> None:
    for size in (0, 1, 9, 10, 11, 25, 1000):
        data = bytes(index % 251 for index in range(size))
        for step in (1, 3, 1000):
            capture = Capture(10)
            for start in range(0, size, step):
                capture.add(data[start : start + step])
            assert capture.truncated == (size > 10)
            value = capture.value()
            assert value == data if size <= 10 else value.startswith(data[:5]) and value.endswith(data[-5:])


@pytest.mark.usefixtures("mode")
def test_time_is_up_first_gently_then_for_good(box: Box) -> None:
    gentle = box("sh", "-c", "trap 'echo bye; exit 0' TERM; sleep 60 & wait", timeout=0.5)
    assert (gentle.returncode, gentle.timed_out, gentle.stdout) == (None, True, b"bye\n")
    assert gentle.seconds < 2.5
    stubborn = box("sh", "-c", "trap '' TERM; while :; do sleep 1; done", timeout=0.5)
    assert (stubborn.returncode, stubborn.timed_out) == (None, True)
    assert 2 < stubborn.seconds < 6


@pytest.mark.usefixtures("mode")
def test_a_request_to_stop_is_heard(box: Box) -> None:
    started = time.monotonic()
    completed = box("sleep", "60", should_stop=lambda: time.monotonic() - started > 0.3)
    assert (completed.returncode, completed.stopped, completed.timed_out) == (None, True, False)
    assert completed.seconds < 1.5


def beating(path: Path) -> bool:
    """Whether a process still writes to ``path``."""
    before = path.stat().st_size
    time.sleep(0.3)
    return path.stat().st_size != before


BEAT = "while :; do echo x >> beat; sleep 0.05; done"


@pytest.mark.usefixtures("mode")
def test_an_interrupt_ends_the_tree(box: Box, work: Path) -> None:
    def interrupt() -> bool:
        if (work / "beat").exists():
            raise KeyboardInterrupt
        return False

    with pytest.raises(KeyboardInterrupt):
        box("sh", "-c", f"trap '' TERM; {BEAT}", should_stop=interrupt)
    assert not beating(work / "beat")


@pytest.mark.parametrize("kind", ["namespaces", "plain", "off"])
def test_the_tree_dies_with_nightcrew(kind: str, work: Path) -> None:
    """kill -9 of the process that runs the command."""
    script = f"""
import sys
from pathlib import Path
from nightcrew.sandbox import landlock, run, Policy, scrubbed_environment
landlock._refused = "a test" if {kind == "plain"} else None
work, temp = Path({str(work)!r}), Path({str(work.parent / "temp")!r})
policy = Policy(writable=(work, temp), off={kind == "off"})
run(["sh", "-c", "trap '' TERM; (setsid sh -c '{BEAT}' &) ; sleep 60"], cwd=work, policy=policy,
    environment=scrubbed_environment(temp=temp), timeout=60)
"""
    with subprocess.Popen([sys.executable, "-c", script]) as parent:
        deadline = time.monotonic() + 20
        while not (work / "beat").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert beating(work / "beat")
        parent.kill()
    time.sleep(0.5)
    assert not beating(work / "beat")


def test_runs_side_by_side_do_not_disturb_each_other(box: Box) -> None:
    results: list[Completed] = []

    def one(number: int) -> None:
        results.append(box("sh", "-c", f"sleep 0.2; echo {number}; exit {number}"))

    threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted((result.returncode, result.stdout) for result in results) == [
        (number, f"{number}\n".encode()) for number in range(8)
    ]


def test_nothing_is_left_open_or_behind(box: Box, work: Path) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    box("true")
    before = descriptors()
    for _ in range(5):
        box("true")
        box("no-such-program")
        box("sleep", "60", timeout=0.05)
    assert descriptors() == before
    assert sorted(path.name for path in work.parent.iterdir()) == ["temp", "work"]


def test_off_runs_without_a_sandbox_but_ends_the_tree(box: Box, work: Path) -> None:
    completed = box("sh", "-c", f"setsid sh -c '{BEAT}' & sleep 0.3; ls /root; echo $HOME", policy=Policy(off=True))
    assert completed.sandbox == "off"
    assert str(work.parent / "temp" / "home") in completed.stdout.decode()
    assert not beating(work / "beat")


def test_without_a_sandbox_nothing_is_run(box: Box, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "choose", lambda: None)
    with pytest.raises(SandboxError) as caught:
        box("touch", "ran")
    assert "off" in caught.value.hint
    assert not (work / "ran").exists()


def test_restrictions_that_fail_mean_that_nothing_is_run(box: Box, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landlock, "_refused", "a test")
    monkeypatch.setattr(landlock, "_rules", lambda policy, *, private: [("/usr", 1 << 40)])
    with pytest.raises(SandboxError, match="landlock"):
        box("touch", "ran")
    assert not (work / "ran").exists()


def test_refused_namespaces_fall_back_to_landlock_alone(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landlock, "_refused", None)
    monkeypatch.setattr(landlock, "_layout", lambda policy, environment: ([("/no/such/source", "/x", False)], []))
    completed = box("echo", "ran")
    assert completed.stdout == b"ran\n"
    assert "not enforced: namespaces (" in completed.sandbox
    assert landlock._refused is not None


def test_a_policy_that_reaches_the_trust_anchor_is_refused(
    box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "config" / "nightcrew" / "trust").mkdir(parents=True)
    for tree in (tmp_path, tmp_path / "config", tmp_path / "config" / "nightcrew" / "trust", Path("/")):
        for policy in (Policy(writable=(tree,)), Policy(readable=(tree,))):
            with pytest.raises(SandboxError, match="reviewers' keys"):
                box("true", policy=policy)
    (tmp_path / "innocent").symlink_to(tmp_path / "config")
    with pytest.raises(SandboxError):
        box("true", policy=Policy(readable=(tmp_path / "innocent",)))
    with pytest.raises(SandboxError, match="no such tree"):
        box("true", policy=Policy(readable=(tmp_path / "missing",)))


def test_a_tree_is_found_under_the_name_it_was_given(box: Box, tmp_path: Path, work: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "f").write_text("content")
    (tmp_path / "alias").symlink_to("data")
    policy = Policy(writable=(work, work.parent / "temp"), readable=(tmp_path / "alias",))
    assert box("cat", str(tmp_path / "alias" / "f"), policy=policy).stdout == b"content"


def test_the_environment_is_a_stated_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "secret")
    monkeypatch.setenv("PIP_INDEX_URL", "https://user:secret@index.invalid/simple")
    monkeypatch.setenv("UV_INDEX_URL", "https://index.invalid/simple")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    plain = scrubbed_environment({"CI": "1"}, temp=tmp_path)
    assert "secret" not in str(plain)
    assert "UV_INDEX_URL" not in plain
    assert (plain["LC_ALL"], plain["CI"], plain["TMPDIR"]) == ("C.UTF-8", "1", str(tmp_path))
    assert Path(plain["HOME"]).is_dir()
    assert plain["HOME"] != os.environ.get("HOME")
    packages = scrubbed_environment(temp=tmp_path, home=tmp_path / "h", packages=True)
    assert packages["UV_INDEX_URL"] == "https://index.invalid/simple"
    assert "PIP_INDEX_URL" not in packages
    assert packages["HOME"] == str(tmp_path / "h")


def test_other_sandboxes_are_told_the_same_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = Policy(writable=(tmp_path,), readable=(Path("/usr/share"),))
    text = profile(policy)
    assert f'(allow file-read* file-write* (subpath "{tmp_path}"))' in text
    assert "network" not in text
    assert "network" in profile(Policy(network=True))
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    launch = Bubblewrap().prepare(["x"], cwd=tmp_path, policy=policy, environment={})
    assert "--unshare-all" in launch.argv
    assert launch.argv[-2:] == ("--", "x")
    position = launch.argv.index(str(tmp_path))
    assert launch.argv[position - 1] == "--bind"


OUTSIDE = """
import sys
from pathlib import Path
from nightcrew.sandbox import Policy, run, scrubbed_environment
work, temp = Path(sys.argv[1]), Path(sys.argv[2])
for command in ("echo x > f && cat f", "cat /etc/hostname > /var/f", "ls /", f"chmod 600 {sys.argv[3]}"):
    completed = run(["sh", "-c", command], cwd=work, policy=Policy((work, temp), (Path(sys.argv[3]),)),
        environment=scrubbed_environment(temp=temp), timeout=20)
    print(completed.returncode, completed.sandbox)
"""


@pytest.mark.skipif(os.getuid() != 0 or shutil.which("setpriv") is None, reason="needs root, to give it up")
def test_without_privileges_a_user_namespace_serves(work: Path) -> None:
    unprivileged = ["setpriv", "--inh-caps=-all", "--bounding-set=-all,+setfcap", "--no-new-privs"]
    readable = work.parent / "readable"
    readable.write_text("x")
    # Without CAP_SYS_ADMIN, as a user who is not root; CAP_SETFCAP is what the kernel asks for to map root to root.
    command = [*unprivileged, sys.executable, "-c", OUTSIDE, str(work), str(work.parent / "temp"), str(readable)]
    completed = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = completed.stdout.splitlines()
    assert [line.partition(" ")[0] == "0" for line in lines] == [True, False, False, False]
    assert readable.stat().st_mode & 0o777 == 0o644
    assert all(line.endswith("namespaces, seccomp") for line in lines), lines


def test_a_sandbox_works_in_a_sandbox(box: Box, work: Path) -> None:
    """As when the crew works on a project that uses nightcrew: the inner one has Landlock alone."""
    temp = work.parent / "temp"
    source = Path(runner.__file__).parents[2]
    (temp / "inner").mkdir()
    (work / "inner").mkdir()
    (work / "readable").write_text("x")
    policy = Policy(writable=(work, temp), readable=(source,))
    script = f"import sys; sys.path.insert(0, {str(source)!r})\n{OUTSIDE}"
    completed = box(
        sys.executable, "-c", script, str(work / "inner"), str(temp / "inner"), str(work / "readable"), policy=policy
    )
    lines = completed.stdout.decode().splitlines()
    assert [line.partition(" ")[0] == "0" for line in lines][:3] == [True, False, False], completed.tail()


def test_importing_the_sandbox_is_cheap() -> None:
    script = "import sys, nightcrew.sandbox; print(*sorted(m for m in sys.modules if m in {'py_landlock', 'pydantic'}))"
    completed = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert completed.stdout == b"\n"


def test_launching_costs_little(box: Box) -> None:
    box("true")
    seconds = statistics.median(box("true").seconds for _ in range(11))
    assert seconds < 0.25, "the target is 0.05 s on a quiet machine"


def test_limits_of_processor_time_and_memory_hold(box: Box, work: Path) -> None:
    trees = (work, work.parent / "temp")
    busy = box("sh", "-c", "while :; do :; done", policy=Policy(writable=trees, limits=Limits(cpu_seconds=1)))
    assert busy.returncode in (-signal.SIGXCPU, -signal.SIGKILL)
    hog = Policy(writable=trees, limits=Limits(memory=300_000_000))
    completed = box(sys.executable, "-c", "x = bytearray(600_000_000)", policy=hog)
    assert completed.returncode == 1
    assert b"MemoryError" in completed.stderr
