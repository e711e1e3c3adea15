"""OpenPGP packets as far as a certificate needs them (RFC 9580): armour, framing, public keys, signatures.

A reader of octets that the operator configured; nothing is trusted because of its place, only because of what a
signature covers. Versions 4 and 6 of keys and signatures; partial lengths, which certificates never have, are refused.
"""

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from crypto.errors import Malformed
from crypto.esession.identities import ACCEPTED, KeyNotAccepted, PublicIdentity, read
from crypto.esession.key_values import MalformedKey, SignAlgorithm, written
from crypto.primitives.integers import from_octets

MAX_OCTETS = 1 << 18
MAX_PACKETS = 1000
MAX_SUBPACKETS = 200
PUBLIC_KEY, SIGNATURE, USER_ID, PUBLIC_SUBKEY, USER_ATTRIBUTE = 6, 2, 13, 14, 17
SKIPPED = frozenset({10, 12, 21})
"""Marker, trust, padding."""
NON_CRITICAL = 40
"""Packets of this type and above may be skipped by those who do not know them (section 4.3)."""
RSA, RSA_SIGN, EDDSA_LEGACY, ED25519 = 1, 3, 22, 27
_ED25519_OID = bytes.fromhex("092b06010401da470f01")
_ARMOUR = re.compile(
    rb"-----BEGIN PGP PUBLIC KEY BLOCK-----[ \t]*\r?\n(?:[!-9;-~]+: [^\r\n]*\r?\n)*[ \t]*\r?\n"
    rb"([A-Za-z0-9+/=\r\n \t]+?)(?:\r?\n=[A-Za-z0-9+/]{4})?\s*-----END PGP PUBLIC KEY BLOCK-----"
)


class MalformedCertificate(Malformed):
    """The octets are not a sequence of OpenPGP packets as a certificate has them."""

    def __init__(self) -> None:
        super().__init__("not an OpenPGP certificate")


class Cursor:
    """Reads from the front of octets; raises MalformedCertificate at their end."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._at = 0

    @property
    def left(self) -> int:
        """Octets not yet read."""
        return len(self._octets) - self._at

    def take(self, count: int) -> bytes:
        """The next octets."""
        if count > self.left:
            raise MalformedCertificate
        self._at += count
        return self._octets[self._at - count : self._at]

    def number(self, octets: int) -> int:
        """The next octets as a big-endian number."""
        return from_octets(self.take(octets))

    def integer(self) -> int:
        """The next multiprecision integer: two octets count its bits (section 3.2)."""
        return from_octets(self.take((self.number(2) + 7) // 8))


@dataclass(frozen=True, slots=True)
class KeyPacket:
    """A public key or subkey."""

    version: int
    body: bytes = field(repr=False)
    created_s: int
    public: PublicIdentity | None
    """None for algorithms and sizes that no identity has."""

    def hashed(self) -> bytes:
        """What signatures cover of it (section 5.2.4)."""
        if self.version == 4:
            return b"\x99" + len(self.body).to_bytes(2, "big") + self.body
        return b"\x9b" + len(self.body).to_bytes(4, "big") + self.body


@dataclass(frozen=True, slots=True)
class SignaturePacket:
    """A signature: what it says, and what it was made over besides its target."""

    kind: int
    algorithm: int
    hash_id: int
    salt: bytes = field(repr=False)
    trailer: bytes = field(repr=False)
    value: bytes = field(repr=False)
    """PKCS #1: the integer's octets; Ed25519: 64 octets."""
    hashed: tuple[tuple[int, bool, bytes], ...] = field(repr=False)
    """Subpackets that the signature covers: type, whether it is critical, content."""
    unhashed: tuple[tuple[int, bool, bytes], ...] = field(repr=False)

    def number(self, kind: int) -> int | None:
        """The number in a signed subpacket of four octets, the last of its kind."""
        found = [content for k, _, content in self.hashed if k == kind and len(content) == 4]
        return from_octets(found[-1]) if found else None

    def octets(self, kind: int) -> bytes | None:
        """The content of a signed subpacket."""
        return next((content for k, _, content in reversed(self.hashed) if k == kind), None)


# ---------------------------------------------------------------------------------------------------- framing
def binary(octets: bytes) -> bytes:
    """The octets inside ASCII armour, or themselves. Raises MalformedCertificate."""
    if len(octets) > MAX_OCTETS:
        raise MalformedCertificate
    if octets[:1] >= b"\x80":
        return octets
    armoured = _ARMOUR.search(octets)
    if armoured is None:
        raise MalformedCertificate
    found: bytes | None = None
    try:
        found = base64.b64decode(b"".join(armoured.group(1).split()), validate=True)
    except (binascii.Error, ValueError):
        found = None
    if found is None:
        raise MalformedCertificate
    return found


