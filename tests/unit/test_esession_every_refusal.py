"""Every way in which a peer, or somebody between, is refused: each has a play here that brings it about.

The negative vectors and the other tests try many ways into each; this is the list that has none missing. A code that is
added without a play turns it red.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest

from crypto.errors import Malformed, Misuse, PeerFault
from crypto.esession import conversation
from crypto.esession.conversation import Event
from crypto.esession.encrypted import key_parts
from crypto.esession.faults import (
    BadStanza,
    Exhausted,
    MalformedStanza,
    Repeated,
    UnauthenticStanza,
    UnusableStanza,
)
from crypto.esession.forms import MalformedForm, base64
from crypto.esession.offline_accepting import offline_form
from crypto.esession.offline_content import opened
from crypto.esession.offline_publishing import LIFETIME_MS, MAX_USES, Shelf
from crypto.esession.offline_refusals import OfflineFlaw, OfflineRefusal
from crypto.esession.offline_sending import choose
from crypto.esession.profiles import Profile
from crypto.esession.refusals import (
    Condition,
    KeyRefused,
    NotSupported,
    OutOfRange,
    Refusal,
    Unacceptable,
    UnknownKey,
    Unproved,
    WeakCounter,
)
from crypto.esession.rekeying import without_expired
from crypto.esession.rekeying_state import POLICY
from crypto.esession.session import MAX_BLOCKS
from crypto.esession.stanzas import require_agreed
from crypto.esession.terms import Terms
from crypto.xml import Element, parse
from tests.unit import esession_world as online
from tests.unit import offline_world as offline
from tests.unit.esession_keys import ed25519, keyed, rsa
from tests.unit.esession_world import FAST, End, negotiate, negotiate_three, with_field, without_field
from tests.unit.offline_world import NOW, Publisher, Sender
from tests.unit.rekeying_world import sealed_with, sides, worn

Act = Callable[[], object]


# ---------------------------------------------------------------------------------------------------- XEP-0116
def meddled(change: online.Change, at: int, profile: Profile | None = None) -> Act:
    """A negotiation of which message number `at` is changed on its way."""
    return lambda: negotiate(End("a"), End("b"), profile=profile, change=change, at=at)


def without_a_common_group() -> None:
    negotiate(End("a", Terms(groups=(15,))), End("b", FAST))


def three_messages_where_none_are_taken() -> None:
    negotiate_three(End("a", keyed(ed25519("alice"), peer_keys=("key",))), End("b", FAST))


def a_fingerprint_that_nobody_knows() -> None:
    asked = keyed(ed25519("alice"), ed25519("dave").public, peer_keys=("hash",))
    negotiate_three(End("a", asked), End("b", keyed(ed25519("bob"), ed25519("alice").public)))


def a_key_that_the_judge_refuses() -> None:
    def nobody(_public: object, _certificates: object) -> None:
        raise KeyRefused("resp_pubkey")

    alice = End("a", keyed(ed25519("alice"), ed25519("bob").public), judge=nobody)
    negotiate_three(alice, End("b", keyed(ed25519("bob"), ed25519("alice").public)))


REFUSALS: dict[type[PeerFault], Act] = {
    Unacceptable: without_a_common_group,
    NotSupported: three_messages_where_none_are_taken,
    OutOfRange: meddled(with_field("dhkeys", base64(b"\1")), 2),
    WeakCounter: meddled(with_field("counter", "ADAAAAAAAAAAAAAAAAAAAA=="), 2, Profile.DEPLOYED),
    Unproved: meddled(with_field("mac", base64(bytes(32))), 3),
    UnknownKey: a_fingerprint_that_nobody_knows,
    KeyRefused: a_key_that_the_judge_refuses,
    MalformedForm: meddled(without_field("my_nonce"), 1),
}


@pytest.mark.parametrize("kind", REFUSALS, ids=lambda kind: str(kind.__name__))
def test_a_negotiation_is_refused(kind: type[PeerFault], monkeypatch: pytest.MonkeyPatch) -> None:
    raised: list[PeerFault] = []
    answer = conversation._refused

    def seen(state: conversation.Conversation, refusal: Refusal | Malformed) -> conversation.Outcome:
        raised.append(refusal)
        return answer(state, refusal)

    monkeypatch.setattr(conversation, "_refused", seen)
    REFUSALS[kind]()
    assert [type(each) for each in raised] == [kind]


def test_there_is_a_play_for_every_refusal_of_a_negotiation() -> None:
    assert set(REFUSALS) == {*Refusal.__subclasses__(), MalformedForm}


@pytest.mark.parametrize("condition", Condition)
def test_the_peer_is_told_each_condition(condition: Condition) -> None:
    act = {Condition.NOT_ACCEPTABLE: 15, Condition.FEATURE_NOT_IMPLEMENTED: None}[condition]
    alice, bob = End("a", Terms(groups=(act,)) if act else keyed(ed25519("alice"), peer_keys=("key",))), End("b", FAST)
    bob.take(alice.initiate(three=act is None))
    assert (bob.last.event, bob.last.condition) == (Event.FAILED, condition.value)
    assert condition.value.encode() in bob.last.replies[0].payload


# ---------------------------------------------------------------------------------------------------- XEP-0200
def content_that_is_none() -> None:
    alice, bob = sides()
    bob.take(sealed_with(alice, b"", b"<body>"))


def a_key_where_none_was_agreed() -> None:
    alice, bob = sides()
    bob.session = replace(bob.session, rekeying=None)
    bob.take(alice.send("x", key=True))


def keys_too_often() -> None:
    alice, bob = sides(frequency=10)
    alice.session = replace(alice.session, rekeying=replace(alice.state, frequency=1))
    for _ in range(3):
        bob.take(alice.send("x", key=True))


def a_value_that_forces_the_secret() -> None:
    alice, bob = sides()
    bob.take(sealed_with(alice, key_parts(bytes(32), 0, ())))


def a_key_for_values_that_are_destroyed() -> None:
    """Alice's new key never reached Bob, and hers of before has waited too long when his second one comes."""
    alice, bob = sides()
    alice.send("never arrives", key=True, now_ms=NOW)
    alice.take(bob.send("x", key=True))
    alice.session = without_expired(alice.session, NOW + POLICY.grace_ms, POLICY)
    alice.take(bob.send("y", key=True))


