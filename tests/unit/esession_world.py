"""Two ends of an ESession on a wire, for tests. Every state goes through the state codec between two steps."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from crypto.esession import names
from crypto.esession.conversation import Conversation, Event, Kind, Outcome, Reply, end, initiate, receive, send
from crypto.esession.identification import Judge, anyone
from crypto.esession.profiles import Profile
from crypto.esession.retained import Retained
from crypto.esession.session import Session
from crypto.esession.terms import Terms
from crypto.xml import CLIENT, Element, parse, serialize

THREAD = "thread-1"
FAST = Terms(groups=(14,))
DEPLOYED_TERMS = Terms(groups=(14,), ciphers=("aes128-ctr",), hashes=("sha256",), kems=(), sas_algs=(names.SAS,))
"""What a peer knows that reads the specifications in another way than the letter's: none of the extensions."""
_TYPES = {Kind.NEGOTIATION: "", Kind.ENCRYPTED: " type='chat'", Kind.ERROR: " type='error'"}
Change = Callable[[Element], Element]


def stored(conversation: Conversation | None) -> Conversation | None:
    """The conversation as it comes back from a sealed record."""
    if conversation is None:
        return None
    read = msgspec.msgpack.decode(msgspec.msgpack.encode(conversation), type=Conversation)
    assert read == conversation
    return read


def message(reply: Reply, thread: str = THREAD) -> Element:
    """The stanza that carries a reply."""
    start = f"<message xmlns='{CLIENT}'{_TYPES[reply.kind]}><thread>{thread}</thread>".encode()
    return parse(start + reply.payload + b"</message>")


def plain(payload: str, thread: str = THREAD, kind: str | None = None) -> Element:
    """A stanza with this content."""
    attributes = f" type='{kind}'" if kind else ""
    return parse(f"<message xmlns='{CLIENT}'{attributes}><thread>{thread}</thread>{payload}</message>".encode())


@dataclass
class End:
    """One end: its conversation, its secrets, its source of randomness (different for each seed)."""

    seed: str
    terms: Terms = FAST
    conversation: Conversation | None = None
    retained: Retained = field(default_factory=Retained)
    outcomes: list[Outcome] = field(default_factory=list)
    drawn: int = 0
    judge: Judge = anyone

    def draw(self, name: str, size: int) -> bytes:
        """Repeatable randomness."""
        self.drawn += 1
        return hashlib.shake_256(f"{self.seed}/{self.drawn}/{name}".encode()).digest(size)

    def initiate(
        self,
        profile: Profile | None = None,
        attempt: int = 0,
        *,
        three: bool | None = None,
        content: bytes | None = None,
        once: bytes | None = None,
    ) -> Element:
        """The request. Only ends of the letter know the extensions."""
        if self.terms is FAST and profile not in (None, Profile.LETTER):
            self.terms = DEPLOYED_TERMS
        outcome = initiate(
            THREAD,
            self.terms,
            self.draw,
            profile=profile,
            attempt=attempt,
            three_message=three,
            content=content,
            once=once,
        )
        return message(self._took(outcome).replies[0])

    def take(self, stanza: Element) -> Outcome:
        """Receive a stanza."""
        return self._took(
            receive(
                self.conversation,
                stanza,
                terms=self.terms,
                retained=self.retained,
                draw=self.draw,
                judge=self.judge,
            )
        )

    def send(self, content: bytes) -> Element:
        """The stanza with this content."""
        assert self.conversation is not None
        return message(self._took(send(self.conversation, content)).replies[0])

    def end(self) -> list[Element]:
        """The stanzas that end it."""
        assert self.conversation is not None
        return [message(reply) for reply in self._took(end(self.conversation)).replies]

    @property
    def last(self) -> Outcome:
        """What came of the last step."""
        return self.outcomes[-1]

    @property
    def session(self) -> Session:
        """The active session."""
        assert self.conversation is not None
        assert self.conversation.session is not None
        return self.conversation.session

    def _took(self, outcome: Outcome) -> Outcome:
        self.conversation = stored(outcome.conversation)
        if outcome.retained is not None:
            self.retained = outcome.retained
        self.outcomes.append(outcome)
        return outcome


def unchanged(stanza: Element) -> Element:
    """No change."""
    return stanza


