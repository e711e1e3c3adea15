"""Negotiations in 4 messages beyond the fixed parameters: keys, passwords, suites, hybrid, versions, downgrades."""

from dataclasses import replace

import pytest

from crypto.esession import history, names
from crypto.esession.conversation import Event
from crypto.esession.forms import read_form
from crypto.esession.history import Weakening, best, weakenings
from crypto.esession.identities import Identity
from crypto.esession.payloads import negotiation_form
from crypto.esession.profiles import Profile
from crypto.esession.suite import CIPHERS, GROUPS, HASHES
from crypto.esession.terms import Terms
from crypto.xml import Element
from tests.unit.esession_agreeing import ALICE, BOB, BOTH, GROUP, KEM, KEM_KEYS, agreed, exchange, offered
from tests.unit.esession_keys import keyed
from tests.unit.esession_world import (
    FAST,
    Change,
    End,
    error_stanza,
    message,
    negotiate,
    with_field,
    with_form,
    with_text,
    without_field,
)


# ---------------------------------------------------------------------------------------------------- suites
def test_what_two_of_us_agree_to_without_being_told() -> None:
    found = agreed(FAST, FAST)
    assert (found.suite.cipher, found.suite.hash, found.suite.group) == ("aes256-ctr", "sha256", "14")
    assert (found.suite.kem, found.hybrid, found.sas_bound) == ("ml-kem-768", True, True)
    assert set(found.stanzas) == {"message", "presence", "iq"}


@pytest.mark.parametrize("cipher", list(CIPHERS))
def test_every_cipher_works(cipher: str) -> None:
    assert agreed(FAST, replace(FAST, ciphers=(cipher,))).suite.cipher == cipher


@pytest.mark.parametrize("hash_name", list(HASHES))
def test_every_hash_works_with_and_without_a_retained_secret(hash_name: str) -> None:
    alice, bob = End("a"), End("b", replace(FAST, hashes=(hash_name,)))
    for chain in ("first", "continued"):
        assert negotiate(alice, bob) == BOTH
        assert alice.session.chain == bob.session.chain == chain
        assert alice.session.agreed.suite.hash == hash_name
        assert len(alice.retained.secrets[0].secret) == HASHES[hash_name].octets
        exchange(alice, bob)
        exchange(bob, alice)
        alice.conversation = bob.conversation = None


def test_a_secret_retained_under_one_hash_is_recognised_under_another() -> None:
    alice, bob = End("a"), End("b")
    negotiate(alice, bob)
    alice.conversation = bob.conversation = None
    bob.terms = replace(FAST, hashes=("sha3-512",))
    assert negotiate(alice, bob) == BOTH
    assert alice.session.chain == "continued"


@pytest.mark.parametrize("group", [name for name in GROUPS if name not in ("17", "18")])
def test_every_group_can_be_agreed_to(group: str) -> None:
    own = int(group) if group.isdigit() else group
    assert agreed(Terms(groups=(own,)), Terms(groups=(14, own) if own != 14 else (14,))).suite.group == group


def test_x25519_is_taken_first_only_by_whom_it_is_liked_best() -> None:
    both = Terms(groups=(14, "x25519"))
    assert agreed(both, Terms(groups=("x25519", 14))).suite.group == "x25519"
    assert agreed(both, both).suite.group == "14"
    assert agreed(Terms(groups=("x25519",)), both).suite.group == "x25519"


def test_our_options_are_chosen_in_our_order() -> None:
    ours = Terms(groups=(14,), ciphers=("aes192-ctr", "aes256-ctr"), hashes=("sha3-256", "sha256"))
    suite = agreed(FAST, ours).suite
    assert (suite.cipher, suite.hash) == ("aes192-ctr", "sha3-256")


FIRST = {
    "modp": "14",
    "crypt_algs": "aes128-ctr",
    "hash_algs": "sha256",
    "stanzas": "message",
    "init_pubkey": "none",
    "resp_pubkey": "none",
    "ver": "1.0",
    "sas_algs": "sas28x5",
    "disclosure": "never",
    "logging": "may",
    "compress": "none",
}


@pytest.mark.parametrize("identity", [None, ALICE])
def test_what_deployed_peers_need_is_our_first_option_and_extensions_have_fields_of_their_own(
    identity: Identity | None,
) -> None:
    peer_keys = ("key", "none") if identity else ("none",)
    alice = End("a", Terms(groups=(14, 15, "x25519"), identity=identity, peer_keys=peer_keys))
    stanza = alice.initiate()
    for var, value in FIRST.items():
        assert (offered(stanza, var) or ("",))[0] == value, var
    assert offered(stanza, "modp") == ("14", "15")
    assert offered(stanza, GROUP) == ("x25519",)
    assert all(value.isdigit() for value in offered(stanza, "modp") or ())


