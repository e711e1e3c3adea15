"""X3DH (XEP-0384, section 4.1): a secret of two devices, one of which is not there."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from crypto.omemo import curve
from crypto.omemo.names import Namespace

_INFO: Mapping[Namespace, bytes] = MappingProxyType(
    {Namespace.OMEMO_2: b"OMEMO X3DH", Namespace.AXOLOTL: b"WhisperText"}
)
_BEFORE = b"\xff" * 32
"""Octets before the secrets: no point of the curve is written so (X3DH, section 2.2)."""


@dataclass(frozen=True, slots=True)
class Offered:
    """What the initiator takes of a bundle: public keys of 32 octets, Curve25519."""

    identity: bytes
    signed: bytes
    prekey: bytes


@dataclass(frozen=True, slots=True)
class Own:
    """What the one who published the bundle has of it: private keys."""

    identity: bytes = field(repr=False)
    signed: bytes = field(repr=False)
    prekey: bytes = field(repr=False)


def initiated(namespace: Namespace, identity: bytes, ephemeral: bytes, offered: Offered) -> bytes:
    """The initiator's secret, 32 octets, from its private keys. Raises Undecryptable for keys that are none."""
    return _derived(
        namespace,
        curve.agreed(identity, offered.signed),
        curve.agreed(ephemeral, offered.identity),
        curve.agreed(ephemeral, offered.signed),
        curve.agreed(ephemeral, offered.prekey),
    )


def accepted(namespace: Namespace, own: Own, identity: bytes, ephemeral: bytes) -> bytes:
    """The same secret, from the initiator's public keys. Raises Undecryptable for keys that are none."""
    return _derived(
        namespace,
        curve.agreed(own.signed, identity),
        curve.agreed(own.identity, ephemeral),
        curve.agreed(own.signed, ephemeral),
        curve.agreed(own.prekey, ephemeral),
    )


def _derived(namespace: Namespace, *secrets: bytes) -> bytes:
    return HKDF(SHA256(), 32, bytes(32), _INFO[namespace]).derive(_BEFORE + b"".join(secrets))
