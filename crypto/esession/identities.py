"""Signing keys that identify an entity, and the public halves (XEP-0116, "Key Signing Algorithms").

RSA as the XEP demands, Ed25519 as a named extension, DSA for old peers and only where the caller names it.
"""

from collections.abc import Container
from dataclasses import dataclass, field
from functools import lru_cache

import gmpy2
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, rsa, utils
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
    load_pem_private_key,
)

from crypto.errors import Misuse, PeerFault, Unauthentic
from crypto.esession.key_values import SignAlgorithm, read_element, read_octets, written
from crypto.primitives.integers import from_octets
from crypto.primitives.registry import HASHES
from crypto.xml import Element

ACCEPTED = frozenset({SignAlgorithm.RSA, SignAlgorithm.ED25519})
"""What is accepted of a peer unless the caller says otherwise: not DSA."""
RSA_BITS = range(2048, 8193)
NEW_RSA_BITS = 3072
_DSA_SIZES = frozenset({(1024, 160), (2048, 224), (2048, 256), (3072, 256)})
_FIELD = (1 << 255) - 19
_ORDER_EIGHT = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
_SMALL_ORDER = frozenset({0, 1, _FIELD - 1, _ORDER_EIGHT, _FIELD - _ORDER_EIGHT})
"""y of the points whose order divides 8: a key that is one of them verifies signatures that nobody made."""

PublicKey = rsa.RSAPublicKey | dsa.DSAPublicKey | Ed25519PublicKey
PrivateKey = rsa.RSAPrivateKey | dsa.DSAPrivateKey | Ed25519PrivateKey


class KeyNotAccepted(PeerFault):
    """A public key is of an algorithm, a size or a shape that is not accepted."""

    def __init__(self) -> None:
        super().__init__("a public key is not of an accepted kind")


class SignatureInvalid(Unauthentic):
    """The signature is not one of that key over that MAC: the peer does not hold the private key, or sees others."""

    def __init__(self) -> None:
        super().__init__("a signature does not verify")


class UnusableKey(Misuse):
    """The private key that was configured cannot be read, or is not of an accepted kind."""

    def __init__(self) -> None:
        super().__init__("the private key cannot be used as an identity")


@dataclass(frozen=True, slots=True)
class PublicIdentity:
    """A public key that passed the checks of `read`. Storable."""

    algorithm: SignAlgorithm
    key_value: bytes = field(repr=False)
    """The normal form of its `<KeyValue/>`: what is MACed as pubKey."""

    def fingerprint(self, hash_name: str = "sha256") -> bytes:
        """HASH of the normal form. People compare, and configurations pin, the one of SHA-256."""
        return HASHES[hash_name].digest(self.key_value)


@dataclass(frozen=True, slots=True)
class Identity:
    """A key pair. Storable: plain octets, of which `secret` must be sealed."""

    public: PublicIdentity
    secret: bytes = field(repr=False)
    """PKCS #8, DER."""
    certificates: tuple[bytes, ...] = field(default=(), repr=False)
    """X.509, DER: the key's own first, then at most one that signed it."""


# ---------------------------------------------------------------------------------------------------- own keys
def new_rsa(bits: int = NEW_RSA_BITS) -> Identity:
    """A new RSA key. The library draws the primes itself: with `Kem.encapsulate` the exception to named draws."""
    if bits not in RSA_BITS:
        raise Misuse("an RSA identity has 2048 to 8192 bits")
    return _identity(rsa.generate_private_key(65537, bits), ())


def new_ed25519(draw: bytes) -> Identity:
    """The Ed25519 key of a draw of 32 octets."""
    if len(draw) != 32:
        raise Misuse("an Ed25519 identity needs a draw of exactly 32 octets")
    return _identity(Ed25519PrivateKey.from_private_bytes(draw), ())


def from_pem(pem: bytes, *, certificates: tuple[bytes, ...] = ()) -> Identity:
    """The identity of a private key that the operator keeps (PEM, not encrypted). Raises UnusableKey."""
    found: Identity | None = None
    try:
        key = load_pem_private_key(pem, None)
        if isinstance(key, PrivateKey):
            found = _identity(key, certificates)
    except (ValueError, TypeError, UnsupportedAlgorithm, KeyNotAccepted):
        found = None
    if found is None:  # raised here: nothing of the key hangs on the exception's context
        raise UnusableKey
    return found


def _identity(key: PrivateKey, certificates: tuple[bytes, ...]) -> Identity:
    secret = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return Identity(of_library(key.public_key(), accepted=frozenset(SignAlgorithm)), secret, certificates)


def sign(identity: Identity, mac: bytes) -> bytes:
    """SIGN over mac_A or mac_B: the octets of `<SignatureValue/>`.

    RSA: PKCS #1 v1.5 with SHA-256, as long as the modulus; DSA: r and s, each as long as q; Ed25519: 64 octets.
    """
    # checked when it was made or imported, and sealed since: checking the primes again takes longer than signing
    key = load_der_private_key(identity.secret, None, unsafe_skip_rsa_key_validation=True)
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(mac, PKCS1v15(), SHA256())
    if isinstance(key, Ed25519PrivateKey):
        return key.sign(mac)
    assert isinstance(key, dsa.DSAPrivateKey)
    r, s = utils.decode_dss_signature(key.sign(mac, SHA256()))
    size = _dsa_octets(key.public_key())
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


