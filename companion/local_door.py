"""Who is in: all local connections, and the one session that at most one of them has."""

import asyncio
import hashlib
from collections.abc import Coroutine
from typing import Protocol

from OpenSSL import SSL

from companion.hook import Interceptor
from companion.local_sasl import Accounts
from companion.session import Session
from companion.settings import Settings

MOST_STRANGERS = 16
"""Connections that have not logged in, beyond which the oldest is closed."""


class Holder(Protocol):
    """A connection, as the door sees it."""

    @property
    def known(self) -> bool:
        """Whether it has logged in."""

    def fail(self, condition: str) -> None:
        """End its stream with an error."""

    def abort(self) -> None:
        """Close it without a word."""

    def replaced(self) -> None:
        """Its session goes on in another connection."""


class Door:
    """All connections, and the one session."""

    def __init__(
        self, settings: Settings, interceptor: Interceptor, kept: Accounts, context: SSL.Context, der: bytes
    ) -> None:
        self.settings, self.kept, self.context = settings, kept, context
        self.end_point = hashlib.sha256(der).digest()
        self.session: Session | None = None
        self.holder: Holder | None = None
        self._interceptor = interceptor
        self._connections: dict[Holder, None] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._changing = asyncio.Lock()

    def admit(self, connection: Holder) -> None:
        """One more that has not logged in. Beyond the limit the oldest has to go, so that nobody can fill the room."""
        strangers = [other for other in self._connections if not other.known]
        if len(strangers) >= MOST_STRANGERS:
            strangers[0].abort()
        self._connections[connection] = None

    def gone(self, connection: Holder) -> None:
        """A connection is closed."""
        self._connections.pop(connection, None)

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        """Do this beside the reading."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def open(self, language: str) -> Session:
        """A session at the real server, logged in but not bound. Raises LoginFailed."""
        session = Session(self.settings, self._interceptor, language)
        try:
            await session.upstream.login()
        except BaseException:
            await session.upstream.close()
            raise
        return session

    async def enter(self, session: Session, resource: str | None, holder: Holder) -> str:
        """Make this the session, in place of any other; its full JID. Raises LoginFailed."""
        async with self._changing:
            await self._end("conflict")
            try:
                jid = await session.begin(resource)
            except BaseException:
                await session.end()
                raise
            self.session, self.holder = session, holder
            self.spawn(self._watch(session))
            return jid

    async def release(self, session: Session, condition: str = "") -> None:
        """End this session."""
        async with self._changing:
            if self.session is session:
                await self._end(condition)

    async def close(self) -> None:
        """End everything."""
        async with self._changing:
            await self._end("system-shutdown")
        for connection in list(self._connections):
            connection.fail("system-shutdown")
        for task in list(self._tasks):
            task.cancel()

    async def _end(self, condition: str) -> None:
        session, holder = self.session, self.holder
        self.session = self.holder = None
        if session is not None:
            if holder is not None and condition:
                holder.fail(condition)
            await session.end(condition)

    async def _watch(self, session: Session) -> None:
        await session.over.wait()
        await self.release(session, session.condition)
