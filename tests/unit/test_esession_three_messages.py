"""Negotiations in 3 messages: both ends have keys, the initiator is shielded, one stanza can travel alone."""

from dataclasses import replace

import pytest

from crypto.errors import Misuse
from crypto.esession.conversation import Conversation, Event, confirm, initiate
from crypto.esession.identities import Identity, PublicIdentity
from crypto.esession.refusals import KeyRefused
from crypto.esession.retained import Retained
from crypto.esession.session import MAX_CONTENT
from crypto.esession.terms import Terms
from crypto.xml import Element, element
from tests.unit.esession_keys import ed25519, keyed, rsa
from tests.unit.esession_world import (
    End,
    error_stanza,
    established,
    message,
    negotiate,
    negotiate_three,
    with_field,
    with_text,
    without_field,
)

ALICE, BOB = ed25519("alice"), ed25519("bob")
BOTH = (Event.ESTABLISHED, Event.ESTABLISHED)
ALONE = b"<body>alone</body>"


def ends() -> tuple[End, End]:
    return End("a", keyed(ALICE, BOB.public)), End("b", keyed(BOB, ALICE.public))


def exchange(sender: End, taker: End) -> None:
    out = taker.take(sender.send(b"<body>hi</body>"))
    assert (out.event, [e.text for e in out.content]) == (Event.CONTENT, ["hi"])


# ---------------------------------------------------------------------------------------------------- sessions
def test_three_messages_make_a_session_between_two_known_keys() -> None:
    alice, bob = ends()
    assert negotiate_three(alice, bob) == BOTH
    assert (alice.last.identity, bob.last.identity) == (BOB.public, ALICE.public)
    assert alice.session.agreed.peer_fingerprint == BOB.public.fingerprint()
    assert alice.session.agreed.three_message
    assert bob.session.confirmed
    assert alice.session.agreed.hybrid
    assert alice.session.sas == bob.session.sas == ""
    assert alice.last.retained is bob.last.retained is None
    exchange(alice, bob)
    exchange(bob, alice)


@pytest.mark.parametrize("identity", [ed25519("carol"), rsa("carol")], ids=["ed25519", "rsa"])
def test_keys_that_are_not_known_are_shown_whole(identity: Identity) -> None:
    own = rsa("dave") if identity is rsa("carol") else BOB
    alice, bob = End("a", keyed(identity, peer_keys=("key",))), End("b", keyed(own, peer_keys=("key",)))
    assert negotiate_three(alice, bob) == BOTH
    assert (alice.last.identity, bob.last.identity) == (own.public, identity.public)
    exchange(alice, bob)


@pytest.mark.parametrize("group", [14, "x25519"])
@pytest.mark.parametrize("hash_name", ["sha256", "sha512", "sha3-384"])
def test_every_kind_of_group_and_hash_works_in_three_messages(group: int | str, hash_name: str) -> None:
    alice, bob = ends()
    bob.terms = replace(bob.terms, groups=(group,), hashes=(hash_name,))
    alice.terms = replace(alice.terms, groups=(14, "x25519"))
    assert negotiate_three(alice, bob) == BOTH
    suite = alice.session.agreed.suite
    assert (suite.group, suite.hash, suite.cipher) == (str(group), hash_name, "aes256-ctr")
    exchange(bob, alice)


def test_there_is_no_string_to_compare_and_no_secret_to_retain() -> None:
    alice, bob = ends()
    negotiate_three(alice, bob)
    assert alice.conversation is not None
    with pytest.raises(Misuse):
        confirm(alice.conversation, Retained())


def test_a_peer_with_which_secrets_are_shared_is_not_taken_for_continuing_them() -> None:
    alice, bob = ends()
    negotiate(alice, bob)
    alice.conversation = bob.conversation = None
    negotiate_three(alice, bob)
    assert alice.session.chain == bob.session.chain == "broken"
    assert not alice.session.verified


