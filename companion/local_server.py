"""One connection of a local program to the companion: TLS, the stream, and its part in the session."""

import asyncio
import contextlib
import hmac

from companion.acks import WrongCount
from companion.local_door import Door
from companion.local_events import (
    Acknowledged,
    AckWanted,
    Arrived,
    Authenticated,
    BindWanted,
    Closed,
    EnableWanted,
    Event,
    OfferWanted,
    Refused,
    ResumeWanted,
    StartTls,
)
from companion.local_peer import is_foreign
from companion.local_stream import LocalStream
from companion.local_tls import TlsBroken, TlsLayer
from companion.session import Session
from companion.upstream_login import LoginFailed

LOGIN_S = 30.0
BIND_S = 90.0
"""From the login to the bound resource: the real server's part is in it."""
REFUSAL_DELAY_S = 1.0
_LINGER_S = 5.0


class Connection(asyncio.Protocol):
    """One connection of a local program: TLS, the stream, and its part in the session."""

    def __init__(self, door: Door, tls: bool) -> None:
        self._door = door
        self._stream = LocalStream(door.settings.domain, door.kept, secured=False)
        self._tls: TlsLayer | None = TlsLayer(door.context) if tls else None
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._language = "en"
        self._session: Session | None = None
        self._opening: Session | None = None
        self._resumable = False
        self._delayed = False

    @property
    def known(self) -> bool:
        """Whether it has logged in."""
        return self._stream.authenticated

    # ------------------------------------------------------------ asyncio
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody connected."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        theirs, ours = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        if theirs is not None and is_foreign(theirs[:2], ours[:2]):
            transport.abort()
            return
        self._door.admit(self)
        self._set_timer(LOGIN_S)

    def data_received(self, data: bytes) -> None:
        """Octets of the wire."""
        try:
            self._received(data)
        except TlsBroken:
            self.abort()
            return
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, in whatever way."""
        self._stop_timer()
        self._transport = None
        self._door.gone(self)
        opening, self._opening = self._opening, None
        if opening is not None:
            self._door.spawn(opening.end())
        self._leave(resumable=self._resumable)

    def pause_writing(self) -> None:
        """The client does not read."""
        if self._session is not None:
            self._session.client_slow(True)

    def resume_writing(self) -> None:
        """It does again."""
        if self._session is not None:
            self._session.client_slow(False)

    # ------------------------------------------------------------ octets
    def _received(self, data: bytes) -> None:
        if self._tls is None:
            self._events(self._stream.feed(data))
            return
        was = self._tls.established
        plain = self._tls.received(data)
        if self._tls.established and not was:
            self._stream.secured(self._bindings(self._tls))
        if plain:
            self._events(self._stream.feed(plain))

    def _bindings(self, tls: TlsLayer) -> dict[str, bytes]:
        exporter = tls.exporter()
        return {"tls-exporter": exporter, "tls-server-end-point": self._door.end_point} if exporter else {}

    def flush(self) -> None:
        """Write what the stream has to say."""
        if self._transport is None or self._transport.is_closing() or self._delayed:
            return
        out = self._stream.to_send()
        if self._tls is not None:
            if out:
                self._tls.send(out)
            if self._stream.closed:
                self._tls.close()
            out = self._tls.to_send()
        if out:
            self._transport.write(out)
        if self._stream.closed:
            self._transport.close()
            asyncio.get_running_loop().call_later(_LINGER_S, self.abort)

    def write(self, octets: bytes) -> None:
        """Write a stanza, or an element of stream management."""
        self.flush()
        if self._transport is None or self._transport.is_closing() or self._tls is None:
            return
        self._tls.send(octets)
        self._transport.write(self._tls.to_send())

    def fail(self, condition: str, text: str = "") -> None:
        """End the stream with an error."""
        self._stream.fail(condition, text)
        self._leave(resumable=False)
        self.flush()

    # ------------------------------------------------------------ events
    def _events(self, events: list[Event]) -> None:
        for event in events:
            self._event(event)

    def _event(self, event: Event) -> None:  # noqa: C901, PLR0912 - one line for each kind
        session = self._session
        if isinstance(event, StartTls):
            self.flush()
            self._tls = TlsLayer(self._door.context)
        elif isinstance(event, Authenticated):
            self._language = event.language
            self._set_timer(BIND_S)
        elif isinstance(event, Refused):
            self._delay()
        elif isinstance(event, OfferWanted):
            self._door.spawn(self._offer())
        elif isinstance(event, BindWanted):
            self._door.spawn(self._bind(event.resource))
        elif isinstance(event, ResumeWanted):
            self._door.spawn(self._resume(event))
        elif isinstance(event, Closed):
            self._leave(resumable=False)
        elif session is None:
            pass
        elif isinstance(event, Arrived):
            session.from_client(event.octets, event.mark)
        elif isinstance(event, EnableWanted):
            self._enable(session, event.resume)
        elif isinstance(event, AckWanted):
            session.client.peer_asked()
        elif isinstance(event, Acknowledged):
            self._acknowledged(session, event.handled)
        else:
            session.upstream.hint(event.octets)

    async def _offer(self) -> None:
        """A client that may resume is not kept waiting for the real server; any other needs its features."""
        held = self._door.session
        if held is not None:
            self._stream.offer(held.upstream.features)
        elif (opened := await self._open()) is not None:
            self._stream.offer(opened.upstream.features)
        self.flush()

    async def _open(self) -> Session | None:
        refused = ""
        try:
            opened = await self._door.open(self._language)
        except LoginFailed as failed:
            refused = str(failed)
        if refused:
            self.fail("remote-connection-failed", refused)
            return None
        if self._transport is None:
            await opened.end()
            return None
        self._opening = opened
        return opened

    async def _bind(self, resource: str | None) -> None:
        session = self._opening or await self._open()
        if session is None:
            return
        self._opening = None
        condition = said = ""
        try:
            jid = await self._door.enter(session, resource, self)
        except LoginFailed as refused:
            condition, said = "remote-connection-failed", str(refused)
        except Exception:  # the hook's, whatever it was about
            condition = "internal-server-error"
        if condition:
            self.fail(condition, said)
        elif self._transport is None or self._stream.closed:
            await self._door.release(session)
        else:
            self._stream.bound(jid)
            self._join(session)

    async def _resume(self, wanted: ResumeWanted) -> None:
        session = self._door.session
        if session is None or not self._resumable_as(session, wanted.previous):
            self._stream.not_resumed()
            self.flush()
            return
        if self._door.holder is not None:
            self._door.holder.replaced()
        wrong = False
        self._stream.resumed(wanted.previous, session.client.resuming())
        self._resumable = True
        self._join(session)
        try:
            session.client.resumed(wanted.handled)
        except WrongCount:
            wrong = True
        if wrong:
            self.fail("undefined-condition")
            await self._door.release(session)

    def _resumable_as(self, session: Session, token: str) -> bool:
        return session.client.managed and hmac.compare_digest(session.token.encode(), token.encode())

    def _join(self, session: Session) -> None:
        self._stop_timer()
        self._session = session
        self._door.holder = self
        self.flush()
        session.client_came(self.write, self._pause)

    def replaced(self) -> None:
        """The session goes on in another connection."""
        if self._session is not None:
            self._session.client_went(resumable=True)
        self._session = None
        self._stream.fail("conflict")
        self.flush()

    def _enable(self, session: Session, resume: bool) -> None:
        self._resumable = resume
        self._stream.enabled(session.token if resume else None, int(self._door.settings.resume_s))
        self.flush()
        session.client.began()

    def _acknowledged(self, session: Session, handled: int) -> None:
        wrong = False
        try:
            session.client.peer_told(handled)
        except WrongCount:
            wrong = True
        if wrong:
            self.fail("undefined-condition")

    # ------------------------------------------------------------ ends
    def _leave(self, *, resumable: bool) -> None:
        session, self._session = self._session, None
        if session is None:
            return
        if self._door.holder is self:
            self._door.holder = None
        if not session.client_went(resumable):
            self._door.spawn(self._door.release(session))

    def _pause(self, paused: bool) -> None:
        transport = self._transport
        if transport is not None and not transport.is_closing():
            with contextlib.suppress(RuntimeError):
                if paused:
                    transport.pause_reading()
                else:
                    transport.resume_reading()

    def _delay(self) -> None:
        """A refused attempt is answered late, and nothing is read meanwhile: guessing is slow."""
        self._delayed = True
        self._pause(True)
        asyncio.get_running_loop().call_later(REFUSAL_DELAY_S, self._delay_over)

    def _delay_over(self) -> None:
        self._delayed = False
        self.flush()
        self._pause(False)

    def _set_timer(self, seconds: float) -> None:
        self._stop_timer()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._too_slow)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self.fail("connection-timeout")

    def abort(self) -> None:
        """Close it without a word."""
        if self._transport is not None:
            self._transport.abort()
