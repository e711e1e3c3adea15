"""A homeserver with an application service: ghosts, their devices, what is new for each; and a gateway's edge."""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import aiohttp
from aiohttp import web

from adapters.matrix.outside import MatrixOutside
from adapters.outside_api import AccountRoutes, Route
from bridge.audit import Counters
from bridge.edge import Gate, NetworkEdge
from bridge.ledger.sqlite import SqliteLedger
from rig.services import free_port
from tests.unit.matrix_server import JSON, FakeHomeserver, timeline_event

AS_TOKEN, HS_TOKEN = "a" * 64, "h" * 64
ALICE, CAROL, BOB = "@xmpp_alice:one.example", "@xmpp_carol:one.example", "@bob:two.example"
ROOMS = {ALICE: "!alice:one.example", CAROL: "!carol:one.example"}


@dataclass
class GhostHomeserver(FakeHomeserver):
    """`news`: what each ghost's `/sync` still has to tell; each is told until the next one is asked for."""

    devices: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    news: dict[str, list[JSON]] = field(default_factory=lambda: defaultdict(list))
    reached: bool = True
    asserted: list[tuple[str, str | None, str | None]] = field(default_factory=list)
    """Path, user and device of every request."""
    _news_came: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.token = AS_TOKEN
        for room in ROOMS.values():
            self.encryption[room] = {"algorithm": "m.megolm.v1.aes-sha2"}
        self.members = {room: {ghost: "join", BOB: "join"} for ghost, room in ROOMS.items()}
        self.direct = {BOB: list(ROOMS.values())}

    def write(self, ghost: str, *numbers: int) -> list[JSON]:
        """Bob writes in the room of a ghost; returns the events."""
        events = [timeline_event(number, BOB) for number in numbers]
        self.news[ghost].append({"rooms": {"join": {ROOMS[ghost]: {"timeline": {"events": events}}}}})
        self._news_came.set()
        return [{**event, "room_id": ROOMS[ghost]} for event in events]

    def syncs_of(self, ghost: str) -> int:
        """How often a ghost has asked for news."""
        return sum(path.startswith("/sync") and user == ghost for path, user, _ in self.asserted)

    async def _answer(self, method: str, path: str, body: bytes) -> web.Response:
        parts = urlsplit(path)
        query = parse_qs(parts.query)
        user, device = query.get("user_id", [None])[0], query.get("device_id", [None])[0]
        self.asserted.append((path, user, device))
        if parts.path.startswith("/_matrix/client/v1/appservice"):
            return web.json_response({"duration_ms": 1} if self.reached else {}, status=200 if self.reached else 502)
        if device is not None and device not in self.devices[user or ""]:
            return web.json_response({"errcode": "M_UNKNOWN_DEVICE", "error": "no"}, status=400)
        if parts.path.startswith("/devices/"):
            return self._device(method, user or "", parts.path.rpartition("/")[2])
        if parts.path == "/sync":
            return await self._sync_of(user or "", query)
        told: dict[str, JSON] = {
            "/register": {"user_id": user},
            "/account/whoami": {"user_id": user, "device_id": device},
            "/joined_rooms": {"joined_rooms": [ROOMS.get(user or "")]},
        }
        if parts.path in told:
            return web.json_response(told[parts.path])
        return await FakeHomeserver._answer(self, method, path.partition("?")[0], body)

    def _device(self, method: str, user: str, device: str) -> web.Response:
        there = device in self.devices[user]
        if method == "PUT":
            self.devices[user].add(device)
        elif not there:
            return web.json_response({"errcode": "M_NOT_FOUND", "error": "no"}, status=404)
        return web.json_response({}, status=200 if there else 201)

    async def _sync_of(self, user: str, query: dict[str, list[str]]) -> web.Response:
        """Each token is a number: how much of the news was told before."""
        since = int(query["since"][0]) if "since" in query else len(self.news[user])
        if since >= len(self.news[user]) and "since" in query:
            self._news_came.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news_came.wait(), min(int(query["timeout"][0]) / 1000, 0.2))
        if since < len(self.news[user]):
            return web.json_response({"next_batch": str(since + 1), **self.news[user][since]})
        return web.json_response({"next_batch": str(since)})