@pytest.mark.parametrize("profile", [Profile.DEPLOYED, Profile.SIMPLIFIED])
def test_a_peer_of_one_suite_is_offered_that_suite(profile: Profile) -> None:
    stanza = End("a").initiate(profile)
    assert offered(stanza, "crypt_algs") == ("aes128-ctr",)
    assert offered(stanza, "hash_algs") == ("sha256",)


def test_a_forged_error_does_not_lead_back_to_the_old_suite() -> None:
    alice, bob = End("a"), End("b")
    bob.take(alice.initiate())
    alice.take(message(bob.last.replies[0]))
    assert alice.take(error_stanza("feature-not-implemented")).retry is None


# ---------------------------------------------------------------------------------------------------- hybrid
def test_a_peer_that_knows_no_hybrid_is_served_without_and_it_shows() -> None:
    assert not agreed(FAST, replace(FAST, kems=())).hybrid
    assert not agreed(replace(FAST, kems=()), FAST).hybrid


def test_who_demands_a_hybrid_session_gets_no_other() -> None:
    strict = replace(FAST, require_hybrid=True)
    assert agreed(FAST, strict).hybrid
    bob = End("b", strict)
    assert negotiate(End("a", replace(FAST, kems=())), bob)[1] is Event.FAILED
    assert bob.last.refused_fields == (KEM,)
    alice = End("a", strict)
    assert negotiate(alice, End("b", replace(FAST, kems=())))[0] is Event.FAILED
    assert alice.last.refused_fields == (KEM,)


def test_every_key_of_a_hybrid_negotiation_depends_on_the_encapsulated_secret() -> None:
    """Another ciphertext, the rest as it was: already the initiator's identity cannot be read or verified."""
    alice, bob = End("a"), End("b")
    two = message(bob.take(alice.initiate()).replies[0])
    x = negotiation_form(two)
    assert x is not None
    first = read_form(x).value(KEM_KEYS) or ""
    changed = ("B" if first[100] == "A" else "A").join((first[:100], first[101:]))
    answered = bob.conversation
    three = message(alice.take(two).replies[0])
    assert alice.conversation is not None
    assert alice.conversation.proved is not None
    with_right = alice.conversation.proved.shared
    other = End("a")
    other.initiate()
    other.take(with_text(two, first, changed))
    assert other.conversation is not None
    assert other.conversation.proved is not None
    assert other.conversation.proved.shared != with_right
    assert answered is not None
    assert bob.take(message(other.last.replies[0])).event is Event.FAILED
    assert three is not None


@pytest.mark.parametrize(
    ("at", "change", "fields"),
    [
        (1, with_field(KEM_KEYS, "AAAA"), (KEM_KEYS,)),
        (1, with_field(KEM_KEYS, "/" * 1579 + "="), (KEM_KEYS,)),
        (1, without_field(KEM_KEYS), (KEM_KEYS,)),
        (2, with_field(KEM_KEYS, "AAAA"), (KEM_KEYS,)),
        (2, without_field(KEM_KEYS), (KEM_KEYS,)),
        (2, with_field(KEM, "ml-kem-512"), (KEM,)),
    ],
)
def test_encapsulations_that_are_none_are_refused(at: int, change: Change, fields: tuple[str, ...]) -> None:
    alice, bob = End("a"), End("b")
    negotiate(alice, bob, change=change, at=at)
    out = bob.last if at == 1 else alice.last
    assert (out.event, out.condition, out.refused_fields) == (Event.FAILED, "not-acceptable", fields)


# ---------------------------------------------------------------------------------------------------- downgrades
def without_option(var: str, *values: str) -> Change:
    """Take options out of a field of the request."""

    def change_field(child: Element | str) -> Element | str:
        if isinstance(child, str) or child.attribute("var") != var:
            return child
        kept = tuple(o for o in child.elements if o.elements and o.elements[0].text not in values)
        return Element(child.namespace, child.name, child.attributes, kept)

    return lambda stanza: with_form(
        stanza, lambda x: Element(x.namespace, x.name, x.attributes, tuple(map(change_field, x.children)))
    )


