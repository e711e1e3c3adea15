"""The application service: one ghost for each account, and the transactions of the homeserver (decision 0140)."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from urllib.parse import quote

import aiohttp
from yarl import URL

from adapters.matrix import names
from adapters.matrix.outside_account import POLL_S, SINCE_MARK, MatrixAccount
from adapters.matrix.outside_appservice_login import AS_TOKEN, GhostLogin
from adapters.matrix.outside_appservice_news import News, transaction_news
from adapters.matrix.outside_appservice_pace import Pace, Witness
from adapters.matrix.outside_appservice_port import Port
from adapters.matrix.outside_history import Bounds
from adapters.matrix.transport import Homeserver, Reply
from adapters.outside_api import AccountRoutes, Edge, Outcome
from bridge.wire.link import Carry

LISTEN_AGAIN_S = 5.0
PING_EVERY_S = 300.0
PING_AGAIN_S = 10.0
PING_TIMEOUT_S = 70.0


@dataclass
class GhostAccount(MatrixAccount):
    """The connection of one account as its ghost. `pace` tells when it asks for its news."""

    pace: Pace = field(kw_only=True)

    def __post_init__(self) -> None:
        MatrixAccount.__post_init__(self)
        self.login = GhostLogin(
            self.routes.account, self.edge, self.server, self.routes.credentials.get(names.NETWORK, {})
        )

    @property
    def user(self) -> str:
        """The ghost."""
        return self.server.user

    def remap(self, routes: AccountRoutes) -> None:
        """The operator changed the contacts."""
        MatrixAccount.remap(self, routes)
        self.pace.ring()

    async def told(self, news: News, rooms: Set[str]) -> None:
        """Return once what concerns this account is in the inbox. `rooms`: those of all accounts."""
        marks = self._concern(news, rooms)
        if marks is not None:
            await self.pace.taken(marks, lambda: self._ready)

    def mapped(self) -> Set[str]:
        """Its rooms."""
        return {room for _, room in self.rooms.mapped()}

    def _concern(self, news: News, rooms: Set[str]) -> Set[str] | None:
        """The marks to wait for, None when it does not concern this account."""
        mapped = self.mapped()
        told = [each for room in news.rooms.keys() & mapped for each in news.rooms[room] if each.sender != self.user]
        # A room that nobody has: it may become one with the contact, when the others have left it.
        unknown = {each.sender for room in news.rooms.keys() - rooms for each in news.rooms[room]}
        to_device = news.to_device.get(self.user, frozenset())
        users = (self.rooms.contacts & unknown) | (({self.user} | self.rooms.contacts) & news.users)
        if not (told or users or to_device or news.everybody):
            return None
        return to_device | {each.mark for each in told if each.mark is not None}

    async def _log_in(self) -> None:
        await MatrixAccount._log_in(self)
        self.pace.ring()

    async def _polled(self, since: str | None) -> Reply | None:
        if since is None or self._unsettled():
            self.pace.ring()
        await self.pace.due()
        reply = await MatrixAccount._polled(self, since)
        if reply is None:
            self.pace.ring()  # it was given up, to be made otherwise
        return reply

    async def carry(self, request: Carry) -> Outcome:
        """Carry one request out."""
        outcome = await MatrixAccount.carry(self, request)
        if self._unsettled():
            self.pace.ring()
        return outcome

    def _unsettled(self) -> bool:
        """Whether there is something to ask for that no transaction tells of."""
        return self._reader.waiting or self._mapped() != self._listed

    def _patience_s(self) -> int:
        return self.pace.patience_s()

    def _noted(self, outcome: Outcome) -> Outcome:
        noted = MatrixAccount._noted(self, outcome)
        if not self._ready:
            self.pace.ring()
        return noted


def ghost_account(
    routes: AccountRoutes, edge: Edge, settings: Mapping[str, str], reached: Callable[[], bool]
) -> GhostAccount:
    """The account of a ghost. `reached`: whether the homeserver tells us of news."""
    pace = Pace(reached, POLL_S)
    server = Homeserver(settings["homeserver"], routes.far_addresses[names.NETWORK])
    return GhostAccount(routes, Witness(edge, pace, SINCE_MARK), server, bounds=Bounds.of(settings), pace=pace)


class Appservice:
    """The application service of the gateway: where it listens, and whether the homeserver reaches it."""

    def __init__(self, settings: Mapping[str, str], ghosts: Callable[[], Iterable[GhostAccount]]) -> None:
        self._id = settings["appservice_id"]
        self._token = settings[AS_TOKEN]
        self._url = settings["homeserver"].rstrip("/")
        self._address = settings["appservice_host"], int(settings["appservice_port"])
        self._ghosts = ghosts
        self._reached = self._told = False
        self._edge: Edge | None = None
        self._task: asyncio.Task[None] | None = None
        self._port = Port(settings["hs_token"], self._taken, knows=self._knows, pinged=self._was_reached)

    @classmethod
    def of(cls, settings: Mapping[str, str], ghosts: Callable[[], Iterable[GhostAccount]]) -> "Appservice | None":
        """The one that the settings describe, None when they describe none."""
        return cls(settings, ghosts) if "appservice_id" in settings else None

    def reached(self) -> bool:
        """Whether the homeserver tells us of news."""
        return self._reached

    def start(self, edge: Edge) -> None:
        """Begin to listen."""
        self._edge = edge
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop listening."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._port.close()

    # ------------------------------------------------------------ of the homeserver
    async def _taken(self, body: bytes | None) -> None:
        news = transaction_news(body) if body is not None else News(everybody=True)
        self._was_reached()
        ghosts = list(self._ghosts())
        rooms = frozenset[str]().union(*(ghost.mapped() for ghost in ghosts))
        async with asyncio.TaskGroup() as group:
            for ghost in ghosts:
                group.create_task(ghost.told(news, rooms))

    def _knows(self, user: str) -> bool:
        return any(ghost.user == user for ghost in self._ghosts())

    def _was_reached(self) -> None:
        self._tell(reached=True)

    def _tell(self, *, reached: bool) -> None:
        assert self._edge is not None
        if reached == self._reached and self._told:
            return
        self._reached, self._told = reached, True
        if reached:
            self._edge.health(None, "up", "The homeserver reaches the application service.")
            for ghost in self._ghosts():
                ghost.pace.ring()  # what it could not tell us
            return
        self._edge.health(None, "down", "The homeserver does not reach the application service; it is asked instead.")
        for ghost in self._ghosts():
            ghost.pace.hurry()

    # ------------------------------------------------------------ of ours
    async def _run(self) -> None:
        while True:
            try:
                await self._port.open(*self._address)
                break
            except OSError:
                assert self._edge is not None
                self._edge.health(None, "down", "The address of the application service cannot be listened on.")
                await asyncio.sleep(LISTEN_AGAIN_S)
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
            while True:
                reached = await self._ping(session)
                self._tell(reached=reached)
                await asyncio.sleep(PING_EVERY_S if reached else PING_AGAIN_S)

    async def _ping(self, session: aiohttp.ClientSession) -> bool:
        """Ask the homeserver to reach us: one that had given us up for a time then comes at once (spec: Pinging)."""
        path = f"/_matrix/client/v1/appservice/{quote(self._id, safe='')}/ping"
        try:
            async with session.post(
                URL(self._url + path, encoded=True),
                data=b'{"transaction_id":"lockgate"}',
                headers={"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"},
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=PING_TIMEOUT_S),
            ) as response:
                return response.status == 200
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError):
            return False