# ---------------------------------------------------------------------------------------------------- peers' keys
def read(key_value: Element | bytes, *, accepted: Container[SignAlgorithm] = ACCEPTED) -> PublicIdentity:
    """The public key of a `<KeyValue/>`, as an element or as octets.

    Raises MalformedKey when it is none, KeyNotAccepted for an algorithm, size or value that is not accepted.
    Nothing is proved: that the sender holds the key shows when `verify` returns.
    """
    algorithm, parts = read_element(key_value) if isinstance(key_value, Element) else read_octets(key_value)
    if algorithm not in accepted:
        raise KeyNotAccepted
    _library_key(algorithm, parts)
    if algorithm is SignAlgorithm.ED25519:
        return PublicIdentity(algorithm, written(algorithm, *parts))
    return PublicIdentity(algorithm, written(algorithm, *map(from_octets, parts)))


def of_library(key: object, *, accepted: Container[SignAlgorithm] = ACCEPTED) -> PublicIdentity:
    """The same of a key that a certificate holds. Raises KeyNotAccepted."""
    if isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        octets = written(SignAlgorithm.RSA, numbers.n, numbers.e)
    elif isinstance(key, dsa.DSAPublicKey):
        y = key.public_numbers()
        of = y.parameter_numbers
        octets = written(SignAlgorithm.DSA, of.p, of.q, of.g, y.y)
    elif isinstance(key, Ed25519PublicKey):
        octets = written(SignAlgorithm.ED25519, key.public_bytes_raw())
    else:
        raise KeyNotAccepted
    return read(octets, accepted=accepted)


def verify(public: PublicIdentity, mac: bytes, signature: bytes) -> None:
    """VERIFY. When it returns, the holder of the private key signed this MAC. Raises SignatureInvalid."""
    key = library_key(public)
    valid = True
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, mac, PKCS1v15(), SHA256())
        elif isinstance(key, Ed25519PublicKey):
            key.verify(signature, mac)
        else:
            key.verify(_der(signature, _dsa_octets(key)), mac, SHA256())
    except (InvalidSignature, ValueError):
        valid = False
    if not valid:
        raise SignatureInvalid


def _der(signature: bytes, size: int) -> bytes:
    if len(signature) != 2 * size:
        raise SignatureInvalid
    return utils.encode_dss_signature(from_octets(signature[:size]), from_octets(signature[size:]))


def _dsa_octets(key: dsa.DSAPublicKey) -> int:
    return (key.public_numbers().parameter_numbers.q.bit_length() + 7) // 8


@lru_cache(maxsize=32)
def library_key(public: PublicIdentity) -> PublicKey:
    """The key as the library has it."""
    return _library_key(*read_octets(public.key_value))


def _library_key(algorithm: SignAlgorithm, parts: tuple[bytes, ...]) -> PublicKey:
    """The library's key, after checks of size and shape. Raises KeyNotAccepted."""
    key: PublicKey | None = None
    try:
        if algorithm is SignAlgorithm.ED25519:
            key = _ed25519(parts[0])
        elif algorithm is SignAlgorithm.RSA:
            key = _rsa(*map(from_octets, parts))
        else:
            key = _dsa(*map(from_octets, parts))
    except (ValueError, UnsupportedAlgorithm, OverflowError):
        key = None
    if key is None:
        raise KeyNotAccepted
    return key


def _ed25519(octets: bytes) -> Ed25519PublicKey | None:
    y = int.from_bytes(octets, "little") & ((1 << 255) - 1)
    if len(octets) != 32 or y >= _FIELD or y in _SMALL_ORDER:
        return None
    return Ed25519PublicKey.from_public_bytes(octets)


def _rsa(n: int, e: int) -> rsa.RSAPublicKey | None:
    if n.bit_length() not in RSA_BITS or not n & 1 or not 3 <= e < 1 << 32:
        return None
    return rsa.RSAPublicNumbers(e, n).public_key()


def _dsa(p: int, q: int, g: int, y: int) -> dsa.DSAPublicKey | None:
    """Also checks that g and y generate the subgroup of order q: other values would make everything verify."""
    if (p.bit_length(), q.bit_length()) not in _DSA_SIZES or not p & q & 1 or (p - 1) % q:
        return None
    if not (1 < g < p and 1 < y < p and gmpy2.powmod(g, q, p) == 1 == gmpy2.powmod(y, q, p)):
        return None
    return dsa.DSAPublicNumbers(y, dsa.DSAParameterNumbers(p, q, g)).public_key()


def shown(fingerprint: bytes) -> str:
    """A fingerprint for people: groups of eight hexadecimal digits."""
    digits = fingerprint.hex()
    return " ".join(digits[at : at + 8] for at in range(0, len(digits), 8))
