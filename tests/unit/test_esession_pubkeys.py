"""Published public keys (XEP-0189): written, read, and refused when they are another's, too old or changed."""

from dataclasses import replace

import pytest

from crypto.esession.identities import PublicIdentity
from crypto.esession.offline_pubkeys import NS, read_pubkey, write_pubkey
from crypto.esession.offline_refusals import OfflineFlaw, OfflineRefusal
from crypto.esession.offline_time import DAY_MS, read_time
from crypto.xml import Element, parse, serialize
from tests.unit.esession_keys import ed25519, rsa
from tests.unit.offline_world import ALICE, NOW

KEYS = pytest.mark.parametrize("public", [rsa("alice").public, ed25519("alice").public], ids=["rsa", "ed25519"])


def published(public: PublicIdentity) -> Element:
    return parse(serialize(write_pubkey(public, ALICE, begin_ms=NOW, end_ms=NOW + DAY_MS)))


@KEYS
def test_a_key_is_read_as_it_was_written(public: PublicIdentity) -> None:
    assert read_pubkey(published(public), jid="Alice@example.org", now_ms=NOW) == public


@KEYS
def test_a_key_is_valid_in_its_time_and_for_its_address(public: PublicIdentity) -> None:
    for now_ms, jid, flaw in (
        (NOW - 1, ALICE, OfflineFlaw.EXPIRED),
        (NOW + DAY_MS, ALICE, OfflineFlaw.EXPIRED),
        (NOW, "carol@example.org", OfflineFlaw.MISDIRECTED),
    ):
        with pytest.raises(OfflineRefusal) as refused:
            read_pubkey(published(public), jid=jid, now_ms=now_ms)
        assert refused.value.flaw is flaw


@KEYS
@pytest.mark.parametrize("name", ["begin", "end", "jid", "rsakey", "KeyValue"])
def test_a_key_without_a_part_is_refused(public: PublicIdentity, name: str) -> None:
    whole = published(public)
    cut = replace(whole, children=tuple(e for e in whole.elements if e.name != name))
    if cut == whole:
        return
    with pytest.raises(OfflineRefusal) as refused:
        read_pubkey(cut, jid=ALICE, now_ms=NOW)
    assert refused.value.flaw is OfflineFlaw.MALFORMED


@pytest.mark.parametrize("name", ["modulus", "publicExponent", "print"])
def test_a_key_whose_fingerprint_is_another_is_refused(name: str) -> None:
    whole = published(rsa("alice").public)
    key = whole.elements[-1]
    parts = tuple(Element(NS, e.name, e.attributes, (e.text + "7",)) if e.name == name else e for e in key.elements)
    with pytest.raises(OfflineRefusal):
        read_pubkey(
            replace(whole, children=(*whole.elements[:-1], replace(key, children=parts))), jid=ALICE, now_ms=NOW
        )


def test_a_key_that_is_too_short_is_refused() -> None:
    example = parse(
        b"<pubkey xmlns='urn:xmpp:pubkey:2'><begin>2010-01-14T18:44:18Z</begin><end>2011-01-14T18:44:18Z</end>"
        b"<jid>alice@example.com</jid><rsakey><modulus>\n1379023255526\n646700594</modulus>"
        b"<publicExponent>65537</publicExponent><print algo='sha-256'>eWGdcl+AzN0treQoRry+/zYqYJ7ZEAzwIvTossTURLw="
        b"</print></rsakey></pubkey>"
    )
    with pytest.raises(OfflineRefusal) as refused:
        read_pubkey(example, jid="alice@example.com", now_ms=read_time("2010-06-01T00:00:00Z"))
    assert refused.value.flaw is OfflineFlaw.MALFORMED
