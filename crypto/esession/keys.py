"""Session keys and identities (XEP-0116, "Generating Session Keys", "Hiding Alice's Identity")."""

from dataclasses import dataclass, field
from enum import StrEnum

from crypto.esession.profiles import Traits
from crypto.primitives.ciphers import counter_mode, hmac_sha256, same, sha256
from crypto.primitives.integers import from_octets, mpi

IDENTITY = 32
IDENTITY_BLOCKS = 2
"""Blocks of key stream that an identity uses: stanzas begin at the counter after them."""
_HALF = 1 << 127
_WRAP = 1 << 128


class Role(StrEnum):
    """The two ends: Alice is the initiator, Bob the responder."""

    INITIATOR = "initiator"
    RESPONDER = "responder"


@dataclass(frozen=True, slots=True)
class DirectionKeys:
    """The keys for what one role sends: KC, KM, KS."""

    cipher: bytes = field(repr=False)
    mac: bytes = field(repr=False)
    sigma: bytes = field(repr=False)


def direction_keys(shared: bytes, role: Role, traits: Traits) -> DirectionKeys:
    """The keys of what `role` sends, from K (32 octets, known to both ends only)."""
    label = b"Initiator" if role is Role.INITIATOR else b"Responder"
    return DirectionKeys(
        cipher=hmac_sha256(shared, label, b" Cipher Key")[-traits.cipher_key :],
        mac=hmac_sha256(shared, label, b" MAC Key")[-traits.mac_key :],
        sigma=hmac_sha256(shared, label, b" SIGMA Key")[-traits.mac_key :],
    )


def final_key(shared: bytes, retained: bytes | None) -> bytes:
    """K = SHA256(K | SRS): no other shared secret is used."""
    return sha256(shared, retained or b"")


def counter_octets(counter: int) -> bytes:
    """A counter as 16 octets, taken modulo 2^128."""
    return (counter % _WRAP).to_bytes(16, "big")


def responder_counter(initiator_counter: int) -> int:
    """C_B = C_A xor 2^127."""
    return initiator_counter ^ _HALF


@dataclass(frozen=True, slots=True)
class Exchange:
    """What one side's proof covers: nonces, its public value, its two forms (normalised)."""

    peer_nonce: bytes
    own_nonce: bytes
    public: bytes
    first_form: bytes
    second_form: bytes

    def proof(self, keys: DirectionKeys) -> bytes:
        """mac_A or mac_B: 32 octets."""
        return hmac_sha256(keys.sigma, self.peer_nonce, self.own_nonce, self.public, self.first_form, self.second_form)


def identity_mac(keys: DirectionKeys, counter: int, identity: bytes) -> bytes:
    """M_A or M_B, over the counter before the identity was encrypted."""
    return hmac_sha256(keys.mac, mpi(counter), identity)


def identity_mac_fits(keys: DirectionKeys, counter: int, identity: bytes, mac: bytes) -> bool:
    """Whether M is right with the counter in either encoding. The caller raises when no key fits."""
    padded = hmac_sha256(keys.mac, counter_octets(counter), identity)
    return same(identity_mac(keys, counter, identity), mac) or same(padded, mac)


def identity_cipher(keys: DirectionKeys, traits: Traits, counter: int, octets: bytes) -> bytes:
    """ID from mac, or mac from ID."""
    return counter_mode(keys.cipher, counter + traits.first_block, octets)


def key_from_exchange(shared_value: bytes) -> bytes:
    """K = SHA256 of the Diffie-Hellman result."""
    return sha256(shared_value)


def counter_of(octets: bytes) -> int:
    """The counter in the field `counter`, at most 16 octets."""
    return from_octets(octets)