# ---------------------------------------------------------------------------------------------------- one stanza
def test_one_stanza_can_be_sealed_sent_and_ended() -> None:
    alice, bob = ends()
    assert negotiate_three(alice, bob, once=ALONE) == (Event.ONCE_SENT, Event.CONTENT_ONCE)
    assert [e.text for e in bob.last.content] == ["alone"]
    assert alice.conversation is bob.conversation is None
    assert (alice.last.identity, bob.last.identity) == (BOB.public, ALICE.public)
    assert len(alice.last.replies) == 1
    assert bob.last.replies == ()


def test_a_session_under_the_same_thread_survives_a_stanza_that_ends_at_once() -> None:
    alice, bob = ends()
    negotiate_three(alice, bob)
    asker = End("again", alice.terms)
    negotiate_three(asker, bob, once=ALONE)
    assert bob.last.event is Event.CONTENT_ONCE
    exchange(alice, bob)


def test_content_can_travel_with_the_last_message() -> None:
    alice, bob = ends()
    assert negotiate_three(alice, bob, content=b"<body>first</body>") == BOTH
    assert [e.text for e in bob.last.content] == ["first"]
    assert bob.last.identity == ALICE.public
    exchange(alice, bob)
    exchange(bob, alice)


def test_nothing_is_sent_to_a_key_that_the_caller_does_not_accept() -> None:
    alice, bob = ends()

    def only(_public: PublicIdentity | None, _certificates: tuple[bytes, ...]) -> None:
        raise KeyRefused("resp_pubkey")

    alice.judge = only
    events = negotiate_three(alice, bob, once=ALONE)
    assert events == (Event.FAILED, Event.ANSWERED)
    assert not any(b"<c " in reply.payload for reply in alice.last.replies)
    assert not any(b"identity" in reply.payload for reply in alice.last.replies)


def test_a_responder_that_does_not_accept_the_initiators_key_takes_no_content() -> None:
    alice, bob = ends()

    def nobody(public: PublicIdentity | None, _certificates: tuple[bytes, ...]) -> None:
        assert public == ALICE.public
        raise KeyRefused("init_pubkey")

    bob.judge = nobody
    assert negotiate_three(alice, bob, once=ALONE) == (Event.ONCE_SENT, Event.FAILED)
    assert bob.last.content == ()
    assert bob.last.refused_fields == ("init_pubkey",)


def without_content(stanza: Element) -> Element:
    kept = tuple(c for c in stanza.children if isinstance(c, str) or c.name != "c")
    return Element(stanza.namespace, stanza.name, stanza.attributes, kept)


def foreign_content(stanza: Element) -> Element:
    other, _ = established(seed="other")
    c = next(e for e in other.send(ALONE).elements if e.name == "c")
    return element(stanza.namespace, "message", *without_content(stanza).elements, c)


def test_content_that_is_not_of_this_session_is_not_shown() -> None:
    alice, bob = ends()
    assert negotiate_three(alice, bob, once=ALONE, change=foreign_content, at=3)[1] is Event.FAILED
    assert bob.last.content == ()
    alice, bob = ends()
    assert negotiate_three(alice, bob, once=ALONE, change=without_content, at=3)[1] is Event.ENDED
    assert bob.last.content == ()


@pytest.mark.parametrize("change", [without_field("terminate"), with_field("terminate", "0")])
def test_that_it_ends_is_authenticated(change: object) -> None:
    assert callable(change)
    alice, bob = ends()
    assert negotiate_three(alice, bob, once=ALONE, change=change, at=3)[1] is Event.FAILED


# ---------------------------------------------------------------------------------------------------- refusals
def test_a_responder_that_does_not_negotiate_in_three_messages_says_so() -> None:
    alice, _ = ends()
    for terms in (keyed(BOB, three=False), Terms(groups=(14,)), replace(keyed(BOB), password=b"secret")):
        bob = End("b", terms)
        out = bob.take(alice.initiate(three=True))
        assert (out.event, out.condition, out.refused_fields) == (
            Event.FAILED,
            "feature-not-implemented",
            ("dhkeys",),
        )
        assert b'<field var="dhkeys"/>' in out.replies[0].payload
        told = alice.take(message(out.replies[0]))
        assert (told.event, told.refused_fields, told.conversation) == (Event.FAILED, ("dhkeys",), None)


