"""Keeping one process running: start it, wait for its end, pause, start it again."""

import asyncio
import signal
from collections.abc import Callable
from typing import Final, Protocol

from bridge.audit import Event, log
from bridge.backoff import Backoff
from bridge.config.load import Loaded
from bridge.spawn import Child

WATCH_EVERY_S: Final = 20.0
SILENT_TIMES: Final = 3
"""How often in a row a process may fail to answer before it is taken for stuck."""

State = Callable[[], tuple[Loaded, dict[str, int]]]
"""The configuration as it is now, and the accounts' slots in the register."""

_log = log("supervisor")


class Fatal(Exception):
    """Running is pointless; `status` is the exit status that says why."""

    def __init__(self, status: int) -> None:
        super().__init__("this Lockgate cannot run here")
        self.status = status


class Post(Protocol):
    """A place that one process at a time fills."""

    role: str
    restarts: int
    ready: bool

    async def begin(self) -> Child:
        """Start a process and bring it as far as it can be used; it may have ended when this returns."""

    async def ended(self, child: Child, status: int) -> bool:
        """Clean up after it. True when its end was to be expected: then there is no pause."""

    async def status(self) -> object | None:
        """How it stands; None when it does not say."""

    def kill(self) -> None:
        """End it at once."""


class Keeper:
    """Fills a post until it is left."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self._backoff = Backoff()
        self._left = asyncio.Event()

    def leave(self) -> None:
        """When the present process ends, let it be the last."""
        self._left.set()

    async def keep(self) -> None:
        """Run until left. Raises what makes running pointless."""
        while not self._left.is_set():
            child = await self._post.begin()
            watch = asyncio.create_task(self._watch())
            status = await asyncio.shield(child.ended)
            watch.cancel()
            expected = await self._post.ended(child, status)
            if self._left.is_set():
                return
            pause_s = 0.0 if expected else self._backoff.pause_s(child.lived_s(), status)
            reason = signal.Signals(-status).name if -status in set(signal.Signals) else "exit"
            told = {"process": self._post.role, "pid": child.pid, "status": status, "reason": reason}
            _log.warning(Event.ENDED, pause_s=pause_s, **told)
            self._post.restarts += 1
            if pause_s:
                await self._pause(pause_s)

    async def _watch(self) -> None:
        """Kill the process when it answers no more."""
        silent = 0
        while silent < SILENT_TIMES:
            await asyncio.sleep(WATCH_EVERY_S)
            answered = not self._post.ready or await self._post.status() is not None
            silent = 0 if answered else silent + 1
        _log.error(Event.STUCK, process=self._post.role)
        self._post.kill()

    async def _pause(self, pause_s: float) -> None:
        try:
            await asyncio.wait_for(self._left.wait(), pause_s)
        except TimeoutError:
            return
