"""Once MAC keys are published nobody can prove what was said: `forge` makes another transcript that passes."""

import base64

import pytest

from crypto.esession.conversation import Conversation, Event, Kind, receive
from crypto.esession.keys import counter_octets
from crypto.esession.opening import open_stanza
from crypto.esession.profiles import Profile
from crypto.esession.retained import Retained
from crypto.esession.terms import Terms
from crypto.primitives.integers import from_octets
from crypto.xml import Element, parse
from tests.unit.esession_world import End, established, message
from tests.unit.forge import Forger
from tests.unit.rekeying_world import QUICK, Side, published, sides

SAID = ["let us meet at noon", "bring the papers", "and tell nobody"]


def recorded() -> tuple[Side, Side, list[bytes], bytes]:
    """A conversation that went on after a re-keying; the first stanzas of Alice's, and the counter they began with."""
    alice, bob = sides()
    counter = alice.session.sending.counter
    for number, text in enumerate(SAID):
        bob.take(alice.send(text, key=number == 2))
    early = list(alice.wire)
    alice.on_its_way.clear()
    bob.send("agreed")
    alice.take_from(bob)
    alice.send("later words")
    return alice, bob, early, counter


def test_a_forged_transcript_passes_every_check_that_the_real_one_passes() -> None:
    alice, bob, early, counter = recorded()
    forger = Forger(QUICK, tuple(key for c in (*alice.wire, *bob.wire) for key in published(c)))
    claimed = ["let us meet at nine", "burn the papers.", "and tell anyone"]
    _, judge = sides()  # the receiver's own state as it was then: the best witness there can be
    place = counter
    for c, said, says in zip(early, SAID, claimed, strict=True):
        known, wanted = (f"<body>{text}</body>".encode() for text in (said, says))
        judge.take(forger.rewritten(c, place, known, wanted))
        place = counter_octets(from_octets(place) + forger.blocks(c))
    assert judge.read == claimed


def test_stanzas_that_were_never_sent_can_be_invented() -> None:
    alice, bob, early, counter = recorded()
    forger = Forger(QUICK, tuple(key for c in (*alice.wire, *bob.wire) for key in published(c)))
    _, judge = sides()
    suite = judge.session.agreed.suite
    text = suite.counter_mode(judge.session.receiving.cipher_key, from_octets(counter), b"<body>anything</body>")
    judge.take(forger.invented(early[0], counter, text))
    assert judge.read == ["anything"]


def test_without_the_published_keys_nothing_can_be_forged() -> None:
    alice, bob, early, counter = recorded()
    with pytest.raises(LookupError):
        Forger(QUICK, ()).rewritten(early[0], counter, b"x", b"y")
    unpublished = alice.wire[-1]
    forger = Forger(QUICK, tuple(key for c in (*alice.wire, *bob.wire) for key in published(c)))
    start = from_octets(counter) + sum(forger.blocks(c) for c in alice.wire[:-1])
    with pytest.raises(LookupError):
        forger.rewritten(unpublished, counter_octets(start), b"x", b"y")


def test_a_forgery_under_a_published_key_is_not_taken_by_the_session_itself() -> None:
    alice, bob, early, counter = recorded()
    forger = Forger(QUICK, tuple(key for c in (*alice.wire, *bob.wire) for key in published(c)))
    forged = forger.rewritten(early[0], counter, b"<body>let us meet at noon</body>", b"<body>no</body>")
    taker = End("bob", conversation=Conversation("t", session=bob.session))
    assert taker.take(parse(b"<message xmlns='jabber:client'>" + forged + b"</message>")).event is Event.BROKEN


# ---------------------------------------------------------------------------------------------------- at the end
def test_the_acknowledgement_publishes_the_key_of_everything_that_was_verified() -> None:
    alice, bob = sides()
    talk = Conversation("t", session=alice.session)
    end = End("alice", conversation=talk)
    km_a, km_b = alice.session.sending.mac_key, bob.session.sending.mac_key
    encrypted, _ = end.end()
    answer = End("bob", conversation=Conversation("t", session=bob.session)).take(encrypted)
    assert answer.event is Event.ENDED
    [reply] = answer.replies
    assert reply.kind is Kind.ENCRYPTED
    assert published(reply.payload) == [km_a]
    assert km_b not in published(reply.payload)  # the acknowledgement itself stands under it
    assert end.take(message(reply)).event is Event.ENDED


def test_a_termination_publishes_what_is_safe_by_then() -> None:
    alice, bob = sides()
    old = alice.session.sending.mac_key
    bob.take(alice.send("x", key=True))
    alice.take(bob.send("y"))
    end = End("alice", conversation=Conversation("t", session=alice.session))
    encrypted, _ = end.end()
    c = encrypted.elements[-1]
    keys = [base64.b64decode(e.text) for e in c.elements if e.name == "old"]
    assert old in keys
    assert alice.session.sending.mac_key not in keys
    open_stanza(bob.session, c)


def test_a_deployed_peer_sees_no_published_keys() -> None:
    alice, bob = established(Profile.DEPLOYED, seed="deployed end")
    encrypted, _ = alice.end()
    out = bob.take(encrypted)
    for stanza in (encrypted, *(message(reply) for reply in out.replies)):
        c = next(e for e in stanza.elements if e.name == "c")
        assert [e.name for e in c.elements] == ["data", "mac"]


def test_no_key_is_published_after_the_end() -> None:
    alice, bob = sides()
    bob.take(alice.send("x", key=True))
    closing = End("bob", conversation=Conversation("t", session=bob.session))
    closing.end()
    assert closing.conversation is not None
    late = receive(
        closing.conversation, message_of(alice.send("late")), terms=Terms(), retained=Retained(), draw=no_draw
    )
    assert (late.event, late.replies) == (Event.CONTENT, ())


def message_of(c: bytes) -> Element:
    return parse(b"<message xmlns='jabber:client'><thread>t</thread>" + c + b"</message>")


def no_draw(name: str, size: int) -> bytes:
    raise AssertionError(name, size)
