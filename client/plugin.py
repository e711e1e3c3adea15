"""A slixmpp plugin for Encrypted Sessions: XEP-0116 negotiation, XEP-0200 stanza encryption, delivery that is sure.

    xmpp.register_plugin("xep_0116", {"store": "~/.bot/esessions"}, module=client.plugin)
    xmpp.plugin["xep_0116"].send("bob@matrix.example.org", "hello")

See docs/client.md for the events, the Python interface and an example.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, ClassVar
from xml.etree import ElementTree as ET

from slixmpp import JID, InvalidJID
from slixmpp.exceptions import XMPPError
from slixmpp.plugins.base import BasePlugin, register_plugin
from slixmpp.stanza import Message, Presence
from slixmpp.xmlstream.stanzabase import StanzaBase
from slixmpp.xmlstream.tostring import tostring

from client.contact import Contact
from client.discovery import Discovery
from client.events import Happening, MessageReceived, SessionView
from client.stanzas import FEATURES, MAX_BODY_OCTETS, Stanza
from client.store import KeptMessage, SqliteStore, Store
from client.surroundings import ContactSettings
from crypto.esession.profiles import Profile
from crypto.xml import CLIENT, Element, MalformedXml, parse, sanitise_text

MAX_STANZA_OCTETS = 1 << 20


class XEP_0116(BasePlugin):  # noqa: N801 - slixmpp's way of naming plugins
    """Encrypted Sessions with any number of contacts.

    Configuration: `store`, a path (the file is made for its owner only), a `Store`, or None for one that is forgotten
    with the process; `settings`, a `ContactSettings`; `transparent`, whether decrypted messages are handed to handlers
    of `message` as well, and plain messages of the program to contacts with sessions are encrypted (else refused).
    """

    name = "xep_0116"
    description = "XEP-0116: Encrypted Session Negotiation"
    dependencies: ClassVar[set[str]] = {"xep_0030", "xep_0115"}
    default_config: ClassVar[dict[str, Any]] = {
        "store": None,
        "settings": ContactSettings(),
        "transparent": False,
    }

    # ------------------------------------------------------------ slixmpp's side
    def plugin_init(self) -> None:
        """Open the store, hook into the stream."""
        given = self.config["store"]
        kept = isinstance(given, str | Path)
        self._store: Store = SqliteStore(Path(given).expanduser()) if kept else given or SqliteStore(":memory:")
        self._contacts: dict[str, Contact] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._online = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._discovery = Discovery(self.xmpp, self._able)
        self._awaiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self.counters: dict[str, int] = {}
        self.xmpp.add_filter("in", self._filter_in)
        self.xmpp.add_filter("out", self._filter_out)
        for event, handler in self._handlers():
            self.xmpp.add_event_handler(event, handler)

    def session_bind(self, jid: object) -> None:
        """Announce the features: only now is the resource known that they belong to."""
        for feature in FEATURES:
            self.xmpp.plugin["xep_0030"].add_feature(feature)

    def plugin_end(self) -> None:
        """Let go of the stream, the timer and the store. Open sessions are forgotten."""
        for feature in FEATURES:
            self.xmpp.plugin["xep_0030"].del_feature(feature=feature)
        self.xmpp.del_filter("in", self._filter_in)
        self.xmpp.del_filter("out", self._filter_out)
        for event, handler in self._handlers():
            self.xmpp.del_event_handler(event, handler)
        self._session_end()
        for task in self._tasks:
            task.cancel()
        if self._timer is not None:
            self._timer.cancel()
        self._store.close()

    def _handlers(self) -> tuple[tuple[str, Any], ...]:
        return (
            ("session_start", self._session_start),
            ("session_end", self._session_end),
            ("presence_available", self._available),
            ("presence_unavailable", self._unavailable),
        )

    # ------------------------------------------------------------ what programs use
    def send(self, jid: str | JID, text: str, message_id: str | None = None) -> str:
        """Send a message to the contact, encrypted, or keep it until that is possible. Returns its id.

        It is in the store when this returns. `esession_delivered` or `esession_failed` will name the id. Characters
        that XML cannot express become U+FFFD. ValueError: the text is empty or beyond `MAX_BODY_OCTETS`, or a
        message of this id is waiting already.
        """
        body = sanitise_text(text)
        if not body or len(body.encode()) > MAX_BODY_OCTETS:
            raise ValueError(f"a message must have a text of at most {MAX_BODY_OCTETS} octets")
        message = KeptMessage(message_id or self.new_id("message"), body)
        self._contact(jid).queue(message)
        self._again()
        return message.id

    async def flush(self, jid: str | JID, timeout: float | None = None) -> int:  # noqa: ASYNC109
        """Wait until every message to the contact is acknowledged, or failed; returns how many still wait."""
        contact = self._contact(jid)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._until(lambda: not contact.waiting)
        return contact.waiting

    def start(self, jid: str | JID) -> None:
        """Negotiate a session with the contact as soon as it is there."""
        self._contact(jid).start()
        self._again()

    async def end(self, jid: str | JID) -> None:
        """End the session; returns when the other end confirmed it, or did not in time. Waiting messages stay."""
        contact = self._contact(jid)
        contact.end()
        self._again()
        await self._until(lambda: not contact.ending)

    def session(self, jid: str | JID) -> SessionView:
        """How things stand with the contact."""
        return self._contact(jid).view()

    def verify(self, jid: str | JID) -> bool:
        """The user compared the short authentication string with the contact, and it was the same.

        Holds for this session and all that descend from it by retained secrets. False when no session is active.
        """
        done = self._contact(jid).verify()
        self._again()
        return done

    def contacts(self) -> list[str]:
        """Bare JIDs there ever was a session with, or for whom messages wait."""
        return sorted({*self._store.contacts(), *self._contacts})

    # ------------------------------------------------------------ Surroundings of a contact
    def now(self) -> float:
        """Seconds of the event loop's clock."""
        return self.xmpp.loop.time()

    def draw(self, name: str, size: int) -> bytes:
        """`size` octets of the operating system's randomness."""
        return secrets.token_bytes(size)

    def new_id(self, purpose: str) -> str:
        """128 bits in hexadecimal."""
        return secrets.token_hex(16)

    def transmit(self, stanza: Stanza) -> None:
        """Put a stanza on the stream."""
        octets = stanza.octets().replace(b"<message ", b'<message xmlns="jabber:client" ', 1)
        message = Message(self.xmpp, ET.fromstring(octets))  # type: ignore[no-untyped-call]  # noqa: S314 - our own
        self.xmpp.send(message)

    def probe(self, peer: str) -> None:
        """Ask the peer anything that it must answer."""
        self._run(self._probe(JID(peer)))

    async def _probe(self, peer: JID) -> None:
        try:
            await self._discovery.features(peer, 5)
        except XMPPError:
            return
        self._contact(peer).reachable()
        self._again()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it on the side; what is under way when the plugin ends is cancelled."""
        task = asyncio.ensure_future(work, loop=self.xmpp.loop)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def notify(self, happening: Happening) -> None:
        """Trigger the event."""
        self.xmpp.event(happening.event, happening)
        if isinstance(happening, MessageReceived) and self.config["transparent"]:
            self.xmpp.event("message", self._as_message(happening))

    # ------------------------------------------------------------ stream -> contacts
    def _session_start(self, _: object = None) -> None:
        self._online = True
        for jid in self._store.contacts():
            self._contact(jid)
        for contact in list(self._contacts.values()):
            contact.online()
        self._again()

    def _session_end(self, _: object = None) -> None:
        self._online = False
        self._discovery.clear()
        for contact in self._contacts.values():
            contact.offline()
        self._again()

    def _filter_in(self, stanza: StanzaBase) -> StanzaBase | None:
        """Take what is ours out of the stream, so that no other handler shows the wrapping as a message."""
        if not isinstance(stanza, Message) or stanza["type"] == "groupchat":
            return stanza
        sender = stanza["from"]
        if sender.bare in ("", self.xmpp.boundjid.bare):
            return stanza
        element = self._element(stanza.xml)
        if element is None:
            return stanza
        if sender.bare not in self._contacts and not self._welcome(sender):
            return stanza
        ours = self._contact(sender).received(element, sender.full)
        self._again()
        return None if ours else stanza

    def _welcome(self, sender: JID) -> bool:
        """Whether to answer one we never wrote to: those who may see our presence anyway (XEP-0155, Presence Leaks)."""
        roster = getattr(self.xmpp, "client_roster", None)
        return roster is not None and sender.bare in roster and roster[sender.bare]["subscription"] in ("from", "both")

    def _element(self, xml: ET.Element) -> Element | None:
        octets = tostring(xml, xmlns="", top_level=True).encode()
        try:
            return parse(octets, max_octets=MAX_STANZA_OCTETS)
        except MalformedXml:
            self._count("malformed")
            return None

    def _filter_out(self, stanza: StanzaBase) -> StanzaBase | None:
        """Nothing readable goes to a contact with whom there were sessions, whoever wrote it."""
        if not isinstance(stanza, Message) or stanza["type"] in ("groupchat", "error"):
            return stanza
        text = stanza.xml.findtext(f"{{{CLIENT}}}body")
        if text is None or not self._store.had_session(stanza["to"].bare):
            return stanza
        if self.config["transparent"]:
            self.send(stanza["to"], text, stanza["id"] or None)
        else:
            self._count("plain-stopped")
        return None

    def _available(self, presence: Presence) -> None:
        peer = presence["from"]
        if not peer.resource or peer.bare == self.xmpp.boundjid.bare:
            return
        if peer.bare in self._contacts:
            self._contacts[peer.bare].present()
        self._run(self._discovery.came(peer))

    def _able(self, peer: JID, profile: Profile | None) -> None:
        if peer.bare in self._contacts or self._welcome(peer):
            self._contact(peer).appeared(peer.full, profile)
            self._again()

    def _unavailable(self, presence: Presence) -> None:
        peer = presence["from"]
        self._discovery.gone(peer)
        if peer.bare in self._contacts:
            self._contacts[peer.bare].disappeared(peer.full)
            self._again()

    # ------------------------------------------------------------ small things
    def _contact(self, jid: str | JID) -> Contact:
        """The machine of a contact. ValueError for what is no JID, or our own."""
        try:
            bare = JID(jid).bare
        except InvalidJID:
            bare = ""
        if not bare or bare == self.xmpp.boundjid.bare:
            raise ValueError("not the JID of a contact")
        if bare not in self._contacts:
            self._contacts[bare] = Contact(bare, self._store, self, self.config["settings"])
            if self._online:
                self._contacts[bare].online()
        return self._contacts[bare]

    def _as_message(self, happening: MessageReceived) -> Message:
        message = self.xmpp.make_message(mto=self.xmpp.boundjid, mbody=happening.body, mtype="chat")
        message["from"], message["id"] = JID(happening.peer), happening.id
        return message

    def _again(self) -> None:
        """Something changed: wake those who wait for it, set the timer anew."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        times = [at for contact in self._contacts.values() if (at := contact.deadline()) is not None]
        if times and min(times) != float("inf"):
            self._timer = self.xmpp.loop.call_at(min(times), self._tick)
        for done, future in self._awaiting:
            if done() and not future.done():
                future.set_result(None)

    async def _until(self, done: Callable[[], bool]) -> None:
        """Wait until it is so."""
        if done():
            return
        entry = (done, self.xmpp.loop.create_future())
        self._awaiting.append(entry)
        try:
            await entry[1]
        finally:
            self._awaiting.remove(entry)

    def _tick(self) -> None:
        self._timer = None
        for contact in list(self._contacts.values()):
            contact.tick()
        self._again()

    def _count(self, what: str) -> None:
        self.counters[what] = self.counters.get(what, 0) + 1


xep_0116 = XEP_0116
register_plugin(XEP_0116)
