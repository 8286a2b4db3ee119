"""A seccomp filter on the families of sockets, and on system calls that reach past namespaces and Landlock.

Landlock (up to ABI 7) restricts TCP only, and a network namespace does not hold families such as AF_VSOCK. io_uring can
open sockets that no filter sees, and kernel keyrings belong to the user, not to a namespace: both are refused.
"""

import ctypes

from . import linux

_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW = 0x7FFF0000
_DENY = 0x00050000 | 1  # SECCOMP_RET_ERRNO with EPERM
_X32 = 0x40000000
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_PR_SET_SECCOMP = 22
_MODE_FILTER = 2


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint16), ("jt", ctypes.c_uint8), ("jf", ctypes.c_uint8), ("k", ctypes.c_uint32))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.POINTER(_Instruction)))


def install(families: tuple[int, ...]) -> None:
    """Allow ``socket`` for these address families alone; needs no_new_privs. Raises OSError."""
    refused = (linux.SYS_IO_URING_SETUP, *linux.SYS_KEYS)
    # Jumps count instructions from the next one; the last two are "allow" and "deny".
    total = 4 + len(refused) + 1 + 1 + len(families) + 1 + 2
    deny, allow = total - 1, total - 2
    code: list[tuple[int, int, int, int]] = []

    def jump(kind: int, value: int, *, yes: int | None = None, no: int | None = None) -> None:
        here = len(code) + 1
        code.append((kind, 0 if yes is None else yes - here, 0 if no is None else no - here, value))

    code.append((_LOAD, 0, 0, _ARCHITECTURE))
    jump(_EQUAL, linux.AUDIT_ARCH, no=deny)
    code.append((_LOAD, 0, 0, _NUMBER))
    jump(_AT_LEAST, _X32, yes=deny)
    for number in refused:
        jump(_EQUAL, number, yes=deny)
    jump(_EQUAL, linux.SYS_SOCKET, no=allow)
    code.append((_LOAD, 0, 0, _FIRST_ARGUMENT))
    for family in families:
        jump(_EQUAL, family, yes=allow)
    code.append((_RETURN, 0, 0, _DENY))
    code.append((_RETURN, 0, 0, _ALLOW))
    code.append((_RETURN, 0, 0, _DENY))
    instructions = (_Instruction * len(code))(*(_Instruction(*instruction) for instruction in code))
    program = _Program(len(code), instructions)
    linux.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program))
