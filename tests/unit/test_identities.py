"""Identity keys: their form, their fingerprints, what they sign, and which are refused."""

import base64
import json
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from crypto.errors import Misuse
from crypto.esession import presented
from crypto.esession.identities import (
    Identity,
    KeyNotAccepted,
    SignatureInvalid,
    UnusableKey,
    from_pem,
    new_ed25519,
    new_rsa,
    read,
    shown,
    sign,
    verify,
)
from crypto.esession.key_values import XMLDSIG, MalformedKey, SignAlgorithm, written
from crypto.esession.presented import Identification, MalformedIdentity, present, read_presented
from crypto.xml import parse
from tests.vectors import derive_identities

VECTORS = {v["name"]: v for v in json.loads(derive_identities.FILE.read_text())}
ALL = frozenset(SignAlgorithm)
vectors = pytest.mark.parametrize("vector", list(VECTORS.values()), ids=list(VECTORS))


def identity(vector: dict[str, Any], **more: Any) -> Identity:
    body = base64.encodebytes(bytes.fromhex(vector["pkcs8"])).decode()
    return from_pem(f"-----BEGIN PRIVATE KEY-----\n{body}-----END PRIVATE KEY-----\n".encode(), **more)


def test_the_file_is_what_the_script_derives() -> None:
    assert derive_identities.FILE.read_text() == derive_identities.text()


# ---------------------------------------------------------------------------------------------------- vectors
@vectors
def test_keys_have_the_derived_form_and_fingerprints(vector: dict[str, Any]) -> None:
    public = identity(vector).public
    assert public.algorithm == vector["algorithm"]
    assert public.key_value.decode() == vector["key_value"]
    assert {name: public.fingerprint(name).hex() for name in vector["fingerprints"]} == vector["fingerprints"]


@vectors
def test_derived_signatures_verify_and_nothing_else_does(vector: dict[str, Any]) -> None:
    public = read(vector["key_value"].encode(), accepted=ALL)
    mac, signature = bytes.fromhex(vector["mac"]), bytes.fromhex(vector["signature"])
    verify(public, mac, signature)
    wrong = [(mac[:-1], signature), (mac, signature[:-1]), (mac, signature + b"\0"), (mac, b""), (mac, bytes(64))]
    wrong += [
        (mac, signature[:i] + bytes([signature[i] ^ 1]) + signature[i + 1 :]) for i in (0, 20, -1 % len(signature))
    ]
    for other_mac, other_signature in wrong:
        with pytest.raises(SignatureInvalid) as invalid:
            verify(public, other_mac, other_signature)
        assert invalid.value.__context__ is None


def test_a_dsa_signature_has_one_form_only() -> None:
    own = identity(VECTORS["dsa-1024"])
    signature = next(s for s in (sign(own, b"mac") for _ in range(10_000)) if s[20] == 0)
    verify(own.public, b"mac", signature)
    with pytest.raises(SignatureInvalid):
        verify(own.public, b"mac", signature[:20] + signature[21:])


@vectors
def test_what_we_present_is_what_was_derived(vector: dict[str, Any]) -> None:
    own, mac = identity(vector), bytes.fromhex(vector["mac"])
    as_key, as_hash = present(own, mac, Identification.KEY), present(own, mac, Identification.HASH)
    if own.public.algorithm is not SignAlgorithm.DSA:  # DSA draws
        assert as_key.decode() == vector["presented_key"]
        assert as_hash.decode() == vector["presented_hash"]
    for content, how in ((as_key, Identification.KEY), (as_hash, Identification.HASH)):
        shown_to_peer = read_presented(content, how, accepted=ALL)
        verify(shown_to_peer.public or own.public, mac, shown_to_peer.signature)
        assert shown_to_peer.fingerprint in (None, own.public.fingerprint())


@vectors
def test_a_key_of_one_cannot_sign_for_another(vector: dict[str, Any]) -> None:
    mac = bytes.fromhex(vector["mac"])
    for other in VECTORS.values():
        if other is not vector:
            with pytest.raises(SignatureInvalid):
                verify(identity(other).public, mac, bytes.fromhex(vector["signature"]))


# ---------------------------------------------------------------------------------------------------- records
@vectors
def test_an_identity_can_be_stored_and_shows_no_secret(vector: dict[str, Any]) -> None:
    own = identity(vector, certificates=(b"der",))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(own), type=Identity) == own
    assert "secret" not in repr(own)
    assert own.secret.hex() not in repr(own)


