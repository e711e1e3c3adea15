"""Negotiations in 4 messages: public keys, passwords, versions, frequencies, kinds of stanzas."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from crypto.errors import Misuse
from crypto.esession.conversation import Event, Kind
from crypto.esession.identities import Identity, PublicIdentity
from crypto.esession.passwords import UnusablePassword, password_octets
from crypto.esession.terms import Terms
from crypto.xml import Element
from tests.unit.esession_agreeing import ALICE, BOB, BOTH, agreed, exchange
from tests.unit.esession_keys import DSA, ED25519, RSA, ed25519, keyed, rsa
from tests.unit.esession_world import (
    FAST,
    Change,
    End,
    message,
    negotiate,
    with_field,
    with_form,
    without_field,
)


# ---------------------------------------------------------------------------------------------------- public keys
@pytest.mark.parametrize("method", ["key", "hash"])
@pytest.mark.parametrize("kind", [ED25519, RSA])
def test_both_ends_show_their_keys_behind_the_four_messages(method: str, kind: str) -> None:
    one, other = (ALICE, BOB) if kind is ED25519 else (rsa("alice"), rsa("bob"))
    alice = End("a", keyed(one, other.public, peer_keys=(method,), three=False))
    bob = End("b", keyed(other, one.public, peer_keys=(method,), three=False))
    assert negotiate(alice, bob) == BOTH
    assert (alice.last.identity, bob.last.identity) == (other.public, one.public)
    assert alice.session.agreed.peer_fingerprint == other.public.fingerprint()
    assert alice.session.sas == bob.session.sas != ""
    for _ in range(3):
        exchange(alice, bob)
        exchange(bob, alice)


@pytest.mark.parametrize(("initiator", "responder"), [(True, False), (False, True)])
def test_one_end_alone_can_show_a_key(initiator: bool, responder: bool) -> None:
    def terms(own: Identity, shows: bool, wants: bool) -> Terms:
        return Terms(groups=(14,), identity=own if shows else None, peer_keys=("key",) if wants else ("none",))

    alice, bob = End("a", terms(ALICE, initiator, responder)), End("b", terms(BOB, responder, initiator))
    assert negotiate(alice, bob) == BOTH
    assert alice.last.identity == (BOB.public if responder else None)
    assert bob.last.identity == (ALICE.public if initiator else None)
    exchange(alice, bob)
    exchange(bob, alice)


def test_both_sign_with_an_algorithm_that_both_have() -> None:
    many = Terms(groups=(14,), identity=BOB, other_identities=(rsa("bob"),), peer_keys=("key",))
    alice, bob = End("a", keyed(rsa("alice"), peer_keys=("key",))), End("b", many)
    assert negotiate(alice, bob) == BOTH
    assert alice.last.identity == rsa("bob").public
    strict = End("c", keyed(BOB, peer_keys=("key",)))
    assert negotiate(End("a", keyed(rsa("alice"), peer_keys=("key",))), strict)[1] is Event.FAILED
    assert strict.last.refused_fields == ("sign_algs",)


def test_keys_are_demanded_where_the_terms_demand_them() -> None:
    demanding = End("b", keyed(BOB, peer_keys=("key",)))
    assert negotiate(End("a"), demanding)[1] is Event.FAILED
    assert "init_pubkey" in demanding.last.refused_fields
    asker = End("a", keyed(ALICE, peer_keys=("key",)))
    bob = End("b")
    negotiate(asker, bob)
    assert bob.last.refused_fields[:1] == ("resp_pubkey",)


def test_dsa_is_verified_only_where_it_is_configured() -> None:
    with pytest.raises(Misuse):
        Terms(sign_algs=())
    assert DSA not in Terms().sign_algs
    assert Terms(sign_algs=(RSA, DSA)).sign_algs == (RSA, DSA)


def test_a_stolen_key_value_without_its_secret_proves_nothing() -> None:
    bob = End("b", keyed(BOB, ALICE.public))
    thief = replace(ALICE, secret=ed25519("mallory").secret)
    assert negotiate(End("m", keyed(thief, BOB.public)), bob)[1] is Event.FAILED
    assert bob.last.refused_fields == ()
    alice = End("a", keyed(ALICE, BOB.public))
    thief = replace(BOB, secret=ed25519("mallory").secret)
    assert negotiate(alice, End("m", keyed(thief, ALICE.public)))[0] is Event.FAILED


def test_a_known_key_of_another_algorithm_than_the_agreed_one_is_no_proof() -> None:
    """The peer names an RSA key that we know, and signs with it, where Ed25519 was agreed to."""
    odd = Identity(PublicIdentity(ED25519, rsa("bob").public.key_value), rsa("bob").secret)
    alice = End("a", keyed(ALICE, rsa("bob").public, peer_keys=("hash",)))
    assert negotiate(alice, End("b", keyed(odd, ALICE.public)))[0] is Event.FAILED
    assert alice.last.refused_fields == ()


# ---------------------------------------------------------------------------------------------------- passwords
def test_a_password_that_both_know_goes_into_the_keys() -> None:
    secret = replace(FAST, password=b"correct horse")
    assert agreed(secret, secret).password
    assert not agreed(FAST, FAST).password


@pytest.mark.parametrize("other", [b"correct horsE", None])
def test_a_wrong_password_fails_as_any_other_false_proof(other: bytes | None) -> None:
    for one, two in ((b"correct horse", other), (other, b"correct horse")):
        alice, bob = End("a", replace(FAST, password=one)), End("b", replace(FAST, password=two))
        events = negotiate(alice, bob)
        assert events == (Event.FAILED, Event.ESTABLISHED)
        assert (alice.last.condition, alice.last.refused_fields) == ("feature-not-implemented", ())
        tampered = End("a2", replace(FAST, password=one))
        fresh = End("b2", replace(FAST, password=one))
        negotiate(tampered, fresh, change=with_field("mac", "A" * 43 + "="), at=4)
        assert [r.payload for r in tampered.last.replies] == [r.payload for r in alice.last.replies]
        assert not bob.session.confirmed


def test_a_responder_learns_of_a_wrong_password_by_the_first_stanza_at_the_latest() -> None:
    alice, bob = End("a", replace(FAST, password=b"one")), End("b", replace(FAST, password=b"two"))
    negotiate(alice, bob)
    error = next(r for r in alice.last.replies if r.kind is Kind.ERROR)
    assert bob.take(message(error)).event is Event.LOST


def test_a_password_is_the_same_however_it_is_typed() -> None:
    assert (
        password_octets("caf\u00e9 au\u00a0lait\n") == password_octets("cafe\u0301 au lait") == "café au lait".encode()
    )
    assert password_octets("Ab") != password_octets("ab")
    assert password_octets("a  b") != password_octets("a b")
    for wrong in ("", " \n", "a\x00b", "a\u200bb", "x" * 1025, "\ue000"):
        with pytest.raises(UnusablePassword):
            password_octets(wrong)


# ---------------------------------------------------------------------------------------------------- other fields
def test_versions_are_chosen_among_those_we_speak() -> None:
    more = with_text_option("ver", "1.3", "1.0")
    bob = End("b")
    out = bob.take(more(End("a").initiate()))
    assert b'var="ver"><value>1.0</value>' in out.replies[0].payload
    newer = End("c")
    out = newer.take(with_field("ver", "1.3")(End("a").initiate()))
    assert (out.event, out.condition, out.refused_fields) == (Event.FAILED, "not-acceptable", ("ver",))
    alice = End("a")
    negotiate(alice, End("b"), change=with_field("ver", "1.3"), at=2)
    assert (alice.last.event, alice.last.refused_fields) == (Event.FAILED, ("ver",))


def with_text_option(var: str, *values: str) -> Change:
    """Replace a field by one with these options."""

    def change_field(child: Element | str) -> Element | str:
        if isinstance(child, str) or child.attribute("var") != var:
            return child
        options = tuple(
            Element(child.namespace, "option", (), (Element(child.namespace, "value", (), (v,)),)) for v in values
        )
        return Element(child.namespace, child.name, child.attributes, options)

    return lambda stanza: with_form(
        stanza, lambda x: Element(x.namespace, x.name, x.attributes, tuple(map(change_field, x.children)))
    )


@pytest.mark.parametrize(
    ("one", "other", "found"), [(5, 100, 100), (100, 5, 100), (1, 1, 1), (7, 4294967295, 4294967295)]
)
def test_the_later_of_two_rekey_frequencies_holds(one: int, other: int, found: int) -> None:
    assert agreed(replace(FAST, rekey_freq=one), replace(FAST, rekey_freq=other)).rekey_freq == found


@pytest.mark.parametrize("answered", ["4", "0", "-5", "4294967296", "5.5", "five"])
def test_an_answer_below_our_frequency_or_beyond_the_limit_is_refused(answered: str) -> None:
    alice = End("a", replace(FAST, rekey_freq=5))
    negotiate(alice, End("b"), change=with_field("rekey_freq", answered), at=2)
    assert (alice.last.event, alice.last.refused_fields) == (Event.FAILED, ("rekey_freq",))


def test_an_answer_without_a_frequency_means_no_rekeying() -> None:
    alice, bob = End("a", replace(FAST, rekey_freq=5)), End("b")
    negotiate(alice, bob, change=without_field("rekey_freq"), at=1)
    assert alice.conversation is not None
    assert alice.conversation.proved is not None
    assert alice.conversation.proved.agreement.rekey_freq == 4294967295


@pytest.mark.parametrize(
    ("ours", "found"),
    [
        (("message",), {"message"}),
        (("message", "iq"), {"message", "iq"}),
        (("presence", "message"), {"message", "presence"}),
    ],
)
def test_only_the_kinds_of_stanzas_that_both_have_are_agreed_to(ours: tuple[str, ...], found: set[str]) -> None:
    assert set(agreed(FAST, replace(FAST, stanzas=ours)).stanzas) == found


def test_a_peer_without_messages_is_refused() -> None:
    bob = End("b")
    out = bob.take(with_text_option("stanzas", "iq")(End("a").initiate()))
    assert out.refused_fields == ("stanzas",)
    alice = End("a")
    negotiate(alice, End("b"), change=with_field("stanzas", "iq"), at=2)
    assert alice.last.refused_fields == ("stanzas",)


MISTAKES: list[dict[str, object]] = [
    {"ciphers": ()},
    {"hashes": ("md5",)},
    {"groups": ("14",)},
    {"groups": (1,)},
    {"kems": ("ml-kem-512",)},
    {"kems": (), "require_hybrid": True},
    {"versions": ("2.0",)},
    {"stanzas": ("iq",)},
    {"rekey_freq": 0},
    {"rekey_freq": 1 << 32},
    {"peer_keys": ()},
    {"own_keys": ("key",)},
    {"shield": "both"},
    {"password": b""},
    {"sas_algs": ("sas",)},
]


@pytest.mark.parametrize("wrong", MISTAKES, ids=str)
def test_terms_that_cannot_be_kept_are_our_mistake(wrong: dict[str, object]) -> None:
    make: Callable[..., Terms] = Terms
    with pytest.raises(Misuse):
        make(**wrong)


def test_a_password_and_a_key_are_not_in_any_repr() -> None:
    terms = replace(keyed(ALICE, BOB.public), password=b"correct horse")
    assert "correct" not in repr(terms)
    assert ALICE.secret.hex() not in repr(terms)
