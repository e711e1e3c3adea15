"""The real server: a session that outlives connections, by stream resumption (XEP-0198)."""

import asyncio
import contextlib
import secrets
import ssl
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Coroutine
from xml.sax.saxutils import escape, quoteattr

from slixmpp.xmlstream.xmlstream import NotConnectedError

from adapters.companion.names import bare
from companion.acks import Arrivals, Ticket, WrongCount
from companion.leg import NS_SM, Leg
from companion.local_stream import NS_BIND, NS_CSI
from companion.settings import Settings
from companion.stream import NS_CLIENT, NS_STREAM, Element, count
from companion.upstream_login import Connection, LoginFailed

LOGIN_TIMEOUT_S = 30.0
ANSWER_TIMEOUT_S = 20.0
SILENCE_S = 60.0
_LONGEST_DELAY_S = 20.0
_CLOSED = LoginFailed("the server closed the connection", fatal=False)
_PASSED_ON = frozenset(
    (
        "{urn:xmpp:features:rosterver}ver",
        "{urn:xmpp:features:pre-approval}sub",
        f"{{{NS_CSI}}}csi",
        "{http://jabber.org/protocol/caps}c",
    )
)
"""Features of the real server that the client is told of: they concern stanzas, and those pass."""
_NS_STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"
_ANSWERED = frozenset((*(("message", kind) for kind in ("", "normal", "chat")), ("iq", "get"), ("iq", "set")))
_LONGEST_RESUMPTION_S = 3600.0


