"""Attempts to get out of the sandbox, each made for real by a command inside, and each failing.

All are made twice: with namespaces, and as on a machine that permits none (where what does not hold is said, see
``test_sandbox.py``).
"""

import os
import select
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from nightcrew.sandbox import Completed, Limits, Policy, attend, landlock, run, scrubbed_environment

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Landlock is of Linux")


@dataclass
class Prison:
    """A sandbox with a world around it that is worth reaching."""

    mode: str
    root: Path

    @property
    def work(self) -> Path:
        return self.root / "work"

    @property
    def secret(self) -> Path:
        return self.root / "home" / ".ssh" / "id_ed25519"

    @property
    def borrowed(self) -> Path:
        return self.root / "borrowed"

    def run(self, *argv: str, timeout: float = 20, network: bool = False, limits: Limits | None = None) -> Completed:
        temp = self.root / "temp"
        policy = Policy((self.work, temp), (self.borrowed,), network=network, limits=limits or Limits())
        return run(argv, cwd=self.work, policy=policy, environment=scrubbed_environment(temp=temp), timeout=timeout)

    def shell(self, script: str, *, timeout: float = 20) -> Completed:
        return self.run("sh", "-c", script, timeout=timeout)

    def python(self, script: str, *, network: bool = False) -> Completed:
        return self.run(sys.executable, "-c", script, network=network)


