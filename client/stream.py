"""Between slixmpp and the machines of contacts: filters, the clock, what goes onto the stream."""

import asyncio
import secrets
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from slixmpp import JID, InvalidJID
from slixmpp.exceptions import XMPPError
from slixmpp.plugins.base import BasePlugin
from slixmpp.stanza import Iq, Message, Presence
from slixmpp.xmlstream.stanzabase import StanzaBase
from slixmpp.xmlstream.tostring import tostring

from client.contact import Contact
from client.content import NS_CORRECT
from client.discovery import Discovery
from client.events import Answered, Happening, MessageReceived
from client.stanzas import FEATURES, NS_STANZA_ENCRYPTION, Stanza
from client.store import SqliteStore, Store
from client.surroundings import ContactSettings
from crypto.esession.profiles import Profile
from crypto.xml import CLIENT, Element, MalformedXml, parse

MAX_STANZA_OCTETS = 1 << 20
_KINDS = {"message": Message, "presence": Presence, "iq": Iq}
_SEALED = f"{{{NS_STANZA_ENCRYPTION}}}c"


class Stream(BasePlugin):
    """What a plugin does by itself; `client.plugin` adds what programs use."""

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
        self._answers: dict[str, asyncio.Future[Answered]] = {}
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

    # ------------------------------------------------------------ Surroundings of a contact
    def now(self) -> float:
        """Seconds of the event loop's clock."""
        return self.xmpp.loop.time()

    def date_s(self) -> float:
        """Seconds since 1970."""
        return time.time()

    def own_jid(self) -> str:
        """Our own bare JID."""
        return str(self.xmpp.boundjid.bare)

    def draw(self, name: str, size: int) -> bytes:
        """`size` octets of the operating system's randomness."""
        return secrets.token_bytes(size)

    def new_id(self, purpose: str) -> str:
        """128 bits in hexadecimal."""
        return secrets.token_hex(16)

    def transmit(self, stanza: Stanza) -> None:
        """Put a stanza on the stream."""
        start = f"<{stanza.name} ".encode()
        octets = stanza.octets().replace(start, start + b'xmlns="jabber:client" ', 1)
        made = _KINDS[stanza.name]
        self.xmpp.send(made(self.xmpp, ET.fromstring(octets)))  # type: ignore[no-untyped-call]  # noqa: S314 - our own

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
        answer = self._answers.pop(happening.id, None) if isinstance(happening, Answered) else None
        if isinstance(happening, Answered) and answer is not None and not answer.done():
            answer.set_result(happening)
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
        if not _may_concern(stanza):
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
            self._contacts[bare] = Contact(bare, self._store, self, self._settings(bare))
            if self._online:
                self._contacts[bare].online()
        return self._contacts[bare]

    def _settings(self, jid: str) -> ContactSettings:
        """Those of one contact, or of all."""
        chosen = self.config["settings_of"]
        settings: ContactSettings = self.config["settings"] if chosen is None else chosen(jid)
        return settings

    def _as_message(self, happening: MessageReceived) -> Message:
        message = self.xmpp.make_message(mto=self.xmpp.boundjid, mbody=happening.body, mtype="chat")
        message["from"], message["id"] = JID(happening.peer), happening.id
        if happening.said.replaces is not None:
            message.xml.append(ET.Element(f"{{{NS_CORRECT}}}replace", {"id": happening.said.replaces}))
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


def _may_concern(stanza: StanzaBase) -> bool:
    """Messages, and of presence and iq what is encrypted, or an error that may be about such a stanza."""
    if isinstance(stanza, Message):
        return bool(stanza["type"] != "groupchat")
    if not isinstance(stanza, Presence | Iq):
        return False
    error = stanza.xml.find(f"{{{CLIENT}}}error")
    sealed = stanza.xml.find(_SEALED) is not None or (error is not None and error.find(_SEALED) is not None)
    return sealed or stanza["type"] == "error"
