"""What somebody recorded is worth nothing when it comes again: stanzas and whole negotiations, at once or later.

Offline sessions have tests of their own for this, in `test_esession_offline.py`.
"""

from dataclasses import replace

import pytest

from crypto.esession.conversation import Event
from crypto.xml import Element
from tests.unit.esession_keys import ed25519, keyed
from tests.unit.esession_world import FAST, End, established, message, negotiate, negotiate_three

ONCE = b"<body>pay 100</body>"
hybrid = pytest.mark.parametrize("kems", [("ml-kem-768",), ()], ids=["hybrid", "classical"])
"""With a key encapsulation every answer is fresh by that alone; it must be so without one as well."""


class Recorder(End):
    """An end whose stanzas somebody keeps."""

    def recorded(self) -> list[Element]:
        """All that it ever sent, in order."""
        return [message(reply) for outcome in self.outcomes for reply in outcome.replies]


@hybrid
def test_a_whole_negotiation_that_is_sent_again_makes_no_session(kems: tuple[str, ...]) -> None:
    """The initiator's messages, to the same responder with the same retained secret, and to one that lost it."""
    terms = replace(FAST, kems=kems)
    alice, bob = Recorder("a", terms), End("b", terms)
    negotiate(alice, bob)
    alice.send(b"<body>hello</body>")
    request, proof, content = alice.recorded()
    for later in (End("later", terms, retained=bob.retained), End("lost", terms)):
        assert later.take(request).event is Event.ANSWERED
        assert later.take(proof).event is Event.FAILED
        assert later.conversation is None
        assert later.take(content).event is Event.UNKNOWN


@hybrid
def test_a_responders_messages_that_are_sent_again_make_no_session(kems: tuple[str, ...]) -> None:
    terms = replace(FAST, kems=kems)
    alice, bob = End("a", terms), Recorder("b", terms)
    negotiate(alice, bob)
    answer, proof = bob.recorded()
    later = End("later", terms, retained=alice.retained)
    later.initiate()
    assert later.take(answer).event is Event.FAILED
    again = End("again", terms, retained=alice.retained)
    response = message(End("other", terms).take(again.initiate()).replies[0])
    assert again.take(response).event is Event.PROVED
    assert again.take(proof).event is Event.FAILED


@hybrid
@pytest.mark.parametrize("once", [True, False])
def test_three_messages_that_are_sent_again_bring_no_content(once: bool, kems: tuple[str, ...]) -> None:
    """A sealed single stanza is taken once: the responder's new values are in the keys."""
    one, other = ed25519("alice"), ed25519("bob")
    theirs, ours = replace(keyed(one, other.public), kems=kems), replace(keyed(other, one.public), kems=kems)
    alice, bob = Recorder("a", theirs), End("b", ours)
    negotiate_three(alice, bob, once=ONCE if once else None, content=None if once else ONCE)
    assert bob.last.content
    request, last = alice.recorded()
    later = End("later", ours)
    assert later.take(request).event is Event.ANSWERED
    assert (later.take(last).event, later.last.content) == (Event.FAILED, ())


def test_a_stanza_of_an_earlier_session_is_none_of_the_next() -> None:
    """With the same peer, the same thread, and a chain of retained secrets."""
    alice, bob = established()
    old = alice.send(b"<body>yes</body>")
    assert bob.take(old).event is Event.CONTENT
    assert negotiate(alice, bob) == (Event.ESTABLISHED, Event.ESTABLISHED)
    out = bob.take(old)
    assert (out.event, out.content) == (Event.BROKEN, ())


def test_a_stanza_of_one_direction_is_none_of_the_other() -> None:
    alice, bob = established()
    own = alice.send(b"<body>yes</body>")
    out = alice.take(own)
    assert (out.event, out.content) == (Event.BROKEN, ())
    assert bob.take(own).event is Event.CONTENT