def negotiate(
    alice: End, bob: End, *, profile: Profile | None = None, change: Change = unchanged, at: int = 0
) -> tuple[Event, Event]:
    """Let Alice ask Bob; `change` meddles with message number `at` (1 to 4). What came of it for each."""
    stanza: Element | None = alice.initiate(profile)
    for number in (1, 2, 3, 4):
        assert stanza is not None
        passed = change(stanza) if number == at else stanza
        taker = bob if number in (1, 3) else alice
        replies = taker.take(passed).replies
        if taker.last.event not in (Event.ANSWERED, Event.PROVED, Event.ESTABLISHED):
            break
        stanza = message(replies[0]) if replies else None
    return alice.last.event, bob.last.event


def negotiate_three(
    alice: End,
    bob: End,
    *,
    change: Change = unchanged,
    at: int = 0,
    content: bytes | None = None,
    once: bytes | None = None,
) -> tuple[Event, Event]:
    """The same in 3 messages; `change` meddles with message number `at` (1 to 3)."""
    stanza = alice.initiate(three=True, content=content, once=once)
    for number in (1, 2, 3):
        taker = alice if number == 2 else bob
        replies = taker.take(change(stanza) if number == at else stanza).replies
        if not replies or taker.last.event not in (Event.ANSWERED, Event.ESTABLISHED, Event.ONCE_SENT):
            break
        stanza = message(replies[0])
    return alice.last.event, bob.last.event


def established(profile: Profile | None = None, seed: str = "s") -> tuple[End, End]:
    """Two ends with a session."""
    alice, bob = End(f"alice/{seed}"), End(f"bob/{seed}")
    assert negotiate(alice, bob, profile=profile) == (Event.ESTABLISHED, Event.ESTABLISHED)
    return alice, bob


# ---------------------------------------------------------------------------------------------------- meddling
def with_form(stanza: Element, change: Change) -> Element:
    """The stanza with its `<x/>` changed."""

    def walk(element: Element) -> Element:
        if element.name == "x":
            return change(element)
        children = tuple(walk(c) if isinstance(c, Element) else c for c in element.children)
        return Element(element.namespace, element.name, element.attributes, children)

    return walk(stanza)


def with_text(stanza: Element, old: str, new: str) -> Element:
    """The stanza with a piece of its serialised form replaced."""
    before = serialize(stanza).decode()
    assert old in before, before
    return parse(before.replace(old, new).encode())


def with_field(var: str, *values: str) -> Change:
    """Replace the values of a field of the form."""

    def change_field(child: Element | str) -> Element | str:
        if isinstance(child, str) or child.attribute("var") != var:
            return child
        texts = tuple(Element(child.namespace, "value", (), (value,)) for value in values)
        return Element(child.namespace, child.name, child.attributes, texts)

    def change(stanza: Element) -> Element:
        return with_form(
            stanza, lambda x: Element(x.namespace, x.name, x.attributes, tuple(map(change_field, x.children)))
        )

    return change


def without_field(*names: str) -> Change:
    """Leave fields out of the form."""

    def change_form(x: Element) -> Element:
        kept = tuple(c for c in x.children if isinstance(c, str) or c.attribute("var") not in names)
        return Element(x.namespace, x.name, x.attributes, kept)

    return lambda stanza: with_form(stanza, change_form)


def with_extra_field(markup: str) -> Change:
    """Add a field to the form, last."""
    extra = parse(f"<x xmlns='jabber:x:data'>{markup}</x>".encode()).elements

    def change_form(x: Element) -> Element:
        return Element(x.namespace, x.name, x.attributes, (*x.children, *extra))

    return lambda stanza: with_form(stanza, change_form)


def ssn_form(kind: str, *fields: tuple[str, str], form_type: str = "urn:xmpp:ssn") -> Element:
    """A stanza with a negotiation form of these fields."""
    listed = "".join(
        f"<field var='{var}'><value>{value}</value></field>" for var, value in (("FORM_TYPE", form_type), *fields)
    )
    form = f"<x xmlns='jabber:x:data' type='{kind}'>{listed}</x>"
    return plain(f"<feature xmlns='http://jabber.org/protocol/feature-neg'>{form}</feature>")


def error_stanza(condition: str) -> Element:
    """A stanza error of that condition."""
    named = f"<{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>" if condition else ""
    return plain(f"<error type='cancel'>{named}</error>", kind="error")
