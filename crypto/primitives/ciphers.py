"""AES in counter mode at a given block, and HMAC-SHA256."""

import hmac
from hashlib import sha256 as _sha256

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

BLOCK = 16
"""Octets of a cipher block."""
_WRAP = 1 << 128


def counter_mode(key: bytes, block: int, data: bytes, *, skip: int = 0) -> bytes:
    """Encrypt or decrypt `data` with the key stream that begins `skip` octets into block number `block`.

    `key`: 16 or 32 octets, secret. `block`: the 128-bit counter of the first block, taken modulo 2^128.
    Authenticates nothing.
    """
    stream = Cipher(AES(key), CTR((block % _WRAP).to_bytes(BLOCK, "big"))).encryptor()
    if skip:
        stream.update(bytes(skip))
    return stream.update(data)


def hmac_sha256(key: bytes, *parts: bytes) -> bytes:
    """HMAC-SHA256 of the concatenated parts: 32 octets."""
    return hmac.digest(key, b"".join(parts), "sha256")


def sha256(*parts: bytes) -> bytes:
    """SHA-256 of the concatenated parts: 32 octets."""
    return _sha256(b"".join(parts)).digest()


def same(one: bytes, other: bytes) -> bool:
    """Equality in time that does not depend on the content. Callers raise at once when it is False."""
    return hmac.compare_digest(one, other)
