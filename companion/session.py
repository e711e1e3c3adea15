"""One client session: two legs, what stands between them, and when it ends."""

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable, Sequence

from companion.acks import Ticket
from companion.hook import Action, Interceptor, ToServer
from companion.leg import Leg
from companion.settings import Settings
from companion.upstream import Upstream

MOST_WAITING = 256
"""Stanzas of the client that wait for the server's word, beyond which the client is not read."""
MOST_WAITING_OCTETS = 16 << 20
MOST_AWAY = 400
"""Stanzas kept for a client that is away: fewer than servers keep unacknowledged (Prosody: 500), so none is lost."""
_FLUSH_S = 10.0

_Work = tuple[bytes, Ticket]


class Session:
    """From the client's login until it leaves for good, or the real server does."""

    def __init__(self, settings: Settings, interceptor: Interceptor, language: str) -> None:
        self.token = secrets.token_urlsafe(18)
        self.client = Leg(self._progressed)
        self.upstream = Upstream(
            settings,
            language,
            on_stanza=self._from_server,
            on_lost=self._lost,
            on_progress=self._progressed,
        )
        self.over = asyncio.Event()
        self.condition = ""
        """Why it is over, as a stream error condition; empty when the client left."""
        self.pause_client: Callable[[bool], None] = lambda paused: None
        self._settings = settings
        self._interceptor = interceptor
        self._to_server: asyncio.Queue[_Work] = asyncio.Queue()
        self._to_client: asyncio.Queue[_Work] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []
        self._away: asyncio.TimerHandle | None = None
        self._congested = self._attached = False
        self._busy = 0
        self._moved = asyncio.Event()

    async def begin(self, resource: str | None) -> str:
        """Bind at the real server; the full JID. Raises LoginFailed."""
        jid = await self.upstream.bind(resource)
        self._attached = True
        self._interceptor.attach(self._push)
        await self._interceptor.begun(jid)
        self._tasks = [
            asyncio.create_task(self._pump_client()),
            asyncio.create_task(self._pump_server()),
        ]
        return jid

    async def end(self, condition: str = "") -> None:
        """End it: what the client has sent is still handed on, then the server is told."""
        if self._away is not None:
            self._away.cancel()
        if self._tasks:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._flushed(), _FLUSH_S)
        if self._attached:
            with contextlib.suppress(Exception):  # it cannot stop the session from ending
                await self._interceptor.ended()
            self._interceptor.attach(None)
        for task in self._tasks:
            task.cancel()
        self._tasks = []
        await self.upstream.close()
        self._set_over(condition)

    async def _flushed(self) -> None:
        """Until the server has taken what the client sent."""
        while not self._tasks[0].done() and (self._busy or len(self.upstream.leg.departures)):
            self._moved.clear()
            await self._moved.wait()

    # ------------------------------------------------------------ the client
    def client_came(self, write: Callable[[bytes], None], pause: Callable[[bool], None]) -> None:
        """The client has a connection."""
        if self._away is not None:
            self._away.cancel()
            self._away = None
        self.pause_client = pause
        self.client.connected(write)
        self._progressed()

    def client_went(self, resumable: bool) -> bool:
        """It has none any more; whether the session waits for it."""
        self.client.disconnected()
        self.pause_client = lambda paused: None
        if not resumable or not self.client.managed or self.over.is_set():
            return False
        self._away = asyncio.get_running_loop().call_later(self._settings.resume_s, self._set_over, "")
        self._progressed()
        return not self.over.is_set()

    def from_client(self, octets: bytes, mark: tuple[str, ...]) -> None:
        """A stanza of the client."""
        ticket = self.client.arrived(mark)
        if ticket is not None:
            self._busy += 1
            self._to_server.put_nowait((octets, ticket))
            self._progressed()

    def client_slow(self, slow: bool) -> None:
        """The client does not read as fast as the server sends."""
        self._congested = slow
        self._progressed()

    # ------------------------------------------------------------ the server
    def _from_server(self, octets: bytes, ticket: Ticket) -> None:
        self._to_client.put_nowait((octets, ticket))
        self._progressed()

    def _lost(self, condition: str) -> None:
        self._set_over(condition)

    # ------------------------------------------------------------ between them
    async def _pump_client(self) -> None:
        while True:
            octets, ticket = await self._to_server.get()
            await self._decided(self._interceptor.from_client(octets), ticket)
            self._busy -= 1
            self._moved.set()

    async def _pump_server(self) -> None:
        while True:
            octets, ticket = await self._to_client.get()
            await self._decided(self._interceptor.from_server(octets), ticket)

    async def _decided(self, decision: Awaitable[Sequence[Action]], ticket: Ticket) -> None:
        failed = False
        try:
            actions = await decision
        except Exception:  # whatever it was about: the session cannot go on without this stanza
            failed = True
        if failed:
            self._set_over("internal-server-error")
            raise asyncio.CancelledError
        self._perform(actions, ticket)

    def _push(self, actions: Sequence[Action]) -> None:
        self._perform(actions, None)

    def _perform(self, actions: Sequence[Action], ticket: Ticket | None) -> None:
        if ticket is not None:
            ticket.add(len(actions))
        for action in actions:
            if isinstance(action, ToServer):
                self.upstream.leg.send(action.octets, ticket)
            else:
                self.client.send(action.octets, ticket, action.taken)
        if ticket is not None:
            ticket.settle()
        self._progressed()

    def _progressed(self) -> None:
        """Something was taken or came: tell who asked, and keep what waits within bounds."""
        self._moved.set()
        self.client.tell_progress()
        self.upstream.leg.tell_progress()
        behind = (
            self.client.arrivals.waiting > MOST_WAITING or self.upstream.leg.departures.octets > MOST_WAITING_OCTETS
        )
        self.pause_client(behind)
        kept = self.client.departures
        full = kept.octets > MOST_WAITING_OCTETS or self._to_client.qsize() > MOST_WAITING
        self.upstream.pause_reading(self._congested or full)
        if self._away is not None and (full or len(kept) > MOST_AWAY):
            self._set_over("")

    def _set_over(self, condition: str) -> None:
        if not self.over.is_set():
            self.condition = condition
            self.over.set()