class HeldEdge(NetworkEdge):
    """A gateway's edge over a ledger, whose arrivals of some accounts can be held back."""

    held: frozenset[str] = frozenset()

    async def arrived_batch(
        self, account: str, entries: Sequence[tuple[str, bytes]], *, mark: tuple[str, str] | None = None
    ) -> None:
        """See Edge."""
        while account in self.held and any(name == "event" for name, _ in entries):  # noqa: ASYNC110 - a test lets go
            await asyncio.sleep(0.01)
        await NetworkEdge.arrived_batch(self, account, entries, mark=mark)


class Rig:
    """A homeserver, a ledger, and the outside half between them."""

    def __init__(self, server: GhostHomeserver, folder: Path) -> None:
        self.server = server
        self.port = free_port()
        self.ledger = SqliteLedger(folder / "ledger.db")
        self.health: list[tuple[str | None, str]] = []
        self.ghosts: tuple[str, ...] = (ALICE, CAROL)
        self._make()

    def _make(self) -> None:
        where = {"appservice_id": "lockgate", "appservice_host": "127.0.0.1", "appservice_port": str(self.port)}
        tokens = {"as_token": AS_TOKEN, "hs_token": HS_TOKEN}
        self.half = MatrixOutside({"homeserver": self.server.url, **where, **tokens})
        self.edge = HeldEdge(
            self.half,
            self.ledger,
            Gate(self.ledger),
            woken=lambda _accounts: None,
            health=lambda _network, account, state, _detail: self.health.append((account, state)),
            counters=Counters(),
        )

    def routes(self) -> list[AccountRoutes]:
        """Every ghost with Bob."""
        return [
            AccountRoutes(
                ghost[6:11],
                f"{ghost[6:11]}@here",
                {"matrix": ghost},
                (Route("bob", "matrix", BOB, "bob@gate"),),
                {"matrix": {"as_token": AS_TOKEN}},
            )
            for ghost in self.ghosts
        ]

    async def start(self) -> None:
        """Connect, and wait until every ghost has asked for its news."""
        self.health.clear()
        await self.half.connect(self.edge, self.routes())
        async with asyncio.timeout(10):
            while not self._begun():  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.01)

    def _begun(self) -> bool:
        told = any(account is None for account, _ in self.health)  # whether the homeserver reaches us
        return told and all(self.mark(ghost) for ghost in self.ghosts)

    def mark(self, ghost: str) -> str | None:
        """How far the ghost has read."""
        return self.ledger.mark(ghost[6:11], "matrix", "since")

    async def restart(self) -> None:
        """End as a crash does: what is not in the ledger is gone."""
        await self.half.close()
        self._make()
        await self.start()

    def event_ids(self, ghost: str) -> list[str]:
        """Events in the inbox."""
        found = [row for row in self.ledger.read_inbox(ghost[6:11], 0, 1000) if row.name == "event"]
        return [json.loads(row.body)["event"]["event_id"] for row in found]

    async def put(
        self, number: int, *events: JSON, token: str | None = HS_TOKEN, body: bytes | None = None
    ) -> tuple[int, JSON]:
        """A transaction of the homeserver's; returns the answer."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        octets = json.dumps({"events": list(events)}).encode() if body is None else body
        return await self.call("PUT", f"transactions/{number}", octets, headers)

    async def call(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, JSON]:
        """A request of the homeserver's."""
        url = f"http://127.0.0.1:{self.port}/_matrix/app/v1/{path}"
        async with aiohttp.ClientSession() as session, session.request(method, url, data=body, headers=headers) as got:
            return got.status, await got.json()


@asynccontextmanager
async def rig_of(folder: Path) -> AsyncIterator[Rig]:
    """Started and ended."""
    server = GhostHomeserver()
    await server.start()
    made = Rig(server, folder)
    try:
        await made.start()
        yield made
    finally:
        await made.half.close()
        await made.ledger.close()
        await server.stop()