@pytest.fixture
def root() -> Iterator[Path]:
    """Not in /tmp, which inside is the sandbox's own: a write there would succeed, and reach nothing."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="nightcrew-test-") as name:
        yield Path(name)


@pytest.fixture(params=["namespaces", "plain"])
def prison(request: pytest.FixtureRequest, root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Prison]:
    monkeypatch.setattr(landlock, "_refused", None if request.param == "namespaces" else "a test")
    prison = Prison(request.param, root)
    for directory in (
        "work",
        "temp",
        "borrowed",
        "home/.ssh",
        "home/.config/nightcrew/trust",
        "repo/.nightcrew",
        "other",
    ):
        (root / directory).mkdir(parents=True)
    prison.secret.write_text("top secret")
    (root / "home/.config/nightcrew/trust/anchor.json").write_text("top secret")
    (root / "other/file").write_text("top secret")
    (prison.borrowed / "object").write_text("object")
    (prison.borrowed / "object").chmod(0o444)
    with sqlite3.connect(root / "repo/.nightcrew/state.db") as database:
        database.execute("create table tickets (id text)")
        database.execute("insert into tickets values ('top secret')")
    yield prison
    if request.param == "namespaces":
        assert landlock._refused is None, "these attempts were not made against namespaces"


def contents(root: Path) -> dict[str, bytes]:
    kept = ("home", "repo", "other", "borrowed")
    return {
        str(path): path.read_bytes() for name in kept for path in sorted((root / name).rglob("*")) if path.is_file()
    }


# --- files ------------------------------------------------------------------------------------------------------------

READS = (
    "cat {secret}",
    "cat {root}/home/.config/nightcrew/trust/anchor.json",
    "cat {root}/other/file",
    "cp {secret} stolen && cat stolen",
    "ln -s {secret} link; cat link",
    "ln -s {root}/home dir; cat dir/.ssh/id_ed25519",
    "ln {secret} hard && cat hard",
    "cat ../home/.ssh/id_ed25519",
    "cat {borrowed}/../home/.ssh/id_ed25519",
    "cat /proc/self/root{secret}",
    "cat /proc/self/cwd/../home/.ssh/id_ed25519",
    "cat /proc/1/root{secret}",
    "cat /proc/{parent}/root{secret}",
    "cat /proc/{parent}/environ",
    "cat /proc/{parent}/maps",
    "cat /proc/1/environ; cat /proc/1/maps",
    "ls {root}/home",
    "ls {root}/home/.ssh",
    "find {root} -name 'id_*' | grep .",
    "sqlite3 {root}/repo/.nightcrew/state.db 'select * from tickets'",
    "cat {root}/repo/.nightcrew/state.db",
    "tar cf t.tar {root}/other && tar xOf t.tar",
    "git clone {root}/repo r",
    "mv {root}/other/file . && cat file",
    "unshare -Urm sh -c 'mount --bind {root}/home {work} && cat {work}/.ssh/id_ed25519'",
    "unshare -Ur cat {secret}",
    "mount --bind {root}/home {work} && cat .ssh/id_ed25519",
    "mount -t proc proc {work}; mknod disk b 254 0 && head -c1 disk",
    "chroot /proc/1/root cat {secret}",
    "nsenter -t {parent} -m cat {secret}",
    "nsenter -t 1 -a cat {secret}",
)  # fmt: skip


@pytest.mark.parametrize("attempt", READS)
def test_nothing_outside_is_read(attempt: str, prison: Prison) -> None:
    script = attempt.format(
        secret=prison.secret, root=prison.root, borrowed=prison.borrowed, work=prison.work, parent=os.getpid()
    )
    completed = prison.shell(script)
    assert not completed.ok, completed.tail()
    assert b"secret" not in completed.stdout


WRITES = (
    "echo x > {root}/outside",
    "echo x > {root}/other/file",
    "echo x >> {secret}",
    "mkdir {root}/other/d",
    "rm {root}/other/file",
    "mv {root}/other {root}/elsewhere",
    "mv {work} {root}/moved",
    "touch mine && mv mine {root}/other/",
    "touch mine && ln mine {root}/other/mine",
    "ln -s /etc/passwd {root}/other/link",
    "ln -s {root}/other/file l && echo x > l",
    "ln {root}/other/file h && echo x > h",
    "truncate -s 0 {root}/other/file",
    "echo x > {borrowed}/new",
    "echo x > {borrowed}/object",
    "ln {borrowed}/object h && echo x > h",
    "mv {borrowed}/object .",
    "rm -f {borrowed}/object",
    "echo x > /etc/nightcrew-was-here",
    "echo x > /usr/nightcrew-was-here",
    "echo x > {python}/nightcrew-was-here",
    "echo x > /proc/sys/kernel/core_pattern",
    "echo -1000 > /proc/{parent}/oom_score_adj",
    "echo x > /dev/nightcrew-was-here",
    "echo x > /dev/kmsg",
    "mknod {work}/null c 1 3",
    "mknod pipe p && mv pipe {root}/other/",
    "chmod 777 {root}/other/file",
    "mount -o remount,rw {borrowed} && echo x > {borrowed}/new",
    "umount {borrowed}",
    "unshare -Urm sh -c 'mount -o remount,bind,rw {borrowed} && echo x > {borrowed}/new'",
    "sysctl -w kernel.hostname=pwned && exit 0; hostname pwned",
)  # fmt: skip


@pytest.mark.parametrize("attempt", WRITES)
def test_nothing_outside_is_written(attempt: str, prison: Prison) -> None:
    if prison.mode == "plain" and attempt.startswith("chmod"):
        pytest.skip("Landlock alone does not hold chmod, and says so")
    before = contents(prison.root)
    script = attempt.format(
        secret=prison.secret,
        root=prison.root,
        borrowed=prison.borrowed,
        work=prison.work,
        python=sys.base_prefix,
        parent=os.getpid(),
    )
    completed = prison.shell(script)
    assert contents(prison.root) == before
    assert not completed.ok
    assert sorted(path.name for path in prison.root.iterdir()) == [
        "borrowed", "home", "other", "repo", "temp", "work",
    ]  # fmt: skip
    for place in ("/etc", "/usr", "/dev", sys.base_prefix):
        assert not (Path(place) / "nightcrew-was-here").exists()


@pytest.mark.parametrize("attempt", ["chmod 777", "chown 1:1", "touch -d 2001-01-01", "setfattr -n user.x -v y"])
def test_metadata_of_borrowed_objects_is_not_changed(attempt: str, prison: Prison) -> None:
    if prison.mode == "plain":
        assert "metadata" in prison.shell("true").sandbox
        pytest.skip("Landlock alone does not hold it, and says so")
    before = (prison.borrowed / "object").stat()
    assert not prison.shell(f"{attempt} {prison.borrowed}/object").ok
    assert not prison.shell(f"{attempt} {prison.borrowed}").ok
    after = (prison.borrowed / "object").stat()
    assert (after.st_mode, after.st_uid, after.st_mtime_ns) == (before.st_mode, before.st_uid, before.st_mtime_ns)


def test_the_state_database_is_out_of_reach(prison: Prison) -> None:
    database = prison.root / "repo/.nightcrew/state.db"
    for target in (str(database), f"file:{database}?immutable=1", f"file:{database}?mode=ro&vfs=unix-none"):
        script = (
            f"import sqlite3; print(sqlite3.connect({target!r}, uri=True).execute('select * from tickets').fetchall())"
        )
        completed = prison.python(script)
        assert not completed.ok
        assert b"secret" not in completed.stdout
    assert not prison.python(
        f"import sqlite3; c = sqlite3.connect({str(database)!r}); c.execute('delete from tickets')"
    ).ok


def test_no_open_file_is_inherited(prison: Prison) -> None:
    with prison.secret.open() as stream:
        os.set_inheritable(stream.fileno(), True)
        # 3 is the directory that is being listed.
        completed = prison.python("import os; print(sorted(map(int, os.listdir('/proc/self/fd'))))")
    assert completed.stdout.strip() == b"[0, 1, 2, 3]"


# --- network and sockets ----------------------------------------------------------------------------------------------

CONNECTS = {
    "tcp": "s.socket(s.AF_INET, s.SOCK_STREAM).connect(('127.0.0.1', {tcp}))",
    "tcp by localhost": "s.create_connection(('localhost', {tcp}), 2)",
    "tcp fast open": "s.socket(s.AF_INET, s.SOCK_STREAM).sendto(b'x', 0x20000000, ('127.0.0.1', {tcp}))",
    "mptcp": "s.socket(s.AF_INET, s.SOCK_STREAM, 262).connect(('127.0.0.1', {tcp}))",
    "udp": "s.socket(s.AF_INET, s.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', {udp}))",
    "udp out": "s.socket(s.AF_INET, s.SOCK_DGRAM).sendto(b'x', ('8.8.8.8', 53))",
    "unix path": "s.socket(s.AF_UNIX).connect({path!r})",
    "unix datagram": "s.socket(s.AF_UNIX, s.SOCK_DGRAM).sendto(b'x', {datagram!r})",
    "unix abstract": "s.socket(s.AF_UNIX).connect({abstract!r})",
    "vsock": "s.socket(40, s.SOCK_STREAM)",
    "packet": "s.socket(17, s.SOCK_RAW, 3)",
    "raw": "s.socket(s.AF_INET, s.SOCK_RAW, 1)",
    "alg": "s.socket(38, 5)",
}


@dataclass
class Servers:
    sockets: list[socket.socket]
    names: dict[str, object]

    def reached(self) -> bool:
        return bool(select.select(self.sockets, [], [], 0.05)[0])


@pytest.fixture
def servers(root: Path) -> Iterator[Servers]:
    tcp = socket.create_server(("127.0.0.1", 0))
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))
    path, datagram, abstract = str(root / "s.sock"), str(root / "d.sock"), f"\0nightcrew-{os.getpid()}"
    stream, other, hidden = (
        socket.socket(socket.AF_UNIX),
        socket.socket(socket.AF_UNIX, 2),
        socket.socket(socket.AF_UNIX),
    )
    for server, name in ((stream, path), (other, datagram), (hidden, abstract)):
        server.bind(name)
        if server is not other:
            server.listen()
    sockets = [tcp, udp, stream, other, hidden]
    names = {
        "tcp": tcp.getsockname()[1],
        "udp": udp.getsockname()[1],
        "path": path,
        "datagram": datagram,
        "abstract": abstract,
    }
    yield Servers(sockets, names)
    for server in sockets:
        server.close()


@pytest.mark.parametrize("kind", CONNECTS)
def test_no_socket_reaches_out(kind: str, prison: Prison, servers: Servers) -> None:
    script = "import socket as s; " + CONNECTS[kind].format(**servers.names)
    completed = prison.python(script)
    assert not servers.reached()
    # In a network of its own a datagram to an address that is its own too can be sent, and reaches nobody.
    assert not completed.ok or (prison.mode, kind) == ("namespaces", "udp")


def test_the_servers_can_be_reached_from_outside(servers: Servers) -> None:
    """Or the test above would prove nothing."""
    for kind in ("tcp", "udp", "unix path", "unix datagram", "unix abstract"):
        exec("import socket as s; " + CONNECTS[kind].format(**servers.names))
    assert len(select.select(servers.sockets, [], [], 1)[0]) == 5


def test_with_network_only_the_network_is_reached(prison: Prison, servers: Servers) -> None:
    assert prison.python("import socket as s; " + CONNECTS["tcp"].format(**servers.names), network=True).ok
    servers.sockets[0].accept()[0].close()
    for kind in ("unix path", "unix datagram", "unix abstract", "vsock", "packet"):
        assert not prison.python("import socket as s; " + CONNECTS[kind].format(**servers.names), network=True).ok
    assert not servers.reached()
    assert not prison.run("cat", str(prison.secret), network=True).ok


@pytest.mark.parametrize(("name", "number"), [("io_uring_setup", 425), ("keyctl", 250), ("add_key", 248)])
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of x86-64")
def test_system_calls_past_the_filters_are_refused(name: str, number: int, prison: Prison) -> None:
    script = f"""
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
result = libc.syscall({number}, 0, 0, 0, 0, 0)
print(result, ctypes.get_errno())
result = libc.syscall(0x40000000 + 41, 2, 1, 0)
print(result, ctypes.get_errno())
"""
    assert prison.python(script).stdout == b"-1 1\n-1 1\n", name


# --- processes --------------------------------------------------------------------------------------------------------

SIGNALS = {
    "kill": "os.kill({parent}, 9)",
    "kill the guard": "os.kill(os.getppid(), 9)",
    "kill all": "os.kill(-1, 9)",
    "kill group": "os.killpg({group}, 9)",
    "tgkill": "assert ctypes.CDLL(None).syscall(234, {parent}, {parent}, 9) == 0",
    "pidfd": "signal.pidfd_send_signal(os.pidfd_open({parent}), 9)",
    "ptrace": "assert ctypes.CDLL(None).ptrace(16, {parent}, 0, 0) == 0",
    "ptrace the guard": "assert ctypes.CDLL(None).ptrace(16, os.getppid(), 0, 0) == 0",
    "memory": "open('/proc/{parent}/mem', 'r+b')",
    "memory of the guard": "open(f'/proc/{{os.getppid()}}/mem', 'r+b')",
    "files of the guard": "assert opened(os.getppid())",
    "files of the parent": "assert opened({parent})",
    "priority": "os.setpriority(os.PRIO_PROCESS, {parent}, 19)",
    "limits": "resource.prlimit({parent}, resource.RLIMIT_NOFILE, (1, 1))",
}


OPENED = """
import ctypes, os, resource, signal
def opened(pid):
    found = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        for mode in ("rb", "wb"):
            try:
                found.append(open(f"/proc/{pid}/fd/{name}", mode))
            except OSError:
                pass
    return found
