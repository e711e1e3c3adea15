"""An XMPP account logged in to send one message: finds the contact's client, and waits for what comes back."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree as ET

from slixmpp import JID
from slixmpp.exceptions import XMPPError
from slixmpp.stanza import Message, Presence
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import StanzaPath
from slixmpp.xmlstream.stanzabase import StanzaBase
from slixmpp.xmlstream.tostring import tostring

from client.account import Account, Login, Trace
from client.discovery import Discovery
from client.once import Once, Stage
from client.stanzas import Stanza
from crypto.esession.profiles import Profile
from crypto.xml import Element, MalformedXml, parse

MAX_STANZA_OCTETS = 1 << 20
ROUND_TRIP_S = 5.0


class Failed(Exception):
    """It could not be sent; the text says why. `login`: because of the account."""

    def __init__(self, sentence: str, *, login: bool = False) -> None:
        super().__init__(sentence)
        self.login = login


class Sender(Account):
    """One message to one contact: a full JID, or a bare one whose client is to be found."""

    def __init__(self, login: Login, contact: JID, trace: Trace | None = None) -> None:
        super().__init__(login, trace)
        self._contact = contact
        self._once: Once | None = None
        self._changed = asyncio.Event()
        self._failure: Failed | None = None
        self._online = False
        self._found: str | None = None
        self._discovery = Discovery(self, self._able)
        self._tasks: set[asyncio.Future[Any]] = set()
        self.login_failed = self._fail_login
        self.register_handler(Callback("once", StanzaPath("message"), self._message))
        for event, handler in (
            ("session_start", self._started),
            ("disconnected", self._lost),
            ("connection_failed", self._lost),
            ("presence_available", self._available),
            ("presence_subscribe", self._asked),
        ):
            self.add_event_handler(event, handler)

    async def deliver(self, made: Callable[[str], Once], text: str, *, timeout_s: float, wait_s: float) -> Once:
        """Log in, send, wait, log out. `made` gives the message for a full JID. Raises Failed."""
        self.connect(self._login.host, self._login.port)
        try:
            await self._until(lambda: self._online, timeout_s, "the server cannot be reached")
            await self._until(lambda: self._found is not None, timeout_s, self._absent())
            assert self._found is not None
            self._once = once = made(self._found)
            self._transmit(once.begin(text))
            silent = "the contact's end did not answer; it may not accept single messages: use lockgate chat"
            await self._until(lambda: once.stage is not Stage.ASKED, timeout_s, silent)
            await self._settled(once, wait_s)
            return once
        finally:
            self._leaving = True
            for task in self._tasks:
                task.cancel()
            if self.is_connected():
                await self.disconnect(wait=2.0)

    def _absent(self) -> str:
        return f"no client of {self._contact.bare} is online that can take it"

    async def _settled(self, once: Once, wait_s: float) -> None:
        """Until there is a sealed answer, or no more is to be expected.

        A question that is answered by the contact's end shows that what was sent before it went all the way.
        """
        if once.stage is Stage.REFUSED:
            return
        with contextlib.suppress(XMPPError):
            await self.plugin["xep_0199"].send_ping(JID(once.peer), timeout=ROUND_TRIP_S)
        with contextlib.suppress(Failed):
            await self._until(lambda: once.stage in (Stage.ACKNOWLEDGED, Stage.REFUSED), wait_s, "")

    async def _until(self, done: Callable[[], bool], within_s: float, otherwise: str) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while not done() and self._failure is None:
                    self._changed.clear()
                    await self._changed.wait()
        if not done():
            raise self._failure or Failed(otherwise)

    # ------------------------------------------------------------ the stream
    def _transmit(self, stanzas: list[Stanza]) -> None:
        for stanza in stanzas:
            octets = stanza.octets().replace(b"<message ", b'<message xmlns="jabber:client" ', 1)
            self.send(Message(self, ET.fromstring(octets)))  # type: ignore[no-untyped-call]  # noqa: S314 - our own

    def _message(self, message: StanzaBase) -> None:
        if self._once is None or message["from"].bare != self._contact.bare:
            return
        element = _element(message.xml)
        if element is not None:
            self._transmit(self._once.received(element))
            self._changed.set()

    def _started(self, _: object) -> None:
        # The features are not announced: nobody is to begin a session with an account that leaves at once.
        self._run(self._join())

    async def _join(self) -> None:
        try:
            await self.get_roster()
            await self.plugin["xep_0115"].update_caps(broadcast=False)
        except XMPPError as error:
            self._fail(Failed(f"the server did not answer: {error.condition}"))
            return
        # Negative: what is written to this account is for the user's other clients.
        self.send_presence(ppriority=-1)
        if self._contact.resource:
            self._found = self._contact.full
        elif self.client_roster[self._contact.bare]["subscription"] not in ("to", "both"):
            self.send_presence_subscription(pto=self._contact.bare)
        self._online = True
        self._changed.set()

    def _available(self, presence: Presence) -> None:
        peer = presence["from"]
        if peer.bare == self._contact.bare and peer.resource and not self._contact.resource:
            self._run(self._discovery.came(peer))

    def _able(self, peer: JID, _: Profile | None) -> None:
        self._found = self._found or peer.full
        self._changed.set()

    def _asked(self, presence: Presence) -> None:
        """The contact wants to see our presence; nobody else is answered."""
        if presence["from"].bare == self._contact.bare:
            self.send_presence_subscription(pto=self._contact.bare, ptype="subscribed")

    # ------------------------------------------------------------ losses
    def _lost(self, reason: Any) -> None:
        if not self._leaving:
            self._fail(Failed(f"the connection was lost: {reason or 'no reason was given'}"))

    def _fail_login(self, sentence: str) -> None:
        self._fail(Failed(sentence, login=True))

    def _fail(self, failure: Failed) -> None:
        self._failure = self._failure or failure
        self._changed.set()

    def _run(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _element(xml: ET.Element) -> Element | None:
    octets = tostring(xml, xmlns="", top_level=True).encode()
    try:
        return parse(octets, max_octets=MAX_STANZA_OCTETS)
    except MalformedXml:
        return None