def more_blocks_than_a_key_serves_for() -> None:
    alice, bob = sides()
    bob.session = worn(bob.session, receiving=MAX_BLOCKS)
    bob.take(alice.send("x"))


BAD: dict[BadStanza, Act] = {
    BadStanza.CONTENT: content_that_is_none,
    BadStanza.REKEYED: a_key_where_none_was_agreed,
    BadStanza.REKEYED_TOO_OFTEN: keys_too_often,
    BadStanza.PUBLIC_VALUE: a_value_that_forces_the_secret,
    BadStanza.EXPIRED: a_key_for_values_that_are_destroyed,
    BadStanza.EXHAUSTED: more_blocks_than_a_key_serves_for,
    BadStanza.KIND: lambda: require_agreed("presence", ("message",)),
}


@pytest.mark.parametrize("reason", BadStanza)
def test_an_authentic_stanza_is_refused(reason: BadStanza) -> None:
    with pytest.raises(UnusableStanza) as caught:
        BAD[reason]()
    assert caught.value.reason is reason


def a_changed_stanza() -> None:
    alice, bob = sides()
    bob.take(alice.send("x").replace(b"<data>", b"<data>AAAA"))


def a_stanza_without_a_mac() -> None:
    sides()[1].take(parse(b"<c xmlns='http://www.xmpp.org/extensions/xep-0200.html#ns'><data>AAAA</data></c>"))


def a_stanza_that_comes_again() -> None:
    alice, bob = sides()
    for _ in range(2):
        bob.take(alice.wire[0] if alice.wire else alice.send("x"))


