"""What the enclave gives up before it reads its first octet, in the order of PRIVSEP.md, and a report of it.

`lock_down` applies every measure the host offers, whatever the level asks for; the level only decides whether
that was enough. It is called once, after all imports: nothing can be opened, imported or started afterwards.
"""

import contextlib
import ctypes
import errno
import faulthandler
import itertools
import os
import resource
import select
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Collection
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Literal

from crypto.enclave import kernel, landlock, seccomp

Level = Literal["enforce", "best-effort"]

MANDATORY: Final = frozenset(
    {
        "not-dumpable",
        "no-core",
        "freed-memory-overwritten",
        "no-new-privileges",
        "no-capabilities",
        "descriptors-closed",
        "dies-with-supervisor",
        "seccomp",
    }
)
"""Needed under `enforce`, on every host."""
SECOND_WALL: Final = frozenset({"landlock", "empty-root"})
"""Of these, `enforce` needs one: files must be out of reach even if the allow-list had a hole."""

_NAMESPACES: Final = kernel.CLONE_NEWNET | kernel.CLONE_NEWNS | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS
_NOBODY: Final = 65534
_MOUNT_POINTS: Final = (b"/tmp", b"/run", b"/mnt", b"/proc")


@dataclass(frozen=True, slots=True)
class Measure:
    """One measure: whether it was reached, and the error number when it was not."""

    name: str
    achieved: bool
    errno: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """What a lockdown achieved, in the order it was tried."""

    measures: tuple[Measure, ...]

    def missing(self, level: Level) -> tuple[str, ...]:
        """Names of the measures that this level asks for and that were not reached."""
        if level == "best-effort":
            return ()
        achieved = {measure.name for measure in self.measures if measure.achieved}
        lacking = sorted(MANDATORY - achieved)
        return (*lacking, *(() if SECOND_WALL & achieved else sorted(SECOND_WALL)))

    def sufficient(self, level: Level) -> bool:
        """Whether the enclave may start."""
        return not self.missing(level)


def lock_down(keep: Collection[int], parent: int | None = None) -> Report:
    """Apply every measure. Afterwards the process has only the descriptors in `keep` (all above 2) and /dev/null.

    `parent` is the process id whose death must end this one; by default whoever the parent is now.
    """
    taken = _Taken()
    expected = os.getppid() if parent is None else parent
    _be_silent()
    _warm_up()
    taken.try_("not-dumpable", lambda: kernel.prctl(kernel.PR_SET_DUMPABLE, 0))
    taken.try_("no-core", _no_core)
    taken.try_("freed-memory-overwritten", _require_overwriting_allocator)
    taken.try_("memory-locked", _lock_memory)
    taken.try_("descriptors-closed", lambda: _close_descriptors(keep))
    taken.try_("no-new-privileges", _no_new_privileges)
    _namespaces(taken)
    taken.try_("no-capabilities", _no_capabilities)
    # Changed credentials reset both of these.
    taken.try_("not-dumpable", _not_dumpable)
    taken.try_("dies-with-supervisor", lambda: _die_with(expected))
    taken.try_("landlock", landlock.deny_everything)
    taken.try_("seccomp", seccomp.install)
    return taken.report()


class _Taken:
    """Collects measures; a later word on one replaces the earlier."""

    def __init__(self) -> None:
        self._measures: dict[str, Measure] = {}

    def try_(self, name: str, action: Callable[[], object]) -> bool:
        number = 0
        try:
            action()
        except OSError as error:
            number = error.errno or errno.EPERM
        self._measures[name] = Measure(name, number == 0, number)
        return number == 0

    def report(self) -> Report:
        return Report(tuple(self._measures.values()))


def _require(condition: bool) -> None:
    """Raise OSError when a measure that was taken did not hold."""
    if not condition:
        raise OSError(errno.EPERM, "a measure did not hold")


# ---------------------------------------------------------------- what Python itself might say
def _quiet(*_: object) -> None:
    """In place of the hooks that print exceptions: a traceback may hold a plaintext."""


def _silent_exception(kind: type[BaseException], value: BaseException, trace: TracebackType | None) -> None:
    """Same, for `sys.excepthook`."""


def _be_silent() -> None:
    """Nothing is printed, no signal of a terminal is obeyed, no crash is written down."""
    sys.excepthook = _silent_exception
    sys.unraisablehook = _quiet
    threading.excepthook = _quiet
    warnings.simplefilter("ignore")
    faulthandler.disable()
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)


def _warm_up() -> None:
    """Load what Python would otherwise load lazily, when it no longer can."""
    for codec in ("ascii", "latin-1", "utf-8", "utf-16", "utf-32", "idna", "punycode", "unicode_escape"):
        with contextlib.suppress(UnicodeError):
            "x".encode(codec).decode(codec)
    select.poll()
    os.urandom(1)


