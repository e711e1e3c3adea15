"""Alice and the XMPP inside half around one table: the real stanzas of both halves, no network, no clock."""

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from adapters.inside_api import AccountPolicy, ContactPolicy
from adapters.xmpp.inside import XmppInside
from adapters.xmpp.inside_stanzas import read_stanza
from adapters.xmpp.names import ENCRYPTED, NS_CHAT_STATES, NS_STANZA_ID, PRESENCE, STANZA, Resources, bare, jid_of
from adapters.xmpp.outside_stanzas import rendered
from adapters.xmpp.pep.names import PEP_REQUESTS
from bridge.wire.values import Address
from crypto.esession import names
from crypto.esession.conversation import Conversation, Event, Kind, Outcome, end, initiate, receive, send, thread_of
from crypto.esession.profiles import Profile
from crypto.esession.retained import Retained
from crypto.esession.terms import Terms
from crypto.message import Assurance, Message
from crypto.xml import CLIENT, Element, element, serialize
from tests.unit.fake_step import Carried, MemoryRecords, MemoryStep

BOB = "bob@matrix.example.org"
ALICE = "alice@example.org"
FAST = Terms(groups=(14,))
DEPLOYED_TERMS = Terms(groups=(14,), ciphers=("aes128-ctr",), hashes=("sha256",), kems=(), sas_algs=(names.SAS,))
"""What a deployed client knows: none of the extensions."""


def contact(require: Assurance = Assurance.END_TO_END, id_: str = "bob") -> ContactPolicy:
    """A contact of the map."""
    return ContactPolicy(id_, "matrix", f"@{id_}:matrix.org", f"{id_}@matrix.example.org", require)


def receipt(id_: str) -> bytes:
    """A receipt as content."""
    return serialize(element("urn:xmpp:receipts", "received", id=id_), inherited=CLIENT)