def test_new_keys_sign() -> None:
    for own in (new_rsa(2048), new_ed25519(b"d" * 32)):
        verify(own.public, b"mac", sign(own, b"mac"))
    assert new_ed25519(b"d" * 32) == new_ed25519(b"d" * 32)
    for bits in (1024, 2047, 8193):
        with pytest.raises(Misuse):
            new_rsa(bits)
    with pytest.raises(Misuse):
        new_ed25519(b"short")


def test_private_keys_that_cannot_serve_are_refused_without_a_trace_of_them() -> None:
    short = rsa.generate_private_key(65537, 1024)
    curve = ec.generate_private_key(ec.SECP256R1())
    pem = Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    for octets in (b"", b"-----BEGIN PRIVATE KEY-----\nAAAA\n", short.private_bytes(*pem), curve.private_bytes(*pem)):
        with pytest.raises(UnusableKey) as unusable:
            from_pem(octets)
        assert unusable.value.__context__ is None


def test_fingerprints_are_shown_in_groups() -> None:
    assert shown(bytes(range(8))) == "00010203 04050607"


# ---------------------------------------------------------------------------------------------------- KeyValue
@vectors
def test_white_space_and_namespaces_do_not_make_another_key(vector: dict[str, Any]) -> None:
    text: str = vector["key_value"]
    public = read(text.encode(), accepted=ALL)
    loose = text.replace("><", ">\n  <").replace("<KeyValue>", f'<KeyValue xmlns="{XMLDSIG}">')
    at = next(i for i in range(20, len(text)) if text[i - 1] == ">" and text[i] != "<") + 3  # inside the base64
    assert read(loose.encode(), accepted=ALL) == public
    assert read(parse(f'<a xmlns="jabber:client">{loose}</a>'.encode()).elements[0], accepted=ALL) == public
    assert read((text[:at] + "\n" + text[at:]).encode(), accepted=ALL) == public


def test_dsa_is_refused_unless_the_caller_names_it() -> None:
    octets = VECTORS["dsa-2048"]["key_value"].encode()
    with pytest.raises(KeyNotAccepted):
        read(octets)
    assert read(octets, accepted={SignAlgorithm.DSA}).algorithm is SignAlgorithm.DSA


def test_another_encoding_of_a_key_is_refused() -> None:
    text = VECTORS["rsa-2048"]["key_value"]
    for other in (
        text.replace("AQAB", "AAEAAQ=="),  # a leading zero octet
        text.replace("AQAB", "AQAB===="),
        text.replace("AQAB", "AQ-B"),
        text.replace("AQAB", ""),
        text.replace("AQAB", "AA=="),
        text.replace("<Exponent>", '<Exponent a="b">'),
        text.replace("<Exponent>", '<Exponent xmlns="urn:other">'),
        text.replace("<Exponent>", "<Exponent>x<b/>"),
        text.replace("<Modulus>", "x<Modulus>"),
        text.replace("<RSAKeyValue>", '<RSAKeyValue a="b">'),
        text.replace("<KeyValue>", '<KeyValue Id="b">'),
        text.replace("<KeyValue>", '<KeyValue xmlns="urn:other">'),
        text.replace("Modulus", "P"),
        text.replace("RSAKeyValue", "ECKeyValue"),
        text.replace("KeyValue", "KeyInfo"),
        text.replace("</RSAKeyValue>", "</RSAKeyValue><RSAKeyValue/>"),
        "<KeyValue/>",
        "<KeyValue>",
        "",
    ):
        with pytest.raises(MalformedKey) as malformed:
            read(other.encode())
        assert malformed.value.__context__ is None


