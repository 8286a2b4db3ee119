"""Bringing one port of nightcrew's own into a sandbox that has a network of its own, through a unix socket.

The relay runs inside the sandbox as the command's parent. Where the sandbox has no network of its own, the port is
taken by whoever listens there and is reached as it is: then the relay only becomes the command.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

SOCKET = "meter"
"""Name of the unix socket in its directory: connected to by a relative path, since absolute ones have a limit."""


def through(argv: Sequence[str], *, port: int, directory: Path) -> list[str]:
    """``argv`` run so that 127.0.0.1:``port`` leads to the unix socket in ``directory``, which must be readable."""
    return [sys.executable, "-I", "-S", "-X", "utf8", "-c", _RELAY, str(port), str(directory), SOCKET, *argv]


# Given as text: the sandbox need not see where nightcrew is installed.
_RELAY = r"""
import os, selectors, signal, socket, sys
port, directory, name, argv = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:]

def become():
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        print(f"cannot run {argv[0]}: {error.strerror}", file=sys.stderr)
        os._exit(127 if isinstance(error, FileNotFoundError) else 126)

try:
    listener = socket.create_server(("127.0.0.1", port))
except OSError:
    become()
child = os.fork()
if child == 0:
    listener.close()
    become()
null = os.open(os.devnull, os.O_RDWR)
for stream in (0, 1, 2):
    os.dup2(null, stream)
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)  # The command gets it too; the relay ends with the command.
ended_read, ended_write = os.pipe()
os.set_blocking(ended_write, False)
signal.set_wakeup_fd(ended_write)
signal.signal(signal.SIGCHLD, lambda *_: None)
os.chdir(directory)
loop = selectors.DefaultSelector()
loop.register(listener, selectors.EVENT_READ)
loop.register(ended_read, selectors.EVENT_READ)
peers = {}
ended = set()

def drop(one):
    other = peers.pop(one, None)
    if other is not None:
        peers.pop(other, None)
        for side in (one, other):
            if side in loop.get_map():
                loop.unregister(side)
            ended.discard(side)
            side.close()

while True:
    done, status = os.waitpid(-1, os.WNOHANG)
    if done == child:
        os._exit(os.waitstatus_to_exitcode(status) % 256)
    for key, _ in loop.select():
        if key.fileobj is listener:
            near = listener.accept()[0]
            far = socket.socket(socket.AF_UNIX)
            try:
                far.connect(name)
            except OSError:
                near.close()
                far.close()
                continue
            peers[near], peers[far] = far, near
            for side in (near, far):
                loop.register(side, selectors.EVENT_READ)
        elif key.fileobj == ended_read:
            os.read(ended_read, 4096)
        elif key.fileobj in peers:
            try:
                data = key.fileobj.recv(1 << 16)
                if data:
                    peers[key.fileobj].sendall(data)
                    continue
                ended.add(key.fileobj)
                if peers[key.fileobj] not in ended:
                    # One side has said all, and may not have heard all: a refusal comes before the body is sent.
                    loop.unregister(key.fileobj)
                    peers[key.fileobj].shutdown(socket.SHUT_WR)
                    continue
            except OSError:
                pass
            drop(key.fileobj)
"""
