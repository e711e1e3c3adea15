"""The content of an identity: a key or its fingerprint, certificates, a signature (XEP-0116, "Hiding Identity").

What is encrypted in the field `identity` when a public key identifies its sender: `<KeyValue/>` or `<fingerprint/>`,
then, as an extension, `<X509Data/>`, then `<SignatureValue/>`. Binary content is base64.
"""

import base64
from collections.abc import Container
from dataclasses import dataclass, field
from enum import StrEnum

from crypto.errors import Malformed, Misuse
from crypto.esession.identities import ACCEPTED, Identity, PublicIdentity, read, sign
from crypto.esession.key_values import MalformedKey, SignAlgorithm, plain
from crypto.xml import Element, MalformedXml, parse_content

MAX_CERTIFICATES = 2
MAX_CERTIFICATE = 8192
"""Octets of one certificate, DER."""
MAX_PRESENTED = 40_000
"""Octets of the whole content."""
_MAX_SIGNATURE = 1024


class Identification(StrEnum):
    """The values of `init_pubkey` and `resp_pubkey`."""

    KEY = "key"
    HASH = "hash"
    NONE = "none"


class MalformedIdentity(Malformed):
    """What was decrypted is not an identity that the negotiated identification allows."""

    def __init__(self) -> None:
        super().__init__("an identity cannot be read")


@dataclass(frozen=True, slots=True)
class Presented:
    """What a peer presented: a key or a fingerprint. Nothing is proved before `identities.verify`."""

    public: PublicIdentity | None
    fingerprint: bytes | None
    signature: bytes = field(repr=False)
    certificates: tuple[bytes, ...] = field(default=(), repr=False)
    """X.509, DER, unread."""


def present(identity: Identity, mac: bytes, how: Identification, *, hash_name: str = "sha256") -> bytes:
    """The content that presents an identity and signs `mac`. Certificates go with a key, not with a fingerprint."""
    if how is Identification.NONE:
        raise Misuse("without identification there is no identity to present")
    if how is Identification.HASH:
        return _element("fingerprint", identity.public.fingerprint(hash_name)) + _signature(identity, mac)
    chain = b"".join(_element("X509Certificate", c) for c in identity.certificates[:MAX_CERTIFICATES])
    data = b"<X509Data>%s</X509Data>" % chain if chain else b""
    return identity.public.key_value + data + _signature(identity, mac)


def read_presented(
    octets: bytes,
    how: Identification,
    *,
    hash_octets: int = 32,
    accepted: Container[SignAlgorithm] = ACCEPTED,
) -> Presented:
    """What a peer presented as `key` or as `hash`; namespaces do not matter, foreign elements are skipped.

    Raises MalformedIdentity, MalformedKey, KeyNotAccepted.
    """
    found: tuple[Element, ...] | None = None
    try:
        found = parse_content(octets, max_octets=MAX_PRESENTED, max_depth=3, max_elements=16)
    except MalformedXml:
        found = None
    if found is None:
        raise MalformedIdentity
    signature = _decoded(_only(found, "SignatureValue"))
    if not 0 < len(signature) <= _MAX_SIGNATURE:
        raise MalformedIdentity
    if how is Identification.HASH:
        fingerprint = _decoded(_only(found, "fingerprint"))
        if len(fingerprint) != hash_octets:
            raise MalformedIdentity
        return Presented(None, fingerprint, signature)
    if how is not Identification.KEY:
        raise MalformedIdentity
    public = read(_only(found, "KeyValue"), accepted=accepted)
    return Presented(public, None, signature, _certificates(found))


def _certificates(found: tuple[Element, ...]) -> tuple[bytes, ...]:
    texts = [c for data in found if data.name == "X509Data" for c in data.elements if c.name == "X509Certificate"]
    decoded = tuple(_decoded(c) for c in texts[:MAX_CERTIFICATES])
    if any(len(c) > MAX_CERTIFICATE for c in decoded):
        raise MalformedIdentity
    return decoded


def _only(found: tuple[Element, ...], name: str) -> Element:
    named = [e for e in found if e.name == name]
    if len(named) != 1:
        raise MalformedIdentity
    return named[0]


def _decoded(element: Element) -> bytes:
    try:
        return plain(element.text)
    except MalformedKey:
        pass
    raise MalformedIdentity


def _element(name: str, octets: bytes) -> bytes:
    return f"<{name}>{base64.b64encode(octets).decode()}</{name}>".encode()


def _signature(identity: Identity, mac: bytes) -> bytes:
    return _element("SignatureValue", sign(identity, mac))
