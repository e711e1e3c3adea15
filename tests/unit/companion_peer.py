"""A peer with ESessions, and the user's client and server around a companion, all in memory."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from adapters.companion.inside_stanzas import content_of, read_content, read_stanza
from companion.hook import Action, ToClient, ToServer
from crypto.esession.conversation import (
    Conversation,
    Event,
    Kind,
    Outcome,
    Payload,
    confirm,
    end,
    initiate,
    kind_of,
    receive,
    send,
    thread_of,
)
from crypto.esession.retained import Retained
from crypto.esession.terms import Terms
from crypto.xml import CLIENT, Element, serialize
from crypto.xml import element as xml

ALICE = "alice@example.org"
ALICE_FULL = f"{ALICE}/desk"
BOB = "bob@far.example"
BOB_FULL = f"{BOB}/gate"
_TYPES = {Kind.NEGOTIATION: "", Kind.ENCRYPTED: " type='chat'", Kind.ERROR: " type='error'"}


def draw(_name: str, size: int) -> bytes:
    """Octets of randomness."""
    return os.urandom(size)


@dataclass
class Bob:
    """A client with ESessions: takes stanzas that were sent to it, returns those that it sends."""

    receipts: bool = True
    terms: Terms = field(default_factory=Terms)
    conversations: dict[str, Conversation] = field(default_factory=dict)
    retained: Retained = field(default_factory=Retained)
    heard: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    received: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    plain: list[str] = field(default_factory=list)
    contents: list[tuple[Element, ...]] = field(default_factory=list)
    """Everything that came decrypted."""
    current: str | None = None
    keys: set[bytes] = field(default_factory=set)
    """Everything secret that its sessions ever had."""

    def take(self, octets: bytes) -> list[bytes]:
        """A stanza arrives."""
        stanza = read_stanza(octets)
        if stanza.name != "message":
            return []
        if kind_of(stanza) is None:
            body = stanza.child(CLIENT, "body")
            self.plain += [] if body is None else [body.text]
            return []
        thread = thread_of(stanza) or ""
        outcome = receive(self.conversations.get(thread), stanza, terms=self.terms, retained=self.retained, draw=draw)
        out = self._keep(thread, outcome)
        self.contents += [outcome.content] if outcome.content else []
        for content in [read_content(outcome.content)] if outcome.content else []:
            self.received += content.received
            text = next((e.text for e in outcome.content if e.name == "body"), None)
            if text is not None:
                self.heard.append(text)
                self.ids.append(content.origin_id or "")
            if content.receipt_wanted and self.receipts and content.origin_id:
                out += self.say(serialize(xml("urn:xmpp:receipts", "received", id=content.origin_id), inherited=CLIENT))
        return out

    def ask(self) -> list[bytes]:
        """Start a session."""
        outcome = initiate(os.urandom(8).hex(), self.terms, draw)
        assert outcome.conversation is not None
        return self._keep(outcome.conversation.thread, outcome)

    def write(self, body: str, origin: str | None = None) -> list[bytes]:
        """Send a message in the current session."""
        message = Element(CLIENT, "message", (), (xml(CLIENT, "body", body),))
        return self.say(content_of(message, origin or f"bob-{os.urandom(6).hex()}"))

    def say(self, content: bytes) -> list[bytes]:
        """Send content in the current session."""
        assert self.current is not None
        return self._keep(self.current, send(self.conversations[self.current], content))

    def say_in(self, name: str, content: str, *, kind: str | None = None, id_: str = "x1") -> list[bytes]:
        """Send a presence or an iq in the current session."""
        assert self.current is not None
        outcome = send(self.conversations[self.current], content.encode(), kind=name)
        assert outcome.conversation is not None
        self.conversations[self.current] = outcome.conversation
        typed = f" type='{kind}'" if kind else ""
        head = f"<{name} from='{BOB_FULL}' to='{ALICE_FULL}' id='{id_}'{typed}>".encode()
        return [head + reply.payload + f"</{name}>".encode() for reply in outcome.replies]

    def end(self) -> list[bytes]:
        """End the current session."""
        assert self.current is not None
        return self._keep(self.current, end(self.conversations[self.current]))

    @property
    def sas(self) -> str:
        """The string of the current session."""
        session = self.conversations[self.current or ""].session
        assert session is not None
        return session.sas

    def compare(self) -> None:
        """Bob's user compared the string."""
        thread = self.current or ""
        self.conversations[thread], self.retained = confirm(self.conversations[thread], self.retained)

    def _keep(self, thread: str, outcome: Outcome) -> list[bytes]:
        self.events.append(outcome.event)
        if outcome.retained is not None:
            self.retained = outcome.retained
        if outcome.conversation is None:
            self.conversations.pop(thread, None)
            self.current = None if self.current == thread else self.current
        else:
            self.conversations[thread] = outcome.conversation
            if outcome.conversation.active and outcome.event is not Event.REPEATED:
                self.current = thread
        return [self._stanza(thread, reply.kind, reply.payload) for reply in outcome.replies]

    def _stanza(self, thread: str, kind: Kind, payload: bytes) -> bytes:
        head = f"<message from='{BOB_FULL}' to='{ALICE_FULL}' id='b{os.urandom(4).hex()}'{_TYPES[kind]}>"
        return head.encode() + f"<thread>{thread}</thread>".encode() + payload + b"</message>"


def from_client(body: str, *, to: str = BOB, id_: str = "c1", extra: str = "") -> bytes:
    """A chat message as the client writes it."""
    return f"<message to='{to}' type='chat' id='{id_}'><body>{body}</body>{extra}</message>".encode()


def bodies(actions: Sequence[Action], *, sender: str) -> list[str]:
    """Texts among what goes to the client, from one bare JID."""
    found = []
    for action in actions:
        stanza = read_stanza(action.octets) if isinstance(action, ToClient) else None
        if stanza is not None and (stanza.attribute("from") or "").partition("/")[0] == sender:
            body = stanza.child(CLIENT, "body")
            found += [] if body is None else [body.text]
    return found


def is_request(octets: bytes) -> bool:
    """Whether a stanza asks for a session."""
    return kind_of(read_stanza(octets)) is Payload.REQUEST


def to_server(actions: Sequence[Action]) -> list[bytes]:
    """Stanzas towards the server."""
    return [action.octets for action in actions if isinstance(action, ToServer)]
