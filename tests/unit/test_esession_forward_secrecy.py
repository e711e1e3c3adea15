"""Old values of a session: destroyed as soon as nobody needs them, MAC keys published when that is safe (XEP-0200)."""

import base64
from dataclasses import replace

import pytest

from crypto.esession.faults import UnauthenticStanza
from crypto.esession.opening import open_stanza
from crypto.esession.rekeying import new_keys, without_expired
from crypto.esession.rekeying_state import POLICY
from crypto.esession.session import Session
from crypto.esession.suite import Suite, exchange
from crypto.primitives.integers import from_octets
from crypto.xml import parse
from tests.unit.rekeying_world import agree, pair, published, settle, sides
from tests.unit.session_secrets import holders, secret_values


# ---------------------------------------------------------------------------------------------------- destruction
def test_old_values_stay_until_the_peer_shows_that_it_has_the_new_ones_and_no_longer() -> None:
    alice, bob = sides()
    old = {"x": alice.state.secret, "KC_B": alice.session.receiving.cipher_key, "KM_B": alice.session.receiving.mac_key}
    bob.send("under the old keys")
    alice.send("x", key=True)
    alice.take_from(bob)
    assert holders(alice.session, old) == set(old)
    bob.take_from(alice)
    bob.send("under the new ones")
    alice.take_from(bob)
    assert holders(alice.session, old) == {"KM_B"}  # waits to be published
    alice.send("x")
    assert not holders(alice.session, old)


def test_values_that_wait_too_long_are_destroyed() -> None:
    alice, bob = sides()
    old = {"x": alice.state.secret, "KC_B": alice.session.receiving.cipher_key}
    start = 1_000_000
    alice.send("x", key=True, now_ms=start)
    alice.send("y", now_ms=start + POLICY.grace_ms - 1)
    assert holders(alice.session, old) == set(old)
    alice.send("z", now_ms=start + POLICY.grace_ms)
    assert not holders(alice.session, old)
    late = bob.send("too late")
    with pytest.raises(UnauthenticStanza):
        open_stanza(alice.session, parse(late))
    bob.on_its_way.clear()
    bob.session = replace(sides()[1].session)  # a peer that answers with the new keys is understood
    bob.take_from(alice)
    bob.send("in time")
    alice.take_from(bob)
    assert alice.read == ["in time"]
    settle(alice, bob)
    agree(alice, bob)


def test_only_the_values_that_waited_too_long_are_destroyed() -> None:
    alice, bob = sides()
    start = 1_000_000
    for minute in range(4):
        alice.send("x", key=True, now_ms=start + minute * 60_000)
    kept = without_expired(alice.session, start + POLICY.grace_ms + 60_000, POLICY)
    assert kept.rekeying is not None
    assert len(kept.rekeying.newer) == 2
    alice.session = kept
    bob.take_from(alice, 3)
    bob.send("three of four")
    alice.take_from(bob)
    assert alice.read == ["three of four"]
    bob.take_from(alice)
    settle(alice, bob)
    agree(alice, bob)


def test_after_a_rekey_by_both_nothing_in_either_record_opens_what_went_before() -> None:
    alice, bob = sides(Suite(group="14"))
    early = [alice.send("secret"), bob.send("secret too")]
    bob.take(alice.on_its_way.popleft())
    alice.take(bob.on_its_way.popleft())
    old = {**secret_values(alice.session, "alice"), **secret_values(bob.session, "bob")}
    for one, other in ((alice, bob), (bob, alice)):
        one.send("key", key=True)
        other.take_from(one)
        other.send("ok")
        one.take_from(other)
    settle(alice, bob)
    assert old
    assert not holders(alice.session, old)
    assert not holders(bob.session, old)
    publics = [*public_values([*alice.wire, *bob.wire]), alice.state.peer_public, bob.state.peer_public]
    for c in early:
        assert not opens_with_any_key(c, (alice.session, bob.session), publics)


def public_values(wire: list[bytes]) -> list[bytes]:
    return [base64.b64decode(e.text) for c in wire for e in parse(c).elements if e.name == "key"]