def test_an_error_without_fields_names_none() -> None:
    alice, _ = ends()
    alice.initiate(three=True)
    out = alice.take(error_stanza("service-unavailable"))
    assert (out.condition, out.refused_fields) == ("service-unavailable", ())


def test_nobody_is_anonymous_in_three_messages() -> None:
    alice, bob = ends()
    stanza = alice.initiate(three=True)
    for var in ("init_pubkey", "resp_pubkey"):
        changed = with_field(var, "none")(stanza)
        out = End("b", bob.terms).take(changed)
        assert (out.event, out.refused_fields) == (Event.FAILED, (var,))
    offered = str(stanza)
    assert "none" not in [v.text for v in _field(stanza, "init_pubkey").elements], offered


def _field(stanza: Element, var: str) -> Element:
    (feature,) = (e for e in stanza.elements if e.name == "feature")
    return next(f for f in feature.elements[0].elements if f.attribute("var") == var)


def test_a_fingerprint_of_an_unknown_key_ends_the_negotiation() -> None:
    alice = End("a", keyed(ALICE, rsa("dave").public, ed25519("dave").public, peer_keys=("hash",)))
    bob = End("b", keyed(BOB, ALICE.public))
    assert negotiate_three(alice, bob) == (Event.FAILED, Event.ANSWERED)
    assert alice.last.refused_fields == ("resp_pubkey",)
    alice, bob = End("a", keyed(ALICE, BOB.public)), End("b", keyed(BOB, ed25519("dave").public, peer_keys=("hash",)))
    assert negotiate_three(alice, bob) == (Event.ESTABLISHED, Event.FAILED)
    assert bob.last.refused_fields == ("init_pubkey",)


def test_a_signature_by_another_key_than_the_one_shown_is_no_proof() -> None:
    alice, bob = ends()
    bob.terms = replace(bob.terms, identity=replace(BOB, secret=ed25519("mallory").secret))
    assert negotiate_three(alice, bob) == (Event.FAILED, Event.ANSWERED)
    assert alice.last.refused_fields == ()
    alice, bob = ends()
    alice.terms = replace(alice.terms, identity=replace(ALICE, secret=ed25519("mallory").secret))
    assert negotiate_three(alice, bob)[1] is Event.FAILED


@pytest.mark.parametrize("value", ["AQ==", "AA=="])
def test_a_public_value_out_of_range_is_refused_before_anything_is_computed(value: str) -> None:
    alice, bob = ends()
    assert negotiate_three(alice, bob, change=with_field("dhkeys", value), at=1)[1] is Event.FAILED
    assert (bob.last.condition, bob.last.refused_fields) == ("feature-not-implemented", ("dhkeys",))
    alice, bob = ends()
    assert negotiate_three(alice, bob, change=with_field("dhkeys", value), at=2)[0] is Event.FAILED
    assert (alice.last.condition, alice.last.refused_fields) == ("not-acceptable", ("dhkeys",))


def test_a_request_changed_on_the_way_is_noticed_before_the_content_leaves() -> None:
    """mac_B of 3 messages does not cover formA: the responder says what it has seen."""
    stripped = without_field("{urn:lockgate:esession:0}kem", "{urn:lockgate:esession:0}kemkeys")
    alice, bob = ends()
    assert negotiate_three(alice, bob, once=ALONE, change=stripped, at=1) == (Event.FAILED, Event.ANSWERED)
    assert not any(b"<c " in reply.payload for reply in alice.last.replies)


def test_the_message_of_one_negotiation_is_nothing_in_another() -> None:
    alice, bob = ends()
    request = alice.initiate(three=True)
    first = message(bob.take(request).replies[0])
    last = message(alice.take(first).replies[0])
    again = End("b2", bob.terms)
    again.take(request)
    assert again.take(last).event is Event.FAILED
    asker = End("a2", alice.terms)
    asker.initiate(three=True)
    assert asker.take(first).event is Event.FAILED
    assert bob.take(last).event is Event.ESTABLISHED
    assert bob.take(last).event is Event.IGNORED
    assert bob.take(request).event is Event.IGNORED


