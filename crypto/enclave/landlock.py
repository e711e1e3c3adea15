"""Landlock with an empty ruleset: no path can be opened, no TCP port used, nothing outside signalled."""

import ctypes
import os
from typing import Final

from crypto.enclave import kernel

_VERSION_FLAG: Final = 1
_FILES_FROM_ABI: Final = ((1, 0x1FFF), (2, 1 << 13), (3, 1 << 14), (5, 1 << 15))
"""Rights over files by the ABI that brought them: the first thirteen, refer, truncate, ioctl on devices."""
_TCP_FROM_ABI_4: Final = 0b11
_SCOPES_FROM_ABI_6: Final = 0b11
"""Abstract unix sockets and signals."""


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


def abi() -> int:
    """The kernel's Landlock ABI, 1 or more; raises OSError (ENOSYS, EOPNOTSUPP) where there is none."""
    return kernel.syscall("landlock_create_ruleset", ctypes.c_void_p(None), 0, _VERSION_FLAG)


def ruleset_fields(version: int) -> tuple[int, int, int, int]:
    """Handled rights over files, network, scopes, and the size of the structure, for an ABI."""
    files = sum(bits for since, bits in _FILES_FROM_ABI if version >= since)
    network = _TCP_FROM_ABI_4 if version >= 4 else 0
    scoped = _SCOPES_FROM_ABI_6 if version >= 6 else 0
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    return files, network, scoped, size


def deny_everything() -> int:
    """Restrict this thread and what it starts to what is open already; returns the ABI. Needs no_new_privs."""
    version = abi()
    files, network, scoped, size = ruleset_fields(version)
    ruleset = _Ruleset(files, network, scoped)
    descriptor = kernel.syscall("landlock_create_ruleset", ctypes.byref(ruleset), size, 0)
    try:
        kernel.syscall("landlock_restrict_self", descriptor, 0)
    finally:
        os.close(descriptor)
    return version
