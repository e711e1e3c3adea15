"""What an algorithm of each kind can do: the shapes that the files of `algorithms/` fill in."""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Protocol

from crypto.errors import PeerFault
from crypto.primitives.ciphers import BLOCK, counter_mode


class NotAMember(PeerFault):
    """A public value lies outside what honest peers send: it would force, or narrow, the shared secret."""

    def __init__(self) -> None:
        super().__init__("a public Diffie-Hellman value is out of range")


class NotAKemValue(PeerFault):
    """A public key or a ciphertext of a key encapsulation has the wrong length or is not reduced."""

    def __init__(self) -> None:
        super().__init__("a key encapsulation value is out of range")


@dataclass(frozen=True, slots=True)
class CipherAlgorithm:
    """A block cipher in counter mode."""

    name: str
    """Its name in `crypt_algs`, as SSH has it (RFC 4344)."""
    key_octets: int
    """Octets of the key that the name stands for. The deployed profile uses 32 whatever the name says."""
    block_octets: int = BLOCK

    def apply(self, key: bytes, block: int, data: bytes, *, skip: int = 0) -> bytes:
        """Encrypt or decrypt with the key stream that begins `skip` octets into block number `block`.

        `key`: 16, 24 or 32 octets, secret. Authenticates nothing.
        """
        return counter_mode(key, block, data, skip=skip)


@dataclass(frozen=True, slots=True)
class HashAlgorithm:
    """A hash function and its HMAC."""

    name: str
    """Its name in `hash_algs`."""
    octets: int
    """Octets of a digest, and of a MAC."""
    hashlib_name: str
    """What Python calls it."""

    def digest(self, *parts: bytes) -> bytes:
        """The hash of the concatenated parts."""
        return hashlib.new(self.hashlib_name, b"".join(parts)).digest()

    def hmac(self, key: bytes, *parts: bytes) -> bytes:
        """The HMAC (RFC 2104) of the concatenated parts."""
        return hmac.digest(key, b"".join(parts), self.hashlib_name)


class KeyAgreement(Protocol):
    """A Diffie-Hellman group. All values are octets, ready to be hashed and to be sent (XEP-0116, "MPIs")."""

    @property
    def name(self) -> str:
        """Its value in the field `modp`."""

    @property
    def draw_octets(self) -> int:
        """Octets of randomness for one secret."""

    def secret(self, draw: bytes) -> bytes:
        """The secret of a draw of exactly `draw_octets`. Raises Misuse for another length."""

    def public(self, secret: bytes) -> bytes:
        """What may be sent."""

    def member(self, octets: bytes) -> bytes:
        """A peer's public value in its one encoding. Raises NotAMember."""

    def shared(self, public: bytes, secret: bytes) -> bytes:
        """The shared secret, known to the holders of either secret only. Raises NotAMember."""


class Kem(Protocol):
    """A key encapsulation mechanism: one side publishes a key, the other sends it a secret."""

    @property
    def name(self) -> str:
        """Its value in the fields of the negotiation."""

    @property
    def seed_octets(self) -> int:
        """Octets of randomness for one key pair; also the length of a stored secret."""

    @property
    def public_octets(self) -> int:
        """Octets of a public key."""

    @property
    def ciphertext_octets(self) -> int:
        """Octets of a ciphertext."""

    def keypair(self, seed: bytes) -> tuple[bytes, bytes]:
        """Secret (the seed itself) and public key. Raises Misuse for a seed of another length."""

    def encapsulate(self, public: bytes) -> tuple[bytes, bytes]:
        """Ciphertext to send, and the shared secret of 32 octets. Draws inside the library. Raises NotAKemValue."""

    def decapsulate(self, secret: bytes, ciphertext: bytes) -> bytes:
        """The shared secret of 32 octets: another one when the ciphertext was not made for this key.

        Raises NotAKemValue for a ciphertext of the wrong length only.
        """
