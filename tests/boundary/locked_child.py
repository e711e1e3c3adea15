"""A process that locks itself down as the enclave does, then tries one deed: `python -m tests.boundary.locked_child`.

Arguments: the measures to take (`all`, `landlock`, `root`), and the deed. What a deed returns is written to
standard output through a copy of its descriptor, which the lockdown keeps.
"""

import ctypes
import mmap
import os
import platform
import select
import socket
import sys
import time
from collections.abc import Callable
from types import MappingProxyType
from typing import Any, Final

from crypto.enclave import kernel, landlock, lockdown, seccomp

READER, WRITER = os.pipe()
SOCKET, FAR_SOCKET = (sock.detach() for sock in socket.socketpair())
MEMORY = mmap.mmap(-1, 4096)
NUMBERS: Final = {
    "x86_64": {"execve": 59, "fork": 57, "ptrace": 101, "openat": 257, "socket": 41, "kill": 62, "memfd_create": 319,
               "io_uring_setup": 425, "bpf": 321, "process_vm_readv": 310, "clone": 56, "open": 2, "unshare": 272,
               "seccomp": 317, "recvmsg": 47, "sendmsg": 46, "userfaultfd": 323, "setrlimit": 160, "mlockall": 151},
    "aarch64": {"execve": 221, "fork": 220, "ptrace": 117, "openat": 56, "socket": 198, "kill": 129,
                "memfd_create": 279, "io_uring_setup": 425, "bpf": 280, "process_vm_readv": 270, "clone": 220,
                "open": 56, "unshare": 97, "seccomp": 277, "recvmsg": 212, "sendmsg": 211, "userfaultfd": 282,
                "setrlimit": 164, "mlockall": 230},
}  # fmt: skip
FORBIDDEN: Final = tuple(NUMBERS["x86_64"])
_LIBC = ctypes.CDLL(None, use_errno=True)


def raw(name: str) -> str:
    """The system call with zeros for arguments; returns its result when the process survives it."""
    return str(_LIBC.syscall(ctypes.c_long(NUMBERS[platform.machine()][name]), *[ctypes.c_long(0)] * 6))


def x32() -> str:
    """A permitted number, in the x32 table."""
    return str(_LIBC.syscall(ctypes.c_long(0x40000000 | 39)))


def executable_memory() -> str:
    return str(_LIBC.mmap(None, 4096, 7, 0x22, -1, ctypes.c_long(0)))


def executable_later() -> str:
    address = ctypes.addressof(ctypes.c_char.from_buffer(MEMORY))
    return str(_LIBC.mprotect(ctypes.c_void_p(address), 4096, 5))


def mapped_descriptor() -> str:
    return str(_LIBC.mmap(None, 4096, 1, 0x2, READER, ctypes.c_long(0)))


def dumpable_again() -> str:
    return str(_LIBC.prctl(4, ctypes.c_ulong(1), *[ctypes.c_ulong(0)] * 3))


def thread() -> str:
    import threading

    threading.Thread(target=print).start()
    return "started"


def late_import() -> str:
    import wave

    return wave.__name__


def trace() -> str:
    """An exception whose text must be printed nowhere."""
    raise ValueError("plaintext-7f3a")


def ordinary_work() -> str:
    """What the enclave does all day."""
    os.write(WRITER, b"hello")
    poll = select.poll()
    poll.register(READER, select.POLLIN)
    assert poll.poll(1000)
    assert os.read(READER, 5) == b"hello"
    assert len(os.urandom(32)) == 32
    big = [bytes(1 << 20) for _ in range(64)]
    growing = bytearray()
    for _ in range(200):
        growing += bytes(100_000)
    del big, growing
    time.sleep(0.001)
    assert time.time_ns() > 0
    return "done"


def libraries() -> str:
    """The cryptographic libraries work under the filter."""
    vodozemac, gmpy2, primitives = _libraries()
    account = vodozemac.Account()
    account.generate_one_time_keys(5)
    assert gmpy2.powmod_sec(3, 1 << 255, (1 << 2203) - 1) > 1
    aead = primitives.aead.AESGCM(os.urandom(32))
    assert aead.decrypt(bytes(12), aead.encrypt(bytes(12), b"x" * 70_000, b""), b"") == b"x" * 70_000
    return "done"


def identities() -> str:
    """So do identity keys, their vouchers and every algorithm of a suite."""
    work: Callable[[], str] = sys.modules["tests.boundary.identities_at_work"].work
    return work()


def omemo() -> str:
    """So does OMEMO, on a library of C's, and on one that would like to print warnings."""
    work: Callable[[], str] = sys.modules["tests.boundary.omemo_at_work"].work
    return work()


def _libraries() -> tuple[Any, ...]:
    import gmpy2
    import vodozemac
    from cryptography.hazmat.primitives.ciphers import aead  # noqa: F401

    from tests.boundary import identities_at_work, omemo_at_work  # noqa: F401

    return vodozemac, gmpy2, sys.modules["cryptography.hazmat.primitives.ciphers"]


def open_file() -> str:
    try:
        os.close(os.open("/etc/passwd", os.O_RDONLY))
    except OSError as error:
        return str(error.errno)
    return "opened"


def make_file() -> str:
    try:
        os.close(os.open(f"/tmp/lockgate-{os.getpid()}", os.O_CREAT | os.O_WRONLY))
    except OSError as error:
        return str(error.errno)
    return "made"


def list_root() -> str:
    return repr(os.listdir("/"))


def interfaces() -> str:
    """Whether a datagram can be sent anywhere, the loopback address included."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.sendto(b"x", ("127.0.0.1", 9))
        except OSError as error:
            return f"{error.errno} {[name for _, name in socket.if_nameindex()]}"
    return "sent"


def signal_parent() -> str:
    try:
        os.kill(os.getppid(), 0)
    except OSError as error:
        return str(error.errno)
    return "signalled"


DEEDS: Final = MappingProxyType(
    {
        function.__name__: function
        for function in (
            x32, executable_memory, executable_later, mapped_descriptor, dumpable_again, thread, late_import, trace,
            ordinary_work, libraries, identities, omemo, open_file, make_file, list_root, interfaces, signal_parent,
        )
    }
)  # fmt: skip


def landlock_only(_: set[int]) -> str:
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    return f"abi {landlock.deny_everything()}"


def root_only(_: set[int]) -> str:
    kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWNS | kernel.CLONE_NEWNET)
    lockdown._empty_root()
    return "ok"


def seccomp_only(_: set[int]) -> str:
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    seccomp.install()
    return "ok"


def everything(keep: set[int]) -> str:
    report = lockdown.lock_down(keep)
    return ",".join(f"{m.name}={m.errno if not m.achieved else 'ok'}" for m in report.measures)


MEASURES: Final[MappingProxyType[str, Callable[[set[int]], str]]] = MappingProxyType(
    {"all": everything, "landlock": landlock_only, "root": root_only, "seccomp": seccomp_only}
)


def main() -> None:
    measures, deed = sys.argv[1], sys.argv[2]
    _libraries()
    out = os.dup(1)
    keep = {out, READER, WRITER, SOCKET, FAR_SOCKET}
    os.write(out, (MEASURES[measures](keep) + "\n").encode())
    act = DEEDS[deed] if deed in DEEDS else lambda: raw(deed)
    os.write(out, (act() + "\n").encode())
    os._exit(0)


if __name__ == "__main__":
    main()
