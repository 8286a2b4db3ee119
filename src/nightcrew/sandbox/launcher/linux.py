"""The system calls that Python has no name for, through ctypes. Linux on x86-64 and arm64."""

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)
_ARM = os.uname().machine == "aarch64"

SYS_PIVOT_ROOT = 41 if _ARM else 155
SYS_MOUNT_SETATTR = 442
SYS_LANDLOCK_ADD_RULE = 445
SYS_LANDLOCK_RESTRICT_SELF = 446
SYS_SOCKET = 198 if _ARM else 41
SYS_IO_URING_SETUP = 425
SYS_KEYS = (217, 218, 219) if _ARM else (248, 249, 250)  # add_key, request_key, keyctl
AUDIT_ARCH = 0xC00000B7 if _ARM else 0xC000003E

CLONE_NEWNS = 0x00020000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MNT_DETACH = 2
MOUNT_ATTR_RDONLY = 1
MOUNT_ATTR_NOSUID = 2
AT_RECURSIVE = 0x8000
AT_FDCWD = -100


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def _long(value: int) -> ctypes.c_long:
    return ctypes.c_long(value)


def syscall(number: int, *arguments: object, what: str) -> int:
    """The system call ``number``; integers in ``arguments`` are passed as longs. Raises OSError that names ``what``."""
    passed = (_long(argument) if isinstance(argument, int) else argument for argument in arguments)
    return _check(_libc.syscall(_long(number), *passed), what)


def prctl(option: int, *arguments: object) -> int:
    """The system call of that name; raises OSError."""
    passed = [_long(argument) if isinstance(argument, int) else argument for argument in arguments]
    passed += [_long(0)] * (4 - len(passed))
    return _check(_libc.prctl(option, *passed), f"prctl {option}")


def unshare(flags: int) -> None:
    """The system call of that name; raises OSError."""
    _check(_libc.unshare(flags), "unshare")


def mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    """The system call of that name; raises OSError that names the target."""
    encoded = None if kind is None else kind.encode()
    _check(
        _libc.mount(os.fsencode(source), os.fsencode(target), encoded, ctypes.c_ulong(flags), options.encode()),
        f"mount {target}",
    )


def unmount(target: str) -> None:
    """Call umount2(2), lazily; raises OSError."""
    _check(_libc.umount2(os.fsencode(target), MNT_DETACH), f"unmount {target}")


class _MountAttributes(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def mount_attributes(target: str, *, set_: int = 0, clear: int = 0, recursive: bool = False) -> None:
    """Call mount_setattr(2); raises OSError."""
    attributes = _MountAttributes(set_, clear, 0, 0)
    syscall(
        SYS_MOUNT_SETATTR,
        AT_FDCWD,
        ctypes.c_char_p(os.fsencode(target)),
        AT_RECURSIVE if recursive else 0,
        ctypes.byref(attributes),
        ctypes.sizeof(attributes),
        what=f"mount_setattr {target}",
    )


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def landlock_allow(ruleset: int, descriptor: int, access: int) -> None:
    """Add to ``ruleset`` that beneath the open ``descriptor`` the rights ``access`` are granted; raises OSError."""
    attributes = _PathBeneath(access, descriptor)
    syscall(SYS_LANDLOCK_ADD_RULE, ruleset, 1, ctypes.byref(attributes), 0, what="landlock_add_rule")


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


def keep_capabilities(kept: int) -> None:
    """Give up every capability that is not in the bit set ``kept``, for this process and all it starts."""
    for number in range(64):
        # Without CAP_SETPCAP the bounding set stays; execve of a user that is not root drops the rest all the same.
        if not kept >> number & 1 and _libc.prctl(24, _long(number), _long(0), _long(0), _long(0)) < 0:
            break
    header = _CapabilityHeader(0x20080522, 0)
    now = (ctypes.c_uint32 * 6)()
    _check(_libc.capget(ctypes.byref(header), now), "capget")
    for half in (0, 1):
        mask = kept >> (32 * half) & 0xFFFFFFFF
        now[3 * half] &= mask
        now[3 * half + 1] &= mask
        now[3 * half + 2] = 0
    _check(_libc.capset(ctypes.byref(header), now), "capset")


def raise_interface(name: bytes) -> None:
    """Bring a network interface up; raises OSError."""
    sock = _check(_libc.socket(2, 2, 0), "socket")
    try:
        request = ctypes.create_string_buffer(name.ljust(16, b"\0") + (0x41).to_bytes(2, "little"), 40)
        _check(_libc.ioctl(sock, ctypes.c_ulong(0x8914), request), "raise loopback")
    finally:
        os.close(sock)
