"""Attacks on ESessions by whoever carries the stanzas: what is moved, replayed or changed must be noticed."""

import pytest

from crypto.esession import names, payloads
from crypto.esession.conversation import Event, send, send_error
from crypto.esession.profiles import Profile
from crypto.esession.terms import Terms
from crypto.xml import CLIENT, Element, parse
from tests.unit.esession_world import (
    THREAD,
    Change,
    End,
    established,
    message,
    plain,
    with_field,
    with_form,
)

TEXT = b"<body>words</body>"
SHOW = b"<show>away</show>"
EVERYTHING = Terms(groups=(14,))


def sealed(end: End, content: bytes) -> Element:
    """The `<c/>` with this content."""
    assert end.conversation is not None
    outcome = send(end.conversation, content)
    end.conversation = outcome.conversation
    found = payloads.encrypted(message(outcome.replies[0]))
    assert found is not None
    return found


def stanza(name: str, *children: Element, kind: str = "") -> Element:
    """A stanza of the thread, if it is one that has threads."""
    thread = (Element(CLIENT, "thread", (), (THREAD,)),) if name == "message" else ()
    return Element(CLIENT, name, (("type", kind),) if kind else (), (*thread, *children))


# ---------------------------------------------------------------- moved to where nobody looks for it
MOVED: dict[str, tuple[bytes, Change]] = {
    "a text into an error": (TEXT, lambda c: stanza("message", Element(CLIENT, "error", (), (c,)), kind="error")),
    "a text into the error of an iq": (TEXT, lambda c: stanza("iq", Element(CLIENT, "error", (), (c,)), kind="error")),
    "a text into a presence": (TEXT, lambda c: stanza("presence", c)),
    "a text into a question": (TEXT, lambda c: stanza("iq", c, kind="get")),
    "a receipt into a presence": (
        b"<received xmlns='urn:xmpp:receipts' id='1'/>",
        lambda c: stanza("presence", c),
    ),
    "a copy into a presence": (b"<sent xmlns='urn:xmpp:carbons:2'/>", lambda c: stanza("presence", c)),
    "a presence into a message": (SHOW, lambda c: stanza("message", c, kind="chat")),
    "a presence into an error": (SHOW, lambda c: stanza("presence", Element(CLIENT, "error", (), (c,)), kind="error")),
}


@pytest.mark.parametrize("how", MOVED)
def test_what_was_moved_into_a_stanza_of_another_kind_ends_the_session_instead_of_vanishing(how: str) -> None:
    content, move = MOVED[how]
    alice, bob = established()
    outcome = bob.take(move(sealed(alice, content)))
    assert outcome.event is Event.BROKEN
    assert outcome.conversation is None
    assert any(b"<c " in reply.payload for reply in outcome.replies)  # the other end is told, too


def test_two_texts_that_were_put_into_one_stanza_end_the_session_instead_of_losing_the_second() -> None:
    alice, bob = established()
    first, second = sealed(alice, TEXT), sealed(alice, TEXT)
    both = stanza("message", first, Element(CLIENT, "error", (), (second,)), kind="error")
    assert bob.take(both).event is Event.BROKEN


def test_an_honest_error_with_its_content_is_still_read() -> None:
    alice, bob = established()
    assert alice.conversation is not None
    within = f"<payload-too-big xmlns='{names.STANZA_ERRORS}'/>".encode()
    query = b"<query xmlns='jabber:iq:last'/>"
    outcome = send_error(alice.conversation, within, condition="not-acceptable", error_type="modify", content=query)
    parts = parse(b"<iq xmlns='jabber:client' type='error'>" + outcome.replies[0].payload + b"</iq>")
    got = bob.take(parts)
    assert got.event is Event.CONTENT
    assert [e.name for e in got.content] == ["query"]
    assert [e.name for e in got.within_error] == ["payload-too-big"]


# ---------------------------------------------------------------- made weaker by a forged error
def _plain_answer(x: Element) -> Element:
    """The response as if the responder had chosen what the deployed implementation has."""
    changes: tuple[Change, ...] = (
        with_field("crypt_algs", names.PLAIN_CIPHER),
        with_field("hash_algs", names.PLAIN_HASH),
    )
    for change in changes:
        x = change(x)
    dropped = (names.KEM, names.KEM_KEYS, "sas_algs")
    kept = tuple(c for c in x.children if isinstance(c, str) or c.attribute("var") not in dropped)
    return Element(x.namespace, x.name, x.attributes, kept)


@pytest.mark.parametrize("remembered", [p for p in Profile if p is not Profile.LETTER])
def test_a_profile_that_is_remembered_does_not_make_a_peer_weaker_that_chooses_an_extension(
    remembered: Profile,
) -> None:
    alice, bob = End("alice", EVERYTHING), End("bob", EVERYTHING)
    response = message(bob.take(alice.initiate(remembered)).replies[0])
    proof = message(alice.take(response).replies[0])
    alice.take(message(bob.take(proof).replies[0]))
    assert (alice.last.event, bob.last.event) == (Event.ESTABLISHED, Event.ESTABLISHED)
    assert {alice.session.profile, bob.session.profile} == {Profile.LETTER}
    assert alice.session.rekeying is not None


def test_a_changed_answer_and_a_forged_error_do_not_bring_the_deployed_profile_to_two_ends_of_the_letter() -> None:
    alice, bob = End("alice", EVERYTHING), End("bob", EVERYTHING)
    answer = message(bob.take(alice.initiate()).replies[0])
    alice.take(with_form(answer, _plain_answer))
    assert alice.last.event is Event.PROVED
    error = "<error type='cancel'><feature-not-implemented xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
    retry = alice.take(plain(error, kind="error")).retry
    assert retry is Profile.DEPLOYED
    again, other = End("again", EVERYTHING), End("other", EVERYTHING)
    response = message(other.take(again.initiate(retry, 1)).replies[0])
    proof = message(again.take(response).replies[0])
    again.take(message(other.take(proof).replies[0]))
    assert (again.last.event, other.last.event) == (Event.ESTABLISHED, Event.ESTABLISHED)
    assert {again.session.profile, other.session.profile} == {Profile.LETTER}
    assert again.session.rekeying is not None
    assert other.session.rekeying is not None
