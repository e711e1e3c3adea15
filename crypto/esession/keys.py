"""Session keys and identities (XEP-0116, "Generating Session Keys", "Hiding Alice's Identity")."""

from dataclasses import dataclass, field
from enum import StrEnum

from crypto.esession.profiles import Traits
from crypto.esession.suite import Suite
from crypto.primitives.ciphers import BLOCK, same
from crypto.primitives.integers import mpi

PLAIN = Suite()
"""The algorithms that every peer has."""
_HYBRID = b"urn:lockgate:esession:0 "
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


def direction_keys(shared: bytes, role: Role, traits: Traits, suite: Suite = PLAIN) -> DirectionKeys:
    """The keys of what `role` sends, from K (as long as the hash, known to both ends only)."""
    label = b"Initiator" if role is Role.INITIATOR else b"Responder"
    cipher = 32 if traits.cipher_key == 32 else suite.key_octets()
    mac = 16 if traits.mac_key == 16 else suite.hash_octets
    return DirectionKeys(
        cipher=suite.hmac(shared, label, b" Cipher Key")[-cipher:],
        mac=suite.hmac(shared, label, b" MAC Key")[-mac:],
        sigma=suite.hmac(shared, label, b" SIGMA Key")[-mac:],
    )


def final_key(shared: bytes, retained: bytes | None, other: bytes | None = None, suite: Suite = PLAIN) -> bytes:
    """K = HASH(K | SRS | OSS); `other` is the other shared secret, the octets of a password."""
    return suite.digest(shared, retained or b"", other or b"")


def counter_octets(counter: int) -> bytes:
    """A counter as 16 octets, taken modulo 2^128."""
    return (counter % _WRAP).to_bytes(16, "big")


def responder_counter(initiator_counter: int) -> int:
    """C_B = C_A xor 2^127."""
    return initiator_counter ^ _HALF


def blocks_of(identity: bytes) -> int:
    """Blocks of key stream that an encrypted identity uses: stanzas begin at the counter after them."""
    return -(-len(identity) // BLOCK)


@dataclass(frozen=True, slots=True)
class Exchange:
    """What one side's proof covers: nonces, its public value, its public key, its two forms (normalised).

    The responder's proof in a 3-message negotiation covers one form only; `second_form` is then empty.
    """

    peer_nonce: bytes
    own_nonce: bytes
    public: bytes
    first_form: bytes
    second_form: bytes
    key: bytes = b""
    """pubKey: the normal form of the side's `<KeyValue/>`, also when it shows the fingerprint only; or nothing."""

    def proof(self, keys: DirectionKeys, suite: Suite = PLAIN) -> bytes:
        """mac_A or mac_B, as long as the hash."""
        forms = (self.first_form, self.second_form)
        return suite.hmac(keys.sigma, self.peer_nonce, self.own_nonce, self.public, self.key, *forms)


def identity_mac(keys: DirectionKeys, counter: int, identity: bytes, suite: Suite = PLAIN) -> bytes:
    """M_A or M_B, over the counter before the identity was encrypted."""
    return suite.hmac(keys.mac, mpi(counter), identity)


def identity_mac_fits(keys: DirectionKeys, counter: int, identity: bytes, mac: bytes, suite: Suite = PLAIN) -> bool:
    """Whether M is right with the counter in either encoding. The caller raises when no key fits."""
    padded = suite.hmac(keys.mac, counter_octets(counter), identity)
    return same(identity_mac(keys, counter, identity, suite), mac) or same(padded, mac)


def identity_cipher(keys: DirectionKeys, traits: Traits, counter: int, octets: bytes, suite: Suite = PLAIN) -> bytes:
    """ID from what identifies, or back."""
    return suite.counter_mode(keys.cipher, counter + traits.first_block, octets)


@dataclass(frozen=True, slots=True)
class Encapsulated:
    """What a key encapsulation gives to K: its secret, and the public key and the ciphertext it belongs to."""

    secret: bytes = field(repr=False)
    public: bytes
    ciphertext: bytes


def key_from_exchange(shared_value: bytes, suite: Suite = PLAIN, encapsulated: Encapsulated | None = None) -> bytes:
    """K = HASH of the Diffie-Hellman result; in a hybrid session of more (docs/decisions/0085).

    There K = HASH(Z | S | EK | CT | "urn:lockgate:esession:0 " | the mechanism's name): Z the Diffie-Hellman result, S
    the secret of 32 octets, EK and CT the public key and the ciphertext.
    """
    if encapsulated is None:
        return suite.digest(shared_value)
    label = _HYBRID + (suite.kem or "").encode()
    return suite.digest(shared_value, encapsulated.secret, encapsulated.public, encapsulated.ciphertext, label)
