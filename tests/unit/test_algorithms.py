"""Every algorithm that can be negotiated has a vector, and agrees with it."""

import json
from pathlib import Path
from typing import Any

import pytest

from crypto.errors import Misuse
from crypto.esession.suite import (
    CIPHERS,
    GROUPS,
    HASHES,
    KEMS,
    NotAKemValue,
    NotAMember,
    Suite,
    exchange,
    kem,
)
from crypto.primitives import algorithms
from tests.vectors import derive_algorithms

VECTORS = {path.stem: json.loads(path.read_text()) for path in derive_algorithms.DIRECTORY.glob("*.json")}
REGISTERED = {"cipher": CIPHERS, "hash": HASHES, "group": GROUPS, "kem": KEMS}


def of_kind(kind: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "vector", [v for v in VECTORS.values() if v["kind"] == kind], ids=lambda v: v["name"]
    )


def octets(text: str) -> bytes:
    return bytes.fromhex(text)


def test_every_registered_algorithm_has_a_vector_and_every_vector_an_algorithm() -> None:
    registered = {(kind, name) for kind, names in REGISTERED.items() for name in names}
    assert registered == {(v["kind"], v["name"]) for v in VECTORS.values()}


def test_every_file_of_an_algorithm_is_registered() -> None:
    files = {path.stem for path in Path(algorithms.__path__[0]).glob("[a-z]*.py")}
    names = {name for names in REGISTERED.values() for name in names}
    assert files == {f"modp{name}" if name.isdigit() else name.replace("-", "_") for name in names}


def test_the_files_are_what_the_script_derives() -> None:
    for name, content in derive_algorithms.files().items():
        assert (derive_algorithms.DIRECTORY / name).read_text() == content


def test_what_every_peer_has_is_registered() -> None:
    assert {"aes128-ctr", "aes192-ctr", "aes256-ctr"} == set(CIPHERS)
    assert {"sha256", "sha384", "sha512", "sha3-256", "sha3-384", "sha3-512"} == set(HASHES)
    assert {"5", "14", "15", "16", "17", "18", "x25519"} == set(GROUPS)
    assert {"ml-kem-768"} == set(KEMS)


@of_kind("cipher")
def test_a_cipher_agrees_with_its_vector(vector: dict[str, Any]) -> None:
    suite = Suite(cipher=vector["name"])
    key = octets(vector["key"])
    assert suite.key_octets() == len(key)
    for case in vector["cases"]:
        block, plain, cipher = int(case["block"], 16), octets(case["plain"]), octets(case["cipher"])
        assert suite.counter_mode(key, block, plain) == cipher
        assert suite.counter_mode(key, block, cipher) == plain
        assert suite.counter_mode(key, block, plain[5:], skip=5) == cipher[5:]
        assert suite.counter_mode(key, block + 1, plain[16:]) == cipher[16:]


@of_kind("hash")
def test_a_hash_agrees_with_its_vector(vector: dict[str, Any]) -> None:
    suite = Suite(hash=vector["name"])
    assert suite.hash_octets == vector["octets"]
    for case in vector["digests"]:
        data = octets(case["data"])
        assert suite.digest(data).hex() == case["digest"]
        assert suite.digest(data[:1], data[1:]).hex() == case["digest"]
    for case in vector["macs"]:
        data = octets(case["data"])
        assert suite.hmac(octets(case["key"]), data[:7], data[7:]).hex() == case["mac"]


@of_kind("group")
def test_a_group_agrees_with_its_vector(vector: dict[str, Any]) -> None:
    group = exchange(vector["name"])
    for case in vector["cases"]:
        secrets = [group.secret(octets(draw)) for draw in case["draws"]]
        publics = [group.public(secret) for secret in secrets]
        assert [s.hex() for s in secrets] == case["secrets"]
        assert [p.hex() for p in publics] == case["publics"]
        assert group.shared(publics[1], secrets[0]) == group.shared(publics[0], secrets[1]) == octets(case["shared"])
        for refused in map(octets, case["refused"]):
            with pytest.raises(NotAMember) as refusal:
                group.shared(group.member(refused), secrets[0])
            assert refusal.value.__context__ is None


@pytest.mark.parametrize("name", sorted(GROUPS))
def test_a_secret_is_as_long_as_the_xep_demands_and_no_longer(name: str) -> None:
    group = exchange(name)
    for draw in (bytes(32), b"\xff" * 32):
        secret = group.secret(draw)
        if name == "x25519":
            assert len(secret) == 32
        else:
            assert 1 << 256 < int.from_bytes(secret, "big") <= 1 << 257
    for wrong in (31, 33, 0):
        with pytest.raises(Misuse):
            group.secret(bytes(wrong))


@of_kind("kem")
def test_a_key_encapsulation_agrees_with_its_vector(vector: dict[str, Any]) -> None:
    mechanism = kem(vector["name"])
    for case in vector["cases"]:
        secret, public = mechanism.keypair(octets(case["seed"]))
        assert public == octets(case["public"])
        assert mechanism.decapsulate(secret, octets(case["ciphertext"])) == octets(case["shared"])
        assert mechanism.decapsulate(secret, octets(case["damaged"]["ciphertext"])) == octets(case["damaged"]["shared"])
        for refused in map(octets, case["refused"]):
            with pytest.raises(NotAKemValue) as refusal:
                mechanism.encapsulate(refused)
            assert refusal.value.__context__ is None


@pytest.mark.parametrize("name", sorted(KEMS))
def test_both_ends_of_an_encapsulation_arrive_at_the_same_secret(name: str) -> None:
    mechanism = kem(name)
    secret, public = mechanism.keypair(b"s" * mechanism.seed_octets)
    ciphertext, shared = mechanism.encapsulate(public)
    assert (len(public), len(ciphertext), len(shared)) == (mechanism.public_octets, mechanism.ciphertext_octets, 32)
    assert mechanism.decapsulate(secret, ciphertext) == shared
    assert mechanism.encapsulate(public)[1] != shared
    with pytest.raises(NotAKemValue):
        mechanism.decapsulate(secret, ciphertext[:-1])
    with pytest.raises(Misuse):
        mechanism.keypair(b"s" * (mechanism.seed_octets - 1))


def test_names_outside_the_registry_are_our_own_mistake() -> None:
    for wrong in ({"cipher": "none"}, {"hash": "md5"}, {"group": "1"}, {"group": "2"}, {"kem": "kyber"}):
        with pytest.raises(Misuse):
            Suite(**wrong)
    with pytest.raises(Misuse):
        exchange("2")
    with pytest.raises(Misuse):
        kem("rot13")


def test_a_suite_is_what_every_peer_has_unless_more_was_negotiated() -> None:
    suite = Suite()
    assert (suite.cipher, suite.hash, suite.group, suite.kem) == ("aes128-ctr", "sha256", "14", None)
    assert (suite.key_octets(), suite.hash_octets) == (16, 32)
