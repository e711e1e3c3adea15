"""OpenPGP certificates: which of their keys vouch, and when. Certificates of GnuPG, of RFC 9580, and damaged ones."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from crypto.esession import openpgp
from crypto.esession.identities import PublicIdentity, of_library
from crypto.esession.key_values import SignAlgorithm, written
from crypto.esession.openpgp import OpenPgpFlaw
from crypto.esession.openpgp_packets import MAX_OCTETS, MalformedCertificate
from tests.vectors import make_openpgp

TRUTH: dict[str, list[dict[str, Any]]] = json.loads((make_openpgp.DIRECTORY / "keys.json").read_text())
MADE = 1735732800
DAY = 86400
YEARS = MADE + 3000 * DAY


def octets(name: str) -> bytes:
    return Path(make_openpgp.DIRECTORY, name).read_bytes()


def key(name: str, index: int = 0) -> PublicIdentity:
    """The key as GnuPG reads it."""
    entry = TRUTH[name][index]
    if entry["algorithm"] == "rsa":
        n, e = (int(number, 16) for number in entry["numbers"])
        return PublicIdentity(SignAlgorithm.RSA, written(SignAlgorithm.RSA, n, e))
    point = bytes.fromhex(entry["numbers"][1])
    return PublicIdentity(SignAlgorithm.ED25519, written(SignAlgorithm.ED25519, point[1:]))


# ---------------------------------------------------------------------------------------------------- of GnuPG
@pytest.mark.parametrize("name", list(TRUTH))
def test_we_read_the_keys_that_gnupg_reads(name: str) -> None:
    for suffix in (".asc", ".pgp"):
        found = [c.key for c in openpgp.read(octets(name + suffix)) if c.key is not None]
        assert [k.public for k in found] == [key(name, index) for index in range(len(TRUTH[name]))]
        assert [k.created_s for k in found] == [entry["created_s"] for entry in TRUTH[name]]


@pytest.mark.parametrize(
    ("name", "index", "now_s", "expected"),
    [
        ("rsa", 0, MADE, None),
        ("rsa", 0, YEARS, None),
        ("rsa", 1, MADE, None),
        ("rsa", 2, MADE, None),
        ("rsa", 3, MADE, OpenPgpFlaw.NOT_FOR_SIGNING),
        ("rsa", 4, MADE + 29 * DAY, None),
        ("rsa", 4, MADE + 31 * DAY, OpenPgpFlaw.NOT_VALID_NOW),
        ("rsa", 0, MADE - 1, OpenPgpFlaw.NOT_BOUND),
        ("ed25519", 0, MADE, None),
        ("ed25519", 1, MADE, None),
        ("ed25519", 2, MADE, None),
        ("ed25519", 3, MADE, OpenPgpFlaw.NOT_FOR_SIGNING),
        ("ed25519", 4, MADE + 31 * DAY, OpenPgpFlaw.NOT_VALID_NOW),
        ("short", 0, MADE + 29 * DAY, None),
        ("short", 0, MADE + 31 * DAY, OpenPgpFlaw.NOT_VALID_NOW),
        ("prolonged", 0, MADE + 31 * DAY, None),
        ("prolonged", 0, MADE + 4000 * DAY, OpenPgpFlaw.NOT_VALID_NOW),
        ("revoked", 0, YEARS, OpenPgpFlaw.REVOKED),
        ("revoked", 1, YEARS, OpenPgpFlaw.REVOKED),
        ("revoked-subkey", 0, YEARS, None),
        ("revoked-subkey", 1, YEARS, OpenPgpFlaw.REVOKED),
        ("two-users", 0, YEARS, None),
    ],
)
def test_keys_vouch_while_they_live(name: str, index: int, now_s: int, expected: OpenPgpFlaw | None) -> None:
    assert openpgp.flaw(octets(f"{name}.asc"), key(name, index), now_s) is expected
    assert openpgp.flaw(octets(f"{name}.pgp"), key(name, index), now_s) is expected


def test_a_certificate_vouches_for_its_own_keys_only() -> None:
    assert openpgp.flaw(octets("rsa.asc"), key("ed25519"), MADE) is OpenPgpFlaw.OTHER_KEY


def test_without_a_user_id_nothing_says_that_the_key_lives() -> None:
    assert openpgp.flaw(packet(6, first_packet(octets("short.pgp"))), key("short"), MADE) is OpenPgpFlaw.NOT_BOUND


# ---------------------------------------------------------------------------------------------------- of RFC 9580
def test_the_certificate_of_the_rfc_vouches() -> None:
    public = "f94da7bb48d60a61e567706a6587d0331999bb9d891a08242ead84543df895a3"
    primary = PublicIdentity(SignAlgorithm.ED25519, written(SignAlgorithm.ED25519, bytes.fromhex(public)))
    assert openpgp.flaw(octets("rfc9580.asc"), primary, MADE) is None
    assert openpgp.flaw(octets("rfc9580.asc"), primary, 1600000000) is OpenPgpFlaw.NOT_BOUND
    changed = octets("rfc9580.asc").replace(b"AAAAAK0oIBA+", b"AAAAAK0oIBB+")
    assert openpgp.flaw(changed, primary, MADE) is OpenPgpFlaw.NOT_BOUND


# ---------------------------------------------------------------------------------------------------- made here
def packet(kind: int, body: bytes) -> bytes:
    return bytes([0xC0 | kind, 0xFF]) + len(body).to_bytes(4, "big") + body


def first_packet(certificate: bytes) -> bytes:
    assert certificate[0] == 0x98  # old format, one octet of length
    return certificate[2 : 2 + certificate[1]]


class Maker:
    """Makes certificates of version 4 with Ed25519 keys, right or wrong ones."""

    def __init__(self, label: str = "primary") -> None:
        self.primary = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(label.encode()).digest())
        self.subkey = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(label.encode() + b"/").digest())

    @staticmethod
    def body(private: Ed25519PrivateKey) -> bytes:
        return b"\x04" + MADE.to_bytes(4, "big") + b"\x1b" + private.public_key().public_bytes_raw()

    @staticmethod
    def public(private: Ed25519PrivateKey) -> PublicIdentity:
        return of_library(private.public_key())

    def signature(
        self,
        kind: int,
        *target: bytes,
        by: Ed25519PrivateKey | None = None,
        subpackets: tuple[bytes, ...] = (),
        hash_id: int = 8,
        unhashed: bytes = b"",
        created_s: int = MADE,
    ) -> bytes:
        """The body of a signature over the primary key and the target."""
        hashed = b"".join(bytes([len(s)]) + s for s in (b"\x02" + created_s.to_bytes(4, "big"), *subpackets))
        covered = bytes([4, kind, 27, hash_id]) + len(hashed).to_bytes(2, "big") + hashed
        data = self.framed(self.primary) + b"".join(target) + covered + b"\x04\xff" + len(covered).to_bytes(4, "big")
        digest = hashlib.new({2: "sha1", 8: "sha256"}.get(hash_id, "sha512"), data).digest()
        value = (by or self.primary).sign(digest)
        return covered + len(unhashed).to_bytes(2, "big") + unhashed + digest[:2] + value

    def framed(self, private: Ed25519PrivateKey) -> bytes:
        body = self.body(private)
        return b"\x99" + len(body).to_bytes(2, "big") + body

    def certificate(self, *more: bytes, user: dict[str, Any] | None = None) -> bytes:
        """Primary key, one user ID with its signature, then packets."""
        name = b"made@example.org"
        covered = b"\xb4" + len(name).to_bytes(4, "big") + name
        head = packet(6, self.body(self.primary)) + packet(13, name)
        return head + packet(2, self.signature(0x13, covered, **(user or {}))) + b"".join(more)

    def bound(self, *, by: Ed25519PrivateKey | None = None, back: bytes | None = None, **more: Any) -> bytes:
        """The subkey with a binding that lets it sign."""
        target = self.framed(self.subkey)
        inner = self.signature(0x19, target, by=self.subkey) if back is None else back
        unhashed = bytes([len(inner) + 1, 32]) + inner if inner else b""
        made = self.signature(0x18, target, by=by, subpackets=(b"\x1b\x02",), unhashed=unhashed, **more)
        return packet(14, self.body(self.subkey)) + packet(2, made)


M = Maker()
PRIMARY, SUBKEY = M.public(M.primary), M.public(M.subkey)
STRANGER = Ed25519PrivateKey.from_private_bytes(b"s" * 32)


def test_certificates_that_are_made_here_vouch() -> None:
    assert openpgp.flaw(M.certificate(), PRIMARY, MADE) is None
    assert openpgp.flaw(M.certificate(M.bound()), SUBKEY, MADE) is None


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (packet(14, Maker.body(M.subkey)), OpenPgpFlaw.NOT_BOUND),
        (M.bound(by=STRANGER), OpenPgpFlaw.NOT_BOUND),
        (M.bound(by=M.subkey), OpenPgpFlaw.NOT_BOUND),
        (M.bound(back=b""), OpenPgpFlaw.NOT_BOUND),
        (M.bound(back=M.signature(0x19, M.framed(M.subkey), by=STRANGER)), OpenPgpFlaw.NOT_BOUND),
        (M.bound(back=M.signature(0x18, M.framed(M.subkey), by=M.subkey)), OpenPgpFlaw.NOT_BOUND),
        (M.bound(hash_id=2), OpenPgpFlaw.NOT_BOUND),
        (M.bound(created_s=MADE + 1), OpenPgpFlaw.NOT_BOUND),
        (M.bound() + packet(2, M.signature(0x28, M.framed(M.subkey))), OpenPgpFlaw.REVOKED),
        (M.bound() + packet(2, M.signature(0x28, M.framed(M.subkey), hash_id=2, by=STRANGER)), OpenPgpFlaw.REVOKED),
        (M.bound() + packet(2, M.signature(0x28, M.framed(M.subkey), created_s=MADE + DAY)), OpenPgpFlaw.REVOKED),
        (M.bound() + packet(2, M.signature(0x28, M.framed(M.subkey), by=STRANGER)), None),
    ],
)
def test_a_subkey_is_one_if_both_keys_say_so_and_nobody_took_it_back(more: bytes, expected: OpenPgpFlaw | None) -> None:
    assert openpgp.flaw(M.certificate(more), SUBKEY, MADE) is expected


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ({}, None),
        ({"by": STRANGER}, OpenPgpFlaw.NOT_BOUND),
        ({"hash_id": 2}, OpenPgpFlaw.NOT_BOUND),
        ({"created_s": MADE + 1}, OpenPgpFlaw.NOT_BOUND),
        ({"subpackets": (b"\x03" + (10).to_bytes(4, "big"),)}, None),
        ({"subpackets": (b"\x03" + (10).to_bytes(4, "big"),), "created_s": MADE - 10}, OpenPgpFlaw.NOT_BOUND),
        ({"subpackets": (b"\x09" + (10).to_bytes(4, "big"),)}, None),
        ({"subpackets": (b"\x70?",)}, None),
        ({"subpackets": (b"\xf0?",)}, OpenPgpFlaw.NOT_BOUND),
        ({"subpackets": (b"\x94" + bytes(8),)}, OpenPgpFlaw.NOT_BOUND),
    ],
)
def test_the_primary_key_lives_by_its_own_word(user: dict[str, Any], expected: OpenPgpFlaw | None) -> None:
    assert openpgp.flaw(M.certificate(user=user), PRIMARY, MADE) is expected


def test_revocations_before_the_user_id_take_the_whole_certificate_back() -> None:
    whole = M.certificate(M.bound())
    head = len(packet(6, Maker.body(M.primary)))
    gone = whole[:head] + packet(2, M.signature(0x20)) + whole[head:]
    assert openpgp.flaw(gone, PRIMARY, MADE) is OpenPgpFlaw.REVOKED
    assert openpgp.flaw(gone, SUBKEY, MADE) is OpenPgpFlaw.REVOKED


def user_signature(kind: int = 0x13, **arguments: Any) -> bytes:
    name = b"made@example.org"
    return packet(2, M.signature(kind, b"\xb4" + len(name).to_bytes(4, "big") + name, **arguments))


def test_a_revoked_user_id_says_nothing_until_it_is_certified_again() -> None:
    gone = user_signature(0x30, created_s=MADE + DAY)
    again = user_signature(created_s=MADE + 2 * DAY)
    assert openpgp.flaw(M.certificate(gone), PRIMARY, MADE + 3 * DAY) is OpenPgpFlaw.NOT_BOUND
    assert openpgp.flaw(M.certificate(gone, again), PRIMARY, MADE + 3 * DAY) is None
    assert openpgp.flaw(M.certificate(gone, again), PRIMARY, MADE + DAY) is OpenPgpFlaw.NOT_BOUND


def test_of_several_self_signatures_the_latest_counts() -> None:
    short = (b"\x09" + DAY.to_bytes(4, "big"),)
    longer = user_signature(created_s=MADE + 10)
    now_s = MADE + 2 * DAY
    assert openpgp.flaw(M.certificate(longer, user={"subpackets": short}), PRIMARY, now_s) is None
    shorter = user_signature(created_s=MADE + 10, subpackets=short)
    assert openpgp.flaw(M.certificate(shorter), PRIMARY, now_s) is OpenPgpFlaw.NOT_VALID_NOW
    assert openpgp.flaw(M.certificate(shorter), PRIMARY, MADE + 5) is None


def test_what_is_no_certificate_is_unreadable() -> None:
    good = M.certificate()
    head = len(packet(6, Maker.body(M.primary)))
    for wrong in (
        b"",
        b"text",
        good[:-1],
        good[1:],
        good[head:],
        good + M.certificate(),
        good + packet(11, b"literal"),
        good + packet(5, b"secret"),
        b"\xc6\xe0" + good,
        b"\x9b" + good,
        packet(6, b"\x03" + Maker.body(M.primary)[1:]),
        packet(6, Maker.body(M.primary) + b"\0"),
        packet(6, Maker.body(M.primary)[:-1]),
        good + packet(21, b"") * 1001,
        good + packet(40, bytes(MAX_OCTETS)),
        b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n!!!!\n-----END PGP PUBLIC KEY BLOCK-----",
        b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAA\n-----END PGP PUBLIC KEY BLOCK-----",
    ):
        assert openpgp.flaw(wrong, PRIMARY, MADE) is OpenPgpFlaw.UNREADABLE
        with pytest.raises(MalformedCertificate):
            openpgp.read(wrong)


def test_packets_that_may_be_skipped_are() -> None:
    between = packet(12, b"trust") + packet(10, b"PGP") + packet(21, b"padding") + packet(60, b"private")
    assert openpgp.flaw(M.certificate(between, M.bound()), SUBKEY, MADE) is None
    assert openpgp.flaw(M.certificate(packet(17, b"a picture")), PRIMARY, MADE) is None
