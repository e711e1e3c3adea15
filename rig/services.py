"""A server process of the rig: own folder, free port, log in a file, readiness, and an end that always comes.

The parent-death signal (`setpriv --pdeathsig`) ends the server even when the process that started it is killed.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).resolve().parent.parent
_given: set[int] = set()


class ServiceFailed(Exception):
    """A server did not start, or ended by itself. The text names it and quotes the end of its log."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nothing uses and that was not given out before by this process."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port not in _given:
            _given.add(port)
            return port


def answers(port: int) -> bool:
    """Whether something accepts connections on the port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def tied(command: Sequence[str]) -> list[str]:
    """The command, run so that it is killed when its parent dies."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--", *command] if setpriv else list(command)


def quiet_environment() -> dict[str, str]:
    """The environment for child processes: ours, unbuffered Python, no proxies between us and loopback."""
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return {**kept, "PYTHONUNBUFFERED": "1", "NO_PROXY": "127.0.0.1,localhost"}


def end_group(process: "subprocess.Popen[bytes]", *, patience_s: float = 10.0) -> int:
    """End a process and its group: SIGTERM, then SIGKILL; returns the exit status."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience_s)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


class Service:
    """A server with its folder, its log and its process. Can be stopped, killed and started again."""

    name = "service"
    start_patience_s = 90.0

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / f"{self.name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    # ------------------------------------------------------------ what a kind of server says
    def command(self) -> Sequence[str]:
        """The command line."""
        raise NotImplementedError

    def environment(self) -> Mapping[str, str]:
        """What the environment has besides ours."""
        return {}

    def ready(self) -> bool:
        """Whether it can be used; asked several times a second."""
        raise NotImplementedError

    # ------------------------------------------------------------ life
    @property
    def pid(self) -> int:
        """Process id of the running server."""
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        """Start it and return when it is ready; raises `ServiceFailed`, with the end of its log, when it is not."""
        deadline = self.launch()
        try:
            while not self._looked(deadline):
                time.sleep(0.05)
        except BaseException:
            self.stop()
            raise
        return self

    async def begin(self) -> Self:
        """The same inside an event loop, which goes on meanwhile."""
        deadline = self.launch()
        try:
            while not await asyncio.to_thread(self._looked, deadline):  # noqa: ASYNC110 - a port that opens tells nobody
                await asyncio.sleep(0.05)
        except BaseException:
            self.stop()
            raise
        return self

    def launch(self) -> float:
        """Start it without waiting; returns the time (monotonic) by which it has to be ready."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                tied(self.command()),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={**quiet_environment(), **self.environment()},
                start_new_session=True,
            )
        return time.monotonic() + self.start_patience_s

    def _looked(self, deadline: float) -> bool:
        if self.ready():
            return True
        if not self.running:
            raise ServiceFailed(f"{self.name} ended while starting; the end of its log:\n{self.log_end()}")
        if time.monotonic() > deadline:
            raise ServiceFailed(f"{self.name} was not ready in time; the end of its log:\n{self.log_end()}")
        return False

    def stop(self) -> None:
        """End it in an orderly way; safe to call twice."""
        if self._process is not None:
            end_group(self._process)
            self._process = None

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def log_end(self, lines: int = 25) -> str:
        """The last lines of its log."""
        text = self.log.read_text("utf-8", "replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.stop()