# ---------------------------------------------------------------------------------------------------- misuse, shield
def test_what_three_messages_cannot_do_is_our_mistake() -> None:
    draw = End("x").draw
    for terms in (Terms(), Terms(identity=ALICE), replace(keyed(ALICE, BOB.public), password=b"x")):
        with pytest.raises(Misuse):
            initiate("t", terms, draw, three_message=True)
    good = keyed(ALICE, BOB.public)
    for content, once in ((ALONE, None), (ALONE, ALONE), (None, b"")):
        with pytest.raises(Misuse):
            initiate("t", good, draw, content=content, once=once)
    with pytest.raises(Misuse):
        initiate("t", good, draw, once=bytes(MAX_CONTENT + 1))


def test_the_shield_says_how_many_messages_there_are() -> None:
    def three(terms: Terms) -> bool:
        conversation = initiate("t", terms, End("x").draw).conversation
        assert conversation is not None
        assert conversation.offered is not None
        return conversation.offered.three_message

    assert three(replace(keyed(ALICE, BOB.public), shield="initiator"))
    assert not three(keyed(ALICE, BOB.public))
    assert not three(Terms(groups=(14,)))


def test_an_active_attacker_learns_only_the_identity_that_is_not_shielded() -> None:
    """With 3 messages the initiator shows nothing before the responder has proved itself; with 4 the responder."""
    mallory = ed25519("mallory")
    alice, fake = End("a", keyed(ALICE, BOB.public)), End("m", keyed(mallory, ALICE.public))
    assert negotiate_three(alice, fake)[0] is Event.FAILED
    assert all(b"identity" not in reply.payload for outcome in alice.outcomes for reply in outcome.replies)
    asker, bob = End("m", keyed(mallory, BOB.public)), End("b", keyed(BOB, ALICE.public))
    negotiate(asker, bob)
    assert bob.last.event is Event.FAILED
    assert all(b"identity" not in reply.payload for outcome in bob.outcomes for reply in outcome.replies)


def test_a_repr_shows_neither_the_content_that_waits_nor_a_secret() -> None:
    alice, bob = ends()
    negotiate_three(alice, bob, once=ALONE)
    shown = repr(alice.outcomes) + repr(bob.outcomes)
    assert "alone" not in shown
    offered = alice.outcomes[0].conversation
    assert isinstance(offered, Conversation)
    assert offered.offered is not None
    secrets = [pair.exponent for pair in offered.offered.pairs] + [pair.secret for pair in offered.offered.kems]
    answered = bob.outcomes[0].conversation
    assert answered is not None
    assert answered.answered is not None
    assert answered.answered.encapsulated is not None
    secrets += [answered.answered.shared or b"?", answered.answered.encapsulated.secret, ALICE.secret]
    assert not any(repr(secret)[2:-1] in shown for secret in secrets)


def test_the_forms_have_what_the_text_says() -> None:
    """No `sas_algs`, `dhkeys` in place of `dhhashes`; no `rshashes` and no `dhkeys` at the end."""
    alice, bob = ends()
    request = alice.initiate(three=True)
    answer = message(bob.take(request).replies[0])
    last = message(alice.take(answer).replies[0])
    found = [
        {f.attribute("var") for f in next(e for e in m.elements if e.name == "feature").elements[0].elements}
        for m in (request, answer, last)
    ]
    assert "dhkeys" in found[0]
    assert not found[0] & {"sas_algs", "dhhashes"}
    assert {"nonce", "counter", "dhkeys", "identity", "mac"} <= found[1]
    assert found[2] == {"FORM_TYPE", "accept", "nonce", "identity", "mac"}
    assert with_text(request, "aes128-ctr", "aes128-ctr") == request