class Upstream:
    """`login`, `bind`, then stanzas by `leg`; a lost connection is made again for as long as the server resumes it."""

    def __init__(
        self,
        settings: Settings,
        language: str,
        *,
        on_stanza: Callable[[bytes, Ticket], None],
        on_lost: Callable[[str], None],
        on_progress: Callable[[], None],
    ) -> None:
        """`on_lost`: the session is gone for good, and why (a stream error condition)."""
        self.leg = Leg(on_progress)
        self.features = ""
        self.jid = ""
        self._settings, self._language = settings, language
        self._on_stanza, self._on_lost = on_stanza, on_lost
        self._connection: Connection | None = None
        self._answers: asyncio.Queue[Element] = asyncio.Queue()
        self._early: list[Element] = []
        self._logged_in: asyncio.Future[Element] | None = None
        self._ended = asyncio.Event()
        self._live = False
        self._untrusted = False
        self._hint = b""
        self._manages = False
        self._token = ""
        self._lasts_s = 0.0
        self._heard = 0.0
        self._paused = False
        self._tasks: set[asyncio.Task[None]] = set()

    # ------------------------------------------------------------ a new session
    async def login(self) -> str:
        """Connect and log in; the features to pass on. Raises LoginFailed."""
        features = await self._connect()
        self._manages = features.xml.find(f"{{{NS_SM}}}sm") is not None
        self.features = "".join(_flat(child) for child in features.xml if child.tag in _PASSED_ON)
        return self.features

    async def bind(self, resource: str | None) -> str:
        """Bind; the full JID. Raises LoginFailed."""
        wanted = f"<resource>{escape(resource)}</resource>" if resource else ""
        self._put(f"<iq type='set' id='{secrets.token_hex(6)}'><bind xmlns='{NS_BIND}'>{wanted}</bind></iq>")
        answer = await self._answer(NS_CLIENT)
        jid = answer.xml.findtext(f"{{{NS_BIND}}}bind/{{{NS_BIND}}}jid")
        if answer.xml.get("type") != "result" or not jid:
            raise LoginFailed("the server does not bind the resource", fatal=False)
        if bare(jid) != bare(self._settings.jid):
            raise LoginFailed("the server bound the address of another account", fatal=True)
        self.jid = jid
        if self._manages:
            await self._enable()
        self._begin_live()
        early, self._early = self._early, []
        for element in early:
            if element.is_stanza and element.octets:  # before stream management began: not counted
                self._on_stanza(element.octets, Ticket(Arrivals(), element.mark))
        self._take_waiting()
        self._start(self._stay_connected())
        return jid

    async def close(self) -> None:
        """End the session at the server, in an orderly way if it goes along."""
        self._live = False
        for task in self._tasks:
            task.cancel()
        connection = self._connection
        if connection is not None and connection.transport is not None:
            connection.transport.resume_reading()
            with contextlib.suppress(TimeoutError, NotConnectedError):
                connection.send_raw("</stream:stream>")
                await asyncio.wait_for(self._ended.wait(), 3.0)
        self._drop()

    def hint(self, octets: bytes) -> None:
        """Hand on what is no stanza; the last one is said again after a lost connection."""
        self._hint = octets
        self.leg.out(octets)

    def pause_reading(self, paused: bool) -> None:
        """Stop or resume taking stanzas from the server."""
        self._paused = paused
        transport = self._connection.transport if self._connection is not None else None
        if transport is not None and not transport.is_closing():
            if paused:
                transport.pause_reading()
            else:
                transport.resume_reading()

    # ------------------------------------------------------------ connections
    async def _connect(self) -> Element:
        self._drop()
        self._ended = asyncio.Event()
        self._answers = asyncio.Queue()
        self._logged_in = asyncio.get_running_loop().create_future()
        connection = Connection(
            self._settings,
            self._language,
            on_login=self._set_logged_in,
            on_element=self._took,
            on_failed=self._failed,
        )
        self._connection = connection
        connection.add_event_handler("disconnected", self._disconnected)
        connection.add_event_handler("connection_failed", self._connection_failed)
        connection.add_event_handler("reconnect_delay", self._all_failed)
        connection.add_event_handler("ssl_invalid_chain", self._not_trusted)
        connection.connect(self._settings.host, self._settings.server_port or 5222 if self._settings.host else None)
        try:
            return await asyncio.wait_for(self._logged_in, LOGIN_TIMEOUT_S)
        except TimeoutError:
            self._drop()
        raise LoginFailed("the server does not answer", fatal=False)

    def _drop(self) -> None:
        self.leg.disconnected()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.del_event_handler("disconnected", self._disconnected)
            connection.take_over()

    def _set_logged_in(self, features: Element) -> None:
        if self._logged_in is not None and not self._logged_in.done():
            self._logged_in.set_result(features)

    def _failed(self, reason: LoginFailed) -> None:
        if self._logged_in is not None and not self._logged_in.done():
            self._logged_in.set_exception(reason)
        self._ended.set()

    def _disconnected(self, _: object) -> None:
        if self._logged_in is None or self._logged_in.done():
            self._ended.set()
        else:
            # A refused certificate is reported after the loss of the connection that it causes.
            asyncio.get_running_loop().call_later(0.2, self._failed, _CLOSED)

    def _connection_failed(self, error: object) -> None:
        """One address failed; slixmpp tries the others."""
        self._untrusted = self._untrusted or isinstance(error, ssl.SSLCertVerificationError)

    def _all_failed(self, _: object) -> None:
        """All did, and slixmpp would now wait for longer and longer."""
        if self._untrusted:
            self._not_trusted(None)
        else:
            self._failed(LoginFailed("the server cannot be reached", fatal=False))

    def _not_trusted(self, _: object) -> None:
        self._failed(LoginFailed("the server's certificate is not trusted", fatal=True))

    async def _stay_connected(self) -> None:
        """For the whole life of the session: watch the connection, and make it again when it is lost."""
        while True:
            await self._watch()
            self.leg.disconnected()
            if not self._live:
                return
            if not self._token or not await self._resumed():
                self._live = False
                self._drop()
                self._on_lost("remote-connection-failed")
                return

    async def _watch(self) -> None:
        """Until the connection has ended. A server that is silent for long is asked, then given up."""
        while not self._ended.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), SILENCE_S / 2)
            silent_s = time.monotonic() - self._heard
            if self._ended.is_set() or self._paused or silent_s < SILENCE_S:
                continue
            if silent_s > 2 * SILENCE_S:
                return
            self._put(f"<r xmlns='{NS_SM}'/>" if self._token else " ")

    async def _resumed(self) -> bool:
        deadline = time.monotonic() + self._lasts_s
        delay_s = 0.1
        while time.monotonic() < deadline:
            try:
                await self._connect()
                return await self._resume()
            except LoginFailed as failed:
                if failed.fatal:
                    return False
            await asyncio.sleep(delay_s * (0.75 + secrets.randbelow(500) / 1000))
            delay_s = min(_LONGEST_DELAY_S, 2 * delay_s)
        return False

    async def _resume(self) -> bool:
        told = self.leg.resuming()
        self._put(f"<resume xmlns='{NS_SM}' previd={quoteattr(self._token)} h='{told}'/>")
        answer = await self._answer(NS_SM)
        handled = count(answer.xml)
        if answer.name != f"{{{NS_SM}}}resumed" or handled is None:
            return False
        self._begin_live()
        try:
            self.leg.resumed(handled)
        except WrongCount:
            return False
        self._take_waiting()
        self.leg.out(self._hint)
        return True

    async def _enable(self) -> None:
        self._put(f"<enable xmlns='{NS_SM}' resume='true'/>")
        answer = await self._answer(NS_SM)
        if answer.name == f"{{{NS_SM}}}enabled":
            self.leg.began()
            if answer.xml.get("resume") in ("true", "1"):
                self._token = answer.xml.get("id", "")
            longest = answer.xml.get("max", "")
            self._lasts_s = min(float(longest), _LONGEST_RESUMPTION_S) if longest.isdecimal() else 300.0

    # ------------------------------------------------------------ what comes
    def _begin_live(self) -> None:
        assert self._connection is not None
        self._live = True
        self._heard = time.monotonic()
        self.leg.connected(self._write)
        self.pause_reading(self._paused)

    def _take_waiting(self) -> None:
        while not self._answers.empty():
            self._took(self._answers.get_nowait())

    def _took(self, element: Element) -> None:
        self._heard = time.monotonic()
        if not self.leg_up:
            self._answers.put_nowait(element)
        elif element.is_stanza:
            ticket = self.leg.arrived(element.mark)
            if ticket is not None and element.octets:
                self._on_stanza(element.octets, ticket)
            elif ticket is not None:
                self._give_back(element.xml, ticket)
        elif element.name.startswith(f"{{{NS_SM}}}"):
            self._took_sm(element.xml)
        elif element.name == f"{{{NS_STREAM}}}error":
            self._took_error(element.xml)

    def _give_back(self, xml: ET.Element, ticket: Ticket) -> None:
        """A stanza that cannot be handed on: its sender is told, and it does not come again."""
        name, kind = xml.tag.rpartition("}")[2], xml.get("type", "")
        if (name, kind) in _ANSWERED and xml.get("from"):
            attributes = (("to", xml.get("from", "")), ("id", xml.get("id", "")), ("type", "error"))
            start = "".join(f" {key}={quoteattr(value)}" for key, value in attributes)
            error = f"<error type='modify'><not-acceptable xmlns='{_NS_STANZAS}'/></error>"
            ticket.add(1)
            self.leg.send(f"<{name}{start}>{error}</{name}>".encode(), ticket)
        ticket.settle()
        self.leg.tell_progress()

    @property
    def leg_up(self) -> bool:
        """Whether stanzas pass now."""
        return self._live and self.leg.up

    def _took_sm(self, xml: ET.Element) -> None:
        name = xml.tag.rpartition("}")[2]
        if name == "r":
            self.leg.peer_asked()
        elif name == "a" and (handled := count(xml)) is not None:
            try:
                self.leg.peer_told(handled)
            except WrongCount:
                self._took_error(xml)

    def _took_error(self, xml: ET.Element) -> None:
        """A stream error: the session is gone, and what the server said goes on to the client."""
        conditions = [child.tag.rpartition("}")[2] for child in xml if child.tag.rpartition("}")[2] != "text"]
        resumable = bool(conditions) and conditions[0] in ("system-shutdown", "reset", "connection-timeout")
        if not resumable:
            self._live = False
            self._on_lost("conflict" if conditions == ["conflict"] else "remote-connection-failed")

    async def _answer(self, namespace: str) -> Element:
        """The next element of this namespace before stanzas pass. Raises LoginFailed."""
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                while True:
                    element = await self._answers.get()
                    if element.name.startswith(f"{{{namespace}}}"):
                        return element
                    self._early.append(element)
        except TimeoutError:
            pass
        raise LoginFailed("the server does not answer", fatal=False)

    def _put(self, xml: str) -> None:
        self._write(xml.encode())

    def _write(self, octets: bytes) -> None:
        """Write. Nothing is lost without a connection: stanzas are kept until they are acknowledged."""
        if self._connection is not None:
            with contextlib.suppress(NotConnectedError):
                self._connection.send_raw(octets)

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _flat(element: ET.Element) -> str:
    """An element without children, as it would be written by hand."""
    namespace, _, name = element.tag[1:].partition("}")
    attributes = "".join(f" {key}={quoteattr(value)}" for key, value in element.attrib.items() if "}" not in key)
    return f"<{name} xmlns={quoteattr(namespace)}{attributes}/>"
