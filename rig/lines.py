"""A client process that takes commands and tells events as lines of JSON."""

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from rig.services import quiet_environment, tied

Event = dict[str, Any]
LINE_LIMIT = 16 << 20
_T = TypeVar("_T")


class ClientFailed(Exception):
    """The client process ended, refused a command, or did not tell what was awaited in time."""


class LineClient:
    """A process with JSON lines on stdin and stdout. All it told is kept in `events`, in order."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.log = folder / f"{name}.log"
        self.events: list[Event] = []
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._told = asyncio.Condition()
        self._ended = False
        folder.mkdir(parents=True, exist_ok=True)

    async def spawn(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        """Start the process; what it writes to stderr goes to the log file."""
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *tied(command),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env={**quiet_environment(), **(environment or {})},
                start_new_session=True,
                limit=LINE_LIMIT,
            )
        self._ended = False
        self._reader = asyncio.create_task(self._read())

    @property
    def pid(self) -> int:
        """Process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.returncode is None

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        with contextlib.suppress(ValueError):  # a line beyond the limit ends the reading
            while line := await self._process.stdout.readline():
                try:
                    event = json.loads(line)
                except json.JSONDecodeError:
                    event = {"event": "noise", "line": line.decode("utf-8", "replace")}
                async with self._told:
                    self.events.append(event)
                    self._told.notify_all()
        async with self._told:
            self._ended = True
            self._told.notify_all()

    async def put(self, command: Mapping[str, object]) -> None:
        """Write one command."""
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(command).encode() + b"\n")
            await self._process.stdin.drain()
        except OSError:
            pass
        else:
            return
        raise ClientFailed(f"{self.name} has ended; the end of its log:\n{self.log_end()}")

    async def wait_for(
        self, wanted: Callable[[Event], bool], *, timeout_s: float = 30.0, since: int = 0, what: str = "an event"
    ) -> Event:
        """The first event from index `since` on that is wanted, waiting for it if need be."""
        found = await self.wait_until(
            lambda: next((e for e in self.events[since:] if wanted(e)), None), timeout_s=timeout_s, what=what
        )
        assert found is not None
        return found

    async def wait_until(self, look: Callable[[], _T | None], *, timeout_s: float, what: str) -> _T:
        """What `look` returns, once it returns something true; it is asked after every event."""
        deadline = time.monotonic() + timeout_s
        async with self._told:
            while not (found := look()):
                left = deadline - time.monotonic()
                if self._ended or left <= 0:
                    break
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._told.wait(), left)
        if found:
            return found
        ending = "ended" if self._ended else f"did not tell it within {timeout_s:.0f} s"
        raise ClientFailed(f"waiting for {what}: {self.name} {ending}; the end of its log:\n{self.log_end()}")

    def log_end(self, lines: int = 15) -> str:
        """The last lines of its log."""
        text = self.log.read_text("utf-8", "replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    async def stop(self, *, patience_s: float = 5.0) -> int | None:
        """Close its input, wait, then end it; returns the exit status. Safe to call twice."""
        process = self._process
        if process is None:
            return None
        if process.stdin is not None:
            process.stdin.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), patience_s)
        await self.kill()
        return process.returncode

    async def kill(self) -> None:
        """End it at once, with its group."""
        process = self._process
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        if self._reader is not None:
            await self._reader
