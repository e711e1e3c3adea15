"""What came from the server, on its way into the inbox: in order per account, many in one transaction."""

import asyncio
import contextlib
from collections.abc import Callable

from adapters.outside_api import Edge
from adapters.xmpp.outside_health import HEALTH

PAUSE_ABOVE = 4096
RESUME_BELOW = 512
BATCH = 256


class Arrivals:
    """A queue in memory, between the stream and the ledger. `pause` is told when the stream is to wait, or go on."""

    def __init__(self, pause: Callable[[bool], None]) -> None:
        self._pause = pause
        self._waiting: asyncio.Queue[tuple[str, str, bytes]] = asyncio.Queue()
        self._paused = False
        self._draining: asyncio.Task[None] | None = None

    def start(self, edge: Edge) -> None:
        """Begin to store what comes."""
        self._draining = asyncio.create_task(self._drain(edge))

    def put(self, account: str, name: str, body: bytes) -> None:
        """Something arrived for an account."""
        self._waiting.put_nowait((account, name, body))
        if not self._paused and self._waiting.qsize() > PAUSE_ABOVE:
            self._paused = True
            self._pause(True)

    async def close(self) -> None:
        """Store nothing any more."""
        if self._draining is not None:
            self._draining.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._draining

    async def _drain(self, edge: Edge) -> None:
        while True:
            gathered: dict[str, list[tuple[str, bytes]]] = {}
            account, name, body = await self._waiting.get()
            gathered[account] = [(name, body)]
            for _ in range(min(BATCH, self._waiting.qsize())):
                account, name, body = self._waiting.get_nowait()
                gathered.setdefault(account, []).append((name, body))
            await asyncio.gather(*(self._store(edge, a, entries) for a, entries in gathered.items()))
            if self._paused and self._waiting.qsize() < RESUME_BELOW:
                self._paused = False
                self._pause(False)

    async def _store(self, edge: Edge, account: str, entries: list[tuple[str, bytes]]) -> None:
        while True:
            try:
                await edge.arrived_batch(account, entries)
            except Exception:
                edge.health(account, "down", HEALTH["not-stored"])
                await asyncio.sleep(1.0)
            else:
                return
