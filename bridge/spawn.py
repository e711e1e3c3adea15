"""Starting a child: its command line, its environment, its descriptors, and the word that it ended."""

import asyncio
import os
import signal
import site
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Final

GATEWAY: Final = "gateway"
ENCLAVE: Final = "enclave"

_MODULES: Final[Mapping[str, str]] = {GATEWAY: "bridge.gateway", ENCLAVE: "crypto.enclave"}
_ALLOCATOR: Final[Mapping[str, str]] = {
    # Freed memory is overwritten at once; the per-thread cache would skip that, a second arena is not needed.
    "PYTHONMALLOC": "malloc",
    "MALLOC_PERTURB_": "165",
    "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0:glibc.malloc.arena_max=1",
}
_GATEWAY_KEEPS: Final = frozenset(
    {
        "PATH",
        "HOME",
        "TZ",
        "LANG",
        "LC_ALL",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "http_proxy",
        "https_proxy",
        "no_proxy",
    }
)
_PACKAGE_ROOT: Final = Path(__file__).resolve().parent.parent


def command(role: str, arguments: Sequence[str]) -> list[str]:
    """The command line of a child. Neither the working directory nor the user's own packages are looked into.

    Not `-I`: it would have Python ignore PYTHONMALLOC.
    """
    flags = ["-P"]
    if not _installed_for_user():
        flags.append("-s")
    return [sys.executable, *flags, "-m", _MODULES[role], *arguments]


def environment(role: str, inherited: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of a child: the enclave's owes nothing to the supervisor's."""
    # pydantic would load whatever is installed and calls itself a plugin of it
    own = {"LC_ALL": "C.UTF-8", "PYDANTIC_DISABLE_PLUGINS": "__all__", **_package_path()}
    if role == ENCLAVE:
        return {**own, **_ALLOCATOR}
    return {**own, **{name: inherited[name] for name in sorted(_GATEWAY_KEEPS & inherited.keys())}}


def _package_path() -> dict[str, str]:
    """Where a child finds the packages when they run from a checkout."""
    if _PACKAGE_ROOT.name in {"site-packages", "dist-packages"}:
        return {}
    return {"PYTHONPATH": str(_PACKAGE_ROOT)}


def _installed_for_user() -> bool:
    return bool(site.ENABLE_USER_SITE) and Path(site.getusersitepackages()).resolve() == _PACKAGE_ROOT


class Child:
    """A running child process. Create it inside a running event loop, on the main thread.

    The main thread matters: a child that asks to die with its parent dies with the thread that started it.
    """

    def __init__(
        self, role: str, arguments: Sequence[str], sockets: Sequence[socket.socket], shared: Sequence[int] = ()
    ) -> None:
        """Start it; `sockets` are handed over: the child's to use, closed here. `shared` stays open here too."""
        self.role = role
        self.started_s = monotonic()
        descriptors = [*(sock.fileno() for sock in sockets), *shared]
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and modules
            command(role, arguments),
            stdin=subprocess.DEVNULL,
            pass_fds=descriptors,
            env=environment(role, os.environ),
            cwd="/",
            start_new_session=True,  # a terminal's Ctrl-C is for the supervisor alone
        )
        for sock in sockets:
            sock.close()
        loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[int] = loop.create_future()
        self._pidfd = os.pidfd_open(self._process.pid)
        loop.add_reader(self._pidfd, self._reap)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it has not been reaped."""
        return not self.ended.done()

    def lived_s(self) -> float:
        """Seconds since its start."""
        return monotonic() - self.started_s

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; nothing happens when it has ended."""
        if self.alive:
            self._process.send_signal(number)

    async def end(self, within_s: float) -> int:
        """Wait so long for its end, then kill it; returns its status."""
        try:
            return await asyncio.wait_for(asyncio.shield(self.ended), within_s)
        except TimeoutError:
            self.signal(signal.SIGKILL)
        return await asyncio.shield(self.ended)

    def _reap(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self.ended.set_result(self._process.wait())
