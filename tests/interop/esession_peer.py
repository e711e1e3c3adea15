"""A client of Alice's for tests, on a real server, by the ESession core alone: it can do what no client does yet."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from slixmpp import ClientXMPP
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import StanzaPath
from slixmpp.xmlstream.tostring import tostring

from adapters.xmpp.names import NS_ESESSION
from crypto.esession.conversation import initiate, send
from crypto.esession.rekeying_state import POLICY, RekeyPolicy
from crypto.xml import Element
from rig.xmpp import XmppAccount
from tests.unit.xmpp_site import Alice


@dataclass
class Endpoint(Alice):
    """Her end of the sessions with one contact, under real addresses and with re-keying."""

    contact: str = ""
    rekey: RekeyPolicy = POLICY
    new_keys: int = 0

    def write(self, payload: bytes, *, kind: str | None, thread: str | None, id_: str, to: str = "") -> None:
        """Put a stanza into the outbox, for the contact whatever `to` says."""
        super().write(payload, kind=kind, thread=thread, id_=id_, to=self.contact)

    def put(self, content: bytes, id_: str = "x", thread: str | None = None) -> None:
        """Send encrypted content, with new keys when they are due."""
        thread = thread or self.current
        assert thread is not None
        self.write(self.seal(content, thread), kind="chat", thread=thread, id_=id_)

    def ask(self, name: str, content: bytes, kind: str = "get") -> None:
        """A presence or an iq with encrypted content."""
        assert self.current is not None
        typed = f" type='{kind}' id='q{self._drawn}'" if name == "iq" else ""
        head = f"<{name} from='{self.jid}' to='{self.contact}/lockgate'{typed}>".encode()
        self.outbox.append(head + self.seal(content, self.current, name) + f"</{name}>".encode())

    def seal(self, content: bytes, thread: str, kind: str = "message") -> bytes:
        """The `<c/>`."""
        now_ms = time.time_ns() // 1_000_000
        before = self.conversations[thread]
        outcome = send(before, content, kind=kind, draw=self.draw, now_ms=now_ms, policy=self.rekey)
        assert outcome.conversation is not None
        self.conversations[thread] = outcome.conversation
        session = outcome.conversation.session
        self.new_keys = session.rekeying.sent if session is not None and session.rekeying is not None else 0
        return outcome.replies[0].payload

    def once(self, content: str) -> None:
        """Seal content alone and send it."""
        thread = f"once-{self._drawn}-{time.time_ns()}"
        self._take(initiate(thread, self.terms, self.draw, once=content.encode()), thread)

    def _copy(self, sent: Element) -> None:
        body = next(e for e in sent.elements[0].elements[0].elements if e.name == "body")
        self.copies.append(body.text)


class Peer(ClientXMPP):
    """One resource: what the server sends goes to the endpoint, what that writes goes out."""

    def __init__(self, account: XmppAccount, resource: str, contact: str) -> None:
        super().__init__(f"{account.jid}/{resource}", account.password)
        self.account, self.contact = account, contact
        self.end = Endpoint(f"{account.jid}/{resource}", contact=contact)
        self.ca_certs = account.authority
        for plugin in ("xep_0030", "xep_0115", "xep_0060"):
            self.register_plugin(plugin)
        self.plugin["xep_0030"].add_feature(NS_ESESSION)
        self.auto_authorize = self.auto_subscribe = True
        self.ready, self.seen = asyncio.Event(), asyncio.Event()
        self.stanzas: list[str] = []
        self.register_handler(Callback("messages", StanzaPath("message"), self._heard))
        self.register_handler(Callback("presences", StanzaPath("presence"), self._shown))
        self.register_handler(Callback("iqs", StanzaPath("iq"), self._asked))
        self.add_event_handler("session_start", self._started)

    async def log_in(self, *, subscribes: bool = True) -> "Peer":
        """Return when the contact shows itself."""
        self.connect(self.account.host, self.account.port)
        await asyncio.wait_for(self.ready.wait(), 20)
        if subscribes:
            self.send_presence(pto=self.contact, ptype="subscribe")
            await asyncio.wait_for(self.seen.wait(), 20)
        return self

    async def log_out(self) -> None:
        """Say good-bye to the server."""
        await self.disconnect(wait=2.0)

    def act(self) -> None:
        """Send what the endpoint has written."""
        written, self.end.outbox = self.end.outbox, []
        for octets in written:
            self.send_raw(octets.decode())

    async def _started(self, _: object) -> None:
        await self.get_roster()
        await self.plugin["xep_0115"].update_caps()
        self.send_presence()
        self.ready.set()

    def _heard(self, stanza: Any) -> None:
        octets = tostring(stanza.xml, xmlns="", top_level=True)
        self.stanzas.append(octets)
        if stanza["from"].bare == self.contact:
            self.end.hear(octets.encode())
            self.act()

    def _shown(self, stanza: Any) -> None:
        if stanza["from"].bare != self.contact:
            return
        if _sealed(stanza):
            self._heard(stanza)
        elif stanza["type"] == "available":
            self.seen.set()

    def _asked(self, stanza: Any) -> None:
        if stanza["from"].bare == self.contact and _sealed(stanza):
            self._heard(stanza)


def _sealed(stanza: Any) -> bool:
    return stanza.xml.find(".//{http://www.xmpp.org/extensions/xep-0200.html#ns}c") is not None
