"""Groups, exponentiation and integers."""

import hashlib

import gmpy2
import pytest

from crypto.errors import Misuse
from crypto.primitives.ciphers import counter_mode, hmac_sha256, same, sha256
from crypto.primitives.integers import from_octets, mpi
from crypto.primitives.modp import (
    GROUPS,
    Group,
    NotAMember,
    member,
    power,
    public_value,
    secret_exponent,
    shared_value,
)
from tests.vectors.derive_esession_letter import ADDENDS, prime

groups = pytest.mark.parametrize("number", sorted(GROUPS))


def test_groups_1_and_2_do_not_exist() -> None:
    assert sorted(GROUPS) == [5, 14, 15, 16, 17, 18]


@groups
def test_the_primes_are_safe_primes_of_their_sizes(number: int) -> None:
    p = GROUPS[number].prime
    assert p.bit_length() == {5: 1536, 14: 2048, 15: 3072, 16: 4096, 17: 6144, 18: 8192}[number]
    assert gmpy2.is_prime(p, 2)
    assert gmpy2.is_prime((p - 1) // 2, 2)
    assert GROUPS[number].generator == 2


@pytest.mark.parametrize("number", sorted(ADDENDS))
def test_the_primes_are_those_of_the_rfc(number: int) -> None:
    assert GROUPS[number].prime == prime(number)


@groups
@pytest.mark.parametrize("offset", [0, 1, -1, -2, -3])
def test_values_outside_the_group_are_refused(number: int, offset: int) -> None:
    group = GROUPS[number]
    low = offset % 3
    for value in (0, 1, group.prime - 1, group.prime, group.prime + low + 1, 1 << 9000):
        with pytest.raises(NotAMember):
            member(group, mpi(value))
        with pytest.raises(NotAMember):
            shared_value(group, mpi(value), b"\x05")
    for value in (2, group.prime - 2):
        assert member(group, b"\x00\x00" + mpi(value)) == mpi(value)


def test_both_ends_arrive_at_the_same_value() -> None:
    group = GROUPS[14]
    x, y = secret_exponent(b"x" * 32), secret_exponent(b"y" * 32)
    e, d = public_value(group, x), public_value(group, y)
    assert shared_value(group, d, x) == shared_value(group, e, y)


def test_exponentiation_is_pythons() -> None:
    group = Group(0, 1_000_003)
    for exponent in (1, 2, 77, 10**9):
        assert power(5, exponent, group.prime) == pow(5, exponent, group.prime)


@pytest.mark.parametrize("draw", [bytes(32), b"\xff" * 32, b"\x01" + bytes(31)])
def test_an_exponent_is_above_2_to_the_256_and_below_every_prime(draw: bytes) -> None:
    exponent = from_octets(secret_exponent(draw))
    assert 1 << 256 < exponent < GROUPS[5].prime - 1
    assert exponent - from_octets(draw) == (1 << 256) + 1


@pytest.mark.parametrize("size", [0, 31, 33])
def test_an_exponent_needs_32_octets(size: int) -> None:
    with pytest.raises(Misuse):
        secret_exponent(bytes(size))


@pytest.mark.parametrize(
    ("number", "octets"), [(0, b"\0"), (1, b"\1"), (255, b"\xff"), (256, b"\1\0"), (1 << 127, b"\x80" + bytes(15))]
)
def test_integers_have_no_leading_zeros(number: int, octets: bytes) -> None:
    assert mpi(number) == octets
    assert from_octets(b"\0\0" + octets) == number


def test_the_counter_wraps_at_2_to_the_128() -> None:
    whole = counter_mode(b"k" * 16, (1 << 128) - 1, bytes(48))
    assert whole[16:32] == counter_mode(b"k" * 16, 0, bytes(16))
    assert whole[32:] == counter_mode(b"k" * 16, 1 << 128, bytes(32))[16:]


def test_the_key_stream_can_begin_inside_a_block() -> None:
    whole = counter_mode(b"k" * 32, 7, bytes(64))
    for skip in range(16):
        assert counter_mode(b"k" * 32, 7, bytes(20), skip=skip) == whole[skip : skip + 20]


def test_aes_128_in_counter_mode_is_the_standards() -> None:
    """NIST SP 800-38A, F.5.1."""
    key = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
    block = int("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff", 16)
    plain = bytes.fromhex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51")
    cipher = "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff"
    assert counter_mode(key, block, plain).hex() == cipher


def test_hmac_and_hash_are_the_standards() -> None:
    """RFC 4231, test case 2."""
    expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert hmac_sha256(b"Jefe", b"what do ya want ", b"for nothing?").hex() == expected
    assert sha256(b"a", b"bc") == hashlib.sha256(b"abc").digest()
    assert same(b"x", b"x")
    assert not same(b"x", b"y")