# ---------------------------------------------------------------- memory
def _not_dumpable() -> None:
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    _require(kernel.prctl(kernel.PR_GET_DUMPABLE) == 0)


def _no_core() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _require(resource.getrlimit(resource.RLIMIT_CORE) == (0, 0))


def _require_overwriting_allocator() -> None:
    """A freed `bytes` object must be gone: checked by looking at where one was."""
    size = 256
    secret = os.urandom(size)
    reversed_copy = secret[::-1]
    address = id(secret) + sys.getsizeof(secret) - size - 1
    _require(ctypes.string_at(address, size) == secret)
    del secret
    # the allocator's own links may take the first octets of the freed block
    left = ctypes.string_at(address, size)
    _require(left[64:] != reversed_copy[::-1][64:] and len(set(left[64:])) == 1)


def _lock_memory() -> None:
    """Keep memory from being swapped. Only without a limit: with one, later allocations would fail at it."""
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    try:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, unlimited)
    except (OSError, ValueError):
        _, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
        if hard != resource.RLIM_INFINITY:
            raise OSError(errno.ENOMEM, "the limit on locked memory is too low") from None
        resource.setrlimit(resource.RLIMIT_MEMLOCK, unlimited)
    # On fault: untouched parts of libraries stay out; what holds a secret was touched.
    kernel.mlockall(kernel.MCL_CURRENT | kernel.MCL_FUTURE | kernel.MCL_ONFAULT)


# ---------------------------------------------------------------- descriptors
def _close_descriptors(keep: Collection[int]) -> None:
    """Leave `keep`, and /dev/null as 0, 1 and 2."""
    _require(all(descriptor > 2 for descriptor in keep))
    nothing = os.open("/dev/null", os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    bounds = [2, *sorted(keep), min(hard, 1 << 20) if hard > 0 else 1 << 20]
    for low, high in itertools.pairwise(bounds):
        os.closerange(low + 1, high)


# ---------------------------------------------------------------- privileges
def _no_new_privileges() -> None:
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    _require(kernel.prctl(kernel.PR_GET_NO_NEW_PRIVS) == 1)


def _no_capabilities() -> None:
    kernel.drop_capabilities()
    _require(not any(kernel.capabilities()))


def _die_with(parent: int) -> None:
    """SIGKILL when the supervisor ends, however it ends. ESRCH when it has ended already."""
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise OSError(errno.ESRCH, "the supervisor is gone")


def _namespaces(taken: _Taken) -> None:
    """Own namespaces, an empty root, another user: with privileges first, else through a user namespace."""
    privileged = taken.try_("own-network", lambda: kernel.unshare(_NAMESPACES))
    if privileged:
        taken.try_("empty-root", _empty_root)
    if os.geteuid() == 0:
        taken.try_("not-root", _become_nobody)
    if privileged:
        taken.try_("own-user", lambda: kernel.unshare(kernel.CLONE_NEWUSER))
        return
    if taken.try_("own-user", lambda: kernel.unshare(kernel.CLONE_NEWUSER | _NAMESPACES)):
        taken.try_("own-network", lambda: None)
    taken.try_("empty-root", _empty_root)


def _become_nobody() -> None:
    os.setgroups([])
    os.setresgid(_NOBODY, _NOBODY, _NOBODY)
    os.setresuid(_NOBODY, _NOBODY, _NOBODY)


def _empty_root() -> None:
    """Make an empty read-only file system the root of this (own) mount namespace."""
    kernel.mount(b"none", b"/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    flags = kernel.MS_RDONLY | kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
    last = OSError(errno.ENOENT, "no place to mount on")
    for place in _MOUNT_POINTS:
        try:
            kernel.mount(b"none", place, b"tmpfs", flags)
            os.chdir(place)
            kernel.pivot_root(b".", b".")
            kernel.umount(b".", kernel.MNT_DETACH)
            os.chdir("/")
            return
        except OSError as error:
            last = error
    raise last


# ---------------------------------------------------------------- what would be achieved here
def probe() -> Report:
    """What `lock_down` achieves on this host, tried in a child process. Raises OSError when that fails."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _report_and_end(writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        told = pipe.read().decode("ascii", "replace")
    _, status = os.waitpid(child, 0)
    if status != 0:
        raise OSError(errno.ECHILD, "the probe did not survive its own lockdown")
    return Report(tuple(_parsed(line) for line in told.splitlines()))


def _report_and_end(writer: int) -> None:
    status = 1
    try:
        report = lock_down({writer})
        lines = "".join(f"{m.name} {int(m.achieved)} {m.errno}\n" for m in report.measures)
        os.write(writer, lines.encode("ascii"))
        status = 0
    finally:
        os._exit(status)


def _parsed(line: str) -> Measure:
    name, achieved, number = line.split(" ")
    return Measure(name, achieved == "1", int(number))
