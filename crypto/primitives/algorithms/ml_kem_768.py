"""ML-KEM-768 (FIPS 203): what keeps recorded traffic closed to a later quantum computer."""

from dataclasses import dataclass

from cryptography.exceptions import InternalError
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey

from crypto.errors import Misuse
from crypto.primitives.kinds import Kem, NotAKemValue


@dataclass(frozen=True, slots=True)
class MlKem768:
    """Module lattices, parameter set 768."""

    name: str = "ml-kem-768"
    seed_octets: int = 64
    public_octets: int = 1184
    ciphertext_octets: int = 1088

    def keypair(self, seed: bytes) -> tuple[bytes, bytes]:
        """Secret (the seed d | z itself, 64 octets) and public key (1184 octets)."""
        if len(seed) != self.seed_octets:
            raise Misuse("a key pair needs a seed of exactly 64 octets")
        return seed, MLKEM768PrivateKey.from_seed_bytes(seed).public_key().public_bytes_raw()

    def encapsulate(self, public: bytes) -> tuple[bytes, bytes]:
        """Ciphertext (1088 octets) and shared secret (32 octets).

        The library draws the randomness itself, from the operating system: the one draw of the protocol that no
        argument names, since FIPS 203 forbids the derandomised form outside of tests and the library has none.
        Raises NotAKemValue when the key is not one: its length, or a coefficient that is not reduced.
        """
        key: MLKEM768PublicKey | None = None
        try:
            key = MLKEM768PublicKey.from_public_bytes(public)
        except (ValueError, InternalError):
            key = None
        if key is None:
            raise NotAKemValue
        shared, ciphertext = key.encapsulate()
        return ciphertext, shared

    def decapsulate(self, secret: bytes, ciphertext: bytes) -> bytes:
        """32 octets: those of `encapsulate`, or others that nobody can foretell (implicit rejection)."""
        if len(ciphertext) != self.ciphertext_octets:
            raise NotAKemValue
        return MLKEM768PrivateKey.from_seed_bytes(secret).decapsulate(ciphertext)


ALGORITHM: Kem = MlKem768()
