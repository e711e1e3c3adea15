"""The connection to the XMPP server as an external component (XEP-0114): kept up, and writes confirmed."""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable

from slixmpp import ComponentXMPP
from slixmpp.exceptions import XMPPError
from slixmpp.xmlstream.xmlstream import NotConnectedError

from adapters.xmpp.outside_health import HEALTH
from adapters.xmpp.outside_stanzas import iq_get
from adapters.xmpp.outside_stream import Cut, SlixmppParser

# Its messages repeat stanzas, and through the wrong client a stanza can be somebody's plaintext.
logging.getLogger("slixmpp").setLevel(logging.CRITICAL + 1)

ACCEPT_TIMEOUT_S = 10.0
CONFIRM_TIMEOUT_S = 60.0
LONGEST_DELAY_S = 30.0
_REFUSED = ("not-authorized", "host-unknown", "conflict", "invalid-namespace")
_STATES = {**dict.fromkeys(_REFUSED, "refused"), "up": "up"}


class Confirmations:
    """Writes waiting for the server's word that it has handled them.

    The component protocol has no acknowledgements. A server handles one stream in order, so an iq of the component
    to itself comes back only after everything written before it was taken: one iq per batch, one batch at a time.
    """

    def __init__(self, jid: str, write: Callable[[bytes], None]) -> None:
        self._jid = jid
        self._write = write
        self._token = secrets.token_hex(8)
        self._count = 0
        self._written: list[asyncio.Future[bool]] = []
        self._asked: list[asyncio.Future[bool]] = []

    def wrote(self) -> asyncio.Future[bool]:
        """Something was written: becomes True once the server has handled it, False when the stream was lost."""
        confirmed: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._written.append(confirmed)
        if len(self._written) == 1 and not self._asked:
            # At the end of this turn of the loop, so that what is written together is confirmed together.
            asyncio.get_running_loop().call_soon(self._ask)
        return confirmed

    def came_back(self, id_: str) -> bool:
        """An iq of the component's own came in; whether it was one of these."""
        if not id_.startswith(self._token):
            return False
        if id_ == f"{self._token}-{self._count}":
            asked, self._asked = self._asked, []
            _resolve(asked, True)
            self._ask()
        return True

    def lost(self) -> None:
        """The stream is gone: nothing that is still waiting is known to have arrived."""
        waiting = self._asked + self._written
        self._asked, self._written = [], []
        _resolve(waiting, False)

    def _ask(self) -> None:
        if self._asked or not self._written:
            return
        self._asked, self._written = self._written, []
        self._count += 1
        ping = "<ping xmlns='urn:xmpp:ping'/>"
        self._write(iq_get(self._jid, self._jid, f"{self._token}-{self._count}", ping))


def _resolve(waiting: list[asyncio.Future[bool]], result: bool) -> None:
    for future in waiting:
        if not future.done():
            future.set_result(result)


class Stream(ComponentXMPP):
    """slixmpp's component, with stanzas taken out of its hands (see `SlixmppParser`)."""

    def __init__(self, jid: str, secret: str, host: str, port: int, on_stanza: Callable[[Cut], None]) -> None:
        super().__init__(jid, secret, host, port)  # type: ignore[no-untyped-call]
        self._on_stanza = on_stanza
        self.broken = False

    def init_parser(self) -> None:
        """A parser for a new connection."""
        self.xml_depth = 0
        self.xml_root = None
        self.broken = False
        self.parser = SlixmppParser(self._on_stanza, self._on_broken)  # type: ignore[assignment]

    def exception(self, exception: Exception) -> None:
        """A handler raised: slixmpp would log it with what it was about."""
        if not isinstance(exception, XMPPError):
            self.abort()

    def _on_broken(self) -> None:
        self.broken = True
        self.abort()


