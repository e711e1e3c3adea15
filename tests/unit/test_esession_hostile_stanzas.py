"""Playbook: everything that XEP-0200 has an entity refuse, done to a running session by its peer or by the network.

Each line says what is done, by whom (`between`: without any key; `peer`: with the keys of the session), and the clause
that refuses it. Whatever it is: nothing of it is content, the session is over, the peer is told, and so is the caller.
"""

import base64
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from crypto.esession.conversation import Conversation, Event, Kind, Outcome, receive
from crypto.esession.encrypted import key_parts
from crypto.esession.payloads import termination
from crypto.esession.rekeying_state import POLICY, RekeyPolicy
from crypto.esession.retained import Retained
from crypto.esession.session import MAX_BLOCKS
from crypto.esession.suite import Suite, exchange
from crypto.esession.terms import Terms
from crypto.xml import Element, parse
from tests.unit.rekeying_world import Side, sealed_with, sides, worn
from tests.unit.test_esession_stanzas import no_draw

World = tuple[Side, Side]
NS = "http://www.xmpp.org/extensions/xep-0200.html#ns"


@dataclass(frozen=True)
class Play:
    """One thing that must not be taken: `act` gives the `<c/>` that Bob receives."""

    name: str
    by: str
    clause: str
    act: Callable[[Side, Side], Element]
    suite: Suite = Suite(group="x25519")  # noqa: RUF009 - frozen
    condition: str = "not-acceptable"
    prepare: Callable[[World], World] = lambda world: world


def flipped(c: bytes, part: str) -> Element:
    """With the first octet of a part changed."""
    element = parse(c)

    def change(e: Element) -> Element:
        if e.name != part:
            return e
        octets = base64.b64decode(e.text)
        return replace(e, children=(base64.b64encode(bytes([octets[0] ^ 1]) + octets[1:]).decode(),))

    return replace(element, children=tuple(map(change, element.elements)))


def skipping(alice: Side, _bob: Side) -> Element:
    alice.send("lost")
    return parse(alice.send("the next"))


def from_another_session(_alice: Side, _bob: Side) -> Element:
    other, _ = sides(seed="another")
    return parse(other.send("x"))


def thrown_back(_alice: Side, bob: Side) -> Element:
    return parse(bob.send("x"))


def too_old(alice: Side, bob: Side) -> Element:
    first = alice.send("first")
    bob.take(first)
    for _ in range(64):
        bob.take(alice.send("more"))
    return parse(first)


def parts_of_two(alice: Side, _bob: Side) -> Element:
    one, two = parse(alice.send("one")), parse(alice.send("two"))
    return replace(one, children=(one.elements[0], two.elements[-1]))


def with_doubled(part: str) -> Callable[[Side, Side], Element]:
    def act(alice: Side, _bob: Side) -> Element:
        element = parse(alice.send("x", key=True))
        [found] = [e for e in element.elements if e.name == part]
        return replace(element, children=(found, *element.children))

    return act


def with_child(markup: str) -> Callable[[Side, Side], Element]:
    def act(alice: Side, _bob: Side) -> Element:
        element = parse(alice.send("x"))
        added = parse(f"<c xmlns='{NS}'>{markup}</c>".encode()).children
        return replace(element, children=(*added, *element.children))

    return act


def keyed(value: bytes) -> Callable[[Side, Side], Element]:
    return lambda alice, _bob: sealed_with(alice, key_parts(value, 0, ()))


def saying(content: bytes) -> Callable[[Side, Side], Element]:
    return lambda alice, _bob: sealed_with(alice, b"", content)


def too_often(alice: Side, bob: Side) -> Element:
    alice.session = replace(alice.session, rekeying=replace(alice.state, frequency=1))
    bob.take(alice.send("x", key=True))
    return parse(alice.send("x", key=True))


def not_agreed(world: World) -> World:
    alice, bob = world
    bob.session = replace(bob.session, rekeying=None)
    return alice, bob


def at_the_limit(world: World) -> World:
    alice, bob = world
    bob.session = worn(bob.session, receiving=MAX_BLOCKS)
    return alice, bob


def seldom(_world: World) -> World:
    return sides(frequency=10)


def old_key_again(alice: Side, bob: Side) -> Element:
    """The peer answers with values that were destroyed: a count that goes back."""
    bob.send("x", key=True, now_ms=1)
    alice.take_from(bob)
    bob.send("y", now_ms=1 + POLICY.grace_ms, policy=RekeyPolicy(stanzas=1 << 30, interval_ms=1 << 60))
    fallen_back = sides()[0]
    return parse(fallen_back.send("with the first keys"))