def opens_with_any_key(c: bytes, sessions: tuple[Session, ...], publics: list[bytes]) -> bool:
    """Whether a stanza can be read with what two records hold, and what went over the wire."""
    data = next(base64.b64decode(e.text) for e in parse(c).elements if e.name == "data")
    keys: set[bytes] = set()
    for session in sessions:
        keys |= {octets for octets in secret_values(session).values() if len(octets) in (16, 24, 32)}
        suite = session.agreed.suite
        assert session.rekeying is not None
        for public in publics:
            shared = exchange(suite.group).shared(public, session.rekeying.secret)
            made = new_keys(suite, shared, session.rekeying.mixed, suite.key_octets(), 32)
            keys |= {made.initiator_cipher, made.acceptor_cipher}
    first, second = pair(Suite(group="14"))
    starts = [from_octets(first.sending.counter), from_octets(second.sending.counter)]
    suite = sessions[0].agreed.suite
    return any(suite.counter_mode(key, start, data).startswith(b"<body>") for key in keys for start in starts)


def test_the_same_search_finds_what_is_not_destroyed() -> None:
    alice, bob = sides(Suite(group="14"))
    early = alice.send("secret")
    assert opens_with_any_key(early, (alice.session, bob.session), [])


def test_secrets_are_in_no_representation() -> None:
    alice, bob = sides()
    alice.send("x", key=True)
    bob.take_from(alice)
    for side in (alice, bob):
        shown = repr(side.session)
        for value in secret_values(side.session).values():
            assert repr(value) not in shown


def test_a_hybrid_session_mixes_its_secret_into_every_new_key() -> None:
    alice, bob = sides(mixed=b"m" * 32)
    other, _ = sides(mixed=None)
    alice.send("x", key=True)
    other.send("x", key=True)
    assert alice.state.newer[0].secret == other.state.newer[0].secret
    assert alice.session.sending.cipher_key != other.session.sending.cipher_key
    bob.take_from(alice)
    settle(alice, bob)
    agree(alice, bob)


# ---------------------------------------------------------------------------------------------------- publishing
def test_a_mac_key_is_published_when_and_only_when_all_stanzas_under_it_are_verified() -> None:
    alice, bob = sides()
    km_a, km_b = alice.session.sending.mac_key, bob.session.sending.mac_key
    assert published(alice.send("key", key=True)) == []
    assert published(alice.send("more")) == []  # the key may not have arrived
    bob.take_from(alice)
    assert published(bob.send("ok")) == [km_a]  # Bob has verified all of Alice's under it
    alice.take_from(bob)
    assert sorted(published(alice.send("now"))) == sorted([km_a, km_b])
    assert published(alice.send("once only")) == []


def test_an_own_key_that_an_acceptance_retired_waits_for_the_answer_to_a_key_of_ours() -> None:
    alice, bob = sides()
    km_b = bob.session.sending.mac_key
    alice.send("key", key=True)
    bob.take_from(alice)
    first = bob.send("ok")
    assert km_b not in published(first)
    assert km_b not in published(bob.send("still"))
    key = bob.send("key of mine", key=True)
    assert km_b not in published(key)
    alice.take_from(bob)
    alice.send("answer")
    bob.take_from(alice)
    assert km_b in published(bob.send("now it is safe"))


def test_no_key_that_is_still_in_use_is_ever_published() -> None:
    alice, bob = sides()
    for number in range(30):
        alice.send("x", key=number % 2 == 0)
        bob.send("x", key=number % 3 == 0)
        if number % 4 == 3:
            bob.take_from(alice, 3)
            alice.take_from(bob, 2)
        for one, other in ((alice, bob), (bob, alice)):
            out = set(published(one.wire[-1]))
            used = {one.session.sending.mac_key, one.session.receiving.mac_key, other.session.sending.mac_key}
            assert not out & (used | {other.session.receiving.mac_key})
            assert not out & {each.mac_key for each in (*one.state.newer, *other.state.newer)}