def our_own_use_beyond_the_end_of_a_key() -> None:
    alice, _ = sides()
    alice.session = worn(alice.session, sending=MAX_BLOCKS)
    alice.send("x")


FAULTS: dict[type[PeerFault | Misuse], Act] = {
    UnauthenticStanza: a_changed_stanza,
    MalformedStanza: a_stanza_without_a_mac,
    Repeated: a_stanza_that_comes_again,
    Exhausted: our_own_use_beyond_the_end_of_a_key,
}


@pytest.mark.parametrize("kind", FAULTS, ids=lambda kind: str(kind.__name__))
def test_a_stanza_is_refused(kind: type[PeerFault | Misuse]) -> None:
    with pytest.raises(kind):
        FAULTS[kind]()


# ---------------------------------------------------------------------------------------------------- XEP-0187
def written() -> tuple[Publisher, Sender, Element]:
    """A publisher, a sender, and what the sender wrote."""
    alice, bob = Publisher(), Sender()
    return alice, bob, offline.message(bob.write(alice.publish()))


def changed_answer(var: str, *values: str) -> Act:
    """The stanza with another value in one field."""

    def act() -> None:
        alice, _, stanza = written()
        x = offline_form(stanza)
        assert x is not None
        alice.take(offline.with_form(stanza, offline.with_field(x, var, *values)))

    return act


def expired_options() -> None:
    alice, _, stanza = written()
    alice.take(stanza, now_ms=NOW + LIFETIME_MS)


def options_signed_by_nobody_known() -> None:
    Sender(known=(ed25519("mallory").public,)).judged(Publisher().publish())


def options_of_another_address() -> None:
    Sender().judged(Publisher().publish(), publisher="carol@example.org")


def options_that_were_withdrawn() -> None:
    alice, _, stanza = written()
    alice.shelf = Shelf()
    alice.take(stanza)


def a_stanza_taken_before() -> None:
    alice, _, stanza = written()
    alice.take(stanza)
    alice.take(stanza)


def options_that_served_enough() -> None:
    alice, _, stanza = written()
    alice.shelf = Shelf((replace(alice.newest, used=bytes(range(256)) * (MAX_USES * 32 // 256)),))
    alice.take(stanza)


def content_of_another_stanza() -> None:
    alice, bob = Publisher(), Sender()
    way = alice.take(offline.message(bob.write(alice.publish(), once=False))).way
    assert way is not None
    opened(way, parse(b"<c xmlns='http://www.xmpp.org/extensions/xep-0200.html#ns'/>"), now_ms=NOW)


def options_that_leave_no_choice() -> None:
    choose(Sender().judged(Publisher().publish()), replace(offline.FAST, groups=("14",)), rsa("bob").public)


FLAWS: dict[OfflineFlaw, Act] = {
    OfflineFlaw.MALFORMED: changed_answer("my_nonce", "AA=="),
    OfflineFlaw.UNACCEPTABLE: options_that_leave_no_choice,
    OfflineFlaw.EXPIRED: expired_options,
    OfflineFlaw.UNSIGNED: options_signed_by_nobody_known,
    OfflineFlaw.MISDIRECTED: options_of_another_address,
    OfflineFlaw.UNKNOWN_OPTIONS: options_that_were_withdrawn,
    OfflineFlaw.REPLAYED: a_stanza_taken_before,
    OfflineFlaw.USED_UP: options_that_served_enough,
    OfflineFlaw.OUT_OF_RANGE: changed_answer("dhkeys", base64(bytes(32))),
    OfflineFlaw.UNPROVED: changed_answer("mac", base64(bytes(64))),
    OfflineFlaw.CONTENT: content_of_another_stanza,
}


@pytest.mark.parametrize("flaw", OfflineFlaw)
def test_offline_options_or_a_stanza_are_refused(flaw: OfflineFlaw) -> None:
    with pytest.raises(OfflineRefusal) as caught:
        FLAWS[flaw]()
    assert caught.value.flaw is flaw
