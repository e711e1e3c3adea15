"""Envelopes of omemo:2 (XEP-0420), and identity keys as people compare them."""

import pytest

from crypto.omemo.envelope import NS_SCE, opened_envelope, sealed_envelope
from crypto.omemo.faults import Malformed, WrongParty
from crypto.omemo.fingerprints import fingerprint, read_fingerprint, read_uri, uri
from crypto.xml import CLIENT, Element, element, parse, serialize
from tests.unit.omemo_world import Dice

ALICE, BOB = "alice@example.org", "bob@matrix.example.org"
BODY = element(CLIENT, "body", "hello")


def envelope(*children: Element) -> bytes:
    return serialize(element(NS_SCE, "envelope", *children))


CONTENT = element(NS_SCE, "content", BODY)
FROM = element(NS_SCE, "from", jid=ALICE)
RPAD = element(NS_SCE, "rpad", "xx")


def test_an_envelope_opens_to_what_was_put_in() -> None:
    content = (BODY, element("urn:xmpp:receipts", "request"))
    octets = sealed_envelope(content, Dice("x"), sender=ALICE, recipient=BOB, stamp="2027-01-15T08:00:00Z")
    opened = opened_envelope(octets, sender=ALICE, recipient=BOB)
    assert (opened.content, opened.stamp) == (content, "2027-01-15T08:00:00Z")
    assert opened_envelope(sealed_envelope((), Dice("x"), sender=ALICE), sender=ALICE, recipient=BOB).content == ()


def test_its_length_says_little_about_what_is_in_it() -> None:
    sizes = {len(sealed_envelope((BODY,), Dice(str(n)), sender=ALICE)) for n in range(300)}
    assert max(sizes) - min(sizes) >= 190
    short = min(len(sealed_envelope((), Dice(str(n)), sender=ALICE)) for n in range(100))
    assert min(sizes) - short <= 10
    root = parse(sealed_envelope((BODY,), Dice("x"), sender=ALICE))
    assert root.child(NS_SCE, "rpad") is not None


@pytest.mark.parametrize("sender", ["mallory@example.org", "", "alice@example.orgx"])
def test_an_envelope_of_another_sender_is_refused(sender: str) -> None:
    octets = sealed_envelope((BODY,), Dice("x"), sender=sender)
    with pytest.raises(WrongParty):
        opened_envelope(octets, sender=ALICE, recipient=BOB)


def test_an_envelope_for_another_recipient_is_refused() -> None:
    octets = sealed_envelope((BODY,), Dice("x"), sender=ALICE, recipient="carol@matrix.example.org")
    with pytest.raises(WrongParty):
        opened_envelope(octets, sender=ALICE, recipient=BOB)


def test_an_envelope_without_a_sender_is_refused() -> None:
    with pytest.raises(WrongParty):
        opened_envelope(envelope(CONTENT, RPAD), sender=ALICE, recipient=BOB)


def test_resources_in_the_affixes_do_not_matter() -> None:
    octets = envelope(CONTENT, RPAD, element(NS_SCE, "from", jid=ALICE + "/phone"))
    assert opened_envelope(octets, sender=ALICE, recipient=BOB).content == (BODY,)


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"hello",
        b"<envelope/>",
        b"<!DOCTYPE x><envelope xmlns='urn:xmpp:sce:1'/>",
        envelope(RPAD, FROM),
        envelope(CONTENT, FROM),
        envelope(CONTENT, CONTENT, RPAD, FROM),
        envelope(CONTENT, RPAD, FROM, FROM),
        envelope(CONTENT, RPAD, FROM, element(NS_SCE, "to", jid=BOB), element(NS_SCE, "to", jid=ALICE)),
    ],
    ids=["empty", "text", "namespace", "doctype", "no-content", "no-rpad", "two-contents", "two-senders", "two-tos"],
)
def test_what_is_no_envelope_is_refused(octets: bytes) -> None:
    with pytest.raises(Malformed):
        opened_envelope(octets, sender=ALICE, recipient=BOB)


def test_what_servers_look_at_is_dropped_inside() -> None:
    forbidden = (
        element("urn:xmpp:hints", "no-store"),
        element("urn:xmpp:sid:0", "stanza-id", id="1"),
        element("http://jabber.org/protocol/address", "addresses"),
        element("urn:xmpp:eme:0", "encryption"),
        element("urn:xmpp:omemo:2", "encrypted"),
        element("eu.siacs.conversations.axolotl", "encrypted"),
        element(NS_SCE, "envelope"),
    )
    origin = element("urn:xmpp:sid:0", "origin-id", id="1")
    octets = sealed_envelope((*forbidden, BODY, origin), Dice("x"), sender=ALICE)
    assert opened_envelope(octets, sender=ALICE, recipient=BOB).content == (BODY, origin)


# ---------------------------------------------------------------- fingerprints
KEY = bytes(range(32))
TEXT = "00010203 04050607 08090a0b 0c0d0e0f 10111213 14151617 18191a1b 1c1d1e1f"


def test_fingerprints_are_eight_groups_of_eight_and_read_back_however_they_are_written() -> None:
    assert fingerprint(KEY) == TEXT
    for text in (TEXT, TEXT.upper(), TEXT.replace(" ", ""), "05" + TEXT.replace(" ", ":"), f"\n{TEXT}\t"):
        assert read_fingerprint(text) == KEY
    for text in ("", TEXT[:-1], TEXT + "0", "g" + TEXT[1:], "06" + TEXT):
        assert read_fingerprint(text) is None


def test_addresses_name_devices_and_read_back() -> None:
    devices = {31415: KEY, 7: bytes(32)}
    text = uri("bob\\40x@matrix.example.org", devices)
    assert text.startswith("xmpp:bob%5C40x@matrix.example.org?omemo-sid-7=0000")
    assert read_uri(text) == devices
    assert read_uri(f"xmpp:alice@example.org?message;omemo-sid-5={KEY.hex().upper()}") == {5: KEY}
    for other in ("", "https://x/?omemo-sid-5=" + KEY.hex(), "xmpp:a@b", "xmpp:a@b?omemo-sid-5=00"):
        assert read_uri(other) == {}
