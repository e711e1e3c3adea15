"""What a re-keying peer, or somebody between, may not do (XEP-0200): every refusal, and that it changes nothing."""

import base64
from dataclasses import replace

import pytest

from crypto.esession.encrypted import key_parts
from crypto.esession.faults import BadStanza, MalformedStanza, Repeated, UnauthenticStanza, UnusableStanza
from crypto.esession.opening import open_stanza
from crypto.esession.suite import Suite, exchange
from crypto.primitives.integers import mpi
from crypto.primitives.modp import GROUPS
from crypto.xml import Element, parse
from tests.unit.rekeying_world import sealed_with, sides

PRIME = GROUPS[14].prime
BAD_VALUES = {
    "zero": b"\0",
    "one": b"\1",
    "nothing": b"",
    "p - 1": mpi(PRIME - 1),
    "p": mpi(PRIME),
    "p + 1": mpi(PRIME + 1),
    "huge": b"\xff" * 1000,
}


@pytest.mark.parametrize("name", sorted(BAD_VALUES))
def test_a_public_value_that_is_none_ends_the_session(name: str) -> None:
    alice, bob = sides(Suite(group="14"))
    with pytest.raises(UnusableStanza) as caught:
        open_stanza(bob.session, sealed_with(alice, key_parts(BAD_VALUES[name], 0, ())))
    assert caught.value.reason is BadStanza.PUBLIC_VALUE
    assert caught.value.__context__ is None


@pytest.mark.parametrize("value", [bytes(32), b"\1" + bytes(31), b"x" * 31, b"x" * 33])
def test_a_point_of_small_order_or_another_length_ends_the_session(value: bytes) -> None:
    alice, bob = sides()
    with pytest.raises(UnusableStanza) as caught:
        open_stanza(bob.session, sealed_with(alice, key_parts(value, 0, ())))
    assert caught.value.reason is BadStanza.PUBLIC_VALUE


def test_keys_that_come_more_often_than_agreed_end_the_session() -> None:
    alice, bob = sides(frequency=4)
    alice.session = replace(alice.session, rekeying=replace(alice.state, frequency=1))
    bob.take(alice.send("x", key=True))
    too_early = alice.send("x", key=True)
    with pytest.raises(UnusableStanza) as caught:
        bob.take(too_early)
    assert caught.value.reason is BadStanza.REKEYED_TOO_OFTEN
    alice, bob = sides(frequency=4)
    for _ in range(20):
        bob.take(alice.send("x", key=True))  # as often as agreed
    assert bob.state.received == 5


@pytest.mark.parametrize("count", [1, 2, 4294967295])
def test_a_count_of_keys_that_were_never_sent_is_not_believed(count: int) -> None:
    alice, bob = sides()
    before = bob.session
    with pytest.raises(UnauthenticStanza):
        open_stanza(bob.session, sealed_with(alice, b"<new>%d</new>" % count))
    bob.send("x", key=True)
    alice.take_from(bob)
    bob.session = replace(before, rekeying=replace(bob.state, newer=()))  # as if it had been destroyed
    with pytest.raises((UnauthenticStanza, UnusableStanza)):
        open_stanza(before, sealed_with(alice, b"<new>%d</new>" % count))


@pytest.mark.parametrize(
    "extra", [b"<new>0</new>", b"<new>-1</new>", b"<new></new>", b"<new>1</new><new>1</new>", b"<new>12345678901</new>"]
)
def test_a_count_that_is_none_is_malformed(extra: bytes) -> None:
    alice, bob = sides()
    with pytest.raises(MalformedStanza):
        open_stanza(bob.session, sealed_with(alice, extra))


def test_two_new_keys_in_one_stanza_are_malformed() -> None:
    alice, bob = sides()
    part = key_parts(exchange("x25519").public(b"z" * 32), 0, ())
    with pytest.raises(MalformedStanza):
        open_stanza(bob.session, sealed_with(alice, part + part))


@pytest.mark.parametrize("part", ["key", "new", "old"])
@pytest.mark.parametrize("change", ["removed", "moved", "another"])
def test_what_a_stanza_says_about_keys_is_authenticated(part: str, change: str) -> None:
    alice, bob = sides()
    alice.send("x", key=True)
    bob.take_from(alice)
    c = bob.send("with all three", key=True)
    others = [e for e in parse(c).elements if e.name != part]
    [own] = [e for e in parse(c).elements if e.name == part]
    if change == "moved":
        others.insert(0, own)
    elif change == "another":
        text = "2" if part == "new" else base64.b64encode(b"z" * 32).decode()
        others.append(Element(own.namespace, part, (), (text,)))
    with pytest.raises(UnauthenticStanza):
        open_stanza(alice.session, Element(own.namespace, "c", (), tuple(others)))
    alice.take(c)


def test_a_failed_stanza_with_a_key_changes_nothing_and_the_right_one_is_taken() -> None:
    alice, bob = sides()
    before = bob.session
    good = alice.send("x", key=True)
    bad = parse(good.replace(b"<key>", b"<key>AAAA"))
    with pytest.raises((UnauthenticStanza, ValueError)):
        open_stanza(bob.session, bad)
    assert bob.session == before
    bob.take(good)


def test_repetitions_are_recognised_after_the_keys_have_changed() -> None:
    alice, bob = sides()
    sent = []
    for number in range(20):
        sent.append(alice.send(f"{number}", key=number % 3 == 0))
        bob.take(sent[-1])
        alice.take(bob.send("ok", key=number % 5 == 0))
    before = bob.session
    for c in sent:
        with pytest.raises(Repeated):
            open_stanza(bob.session, parse(c))
    assert bob.session == before
    bob.take(alice.send("next"))
