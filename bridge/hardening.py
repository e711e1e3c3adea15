"""What the supervisor and the gateway give up themselves: core dumps, being traced, outliving their parent."""

import contextlib
import ctypes
import os
import platform
import resource
import signal
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
_CAP_VERSION_3: Final = 0x20080522
_CAP_DAC_OVERRIDE: Final = 1
_CAPSET: Final = {"x86_64": 126, "aarch64": 91}


def undumpable() -> None:
    """No core dump, and no process of the same user may trace this one or read its memory."""
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _prctl(_PR_SET_DUMPABLE, 0)


def shed_privileges() -> None:
    """Give up the capabilities of root, and the way to get any back: above all, to trace other processes.

    One is kept where it is held: to open files of others, since the ledger's folder may belong to another user.
    """
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    for capability in range(64):
        _prctl(_PR_CAPBSET_DROP, capability)
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    kept = 1 << _CAP_DAC_OVERRIDE if os.geteuid() == 0 else 0
    for mask in (kept, 0):  # the second, where even that one is not held
        if platform.machine() in _CAPSET and _capset(mask):
            return


def _capset(mask: int) -> bool:
    header = (ctypes.c_uint32 * 2)(_CAP_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)(mask, mask, 0, 0, 0, 0)
    libc = ctypes.CDLL(None, use_errno=True)
    return int(libc.syscall(ctypes.c_long(_CAPSET[platform.machine()]), header, data)) == 0


def die_with_parent(parent: int) -> None:
    """Be killed when the parent ends, however it ends. Ends this process at once when it has already."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _prctl(option: int, value: int) -> None:
    """What the kernel refuses is left as it is: these are measures on top, not those the enclave depends on."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(ctypes.c_int(option), ctypes.c_ulong(value), *[ctypes.c_ulong(0)] * 3)