@dataclass
class Alice:
    """A client that speaks ESessions with Bob's JID, by the same core; what it writes are octets of stanzas."""

    jid: str = f"{ALICE}/desk"
    receipts: bool = True
    conversations: dict[str, Conversation] = field(default_factory=dict)
    retained: Retained = field(default_factory=Retained)
    terms: Terms = FAST
    shown: list[str] = field(default_factory=list)
    repeats: int = 0
    errors: list[tuple[str | None, str]] = field(default_factory=list)
    """Id and condition of errors, in the clear or encrypted."""
    notices: list[str] = field(default_factory=list)
    acknowledged: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    copies: list[str] = field(default_factory=list)
    """What other clients of hers sent, as this one was shown."""
    within: list[tuple[str, str, tuple[Element, ...] | None]] = field(default_factory=list)
    """Name, type and decrypted content of presence and iq stanzas; None: it was not encrypted for her."""
    states: list[str] = field(default_factory=list)
    """Chat states."""
    current: str | None = None
    outbox: list[bytes] = field(default_factory=list)
    unacknowledged: dict[str, str] = field(default_factory=dict)
    """What `tell` was given, by id: sent again in every new session until it is acknowledged."""
    _seen: set[str] = field(default_factory=set)
    _drawn: int = 0

    def draw(self, name: str, size: int) -> bytes:
        """Not random at all, but different each time."""
        import hashlib

        self._drawn += 1
        return hashlib.shake_128(f"{self.jid}/{self._drawn}/{name}".encode()).digest(size)

    def write(self, payload: bytes, *, kind: str | None, thread: str | None, id_: str, to: str = BOB) -> None:
        """Put a stanza into the outbox."""
        typed = f" type='{kind}'" if kind else ""
        threaded = f"<thread>{thread}</thread>" if thread else ""
        head = f"<message from='{self.jid}' to='{to}/lockgate'{typed} id='{id_}'>{threaded}"
        self.outbox.append(head.encode() + payload + b"</message>")

    def start(self, profile: Profile | None = Profile.LETTER, thread: str | None = None) -> None:
        """Ask for a session. Only clients of the letter know the extensions."""
        if self.terms is FAST and profile not in (None, Profile.LETTER):
            self.terms = DEPLOYED_TERMS
        thread = thread or f"alice-{self._drawn}"
        self._take(initiate(thread, self.terms, self.draw, profile=profile), thread)

    def say(self, body: str, id_: str, *, request: bool = True, origin: bool = True, thread: str | None = None) -> None:
        """Send an encrypted message."""
        parts = [element(CLIENT, "body", body)]
        if request:
            parts.append(element("urn:xmpp:receipts", "request"))
        if origin:
            parts.append(element(NS_STANZA_ID, "origin-id", id=id_))
        self.put(b"".join(serialize(p, inherited=CLIENT) for p in parts), id_, thread)

    def tell(self, body: str, id_: str) -> None:
        """Send a message and keep it until it is acknowledged."""
        self.unacknowledged[id_] = body
        if self.current is not None:
            self.say(body, id_)

    def put(self, content: bytes, id_: str = "x", thread: str | None = None) -> None:
        """Send encrypted content."""
        thread = thread or self.current
        assert thread is not None
        outcome = send(self.conversations[thread], content)
        assert outcome.conversation is not None
        self.conversations[thread] = outcome.conversation
        self.write(outcome.replies[0].payload, kind="chat", thread=thread, id_=id_)

    def end(self) -> None:
        """End the current session."""
        assert self.current is not None
        self._take(end(self.conversations[self.current]), self.current)

    def hear(self, octets: bytes) -> None:
        """A stanza arrives."""
        stanza = read_stanza(octets)
        if stanza.name != "message":
            self._within(stanza)
            return
        thread = thread_of(stanza)
        from crypto.esession.conversation import kind_of

        if kind_of(stanza) is None or thread is None:
            self._plain(stanza)
            return
        before = self.conversations.get(thread)
        outcome = receive(before, stanza, terms=self.terms, retained=self.retained, draw=self.draw)
        self._take(outcome, thread)
        self._content(outcome.content)

    def _within(self, stanza: Element) -> None:
        """A presence or an iq: it is of the session whose authentication code fits."""
        for thread, before in list(self.conversations.items()):
            outcome = receive(before, stanza, terms=self.terms, retained=self.retained, draw=self.draw)
            if outcome.event is Event.CONTENT:
                self._take(outcome, thread)
                self.within.append(
                    (stanza.name, stanza.attribute("type") or "", outcome.content or outcome.within_error)
                )
                return
        self.within.append((stanza.name, stanza.attribute("type") or "", None))

    def _take(self, outcome: Outcome, thread: str) -> None:
        self.events.append(outcome.event)
        if outcome.retained is not None:
            self.retained = outcome.retained
        if outcome.conversation is None:
            self.conversations.pop(thread, None)
        else:
            self.conversations[thread] = outcome.conversation
        active = [t for t, c in self.conversations.items() if c.active]
        if self.current not in active:
            self.current = active[-1] if active else None
        if outcome.event is Event.ESTABLISHED:
            self.current = thread
        for reply in outcome.replies:
            kind = {Kind.NEGOTIATION: None, Kind.ENCRYPTED: "chat", Kind.ERROR: "error"}[reply.kind]
            self.write(reply.payload, kind=kind, thread=thread, id_=f"a{self._drawn}")
        if outcome.event is Event.ESTABLISHED:
            for id_, body in self.unacknowledged.items():
                self.say(body, id_)

    def _content(self, content: tuple[Element, ...]) -> None:
        origin = next((e.attribute("id") for e in content if e.name == "origin-id"), None)
        wanted = any(e.name == "request" for e in content)
        for e in content:
            if e.name == "body":
                self._body(e.text, origin, wanted=wanted)
            elif e.namespace == NS_CHAT_STATES:
                self.states.append(e.name)
            elif e.name == "sent":
                self._copy(e)
            elif e.name == "received":
                self.acknowledged.append(e.attribute("id") or "")
                self.unacknowledged.pop(self.acknowledged[-1], None)
            elif e.name == "error":
                self.errors.append((origin, e.elements[0].name))

    def _copy(self, sent: Element) -> None:
        message = sent.elements[0].elements[0]
        assert (message.attribute("from") or "").startswith(f"{ALICE}/")
        assert message.attribute("to") == BOB
        body = message.child(CLIENT, "body")
        assert body is not None
        self.copies.append(body.text)

    def _body(self, body: str, origin: str | None, *, wanted: bool) -> None:
        assert origin is not None
        if origin in self._seen:
            self.repeats += 1
        else:
            self._seen.add(origin)
            self.shown.append(body)
        if self.receipts and wanted and self.current is not None:
            self.put(receipt(origin))

    def _plain(self, stanza: Element) -> None:
        error = stanza.child(CLIENT, "error")
        body = stanza.child(CLIENT, "body")
        if error is not None:
            self.errors.append((stanza.attribute("id"), error.elements[0].name))
        elif (got := stanza.child("urn:xmpp:receipts", "received")) is not None:
            self.acknowledged.append(got.attribute("id") or "")
        elif body is not None:
            self.notices.append(body.text)