def test_keys_that_are_too_small_or_prove_nothing_are_refused() -> None:
    dsa = read(VECTORS["dsa-1024"]["key_value"].encode(), accepted=ALL)
    assert dsa.algorithm is SignAlgorithm.DSA
    p, q, g, y = _dsa_numbers("dsa-2048")
    rsa_, dsa_, ed25519 = SignAlgorithm.RSA, SignAlgorithm.DSA, SignAlgorithm.ED25519
    field = (1 << 255) - 19
    low = [(v % (1 << 256)).to_bytes(32, "little") for v in (0, 1, field - 1, field, field + 1, (1 << 255) + 1)]
    for octets in (
        written(rsa_, (1 << 1023) + 1, 65537),
        written(rsa_, (1 << 8192) + 1, 65537),
        written(rsa_, (1 << 2047) + 2, 65537),
        written(rsa_, (1 << 2047) + 1, 1),
        written(rsa_, (1 << 2047) + 1, 65536),
        written(rsa_, (1 << 2047) + 1, (1 << 32) + 1),
        written(dsa_, p, q, 1, y),
        written(dsa_, p, q, g, 1),
        written(dsa_, p, q, g, p - 1),
        written(dsa_, p, q, g, y + 1),
        written(dsa_, p, q + 2, g, y),
        written(dsa_, p >> 512, q, g, y),
        *(written(ed25519, octets) for octets in (*low, b"\1" * 31, b"\1" * 33)),
        *(written(ed25519, point) for point in _order_eight()),
    ):
        with pytest.raises(KeyNotAccepted) as refused:
            read(octets, accepted=ALL)
        assert refused.value.__context__ is None


def _dsa_numbers(name: str) -> tuple[int, int, int, int]:
    value = parse(VECTORS[name]["key_value"].encode()).elements[0]
    p, q, g, y = (int.from_bytes(base64.b64decode(part.text), "big") for part in value.elements)
    return p, q, g, y


def _order_eight() -> list[bytes]:
    """The points (x, y) of edwards25519 with x^2 = y^2 after one doubling: computed, not copied."""
    p = (1 << 255) - 19
    d = -121665 * pow(121666, p - 2, p) % p
    root = pow(2, (p - 1) // 4, p)  # of -1
    found = []
    # A point of order eight doubles to one of order four, whose y is 0: then y^2 = -x^2, and d*y^4 + 2*y^2 - 1 = 0.
    inner = (1 + d) % p
    s = pow(inner, (p + 3) // 8, p)
    s = s if s * s % p == inner else s * root % p
    assert s * s % p == inner
    for sign_ in (s, p - s):
        square = (-1 + sign_) * pow(d, p - 2, p) % p
        y = pow(square, (p + 3) // 8, p)
        y = y if y * y % p == square else y * root % p
        if y * y % p == square:
            found += [v.to_bytes(32, "little") for v in (y, p - y)]
    assert len(found) == 2
    return found


# ---------------------------------------------------------------------------------------------------- presented
def test_certificates_go_with_a_key_and_not_with_a_fingerprint() -> None:
    own = identity(VECTORS["ed25519"], certificates=(b"one", b"two", b"three"))
    assert read_presented(present(own, b"mac", Identification.KEY), Identification.KEY).certificates == (b"one", b"two")
    assert read_presented(present(own, b"mac", Identification.HASH), Identification.HASH).certificates == ()
    with pytest.raises(Misuse):
        present(own, b"mac", Identification.NONE)


def test_presented_identities_that_are_not_as_negotiated_are_refused() -> None:
    own = identity(VECTORS["ed25519"])
    key, fingerprint = (present(own, b"mac", how).decode() for how in (Identification.KEY, Identification.HASH))
    signed = key[key.index("<SignatureValue>") :]
    big = base64.b64encode(bytes(presented.MAX_CERTIFICATE + 1)).decode()
    for content, how in (
        (key, Identification.HASH),
        (fingerprint, Identification.KEY),
        (key, Identification.NONE),
        (key + signed, Identification.KEY),
        (key.replace(signed, ""), Identification.KEY),
        (key.replace(signed, "<SignatureValue/>"), Identification.KEY),
        (key.replace(signed, "<SignatureValue>!</SignatureValue>"), Identification.KEY),
        (key + key.replace(signed, ""), Identification.KEY),
        (key + "<", Identification.KEY),
        (key + f"<X509Data><X509Certificate>{big}</X509Certificate></X509Data>", Identification.KEY),
        ("<fingerprint>AAAA</fingerprint>" + signed, Identification.HASH),
        ("\0", Identification.KEY),
    ):
        with pytest.raises(MalformedIdentity) as malformed:
            read_presented(content.encode(), how)
        assert malformed.value.__context__ is None


def test_a_fingerprint_is_as_long_as_the_negotiated_hash() -> None:
    own = identity(VECTORS["rsa-2048"])
    content = present(own, b"mac", Identification.HASH, hash_name="sha512")
    found = read_presented(content, Identification.HASH, hash_octets=64)
    assert found.fingerprint == own.public.fingerprint("sha512")
    with pytest.raises(MalformedIdentity):
        read_presented(content, Identification.HASH)