DOWNGRADES: dict[str, Change] = {
    "kem": without_field(KEM, KEM_KEYS),
    "curve": without_field(GROUP, "{urn:lockgate:esession:0}dhhashes"),
    "cipher": without_option("crypt_algs", "aes256-ctr", "aes192-ctr"),
    "hash": without_option("hash_algs", "sha512"),
    "string": without_option("sas_algs", "{urn:lockgate:esession:0}sas28x5-bound"),
    "version": without_field("ver"),
    "stanzas": without_option("stanzas", "presence", "iq"),
    "rekeying": with_field("rekey_freq", "4294967295"),
    "keys": without_option("init_pubkey", "hash", "key"),
}


@pytest.mark.parametrize("what", list(DOWNGRADES))
@pytest.mark.parametrize("profile", [None, Profile.LETTER])
def test_an_option_removed_on_the_way_breaks_the_proof(what: str, profile: Profile | None) -> None:
    own = replace(
        keyed(ALICE, BOB.public, peer_keys=("key", "none")),
        groups=(14, "x25519"),
        rekey_freq=5,
        hashes=("sha256", "sha512"),
    )
    other = replace(own, identity=BOB, known_keys=(ALICE.public,), hashes=("sha512", "sha256"))
    alice, bob = End("a", own), End("b", other)
    negotiate(alice, bob, profile=profile, change=DOWNGRADES[what], at=1)
    assert bob.last.event is Event.FAILED
    assert (bob.last.condition, bob.last.refused_fields) == ("feature-not-implemented", ())
    assert alice.last.event is Event.PROVED


def test_an_answer_that_was_weakened_on_the_way_makes_no_session_for_the_initiator() -> None:
    """What changes a key is noticed at once; what does not, by the proof over formB in the last message."""
    for change, responder in (
        (with_field("crypt_algs", "aes128-ctr"), Event.FAILED),
        (without_field(KEM, KEM_KEYS), Event.FAILED),
        (with_field("stanzas", "message"), Event.ESTABLISHED),
        (with_field("disclosure", "never"), Event.ESTABLISHED),
    ):
        open_to = replace(FAST, disclosure=("enabled", "never"))
        alice, bob = End("a", open_to), End("b", open_to)
        negotiate(alice, bob, change=change, at=2)
        assert bob.last.event is responder
        assert alice.last.event is (Event.PROVED if responder is Event.FAILED else Event.FAILED)


def test_the_bound_string_leaves_nothing_to_choose_after_the_answer() -> None:
    """What the initiator still draws after the answer changes the string of the XEP, and not the bound one."""

    class Late(End):
        """An initiator that tries other values for `rshashes`."""

        def draw(self, name: str, size: int) -> bytes:
            octets = super().draw(name, size)
            return bytes(reversed(octets)) if name == "esession-hashes" else octets

    for algorithm, same in ((names.BOUND_SAS, True), (names.SAS, False)):
        terms = replace(FAST, sas_algs=(algorithm,), kems=())
        found = []
        for kind in (End, Late):
            alice, bob = kind("a", terms), End("b", terms)
            assert negotiate(alice, bob) == BOTH
            assert alice.session.sas == bob.session.sas
            found.append(alice.session.sas)
        assert (found[0] == found[1]) is same


# ---------------------------------------------------------------------------------------------------- history
def test_a_weaker_session_than_before_gives_the_warnings_that_it_deserves() -> None:
    strong = Terms(groups=("x25519", 14), rekey_freq=10, password=b"secret", hashes=("sha512", "sha256"))
    rich = replace(strong, identity=ALICE, peer_keys=("key", "none"))
    before = best(None, agreed(rich, replace(rich, identity=BOB)))
    assert weakenings(before, agreed(rich, replace(rich, identity=BOB))) == ()
    assert weakenings(None, agreed(FAST, FAST)) == ()
    poor = Terms(
        groups=(14,),
        ciphers=("aes128-ctr",),
        hashes=("sha256",),
        kems=(),
        sas_algs=("sas28x5",),
        stanzas=("message",),
        rekey_freq=4294967295,
    )
    assert set(weakenings(before, agreed(poor, poor))) == set(Weakening) - {Weakening.PROFILE}
    assert weakenings(best(before, agreed(poor, poor)), agreed(rich, replace(rich, identity=BOB))) == ()


def test_a_peer_that_turns_to_the_deployed_reading_is_noticed() -> None:
    now = agreed(FAST, FAST)
    alice, bob = End("a"), End("b")
    negotiate(alice, bob, profile=Profile.DEPLOYED)
    assert Weakening.PROFILE in weakenings(best(None, now), alice.session.agreed)


def test_every_group_has_its_strength() -> None:
    assert set(history.GROUP_STRENGTH) == set(GROUPS)
