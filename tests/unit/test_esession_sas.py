"""The short authentication string."""

import hashlib

import pytest

from crypto.esession.sas import DIGITS, short_authentication_string, without_leading_zeros


def test_the_alphabet_is_the_specifications() -> None:
    assert DIGITS == "acdefghikmopqruvwxy123456789"
    assert len(set(DIGITS)) == 28


@pytest.mark.parametrize("seed", range(50))
def test_five_digits_say_the_last_24_bits_of_the_hash(seed: int) -> None:
    mac, form = hashlib.sha256(bytes([seed])).digest(), b"<field/>" * seed
    string = short_authentication_string(mac, form)
    assert len(string) == 5
    number = 0
    for character in string:
        number = number * 28 + DIGITS.index(character)
    digest = hashlib.sha256(mac + form + b"Short Authentication String").digest()
    assert number == int.from_bytes(digest, "big") % (1 << 24)


def test_deployed_peers_show_no_leading_a() -> None:
    assert without_leading_zeros("aaxya") == "xya"
    assert without_leading_zeros("xaaaa") == "xaaaa"