"""


@pytest.fixture
def bystander() -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("kind", SIGNALS)
def test_no_other_process_is_touched(kind: str, prison: Prison, bystander: "subprocess.Popen[bytes]") -> None:
    if prison.mode == "plain" and kind in ("priority", "limits"):
        pytest.skip("not held without a PID namespace")
    script = OPENED + SIGNALS[kind].format(parent=bystander.pid, group=bystander.pid)
    # "kill all" ends the command's own processes at most; process 1 of a namespace is sent nothing from inside.
    completed = prison.python(script)
    assert bystander.poll() is None
    assert completed.returncode is not None
    if kind not in ("kill all", "kill the guard"):
        assert completed.returncode == 1, completed.tail()
    assert os.getpriority(os.PRIO_PROCESS, bystander.pid) == 0


def test_the_guard_survives_and_tells_the_truth(prison: Prison) -> None:
    """A command that attacks the processes that watch over it cannot change how its end is reported."""
    script = """
for pid in 1 $PPID; do
  for number in 9 15 10 17 19; do kill -$number $pid 2>/dev/null; done
  for fd in 3 4 5 6 7 8 9; do
    echo 'status 0' > /proc/$pid/fd/$fd
    echo 'refused x' > /proc/$pid/fd/$fd
  done 2>/dev/null
