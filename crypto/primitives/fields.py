"""Diffie-Hellman in prime fields: the one function that exponentiates, and the checks around it."""

from dataclasses import dataclass

import gmpy2

from crypto.errors import Misuse
from crypto.primitives.integers import from_octets, mpi
from crypto.primitives.kinds import KeyAgreement, NotAMember

EXPONENT_DRAW = 32
"""Octets of randomness for one secret exponent."""


@dataclass(frozen=True, slots=True)
class Group:
    """A prime field with its generator: safe primes, generator 2."""

    number: int
    prime: int
    generator: int = 2


def power(base: int, exponent: int, modulus: int) -> int:
    """`base ** exponent % modulus` in time that does not depend on the exponent's bits (only on its length)."""
    return int(gmpy2.powmod_sec(base, exponent, modulus))


def secret_exponent(draw: bytes) -> bytes:
    """The exponent x of a 32-octet draw, as octets: 2^256 < x < p - 1 (XEP-0116: 2^2n < x, n the block's 128 bits)."""
    if len(draw) != EXPONENT_DRAW:
        raise Misuse("an exponent needs a draw of exactly 32 octets")
    return mpi((1 << 256) + 1 + from_octets(draw))


def public_value(group: Group, exponent: bytes) -> bytes:
    """g^x mod p as a multiple-precision integer: what may be sent."""
    return mpi(power(group.generator, from_octets(exponent), group.prime))


def member(group: Group, octets: bytes) -> bytes:
    """A peer's public value as a multiple-precision integer without leading zeros.

    Raises NotAMember unless 1 < value < p - 1.
    """
    value = from_octets(octets)
    if not 1 < value < group.prime - 1:
        raise NotAMember
    return mpi(value)


def shared_value(group: Group, public: bytes, exponent: bytes) -> bytes:
    """The Diffie-Hellman result as a multiple-precision integer, known to the holders of either exponent only.

    Raises NotAMember unless 1 < public < p - 1.
    """
    value = from_octets(member(group, public))
    return mpi(power(value, from_octets(exponent), group.prime))


@dataclass(frozen=True, slots=True)
class Modp:
    """The agreement in one MODP group, under the name that the field `modp` gives it."""

    group: Group
    name: str
    draw_octets: int = EXPONENT_DRAW

    def secret(self, draw: bytes) -> bytes:
        """The secret exponent of a draw."""
        return secret_exponent(draw)

    def public(self, secret: bytes) -> bytes:
        """g^x mod p."""
        return public_value(self.group, secret)

    def member(self, octets: bytes) -> bytes:
        """A peer's value without leading zeros. Raises NotAMember."""
        return member(self.group, octets)

    def shared(self, public: bytes, secret: bytes) -> bytes:
        """The peer's value to the power of ours. Raises NotAMember."""
        return shared_value(self.group, public, secret)


def modp(group: Group) -> KeyAgreement:
    """The agreement in that group."""
    return Modp(group, str(group.number))
