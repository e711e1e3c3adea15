"""Public keys as text, and the signatures made with them. Unpadded base64 everywhere (appendices: Unpadded Base64)."""

import base64
from contextlib import suppress

from vodozemac import Curve25519PublicKey, Ed25519PublicKey, Ed25519Signature

from crypto.olm.contained import contained
from crypto.olm.errors import BadSignature, Malformed


def b64(data: bytes) -> str:
    """Unpadded base64."""
    return base64.b64encode(data).decode().rstrip("=")


def unb64(text: str) -> bytes:
    """Octets of unpadded or padded base64. Raises Malformed."""
    with suppress(ValueError):
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    raise Malformed


def curve25519(text: str) -> Curve25519PublicKey:
    """The key. Raises Malformed."""
    octets = _sized(text, 32)
    with contained():
        return Curve25519PublicKey.from_bytes(octets)
    raise Malformed


def ed25519(text: str) -> Ed25519PublicKey:
    """The key. Raises Malformed."""
    _sized(text, 32)  # vodozemac 0.10 panics on a longer one
    with contained():
        return Ed25519PublicKey.from_base64(text)
    raise Malformed


def require_signature(key: str, message: bytes, signature: str) -> None:
    """Return when the signature by that Ed25519 key covers the message; raises BadSignature or Malformed."""
    public = ed25519(key)
    _sized(signature, 64)
    with contained():
        public.verify_signature(message, Ed25519Signature.from_base64(signature))
        return
    raise BadSignature


def _sized(text: str, size: int) -> bytes:
    octets = unb64(text)
    if len(octets) != size:
        raise Malformed
    return octets