class Site:
    """The inside half with one account; `run` carries stanzas both ways until nothing moves."""

    def __init__(self, require: Assurance = Assurance.END_TO_END) -> None:
        self.half = XmppInside()
        self.bob = contact(require)
        account = AccountPolicy(
            "alice", "xmpp", ALICE, {"matrix": "@alice:example.org"}, (self.bob, contact(id_="eve"))
        )
        self.records = MemoryRecords()
        self.step = MemoryStep(account, self.records, half=self.half)
        self.alice = Alice()
        self.others: list[Alice] = []
        """Further clients of hers."""
        self.carried: list[Carried] = []
        self.lost: Callable[[Carried], bool] = lambda _: False
        self.lost_from_alice: Callable[[bytes], bool] = lambda _: False
        self.acknowledging = True
        self._settled = 0

    def do(self, act: Callable[[], None]) -> None:
        """One step; afterwards what it kept must survive being encoded, as the enclave does."""
        self.step.commit(act)
        for name in self.records.written & self.records.held.keys():
            value = self.records.held[name]
            self.records.held[name] = msgspec.msgpack.decode(msgspec.msgpack.encode(value), type=type(value))

    def arrive(self, octets: bytes, name: str = STANZA) -> None:
        """Something came from the gateway."""
        self.do(lambda: self.half.arrived(self.step, self.step.input("arrival", name, octets, network="xmpp")))

    def resources(self, *jids: str, able: bool = True, complete: bool = True) -> None:
        """Alice's resources, as the outside half reports them."""
        self.arrive(Resources(tuple((jid, able) for jid in jids), complete).encode(), PRESENCE)

    def message(self, body: str, id_: str, require: ContactPolicy | None = None) -> None:
        """Bob writes."""
        self.do(lambda: self.half.to_network(self.step, require or self.bob, Message(id_, body, position=7)))

    def wait(self, seconds: float) -> None:
        """Time passes; timers run."""
        self.run()
        until = self.step.now + int(seconds * 1000)
        wakes = 0
        while (at := self.step.wakes.get("tick", until + 1)) <= until:
            wakes += 1
            assert wakes < 2000, "timers go round in circles"
            self.step.now = max(self.step.now, at)
            del self.step.wakes["tick"]
            self.do(lambda: self.half.woken(self.step, "tick"))
            self.run()
        self.step.now = until

    def run(self) -> None:
        """Carry stanzas both ways, and acknowledge what was delivered, until nothing moves."""
        for _ in range(200):
            carried = self.step.take()
            written = self._written()
            fresh = self.step.deliveries[self._settled :]
            if not carried and not written and not (fresh and self.acknowledging):
                return
            self.carried += carried
            for one in carried:
                if not self.lost(one):
                    self._to_alice(one)
            for octets in written:
                if not self.lost_from_alice(octets):
                    self.arrive(octets)
            if self.acknowledging:
                self._settled += len(fresh)
                for _contact, message in fresh:
                    self.acknowledge(message.id)
        raise AssertionError("stanzas go round in circles")

    def _written(self) -> list[bytes]:
        clients = (self.alice, *self.others)
        written = [octets for client in clients for octets in client.outbox]
        for client in clients:
            client.outbox = []
        return written

    def acknowledge(self, id_: str) -> None:
        """The far network has Alice's message."""
        self.do(lambda: self.half.acknowledged(self.step, self.bob, id_))

    def refuse(self, id_: str, code: str) -> None:
        """The far network does not take Alice's message."""
        self.do(lambda: self.half.refused(self.step, self.bob, id_, code))

    def start(self, *, resumed: bool) -> None:
        """The account is brought in again."""
        self.do(lambda: self.half.started(self.step, resumed=resumed))

    def bodies(self) -> list[str]:
        """What went on to the other network."""
        return [message.body for _, message in self.step.deliveries]

    def sent(self, *requests: str) -> list[Carried]:
        """What was carried so far."""
        return [c for c in self.carried if not requests or c.request in requests]

    def stanza_ids(self, request: str = ENCRYPTED) -> list[str]:
        """Ids of the stanzas carried so far."""
        return [str(c.values["id"].v) for c in self.sent(request)]

    def established(self, profile: Profile = Profile.LETTER) -> "Site":
        """With a session that Alice asked for."""
        self.resources(self.alice.jid)
        self.alice.start(profile)
        self.run()
        assert self.alice.current is not None
        return self

    def _to_alice(self, one: Carried) -> None:
        if one.request in PEP_REQUESTS:
            return
        octets = rendered(one.request, one.values)
        to = one.values["to"]
        assert isinstance(to, Address)
        jid = jid_of(to)
        assert bare(jid) == ALICE
        for client in (self.alice, *self.others):
            if jid in (client.jid, ALICE):
                client.hear(octets)


__all__ = ["ALICE", "BOB", "Alice", "Event", "Site", "contact", "receipt"]