class Link:
    """Keeps the component connected until closed."""

    def __init__(
        self,
        *,
        jid: str,
        host: str,
        port: int,
        secret: str,
        on_stanza: Callable[[Cut], None],
        on_up: Callable[[], None],
        on_down: Callable[[], None],
        on_health: Callable[[str, str], None],
    ) -> None:
        self._address = (host, port)
        self._jid = jid
        self._stream = Stream(jid, secret, host, port, on_stanza)
        self._on_up, self._on_down, self._on_health = on_up, on_down, on_health
        self._accepted = asyncio.Event()
        self._ended = asyncio.Event()
        self._reason = "lost"
        self._confirmations: Confirmations | None = None
        self._task: asyncio.Task[None] | None = None
        self._stream.add_event_handler("session_start", self._session_started)
        self._stream.add_event_handler("disconnected", self._disconnected)
        self._stream.add_event_handler("connection_failed", self._connection_failed)
        self._stream.add_event_handler("stream_error", self._stream_error)

    @property
    def up(self) -> bool:
        """Whether the server has accepted the component and the stream stands."""
        return self._confirmations is not None

    def start(self) -> None:
        """Begin to connect."""
        self._task = asyncio.create_task(self._keep_connected())

    async def close(self) -> None:
        """Disconnect, in an orderly way if the server goes along within two seconds."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._stream.cancel_connection_attempt()
        if self._stream.is_connected():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stream.disconnect(wait=2.0), 4.0)
        self._lost()
        self._on_health("down", HEALTH["closed"])

    def write(self, octets: bytes) -> bool:
        """Write without asking for confirmation; False when there is no stream."""
        if self._confirmations is None:
            return False
        try:
            self._stream.send_raw(octets)
        except NotConnectedError:
            return False
        return True

    async def write_confirmed(self, octets: bytes) -> bool:
        """Write, and wait until the server has handled it; False when that will not be known."""
        confirmations = self._confirmations
        if confirmations is None or not self.write(octets):
            return False
        try:
            return await asyncio.wait_for(confirmations.wrote(), CONFIRM_TIMEOUT_S)
        except TimeoutError:
            # A stream on which nothing comes back is dead, whatever the socket says.
            self._stream.abort()
            return False

    def came_back(self, id_: str) -> bool:
        """An iq from the component to itself arrived."""
        return self._confirmations is not None and self._confirmations.came_back(id_)

    def pause_reading(self, paused: bool) -> None:
        """Stop or resume taking stanzas from the server, when the ledger cannot keep up."""
        transport = self._stream.transport
        if transport is not None and not transport.is_closing():
            if paused:
                transport.pause_reading()
            else:
                transport.resume_reading()

    async def _keep_connected(self) -> None:
        delay_s = 0.0
        while True:
            was_up = await self._one_connection()
            delay_s = 0.2 if was_up else min(LONGEST_DELAY_S, 2 * delay_s + 0.2)
            await asyncio.sleep(delay_s * (0.75 + secrets.randbelow(500) / 1000))

    async def _one_connection(self) -> bool:
        """Connect and stay until the connection ends; whether the component was accepted."""
        self._accepted.clear()
        self._ended.clear()
        self._reason = "lost"
        self._on_health("connecting", HEALTH["connecting"])
        self._stream.connect(*self._address)
        accepted = await self._wait_until_accepted()
        if accepted:
            self._confirmations = Confirmations(self._jid, self._stream.send_raw)
            self._on_health("up", HEALTH["up"])
            self._on_up()
            await self._ended.wait()
        self._stream.cancel_connection_attempt()
        self._stream.abort()
        self._lost()
        reason = "broken" if self._stream.broken else self._reason
        self._on_health(_STATES.get(reason, "down"), HEALTH.get(reason, HEALTH["lost"]))
        return accepted

    async def _wait_until_accepted(self) -> bool:
        waits = [asyncio.create_task(self._accepted.wait()), asyncio.create_task(self._ended.wait())]
        try:
            done, _ = await asyncio.wait(waits, timeout=ACCEPT_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if not done:
            self._reason = "silent"
        return self._accepted.is_set() and not self._ended.is_set()

    def _lost(self) -> None:
        confirmations, self._confirmations = self._confirmations, None
        if confirmations is not None:
            confirmations.lost()
            self._on_down()

    def _session_started(self, _: object) -> None:
        self._accepted.set()

    def _disconnected(self, _: object) -> None:
        self._ended.set()

    def _connection_failed(self, _: object) -> None:
        # slixmpp's own back-off grows to five minutes; this link has its own.
        self._reason = "unreachable"
        self._ended.set()
        self._stream.cancel_connection_attempt()

    def _stream_error(self, error: object) -> None:
        condition = error["condition"]  # type: ignore[index]  # a slixmpp stanza
        self._reason = condition if condition in HEALTH else "lost"