done
exit 7"""
    completed = prison.shell(script)
    assert completed.returncode == 7
    assert not completed.timed_out


OUTLIVE = {
    "background": "sh -c '{beat}' &",
    "setsid": "setsid sh -c '{beat}' > /dev/null 2>&1 < /dev/null &",
    "double fork": "(setsid sh -c '(trap \"\" TERM HUP INT; {beat}) > /dev/null 2>&1 &' &) ; sleep 0.1",
    "nohup": "nohup setsid sh -c '{beat}' > /dev/null 2>&1 &",
    "stopped": "setsid sh -c 'kill -STOP $$; {beat}' > /dev/null 2>&1 & sleep 0.1",
    "new namespace": "setsid unshare -Urpf sh -c '{beat}' > /dev/null 2>&1 &",
    "respawning": "setsid sh -c 'while :; do setsid sh -c \"echo x >> beat; sleep 0.02\"; done' > /dev/null 2>&1 &",
}
BEAT = "while :; do echo x >> beat; sleep 0.05; done"


@pytest.mark.parametrize("kind", OUTLIVE)
@pytest.mark.parametrize("how", ["ends", "is killed for time"])
def test_nothing_outlives_the_command(kind: str, how: str, prison: Prison, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attend, "GRACE_SECONDS", 0.3)
    script = OUTLIVE[kind].format(beat=BEAT)
    if how == "ends":
        completed = prison.shell(f"{script}\nsleep 0.3")
        assert completed.returncode == 0
        assert completed.seconds < 5
    else:
        assert prison.shell(f"trap '' TERM\n{script}\nsleep 60", timeout=0.5).timed_out
    beat = prison.work / "beat"
    before = beat.stat().st_size if beat.exists() else 0
    time.sleep(0.3)
    assert (beat.stat().st_size if beat.exists() else 0) == before
    assert _processes_in(prison.work) == []


def _processes_in(directory: Path) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "cwd").readlink() == directory:
                    found.append((entry / "cmdline").read_bytes().decode())
            except OSError:
                continue
    return found


# --- resources and environment ----------------------------------------------------------------------------------------


def test_a_fork_bomb_is_limited(prison: Prison) -> None:
    if prison.mode == "plain" and os.getuid() == 0:
        assert "the limit on processes" in prison.shell("true").sandbox
        pytest.skip("RLIMIT_NPROC does not hold for root, and without a PID namespace that is said")
    script = """
