"""To-device messages across crashes: a server forgets them at the next sync, so the ledger must have them by then."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from urllib.parse import parse_qs

import pytest
import pytest_asyncio
from aiohttp import web

from adapters.matrix.outside import MatrixOutside
from adapters.outside_api import AccountRoutes, Route
from bridge.ledger.sqlite import SqliteLedger
from tests.unit.matrix_server import ALICE, BOB, JSON, FakeHomeserver

COUNT = 12


class Killed(BaseException):
    """The process ends here: nobody catches it."""


class QueueServer(FakeHomeserver):
    """Hands to-device messages out until they are acknowledged by the next sync's `since`, and never again."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: list[int] = list(range(1, COUNT + 1))

    async def _answer(self, method: str, path: str, body: bytes) -> web.Response:
        if not path.startswith("/sync"):
            return await super()._answer(method, path, body)
        since = int(parse_qs(path.partition("?")[2]).get("since", ["0"])[0])
        self.queue = [number for number in self.queue if number > since]
        if not self.queue:
            await asyncio.sleep(0.1)
        batch = self.queue[:2]
        events: list[JSON] = [{"type": "m.dummy", "sender": BOB, "content": {"number": number}} for number in batch]
        return web.json_response({"next_batch": str(max([since, *batch])), "to_device": {"events": events}})


class LedgerEdge:
    """The edge of a gateway with a real ledger, killed around the commit of a batch as the test says."""

    def __init__(self, ledger: SqliteLedger, when: Callable[[int], str]) -> None:
        self._ledger = ledger
        self._when = when
        self.batches = 0
        self.killed = asyncio.Event()

    async def arrived(self, account: str, name: str, body: bytes, *, mark: tuple[str, str] | None = None) -> None:
        """See Edge."""
        await self.arrived_batch(account, [(name, body)], mark=mark)

    async def arrived_batch(
        self, account: str, entries: Sequence[tuple[str, bytes]], *, mark: tuple[str, str] | None = None
    ) -> None:
        """See Edge."""
        told = [entry for entry in entries if entry[0] == "to-device"]
        if told:
            self.batches += 1
        when = self._when(self.batches) if told else ""
        if when == "before":
            self.killed.set()
            raise Killed
        await self._ledger.append_arrivals(account, "matrix", entries, mark=mark)
        if when == "after":
            self.killed.set()
            raise Killed

    async def mark(self, account: str, name: str) -> str | None:
        """See Edge."""
        return self._ledger.mark(account, "matrix", name)

    async def set_mark(self, account: str, name: str, value: str) -> None:
        """See Edge."""
        await self._ledger.set_mark(account, "matrix", name, value)

    def health(self, account: str | None, state: str, detail: str) -> None:
        """See Edge."""


@pytest_asyncio.fixture
async def server() -> AsyncIterator[QueueServer]:
    """A homeserver with messages that wait."""
    made = QueueServer()
    await made.start()
    yield made
    await made.stop()


def stored(path: Path) -> list[int]:
    """The to-device messages in the inbox, in order."""
    with sqlite3.connect(path) as db:
        rows = db.execute("SELECT body FROM inbox WHERE name = 'to-device' ORDER BY position").fetchall()
    return [int(json.loads(body)["content"]["number"]) for (body,) in rows]


async def run_until_killed(server: QueueServer, path: Path, when: Callable[[int], str]) -> bool:
    """One life of the gateway. Returns whether it was killed, or else has everything."""
    ledger = SqliteLedger(path)
    edge = LedgerEdge(ledger, when)
    half = MatrixOutside({"homeserver": server.url})
    route = Route("bob", "matrix", BOB, "bob@gate")
    credentials = {"matrix": {"password": "secret"}}
    await half.connect(edge, [AccountRoutes("alice", "me@here", {"matrix": ALICE}, (route,), credentials)])
    try:
        async with asyncio.timeout(20):
            while not edge.killed.is_set() and len(stored(path)) < COUNT:  # noqa: ASYNC110 - the ledger has no event
                await asyncio.sleep(0.01)
    finally:
        await half.close()
        await ledger.close()
    return edge.killed.is_set()


@pytest.mark.parametrize("when", ["before", "after"])
async def test_no_to_device_message_is_lost_or_doubled_by_a_crash_around_the_commit(
    server: QueueServer, tmp_path: Path, when: str
) -> None:
    path = tmp_path / "ledger.db"
    lives = 0
    while await run_until_killed(server, path, lambda batch: when if batch == 2 else ""):
        lives += 1
    assert lives >= 2
    assert stored(path) == list(range(1, COUNT + 1))