def packets(octets: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and body of every packet. Raises MalformedCertificate."""
    cursor = Cursor(octets)
    for _ in range(MAX_PACKETS):
        if not cursor.left:
            return
        first = cursor.number(1)
        if not first & 0x80:
            raise MalformedCertificate
        if first & 0x40:
            yield first & 0x3F, cursor.take(_length(cursor))
        else:
            yield (first >> 2) & 0x0F, cursor.take(_old_length(cursor, first & 3))
    raise MalformedCertificate


def _length(cursor: Cursor, *, subpacket: bool = False) -> int:
    """A length of one, two or five octets (section 4.2.1); of subpackets 224 to 254 mean two octets as well."""
    first = cursor.number(1)
    if first < 192:
        return first
    if first == 255:
        return cursor.number(4)
    if first < 224 or subpacket:
        return ((first - 192) << 8) + cursor.number(1) + 192
    raise MalformedCertificate


def _old_length(cursor: Cursor, kind: int) -> int:
    if kind == 3:  # of undefined length: only data has it
        raise MalformedCertificate
    return cursor.number(1 << kind)


# ---------------------------------------------------------------------------------------------------- keys
def key_packet(body: bytes) -> KeyPacket:
    """A public key of version 4 or 6. Raises MalformedCertificate, also for other versions."""
    cursor = Cursor(body)
    version = cursor.number(1)
    if version not in (4, 6) or len(body) > 0xFFFF:
        raise MalformedCertificate
    created_s, algorithm = cursor.number(4), cursor.number(1)
    if version == 6 and cursor.number(4) != cursor.left:
        raise MalformedCertificate
    return KeyPacket(version, body, created_s, _public(algorithm, cursor))


def _public(algorithm: int, cursor: Cursor) -> PublicIdentity | None:
    if algorithm in (RSA, RSA_SIGN):
        n, e = cursor.integer(), cursor.integer()
        octets = written(SignAlgorithm.RSA, n, e)
    elif algorithm == ED25519:
        octets = written(SignAlgorithm.ED25519, cursor.take(32))
    elif algorithm == EDDSA_LEGACY and cursor.take(len(_ED25519_OID)) == _ED25519_OID:
        point = cursor.take((cursor.number(2) + 7) // 8)
        if len(point) != 33 or point[0] != 0x40:
            raise MalformedCertificate
        octets = written(SignAlgorithm.ED25519, point[1:])
    else:
        return None
    if cursor.left:
        raise MalformedCertificate
    try:
        return read(octets, accepted=ACCEPTED)
    except (KeyNotAccepted, MalformedKey):
        return None


# ---------------------------------------------------------------------------------------------------- signatures
def signature_packet(body: bytes) -> SignaturePacket | None:
    """A signature of version 4 or 6; None for others, which nothing depends on. Raises MalformedCertificate."""
    cursor = Cursor(body)
    version = cursor.number(1)
    if version not in (4, 6):
        return None
    width = 2 if version == 4 else 4
    kind, algorithm, hash_id = cursor.take(3)
    hashed = cursor.take(cursor.number(width))
    covered = body[: 4 + width + len(hashed)]
    unhashed = cursor.take(cursor.number(width))
    cursor.take(2)
    salt = cursor.take(cursor.number(1)) if version == 6 else b""
    trailer = covered + bytes((version, 0xFF)) + len(covered).to_bytes(4, "big")
    value = _value(algorithm, cursor)
    return SignaturePacket(kind, algorithm, hash_id, salt, trailer, value, _subpackets(hashed), _subpackets(unhashed))


def _value(algorithm: int, cursor: Cursor) -> bytes:
    if algorithm in (RSA, RSA_SIGN):
        return cursor.take((cursor.number(2) + 7) // 8)
    if algorithm == ED25519:
        return cursor.take(64)
    if algorithm == EDDSA_LEGACY:
        r, s = cursor.integer(), cursor.integer()
        if max(r, s).bit_length() > 256:
            raise MalformedCertificate
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")
    return b""


def _subpackets(octets: bytes) -> tuple[tuple[int, bool, bytes], ...]:
    cursor = Cursor(octets)
    found: list[tuple[int, bool, bytes]] = []
    while cursor.left:
        content = cursor.take(_length(cursor, subpacket=True))
        if not content or len(found) >= MAX_SUBPACKETS:
            raise MalformedCertificate
        found.append((content[0] & 0x7F, bool(content[0] & 0x80), content[1:]))
    return tuple(found)
