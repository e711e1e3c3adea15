"""Runs a command on a host that offers less: `python -m tests.boundary.confined landlock,unshare -- COMMAND ...`.

The named system calls fail with EPERM for it and all that it starts, as they do in many containers.
"""

import ctypes
import os
import platform
import sys

from crypto.enclave import kernel, seccomp

NUMBERS = {
    "x86_64": {"landlock": 444, "unshare": 272, "seccomp": 317},
    "aarch64": {"landlock": 444, "unshare": 97, "seccomp": 277},
}
REFUSE = 0x00050001
"""SECCOMP_RET_ERRNO with EPERM."""


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def confine(names: list[str]) -> None:
    """Refuse these calls from now on."""
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    numbers = [NUMBERS[platform.machine()][name] for name in names]
    program: list[seccomp.Instruction] = [(0x20, 0, 0, 0)]
    for number in numbers:
        program += [(0x15, 0, 1, number), (0x06, 0, 0, REFUSE)]
    program.append((0x06, 0, 0, seccomp.ALLOW))
    code = ctypes.create_string_buffer(seccomp.packed(program))
    kernel.syscall("seccomp", 1, 0, ctypes.byref(_Program(len(program), ctypes.addressof(code))))


def main() -> None:
    names, _, *command = sys.argv[1:]
    confine(names.split(","))
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
