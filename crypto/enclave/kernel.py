"""The few system calls of the lockdown, through ctypes: each returns its result or raises `OSError`."""

import ctypes
import os
import platform
from typing import Final

_LIBC: Final = ctypes.CDLL(None, use_errno=True)

PR_SET_PDEATHSIG: Final = 1
PR_GET_DUMPABLE: Final = 3
PR_SET_DUMPABLE: Final = 4
PR_CAPBSET_DROP: Final = 24
PR_SET_NO_NEW_PRIVS: Final = 38
PR_GET_NO_NEW_PRIVS: Final = 39
PR_CAP_AMBIENT: Final = 47
PR_CAP_AMBIENT_CLEAR_ALL: Final = 4

CLONE_NEWNS: Final = 0x00020000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWNET: Final = 0x40000000

MCL_CURRENT: Final = 1
MCL_FUTURE: Final = 2
MCL_ONFAULT: Final = 4

MS_RDONLY: Final = 0x1
MS_NOSUID: Final = 0x2
MS_NODEV: Final = 0x4
MS_NOEXEC: Final = 0x8
MS_REC: Final = 0x4000
MS_PRIVATE: Final = 0x40000
MNT_DETACH: Final = 2

_NUMBERS: Final = {
    "x86_64": {"capget": 125, "capset": 126, "pivot_root": 155, "seccomp": 317},
    "aarch64": {"capget": 90, "capset": 91, "pivot_root": 41, "seccomp": 277},
}
_SAME_EVERYWHERE: Final = {
    "landlock_create_ruleset": 444,
    "landlock_restrict_self": 446,
}


def machine() -> str:
    """The processor architecture, as `uname` calls it."""
    return platform.machine()


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def syscall(name: str, *arguments: "int | ctypes._SimpleCData[int] | object") -> int:
    """A system call that the C library has no function for; ENOSYS on an architecture without a table."""
    numbers = _NUMBERS.get(machine(), {}) | _SAME_EVERYWHERE
    if name not in numbers:
        raise OSError(38, os.strerror(38))
    plain = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return _checked(_LIBC.syscall(ctypes.c_long(numbers[name]), *plain))


def prctl(option: int, *arguments: int) -> int:
    """`prctl(2)`; missing arguments are zero."""
    padded = [*arguments, 0, 0, 0, 0][:4]
    return _checked(_LIBC.prctl(ctypes.c_int(option), *(ctypes.c_ulong(a) for a in padded)))


def unshare(flags: int) -> None:
    """`unshare(2)`."""
    _checked(_LIBC.unshare(ctypes.c_int(flags)))


def mlockall(flags: int) -> None:
    """`mlockall(2)`."""
    _checked(_LIBC.mlockall(ctypes.c_int(flags)))


def mount(source: bytes, target: bytes, kind: bytes | None, flags: int) -> None:
    """`mount(2)` without data."""
    _checked(_LIBC.mount(source, target, kind, ctypes.c_ulong(flags), None))


def umount(target: bytes, flags: int) -> None:
    """`umount2(2)`."""
    _checked(_LIBC.umount2(target, ctypes.c_int(flags)))


def pivot_root(new: bytes, old: bytes) -> None:
    """`pivot_root(2)`."""
    syscall("pivot_root", ctypes.c_char_p(new), ctypes.c_char_p(old))


class _CapHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


_CapData = ctypes.c_uint32 * 6
"""Two rounds of (effective, permitted, inheritable)."""
_CAP_VERSION_3: Final = 0x20080522


def capabilities() -> tuple[int, ...]:
    """Effective, permitted and inheritable capabilities (low and high words); all zero when there are none."""
    header, data = _CapHeader(_CAP_VERSION_3, 0), _CapData()
    syscall("capget", ctypes.byref(header), data)
    return tuple(data)


def drop_capabilities() -> None:
    """Give up every capability of every set, the bounding set where that is still permitted."""
    capability = 0
    while capability < 64:
        try:
            prctl(PR_CAPBSET_DROP, capability)
        except OSError:
            break  # no CAP_SETPCAP, or past the last one the kernel knows
        capability += 1
    try:
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    finally:
        syscall("capset", ctypes.byref(_CapHeader(_CAP_VERSION_3, 0)), _CapData())
