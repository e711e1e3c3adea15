"""Keys on Curve25519 and their doubles on Ed25519 (XEdDSA). One private key serves both.

The identity key is made so that its Ed25519 form has the sign bit 0: the older form of OMEMO carries identity keys
without it.
"""

import xeddsa

from crypto.omemo.faults import BadBundle, Undecryptable
from crypto.omemo.store import Draw

KEY = 32
SIGNATURE = 64
_NONCE = 64
_SIGN = 0x80


def private_key(seed: bytes) -> bytes:
    """The private key made from 32 secret octets."""
    return xeddsa.seed_to_priv(seed)


def public_key(private: bytes) -> bytes:
    """Its point of Curve25519: 32 octets."""
    return xeddsa.priv_to_curve25519_pub(private)


def signing_key(public: bytes, sign: bool = False) -> bytes:
    """The Ed25519 form of a point of Curve25519."""
    return xeddsa.curve25519_pub_to_ed25519_pub(public, sign)


def agreement_key(signing: bytes) -> bytes | None:
    """The Curve25519 form of a point of Ed25519, None when it is none that keys may be agreed on with."""
    try:
        return xeddsa.ed25519_pub_to_curve25519_pub(signing)
    except (xeddsa.XEdDSAException, ValueError):
        return None


def signature(private: bytes, text: bytes, draw: Draw) -> bytes:
    """An EdDSA signature (64 octets) by the key whose Ed25519 form has the sign bit 0."""
    return xeddsa.ed25519_priv_sign(xeddsa.priv_force_sign(private, False), text, draw("omemo-signature", _NONCE))


def require_signature(signing: bytes, text: bytes, octets: bytes) -> None:
    """Raises BadBundle when the signature is not that key's over the text."""
    if len(octets) != SIGNATURE or len(signing) != KEY or not xeddsa.ed25519_verify(octets, signing, text):
        raise BadBundle


def with_sign(octets: bytes, sign: bool) -> bytes:
    """A signature as the older form carries it: the sign bit of the signer's key in the top bit of the last octet."""
    return octets[:-1] + bytes([octets[-1] | _SIGN if sign else octets[-1] & ~_SIGN])


def sign_of(octets: bytes) -> bool:
    """That bit, of a signature of 64 octets or of a point of Ed25519."""
    return bool(octets[-1] & _SIGN)


def agreed(private: bytes, public: bytes) -> bytes:
    """X25519: 32 octets. Raises Undecryptable when the public key is of small order or no key."""
    secret: bytes | None = None
    try:
        secret = xeddsa.x25519(private, public)
    except (xeddsa.XEdDSAException, ValueError):
        secret = None
    if secret is None:
        raise Undecryptable
    return secret