X25519_ZERO = bytes(32)
M14 = Suite(group="14")
PLAYS = [
    Play("a changed content", "between", "Decrypting, 3: MACs do not match", lambda a, b: flipped(a.send("x"), "data")),
    Play("a changed MAC", "between", "Decrypting, 3: MACs do not match", lambda a, b: flipped(a.send("x"), "mac")),
    Play("a changed key", "between", "Re-Key Initiation: the MAC covers e",
         lambda a, b: flipped(a.send("x", key=True), "key")),
    Play("a removed stanza", "between", "Decrypting, 3: out of order", skipping),
    Play("a stanza of another session", "between", "Decrypting, 3: other keys", from_another_session),
    Play("our own stanza thrown back", "between", "Assumptions: each direction has its keys", thrown_back),
    Play("a replay from long ago", "between", "Replay Attacks: counters", too_old),
    Play("the content of one with the MAC of another", "between", "Decrypting, 3", parts_of_two),
    Play("two MACs", "between", "XML Schemas", with_doubled("mac")),
    Play("two contents", "between", "XML Schemas", with_doubled("data")),
    Play("two keys", "between", "XML Schemas", with_doubled("key")),
    Play("another element", "between", "XML Schemas", with_child("<x/>")),
    Play("a foreign element", "between", "XML Schemas", with_child("<data xmlns='urn:x'>AAAA</data>")),
    Play("text between the parts", "between", "Encrypting, 4: normalised content", with_child("text")),
    Play("an inserted count", "between", "Encrypting, 4: the MAC covers it", with_child("<new>1</new>")),
    Play("a count of nothing", "between", "XML Schemas: positiveInteger", with_child("<new>0</new>")),
    Play("an inserted old key", "between", "Encrypting, 4: the MAC covers it", with_child("<old>AAAA</old>")),
    Play("no MAC", "between", "Sending an Encrypted Stanza",
         lambda a, b: replace(parse(a.send("x")), children=parse(a.wire[-1]).elements[:-1])),
    Play("content that is no XML", "peer", "Decrypting, 6: XML format error", saying(b"<body>")),
    Play("content with a document type", "peer", "Decrypting, 6: XML format error", saying(b"<!DOCTYPE a><a/>")),
    Play("text without an element", "peer", "Decrypting, 6: XML format error", saying(b"just words")),
    Play("an empty content", "peer", "Encrypting, 4: <data/> only if there is content",
         lambda a, b: sealed_with(a, b"<data></data>", b"")),
    Play("e of zero", "peer", "Re-Key Acceptance: greater than one", keyed(b"\0"), M14),
    Play("e of one", "peer", "Re-Key Acceptance: greater than one", keyed(b"\1"), M14),
    Play("e beyond the prime", "peer", "Re-Key Acceptance: a public value", keyed(b"\xff" * 256), M14),
    Play("a point of small order", "peer", "Re-Key Acceptance, for X25519", keyed(X25519_ZERO)),
    Play("a key of another length", "peer", "Re-Key Acceptance, for X25519", keyed(b"x" * 31)),
    Play("keys too often", "peer", "Re-Key Exchange: not more frequently than agreed", too_often, prepare=seldom),
    Play("a key where none was agreed", "peer", "Re-Key Exchange: the agreed limit",
         keyed(exchange("x25519").public(b"k" * 32)), condition="feature-not-implemented", prepare=not_agreed),
    Play("a count of keys never sent", "peer", "Decrypting, 1: which of his keys",
         lambda a, b: sealed_with(a, b"<new>1</new>")),
    Play("values that were destroyed", "peer", "Re-Key Initiation: a reasonable time has passed", old_key_again),
    Play("more blocks than a key may serve for", "peer", "Maximum Key Life", saying(b"<a/>".ljust(16)),
         prepare=at_the_limit),
]  # fmt: skip


def message(c: Element, kind: str = "chat") -> Element:
    thread = Element("jabber:client", "thread", (), ("t",))
    return Element("jabber:client", "message", (("type", kind),), (thread, c))


def received(side: Side, stanza: Element) -> Outcome:
    talk = Conversation("t", session=side.session)
    return receive(talk, stanza, terms=Terms(), retained=Retained(), draw=no_draw)


@pytest.mark.parametrize("play", PLAYS, ids=lambda p: f"{p.by}: {p.name}")
def test_it_ends_the_session_and_shows_nothing(play: Play) -> None:
    alice, bob = play.prepare(sides(play.suite))
    c = play.act(alice, bob)
    before = bob.session
    out = received(bob, message(c))
    assert (out.event, out.conversation, out.content, out.within_error) == (Event.BROKEN, None, (), ())
    assert out.condition == play.condition
    error, *last = out.replies
    assert error.kind is Kind.ERROR
    assert play.condition.encode() in error.payload
    assert bob.session == before
    if play.name != "more blocks than a key may serve for":
        assert [r.kind for r in last] == [Kind.ENCRYPTED]


def test_the_peer_that_is_told_ends_its_session_too() -> None:
    alice, bob = sides()
    out = received(bob, message(flipped(alice.send("x"), "data")))
    told = received(alice, message(parse(out.replies[1].payload)))
    assert (told.event, told.conversation) == (Event.ENDED, None)


@pytest.mark.parametrize("play", [p for p in PLAYS if p.by == "between"], ids=lambda p: str(p.name))
def test_while_we_are_closing_it_is_not_content_either(play: Play) -> None:
    from crypto.esession.conversation import end

    alice, bob = play.prepare(sides(play.suite))
    c = play.act(alice, bob)
    talk = end(Conversation("t", session=bob.session)).conversation
    out = receive(talk, message(c), terms=Terms(), retained=Retained(), draw=no_draw)
    assert (out.event, out.conversation, out.content) == (Event.ENDED, None, ())


def test_what_comes_after_a_bad_stanza_is_of_a_session_that_is_no_more() -> None:
    alice, bob = sides()
    assert received(bob, message(flipped(alice.send("x"), "data"))).conversation is None
    after = receive(None, message(parse(alice.send("y"))), terms=Terms(), retained=Retained(), draw=no_draw)
    assert (after.event, after.content) == (Event.UNKNOWN, ())


def test_our_own_stanza_that_bounced_loses_the_session_and_is_no_content() -> None:
    alice, _ = sides()
    out = received(alice, message(parse(alice.send("x")), "error"))
    assert (out.event, out.conversation, out.content) == (Event.LOST, None, ())


def test_a_termination_that_was_changed_does_not_count_as_one() -> None:
    alice, bob = sides()
    c = flipped(alice.send_raw(termination()), "data")
    assert received(bob, message(c)).event is Event.BROKEN
