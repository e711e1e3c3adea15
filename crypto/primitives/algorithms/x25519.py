"""X25519 (RFC 7748): an extension; XEP-0116 knows MODP groups only.

Values are octet strings of exactly 32 octets: of fixed length, hence never shortened as integers are.
"""

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from crypto.errors import Misuse
from crypto.primitives.kinds import KeyAgreement, NotAMember

_OCTETS = 32


@dataclass(frozen=True, slots=True)
class X25519:
    """Montgomery's curve modulo 2^255 - 19."""

    name: str = "x25519"
    draw_octets: int = _OCTETS

    def secret(self, draw: bytes) -> bytes:
        """The draw itself; it is clamped wherever it is used (RFC 7748, section 5)."""
        if len(draw) != _OCTETS:
            raise Misuse("an exponent needs a draw of exactly 32 octets")
        return draw

    def public(self, secret: bytes) -> bytes:
        """32 octets that may be sent."""
        return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()

    def member(self, octets: bytes) -> bytes:
        """The value, if it has 32 octets. Points of small order are found by `shared`."""
        if len(octets) != _OCTETS:
            raise NotAMember
        return octets

    def shared(self, public: bytes, secret: bytes) -> bytes:
        """32 octets. Raises NotAMember when the peer's value forces the result to zero (section 6.1)."""
        peer = X25519PublicKey.from_public_bytes(self.member(public))
        own = X25519PrivateKey.from_private_bytes(secret)
        try:
            result: bytes | None = own.exchange(peer)
        except ValueError:
            result = None
        if result is None or not any(result):  # raised here: no secret hangs on the exception's context
            raise NotAMember
        return result


ALGORITHM: KeyAgreement = X25519()