import os, time
born = 0
try:
    while born < 3000:
        if os.fork() == 0:
            time.sleep(30)
        born += 1
except OSError:
    print(born)
"""
    completed = prison.run(sys.executable, "-c", script, limits=Limits(processes=50))
    assert completed.ok
    assert int(completed.stdout) < 400
    bomb = prison.run("sh", "-c", "f() { f | f & }; f; sleep 60", limits=Limits(processes=50), timeout=1.5)
    assert bomb.timed_out
    assert bomb.seconds < 10
    assert _processes_in(prison.work) == []


def test_a_file_cannot_grow_past_its_limit(prison: Prison) -> None:
    script = ("head", "-c", "50000000", "/dev/zero")
    completed = prison.run("sh", "-c", " ".join(script) + " > big", limits=Limits(file_size=1_000_000))
    assert not completed.ok
    assert (prison.work / "big").stat().st_size == 1_000_000
    raised = "import resource as r; r.setrlimit(r.RLIMIT_FSIZE, (-1, -1))"
    assert not prison.run(sys.executable, "-c", raised, limits=Limits(file_size=1_000_000)).ok


def test_a_memory_hog_is_limited(prison: Prison) -> None:
    script = "x = []\nwhile True: x.append(bytearray(10_000_000))"
    completed = prison.run(sys.executable, "-c", script, limits=Limits(memory=400_000_000))
    assert completed.returncode == 1
    assert b"MemoryError" in completed.stderr
    if prison.mode == "namespaces":
        shared = prison.run("sh", "-c", "head -c 900000000 /dev/zero > /dev/shm/x", limits=Limits(memory=100_000_000))
        assert not shared.ok


def test_secrets_and_loader_tricks_of_the_environment_do_not_come_along(
    prison: Prison, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = (
        "ANTHROPIC_API_KEY AWS_SECRET_ACCESS_KEY GITHUB_TOKEN SSH_AUTH_SOCK NIGHTCREW_PASSPHRASE_FILE LD_LIBRARY_PATH "
        "PYTHONPATH PYTHONSTARTUP GIT_DIR GIT_CONFIG_GLOBAL BASH_ENV DBUS_SESSION_BUS_ADDRESS DOCKER_HOST"
    )
    for name in names.split():
        monkeypatch.setenv(name, "sentinel")
    monkeypatch.setenv("LD_PRELOAD", "/sentinel.so")
    completed = prison.run("env")
    assert completed.ok
    assert b"sentinel" not in completed.stdout + completed.stderr


def test_privileges_are_gone(prison: Prison) -> None:
    status = prison.run("cat", "/proc/self/status").stdout.decode()
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    harmless = 0b11011  # chown, dac_override, fowner, fsetid: of files in its own trees
    assert int(facts["CapEff"], 16) & ~harmless == 0
    assert int(facts["CapPrm"], 16) & ~harmless == 0
    assert facts["NoNewPrivs"].strip() == "1"
    assert facts["Seccomp"].strip() == "2"


def test_a_handle_does_not_open_what_a_path_does_not(prison: Prison) -> None:
    """open_by_handle_at walks no path; it needs a capability that a sandboxed command does not have."""
    script = f"""
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
handle = (128).to_bytes(4, "little") + bytes(132)
buffer, mount = ctypes.create_string_buffer(handle), ctypes.c_int()
libc.name_to_handle_at(-100, {os.fsencode(prison.borrowed / "object")!r}, buffer, ctypes.byref(mount), 0)
descriptor = os.open({str(prison.borrowed)!r}, os.O_RDONLY)
result = libc.open_by_handle_at(descriptor, buffer, 0)
assert result < 0
raise SystemExit(3)
"""
    assert prison.python(script).returncode == 3


def test_a_command_killed_from_outside_is_not_a_success(prison: Prison) -> None:
    completed = prison.shell("kill -TERM $$")
    assert completed.returncode == -signal.SIGTERM
    assert not completed.ok
