"""The allow-list of system calls, as a BPF program made by hand. Whatever is not on it kills the process.

The running enclave reads and writes descriptors it already has, waits for them, manages anonymous memory, asks
the time and randomness, and ends. It cannot open, connect, accept descriptors (`recvmsg` is missing: a peer
could pass one), start a program or a thread, trace, or map memory to execute.
"""

import ctypes
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from crypto.enclave import kernel

Instruction = tuple[int, int, int, int]
"""Code, jump if true, jump if false (both in instructions), operand."""

KILL_PROCESS: Final = 0x80000000
ALLOW: Final = 0x7FFF0000

_LOAD_WORD: Final = 0x20
_JUMP_EQUAL: Final = 0x15
_JUMP_AT_LEAST: Final = 0x35
_JUMP_ANY_BIT: Final = 0x45
_RETURN: Final = 0x06

_OFFSET_NUMBER: Final = 0
_OFFSET_ARCH: Final = 4
_OFFSET_ARGUMENTS: Final = 16

_PROT_EXEC: Final = 0x4
_MAP_ANONYMOUS: Final = 0x20
_PR_SET_VMA: Final = 0x53564D41
_X32: Final = 0x40000000
"""System call numbers from here on are of the x32 ABI, which shares x86_64's audit value."""
_SET_MODE_FILTER: Final = 1
_FLAG_TSYNC: Final = 1


@dataclass(frozen=True, slots=True)
class Machine:
    """An architecture: its audit value, and the number of each permitted system call."""

    audit: int
    numbers: Mapping[str, int]


_X86_64: Final = {
    "read": 0,
    "write": 1,
    "readv": 19,
    "writev": 20,
    "close": 3,
    "poll": 7,
    "ppoll": 271,
    "select": 23,
    "pselect6": 270,
    "epoll_ctl": 233,
    "epoll_wait": 232,
    "epoll_pwait": 281,
    "futex": 202,
    "mmap": 9,
    "mprotect": 10,
    "munmap": 11,
    "mremap": 25,
    "brk": 12,
    "madvise": 28,
    "prctl": 157,
    "clock_gettime": 228,
    "clock_nanosleep": 230,
    "gettimeofday": 96,
    "getrandom": 318,
    "getpid": 39,
    "sched_yield": 24,
    "sigaltstack": 131,
    "rt_sigaction": 13,
    "rt_sigprocmask": 14,
    "rt_sigreturn": 15,
    "restart_syscall": 219,
    "exit": 60,
    "exit_group": 231,
}
_AARCH64: Final = {
    "read": 63,
    "write": 64,
    "readv": 65,
    "writev": 66,
    "close": 57,
    "ppoll": 73,
    "pselect6": 72,
    "epoll_ctl": 21,
    "epoll_pwait": 22,
    "futex": 98,
    "mmap": 222,
    "mprotect": 226,
    "munmap": 215,
    "mremap": 216,
    "brk": 214,
    "madvise": 233,
    "prctl": 167,
    "clock_gettime": 113,
    "clock_nanosleep": 115,
    "gettimeofday": 169,
    "getrandom": 278,
    "getpid": 172,
    "sched_yield": 124,
    "sigaltstack": 132,
    "rt_sigaction": 134,
    "rt_sigprocmask": 135,
    "rt_sigreturn": 139,
    "restart_syscall": 128,
    "exit": 93,
    "exit_group": 94,
}
MACHINES: Final[Mapping[str, Machine]] = {
    "x86_64": Machine(0xC000003E, _X86_64),
    "aarch64": Machine(0xC00000B7, _AARCH64),
}


def _load(offset: int) -> Instruction:
    return (_LOAD_WORD, 0, 0, offset)


def _argument(index: int) -> Instruction:
    """Load the low word of an argument (both architectures are little endian)."""
    return _load(_OFFSET_ARGUMENTS + 8 * index)


_TO_KILL: Final[Instruction] = (_RETURN, 0, 0, KILL_PROCESS)
_TO_ALLOW: Final[Instruction] = (_RETURN, 0, 0, ALLOW)


def _never_executable(index_of_protection: int) -> list[Instruction]:
    return [_argument(index_of_protection), (_JUMP_ANY_BIT, 0, 1, _PROT_EXEC), _TO_KILL]


_CHECKED: Final[Mapping[str, Sequence[Instruction]]] = {
    "mprotect": [*_never_executable(2), _TO_ALLOW],
    # anonymous memory only: a descriptor, should one ever come in, cannot be mapped
    "mmap": [*_never_executable(2), _argument(3), (_JUMP_ANY_BIT, 1, 0, _MAP_ANONYMOUS), _TO_KILL, _TO_ALLOW],
    # newer C libraries name their memory areas
    "prctl": [_argument(0), (_JUMP_EQUAL, 1, 0, _PR_SET_VMA), _TO_KILL, _TO_ALLOW],
}
"""What follows once the number has matched; ends in a verdict."""


def program(machine: Machine) -> list[Instruction]:
    """The filter: foreign architectures and numbers that are not on the list kill the process."""
    instructions = [_load(_OFFSET_ARCH), (_JUMP_EQUAL, 1, 0, machine.audit), _TO_KILL, _load(_OFFSET_NUMBER)]
    instructions += [(_JUMP_AT_LEAST, 0, 1, _X32), _TO_KILL]
    for name, number in machine.numbers.items():
        verdict = _CHECKED.get(name, [_TO_ALLOW])
        instructions += [(_JUMP_EQUAL, 0, len(verdict), number), *verdict]
    return [*instructions, _TO_KILL]


def packed(instructions: Sequence[Instruction]) -> bytes:
    """The program as the kernel takes it (`struct sock_filter[]`)."""
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def install() -> None:
    """Put the filter on all threads of this process, for good. Needs no_new_privs. Raises OSError."""
    machine = MACHINES.get(kernel.machine())
    if machine is None:
        raise OSError(38, "no allow-list for this architecture")
    instructions = program(machine)
    code = ctypes.create_string_buffer(packed(instructions))
    description = _Program(len(instructions), ctypes.addressof(code))
    blamed = kernel.syscall("seccomp", _SET_MODE_FILTER, _FLAG_TSYNC, ctypes.byref(description))
    if blamed:
        raise OSError(3, "a thread could not be put under the filter")
