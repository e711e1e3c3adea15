"""The algorithms of one session (XEP-0116, "Mandatory to Implement Technologies").

A `Suite` is what was negotiated: names only, so that it can be stored. The registries say what there is.
"""

from dataclasses import dataclass

from crypto.errors import Misuse
from crypto.primitives.kinds import CipherAlgorithm, HashAlgorithm, Kem, KeyAgreement, NotAKemValue, NotAMember
from crypto.primitives.registry import CIPHERS, GROUPS, HASHES, KEMS

__all__ = [
    "CIPHERS",
    "GROUPS",
    "HASHES",
    "KEMS",
    "CipherAlgorithm",
    "HashAlgorithm",
    "Kem",
    "KeyAgreement",
    "NotAKemValue",
    "NotAMember",
    "Suite",
    "exchange",
    "kem",
]


@dataclass(frozen=True, slots=True)
class Suite:
    """One algorithm of each kind, by its name in the forms. The defaults are what every peer has."""

    cipher: str = "aes128-ctr"
    hash: str = "sha256"
    group: str = "14"
    kem: str | None = None

    def __post_init__(self) -> None:
        """Raises Misuse for a name that no registry has: the peer's names are compared with ours before."""
        if self.cipher not in CIPHERS or self.hash not in HASHES or self.group not in GROUPS:
            raise Misuse("a suite names an algorithm that is not in the registry")
        if self.kem is not None and self.kem not in KEMS:
            raise Misuse("a suite names an algorithm that is not in the registry")

    def key_octets(self) -> int:
        """Octets of the cipher's key by the letter of the XEP (the deployed profile uses 32 whatever the name)."""
        return CIPHERS[self.cipher].key_octets

    @property
    def hash_octets(self) -> int:
        """Octets of a digest and of a MAC; also of MAC and SIGMA keys (as long as the hash, "Session Keys")."""
        return HASHES[self.hash].octets

    def digest(self, *parts: bytes) -> bytes:
        """HASH of the concatenated parts: `hash_octets` octets."""
        return HASHES[self.hash].digest(*parts)

    def hmac(self, key: bytes, *parts: bytes) -> bytes:
        """HMAC of the concatenated parts: `hash_octets` octets."""
        return HASHES[self.hash].hmac(key, *parts)

    def counter_mode(self, key: bytes, block: int, data: bytes, *, skip: int = 0) -> bytes:
        """CIPHER, and DECIPHER, with the key stream that begins `skip` octets into block number `block`.

        `key`: `key_octets()` octets, or 32 with the deployed profile. `block`: taken modulo 2^128.
        """
        return CIPHERS[self.cipher].apply(key, block, data, skip=skip)


def exchange(group: str) -> KeyAgreement:
    """The Diffie-Hellman group of that name. Raises Misuse when there is none."""
    found = GROUPS.get(group)
    if found is None:
        raise Misuse("no such group in the registry")
    return found


def kem(name: str) -> Kem:
    """The key encapsulation mechanism of that name. Raises Misuse when there is none."""
    found = KEMS.get(name)
    if found is None:
        raise Misuse("no such key encapsulation in the registry")
    return found
