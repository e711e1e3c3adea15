"""Stanzas of an active session: counters, key life, re-keying, limits."""

import base64
from dataclasses import replace

import msgspec
import pytest

from crypto.errors import Misuse
from crypto.esession.conversation import Conversation, Event, Kind
from crypto.esession.keys import DirectionKeys, identity_mac_fits
from crypto.esession.opening import open_stanza
from crypto.esession.profiles import Profile
from crypto.esession.sealing import seal
from crypto.esession.session import MAX_BLOCKS, MAX_CONTENT, BadStanza, Exhausted, Session, UnusableStanza
from crypto.primitives.ciphers import counter_mode, hmac_sha256
from crypto.primitives.integers import from_octets, mpi
from crypto.xml import CLIENT, Element, element, parse
from tests.unit.esession_world import End, established

ALICE, BOB = (end.session for end in established(Profile.DEPLOYED, seed="session"))
"""A session that does not re-key."""


def foreign(session: Session, content: bytes, *, counter_as: bytes | None = None, extra: bytes = b"") -> Element:
    """What a peer sends to `session` next: MACed over another encoding of the counter, or with more in `<c/>`."""
    way = session.receiving
    counter = from_octets(way.counter)
    data = base64.b64encode(counter_mode(way.cipher_key, counter + way.first_block, content))
    covered = (b"<data>" + data + b"</data>" if content else b"") + extra
    mac = base64.b64encode(hmac_sha256(way.mac_key, covered, mpi(counter) if counter_as is None else counter_as))
    start = b"<c xmlns='http://www.xmpp.org/extensions/xep-0200.html#ns'>"
    return parse(start + covered + b"<mac>" + mac + b"</mac></c>")


def with_counter(session: Session, counter: bytes) -> Session:
    return replace(session, receiving=replace(session.receiving, counter=counter))


@pytest.mark.parametrize("zeros", [0, 1, 3, 16])
def test_a_mac_over_either_encoding_of_the_counter_is_taken(zeros: int) -> None:
    session = with_counter(BOB, bytes(zeros) + b"\x41" * (16 - zeros))
    for encoding in (session.receiving.counter, mpi(from_octets(session.receiving.counter))):
        _, content = open_stanza(session, foreign(session, b"<body>x</body>  ", counter_as=encoding))
        assert content[0].text == "x"


def test_the_identitys_mac_is_taken_over_either_encoding() -> None:
    own = DirectionKeys(b"c" * 32, b"m" * 32, b"s" * 32)
    counter = (1 << 100) + 5
    for encoding in (mpi(counter), counter.to_bytes(16, "big")):
        assert identity_mac_fits(own, counter, b"i" * 32, hmac_sha256(own.mac, encoding, b"i" * 32))
    assert not identity_mac_fits(own, counter, b"i" * 32, hmac_sha256(own.mac, b"\0" + mpi(counter), b"i" * 32))


def test_a_peer_that_rekeys_is_told_that_nobody_does_and_the_session_ends() -> None:
    stanza = foreign(BOB, b"<body>x</body>  ", extra=b"<key>" + base64.b64encode(b"new e") + b"</key>")
    with pytest.raises(UnusableStanza) as caught:
        open_stanza(BOB, stanza)
    assert caught.value.reason is BadStanza.REKEYED
    out = End("bob", conversation=Conversation("t", session=BOB)).take(element(CLIENT, "message", stanza))
    assert (out.event, out.conversation, out.condition) == (Event.BROKEN, None, "feature-not-implemented")
    assert out.replies[0].kind is Kind.ERROR


@pytest.mark.parametrize("extra", [b"<old>b2xk</old>", b"<old>b2xk</old><old>a2V5</old>", b"<new>1</new>"])
def test_published_keys_and_counts_are_covered_and_ignored(extra: bytes) -> None:
    _, content = open_stanza(BOB, foreign(BOB, b"<body>x</body>  ", extra=extra))
    assert content[0].text == "x"


@pytest.mark.parametrize(
    "content", [b"", b"not xml", b"<body>", b"<body>\x01</body>", b"<!DOCTYPE a><a/>", b"<a>" * 30 + b"</a>" * 30]
)
def test_authentic_content_that_is_no_content_ends_the_session(content: bytes) -> None:
    with pytest.raises(UnusableStanza) as caught:
        open_stanza(BOB, foreign(BOB, content))
    assert caught.value.reason is BadStanza.CONTENT
    assert caught.value.__context__ is None


def test_white_space_around_the_parts_of_a_stanza_is_not_covered() -> None:
    stanza = foreign(BOB, b"<body>x</body>  ")
    spaced: list[Element | str] = ["\n  "]
    for child in stanza.elements:
        spaced += [child, "\n "]
    _, content = open_stanza(BOB, Element(stanza.namespace, "c", (), tuple(spaced)))
    assert content[0].text == "x"
    _, content = open_stanza(BOB, Element(stanza.namespace, "c", (), tuple(reversed(spaced))))  # the MAC first
    assert content[0].text == "x"


def test_a_key_serves_for_2_to_the_32_blocks_and_no_more() -> None:
    almost = replace(ALICE, sending=replace(ALICE.sending, blocks=MAX_BLOCKS - 1))
    after, _ = seal(almost, b"<a/>")
    with pytest.raises(Exhausted):
        seal(after, b"<a/>")
    worn = replace(BOB, receiving=replace(BOB.receiving, blocks=MAX_BLOCKS))
    with pytest.raises(UnusableStanza) as caught:
        open_stanza(worn, foreign(worn, b"<body>x</body>  "))
    assert caught.value.reason is BadStanza.EXHAUSTED


@pytest.mark.parametrize("content", [b"", b"x" * (MAX_CONTENT + 1)])
def test_nothing_and_too_much_cannot_be_sealed(content: bytes) -> None:
    with pytest.raises(Misuse):
        seal(ALICE, content)


def test_a_body_of_20_kilobytes_passes() -> None:
    text = "shalom שלום 😀 " * 1000
    _, payload = seal(ALICE, f"<body>{text}</body>".encode())
    _, content = open_stanza(BOB, parse(payload))
    assert content[0].text == text


@pytest.mark.parametrize("profile", list(Profile))
def test_a_session_is_small_when_stored(profile: Profile) -> None:
    alice, bob = established(profile, seed="size")
    for _ in range(70):
        bob.take(alice.send(b"<body>x</body>"))
        alice.take(bob.send(b"<body>x</body>"))
    assert len(msgspec.msgpack.encode(alice.conversation)) < (1500 if profile is Profile.DEPLOYED else 2000)


def test_a_failed_stanza_changes_nothing() -> None:
    before = msgspec.msgpack.encode(BOB)
    for content in (b"", b"<body>"):
        with pytest.raises(UnusableStanza):
            open_stanza(BOB, foreign(BOB, content))
    assert msgspec.msgpack.encode(BOB) == before
    open_stanza(BOB, foreign(BOB, b"<body>x</body>  "))
