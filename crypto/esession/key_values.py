"""Public keys as `<KeyValue/>` (XML Signature, section 4.4.2), in the normal form that XEP-0116 hashes and MACs.

The normal form has no namespaces, no white space and, here, one encoding per key only: integers without leading
zero octets, base64 with its padding. So a fingerprint is a property of the key, not of how it was written.
"""

import base64
import binascii
import re
from dataclasses import dataclass
from enum import StrEnum

from crypto.errors import Malformed
from crypto.primitives.integers import from_octets, mpi
from crypto.xml import CLIENT, Element, MalformedXml, parse

XMLDSIG = "http://www.w3.org/2000/09/xmldsig#"
MAX_OCTETS = 8192
"""Octets of one `<KeyValue/>`."""
_NAMESPACES = frozenset({"", CLIENT, XMLDSIG})
_BLANK = re.compile(r"[ \t\r\n]+")


class SignAlgorithm(StrEnum):
    """The values of `sign_algs`."""

    RSA = "http://www.w3.org/2000/09/xmldsig#rsa-sha256"
    DSA = "http://www.w3.org/2000/09/xmldsig#dsa-sha256"
    ED25519 = "http://www.w3.org/2021/04/xmldsig-more#eddsa-ed25519"
    """An extension: the name that RFC 9231 gives it."""


class MalformedKey(Malformed):
    """What should be a `<KeyValue/>` is none, or not in the one encoding that a key has."""

    def __init__(self) -> None:
        super().__init__("not a public key in the form of XML Signature")


@dataclass(frozen=True, slots=True)
class _Format:
    """A child element of `<KeyValue/>`: its name, and the names of its parts in order."""

    name: str
    parts: tuple[str, ...]
    integers: bool = True


_FORMATS = {
    SignAlgorithm.RSA: _Format("RSAKeyValue", ("Modulus", "Exponent")),
    SignAlgorithm.DSA: _Format("DSAKeyValue", ("P", "Q", "G", "Y")),
    SignAlgorithm.ED25519: _Format("Ed25519KeyValue", ("PublicKey",), integers=False),
}
_BY_NAME = {form.name: algorithm for algorithm, form in _FORMATS.items()}


def written(algorithm: SignAlgorithm, *parts: int | bytes) -> bytes:
    """The normal form of a key: integers of RSA (n, e) or DSA (p, q, g, y), the 32 octets of Ed25519."""
    form = _FORMATS[algorithm]
    inner = "".join(
        f"<{name}>{_base64(part if isinstance(part, bytes) else mpi(part))}</{name}>"
        for name, part in zip(form.parts, parts, strict=True)
    )
    return f"<KeyValue><{form.name}>{inner}</{form.name}></KeyValue>".encode()


def read_element(key_value: Element) -> tuple[SignAlgorithm, tuple[bytes, ...]]:
    """Algorithm and parts of a `<KeyValue/>`, with or without its namespace. Raises MalformedKey.

    White space is dropped, and the optional parts of DSA (J, Seed, PgenCounter) are refused: they would make
    two normal forms of one key.
    """
    inside = _children(key_value, "KeyValue")
    algorithm = _BY_NAME.get(inside[0].name) if len(inside) == 1 else None
    if algorithm is None:
        raise MalformedKey
    form = _FORMATS[algorithm]
    parts = _children(inside[0], form.name)
    if tuple(p.name for p in parts) != form.parts:
        raise MalformedKey
    return algorithm, tuple(_octets(p, integer=form.integers) for p in parts)


def read_octets(octets: bytes) -> tuple[SignAlgorithm, tuple[bytes, ...]]:
    """The same of octets. Raises MalformedKey."""
    found: Element | None = None
    try:
        found = parse(octets, max_octets=MAX_OCTETS, max_depth=3, max_elements=8)
    except MalformedXml:
        found = None
    if found is None:
        raise MalformedKey
    return read_element(found)


def plain(octets: str) -> bytes:
    """The octets of a base64 text in its one encoding, after white space is dropped. Raises MalformedKey."""
    squeezed = _BLANK.sub("", octets)
    found: bytes | None = None
    try:
        found = base64.b64decode(squeezed, validate=True)
    except (binascii.Error, ValueError):
        found = None
    if found is None or _base64(found) != squeezed:
        raise MalformedKey
    return found


def _children(element: Element, name: str) -> tuple[Element, ...]:
    """The child elements of a plain element of that name: no attributes, no text, no foreign namespace."""
    if element.name != name or element.namespace not in _NAMESPACES or element.attributes:
        raise MalformedKey
    if _BLANK.sub("", element.text):
        raise MalformedKey
    return element.elements


def _octets(part: Element, *, integer: bool) -> bytes:
    if part.namespace not in _NAMESPACES or part.attributes or part.elements:
        raise MalformedKey
    octets = plain(part.text)
    if not octets or (integer and (octets[0] == 0 or from_octets(octets) == 0)):
        raise MalformedKey
    return octets


def _base64(octets: bytes) -> str:
    return base64.b64encode(octets).decode()
