"""Published public keys (XEP-0189), as far as XEP-0187 needs them: with them a sender verifies options.

That a server shows a key under an address proves nothing: who reads one still has to know its fingerprint.
RSA keys are written as the XEP has them, others as `<KeyValue/>` in the place of `<rsakey/>`.
"""

import base64

from crypto.errors import PeerFault
from crypto.esession.identities import PublicIdentity, read
from crypto.esession.key_values import XMLDSIG, SignAlgorithm, read_octets, written
from crypto.esession.offline_refusals import OfflineFlaw, OfflineRefusal
from crypto.esession.offline_time import read_time, write_time
from crypto.primitives.ciphers import same, sha256
from crypto.primitives.integers import from_octets
from crypto.xml import Element, parse

NS = "urn:xmpp:pubkey:2"
_MOST_DIGITS = 2500
"""Decimal digits of a modulus: one of 8192 bits has 2467."""


def write_pubkey(public: PublicIdentity, jid: str, *, begin_ms: int, end_ms: int) -> Element:
    """The `<pubkey/>` of a key, valid from `begin_ms` to `end_ms`."""
    begin, end = write_time(begin_ms), write_time(end_ms)
    head = [_text("begin", begin), _text("end", end), _text("jid", jid)]
    algorithm, parts = read_octets(public.key_value)
    if algorithm is not SignAlgorithm.RSA:
        return Element(NS, "pubkey", (), (*head, _dsig(parse(public.key_value))))
    modulus, exponent = (str(from_octets(part)) for part in parts)
    digest = base64.b64encode(_print(begin, end, jid, modulus, exponent)).decode()
    shown = Element(NS, "print", (("algo", "sha-256"),), (digest,))
    key = Element(NS, "rsakey", (), (_text("modulus", modulus), _text("publicExponent", exponent), shown))
    return Element(NS, "pubkey", (), (*head, key))


def read_pubkey(pubkey: Element, *, jid: str, now_ms: int) -> PublicIdentity:
    """The key of a `<pubkey/>` that says it is of `jid` and valid now.

    Raises OfflineRefusal: MALFORMED, EXPIRED, MISDIRECTED.
    """
    begin, end, named = (_of(pubkey, name) for name in ("begin", "end", "jid"))
    if named.lower() != jid.lower():
        raise OfflineRefusal(OfflineFlaw.MISDIRECTED)
    if not read_time(begin) <= now_ms < read_time(end):
        raise OfflineRefusal(OfflineFlaw.EXPIRED)
    found: PublicIdentity | None
    try:
        found = read(_key_value(pubkey, begin + end + named))
    except PeerFault:
        found = None
    if found is None:
        raise OfflineRefusal(OfflineFlaw.MALFORMED)
    return found


def _key_value(pubkey: Element, dated: str) -> Element | bytes:
    other, rsa = pubkey.child(XMLDSIG, "KeyValue"), pubkey.child(NS, "rsakey")
    if rsa is None or other is not None:
        if other is None:
            raise OfflineRefusal(OfflineFlaw.MALFORMED)
        return other
    modulus, exponent = "".join(_of(rsa, "modulus").split()), _of(rsa, "publicExponent")
    digest = base64.b64encode(_print(dated, "", "", modulus, exponent))
    if not same(digest, _of(rsa, "print").encode()):
        raise OfflineRefusal(OfflineFlaw.MALFORMED)
    return written(SignAlgorithm.RSA, _number(modulus), _number(exponent))


def _print(begin: str, end: str, jid: str, modulus: str, exponent: str) -> bytes:
    return sha256((begin + end + jid + modulus + exponent).encode())


def _number(digits: str) -> int:
    if not (digits.isascii() and digits.isdigit() and len(digits) <= _MOST_DIGITS):
        raise OfflineRefusal(OfflineFlaw.MALFORMED)
    return int(digits)


def _of(element: Element, name: str) -> str:
    child = element.child(NS, name)
    if child is None:
        raise OfflineRefusal(OfflineFlaw.MALFORMED)
    return child.text.strip()


def _text(name: str, text: str) -> Element:
    return Element(NS, name, (), (text,))


def _dsig(element: Element) -> Element:
    children = tuple(_dsig(c) if isinstance(c, Element) else c for c in element.children)
    return Element(XMLDSIG, element.name, element.attributes, children)
