"""Messages of the ratchet and key exchanges as octets, in both forms (XEP-0384, appendix; 0.3: libsignal's).

Keys are 32 octets here; on the wire of the older form an octet 0x05 stands before each, and 0x33 before a message.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from crypto.omemo import protobuf
from crypto.omemo.faults import Malformed
from crypto.omemo.names import Namespace

KEY = 32
_VERSION = b"\x33"
_CURVE = b"\x05"
TAG = MappingProxyType({Namespace.OMEMO_2: 16, Namespace.AXOLOTL: 8})
"""Octets of the tag of a message of the ratchet."""


@dataclass(frozen=True, slots=True)
class _Numbers:
    """Which number each field has."""

    counter: int
    previous: int
    ratchet_key: int
    ciphertext: int
    prekey_id: int
    signed_id: int
    identity: int
    ephemeral: int
    message: int


_NUMBERS: Mapping[Namespace, _Numbers] = MappingProxyType(
    {
        Namespace.OMEMO_2: _Numbers(1, 2, 3, 4, 1, 2, 3, 4, 5),
        Namespace.AXOLOTL: _Numbers(2, 3, 1, 4, 1, 6, 3, 2, 4),
    }
)
_TAG_FIELD, _BODY_FIELD = 1, 2


@dataclass(frozen=True, slots=True)
class Frame:
    """A message of the ratchet. `body`: what the tag is over, beside the associated data; `tag`: 16 or 8 octets."""

    ratchet_key: bytes
    counter: int
    previous: int
    ciphertext: bytes = field(repr=False)
    body: bytes = field(repr=False)
    tag: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeyExchange:
    """What makes a session. `identity`: Ed25519 in omemo:2, Curve25519 in the older form."""

    prekey_id: int
    signed_id: int
    identity: bytes
    ephemeral: bytes


def encoded_key(namespace: Namespace, key: bytes) -> bytes:
    """A public key as the form writes and signs it."""
    return key if namespace is Namespace.OMEMO_2 else _CURVE + key


def decoded_key(namespace: Namespace, octets: bytes) -> bytes:
    """The 32 octets of a public key. Raises Malformed."""
    if namespace is Namespace.AXOLOTL:
        if octets[:1] != _CURVE:
            raise Malformed
        octets = octets[1:]
    if len(octets) != KEY:
        raise Malformed
    return octets


# ---------------------------------------------------------------- messages of the ratchet
def frame_body(namespace: Namespace, ratchet_key: bytes, counter: int, previous: int, ciphertext: bytes) -> bytes:
    """A message without its tag."""
    numbers = _NUMBERS[namespace]
    fields: list[tuple[int, protobuf.Value]] = [
        (numbers.counter, counter),
        (numbers.previous, previous),
        (numbers.ratchet_key, encoded_key(namespace, ratchet_key)),
        (numbers.ciphertext, ciphertext),
    ]
    octets = protobuf.written(sorted(fields, key=lambda each: each[0]))
    return octets if namespace is Namespace.OMEMO_2 else _VERSION + octets


def frame_octets(namespace: Namespace, body: bytes, tag: bytes) -> bytes:
    """A message with its tag."""
    if namespace is Namespace.OMEMO_2:
        return protobuf.written([(_TAG_FIELD, tag), (_BODY_FIELD, body)])
    return body + tag


def read_frame(namespace: Namespace, octets: bytes) -> Frame:
    """A message of the ratchet. Raises Malformed; nothing of it is authentic yet."""
    body, tag = _parted(namespace, octets)
    numbers = _NUMBERS[namespace]
    kinds = {numbers.counter: int, numbers.previous: int, numbers.ratchet_key: bytes, numbers.ciphertext: bytes}
    fields = protobuf.read(_unversioned(namespace, body), kinds)
    return Frame(
        decoded_key(namespace, protobuf.octets(fields, numbers.ratchet_key)),
        protobuf.number(fields, numbers.counter),
        protobuf.number(fields, numbers.previous),
        protobuf.octets(fields, numbers.ciphertext),
        body,
        tag,
    )


def _parted(namespace: Namespace, octets: bytes) -> tuple[bytes, bytes]:
    if namespace is Namespace.OMEMO_2:
        fields = protobuf.read(octets, {_TAG_FIELD: bytes, _BODY_FIELD: bytes})
        body, tag = protobuf.octets(fields, _BODY_FIELD), protobuf.octets(fields, _TAG_FIELD)
    else:
        body, tag = octets[: -TAG[namespace]], octets[-TAG[namespace] :]
    if len(tag) != TAG[namespace]:
        raise Malformed
    return body, tag


def _unversioned(namespace: Namespace, octets: bytes) -> bytes:
    if namespace is Namespace.OMEMO_2:
        return octets
    if octets[:1] != _VERSION:
        raise Malformed
    return octets[1:]


# ---------------------------------------------------------------- key exchanges
def exchange_octets(namespace: Namespace, exchange: KeyExchange, message: bytes) -> bytes:
    """A key exchange with the message of the ratchet that comes with it."""
    numbers = _NUMBERS[namespace]
    fields: list[tuple[int, protobuf.Value]] = [
        (numbers.prekey_id, exchange.prekey_id),
        (numbers.signed_id, exchange.signed_id),
        (numbers.identity, encoded_key(namespace, exchange.identity)),
        (numbers.ephemeral, encoded_key(namespace, exchange.ephemeral)),
        (numbers.message, message),
    ]
    octets = protobuf.written(sorted(fields, key=lambda each: each[0]))
    return octets if namespace is Namespace.OMEMO_2 else _VERSION + octets


def read_exchange(namespace: Namespace, octets: bytes) -> tuple[KeyExchange, bytes]:
    """A key exchange, and the message of the ratchet in it. Raises Malformed."""
    numbers = _NUMBERS[namespace]
    kinds = {
        numbers.prekey_id: int,
        numbers.signed_id: int,
        numbers.identity: bytes,
        numbers.ephemeral: bytes,
        numbers.message: bytes,
    }
    fields = protobuf.read(_unversioned(namespace, octets), kinds)
    exchange = KeyExchange(
        protobuf.number(fields, numbers.prekey_id),
        protobuf.number(fields, numbers.signed_id),
        decoded_key(namespace, protobuf.octets(fields, numbers.identity)),
        decoded_key(namespace, protobuf.octets(fields, numbers.ephemeral)),
    )
    return exchange, protobuf.octets(fields, numbers.message)
