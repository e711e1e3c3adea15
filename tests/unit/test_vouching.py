"""Pinned fingerprints and X.509 certificates: what vouches for a key, and what does not."""

from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_der_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from crypto.esession.certificates import BadCertificates, CertificateFlaw, read_pem
from crypto.esession.identities import PublicIdentity, new_rsa, of_library
from crypto.esession.openpgp import OpenPgpFlaw
from crypto.esession.vouching import BadVoucher, By, NotVouched, Reason, Vouched, Vouchers, pinned, vouch
from tests.unit.test_openpgp import MADE, octets
from tests.unit.test_openpgp import key as openpgp_key
from tests.unit.x509_maker import CA, DAY, NOW, Made, ed25519, make, usage, xmpp_address

JID = "alice@example.org"
ROOT = make("root", ed25519(1), extensions=[(CA, True)])
MIDDLE = make("middle", ed25519(2), issuer=ROOT, extensions=[(CA, True)])
OTHER_ROOT = make("root", ed25519(3), extensions=[(CA, True)])
KEY = ed25519(9)
PUBLIC = of_library(KEY.public_key())


def own(**arguments: Any) -> Made:
    return make("alice", KEY, **{"issuer": ROOT, "names": [xmpp_address(JID)], **arguments})


def verdict(*chain: Made, authorities: tuple[Made, ...] = (ROOT,), **arguments: Any) -> By | str:
    """Who vouches, or why nobody does."""
    given = {"public": PUBLIC, "jid": JID, "now_s": NOW, **arguments}
    vouchers = Vouchers(authorities=tuple(a.der for a in authorities))
    found = vouch(given["public"], given["jid"], given["now_s"], vouchers, tuple(c.der for c in chain))
    return found.by if isinstance(found, Vouched) else found.reason


# ---------------------------------------------------------------------------------------------------- fingerprints
def test_a_pinned_fingerprint_is_read_as_people_write_it() -> None:
    octets_ = PUBLIC.fingerprint()
    colons = ":".join(f"{octet:02X}" for octet in octets_)
    for text in (octets_.hex(), colons, f"  {octets_.hex()[:20]} {octets_.hex()[20:]}\n"):
        assert pinned(text) == octets_
    for wrong in ("", octets_.hex()[:-2], octets_.hex() + "00", "g" * 64, octets_.hex()[:-1] + "\u0664"):
        with pytest.raises(BadVoucher):
            pinned(wrong)


def test_a_pinned_fingerprint_vouches_and_shuts_out_all_others() -> None:
    assert vouch(PUBLIC, JID, NOW, Vouchers((PUBLIC.fingerprint(),))) == Vouched(By.FINGERPRINT)
    others = Vouchers((b"x" * 32,), authorities=(ROOT.der,))
    assert vouch(PUBLIC, JID, NOW, others, (own().der,)) == NotVouched(Reason.OTHER_FINGERPRINT)


def test_without_vouchers_nobody_vouches() -> None:
    assert vouch(PUBLIC, JID, NOW, Vouchers(), (own().der,)) == NotVouched(Reason.NOTHING_CONFIGURED)
    assert verdict() == Reason.NO_CERTIFICATE


def test_vouchers_can_be_stored() -> None:
    vouchers = Vouchers((b"f",), (b"a",), (b"c",), (b"o",))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(vouchers), type=Vouchers) == vouchers


# ---------------------------------------------------------------------------------------------------- OpenPGP
def test_an_openpgp_certificate_vouches_for_its_keys() -> None:
    vouchers = Vouchers(openpgp=(octets("short.asc"), octets("rsa.asc")))
    assert vouch(openpgp_key("rsa", 1), JID, MADE, vouchers) == Vouched(By.OPENPGP)
    assert vouch(PUBLIC, JID, MADE, vouchers) == NotVouched(OpenPgpFlaw.OTHER_KEY)
    assert vouch(PUBLIC, JID, MADE, Vouchers(openpgp=(b"junk",))) == NotVouched(OpenPgpFlaw.UNREADABLE)


# ---------------------------------------------------------------------------------------------------- paths
def test_one_or_two_signatures_lead_to_a_pinned_authority() -> None:
    assert verdict(own()) == By.CERTIFICATE
    assert verdict(own(issuer=MIDDLE), MIDDLE) == By.CERTIFICATE
    assert verdict(own(issuer=MIDDLE), authorities=(OTHER_ROOT, MIDDLE)) == By.CERTIFICATE
    alone = own(issuer=None)
    assert verdict(alone, authorities=(alone,)) == By.CERTIFICATE


def test_a_configured_certificate_serves_where_none_is_presented() -> None:
    vouchers = Vouchers(authorities=(ROOT.der,), certificates=(own(issuer=MIDDLE).der, MIDDLE.der))
    assert vouch(PUBLIC, JID, NOW, vouchers) == Vouched(By.CERTIFICATE)
    assert vouch(PUBLIC, JID, NOW, vouchers, (b"junk",)) == Vouched(By.CERTIFICATE)


def test_rsa_keys_and_rsa_authorities_serve_as_well() -> None:
    authority = make("rsa", rsa.generate_private_key(65537, 2048), extensions=[(CA, True)])
    identity = new_rsa(2048)
    private = load_der_private_key(identity.secret, None)
    assert isinstance(private, rsa.RSAPrivateKey)
    certificate = make("alice", private, issuer=authority, names=[xmpp_address(JID)])
    assert verdict(certificate, authorities=(authority,), public=identity.public) == By.CERTIFICATE
    weak = make("weak", rsa.generate_private_key(65537, 1024), extensions=[(CA, True)])
    assert verdict(own(issuer=weak), authorities=(weak,)) == CertificateFlaw.UNKNOWN_ISSUER


@pytest.mark.parametrize(
    ("chain", "expected"),
    [
        ((own(issuer=OTHER_ROOT),), CertificateFlaw.UNKNOWN_ISSUER),
        ((own(signer=ed25519(4)),), CertificateFlaw.UNKNOWN_ISSUER),
        ((own(issuer=None),), CertificateFlaw.UNKNOWN_ISSUER),
        ((own(issuer=MIDDLE),), CertificateFlaw.UNKNOWN_ISSUER),
        ((own(issuer=MIDDLE), OTHER_ROOT), CertificateFlaw.UNKNOWN_ISSUER),
        ((own(begin_s=NOW + 1),), CertificateFlaw.NOT_VALID_NOW),
        ((own(end_s=NOW - 1),), CertificateFlaw.NOT_VALID_NOW),
        ((own(extensions=[(usage(key_agreement=True), True)]),), CertificateFlaw.NOT_FOR_SIGNING),
        ((own(extensions=[(usage(digital_signature=True), True)]),), By.CERTIFICATE),
        (
            (own(extensions=[(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), False)]),),
            CertificateFlaw.NOT_FOR_SIGNING,
        ),
        ((own(extensions=[(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), True)]),), By.CERTIFICATE),
        (
            (own(extensions=[(x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\0"), True)]),),
            CertificateFlaw.NOT_UNDERSTOOD,
        ),
        (
            (own(extensions=[(x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\0"), False)]),),
            By.CERTIFICATE,
        ),
    ],
)
def test_a_certificate_is_genuine_live_and_for_signing(chain: tuple[Made, ...], expected: By | CertificateFlaw) -> None:
    assert verdict(*chain) == expected


@pytest.mark.parametrize(
    ("extensions", "times", "expected"),
    [
        ([], {}, CertificateFlaw.NOT_FOR_SIGNING),
        ([(x509.BasicConstraints(ca=False, path_length=None), True)], {}, CertificateFlaw.NOT_FOR_SIGNING),
        ([(CA, True), (usage(digital_signature=True), True)], {}, CertificateFlaw.NOT_FOR_SIGNING),
        ([(CA, True), (usage(key_cert_sign=True), True)], {}, By.CERTIFICATE),
        ([(CA, True)], {"end_s": NOW - 1}, CertificateFlaw.NOT_VALID_NOW),
        (
            [(CA, True), (x509.NameConstraints([x509.DNSName("example.org")], None), False)],
            {},
            CertificateFlaw.NOT_UNDERSTOOD,
        ),
    ],
)
def test_who_signs_is_an_authority_now(
    extensions: list[Any], times: dict[str, Any], expected: By | CertificateFlaw
) -> None:
    between = make("between", ed25519(5), issuer=ROOT, extensions=extensions, **times)
    assert verdict(own(issuer=between), between) == expected
    if not times:
        pinned_ = make("pinned", ed25519(6), extensions=extensions)
        assert verdict(own(issuer=pinned_), authorities=(pinned_,)) == expected


def test_an_authority_for_own_certificates_only_has_no_others_below_it() -> None:
    short = make("short", ed25519(7), extensions=[(x509.BasicConstraints(ca=True, path_length=0), True)])
    between = make("between", ed25519(8), issuer=short, extensions=[(CA, True)])
    assert verdict(own(issuer=short), authorities=(short,)) == By.CERTIFICATE
    assert verdict(own(issuer=between), between, authorities=(short,)) == CertificateFlaw.NOT_FOR_SIGNING


def test_a_certificate_is_for_this_key() -> None:
    other: PublicIdentity = of_library(ed25519(8).public_key())
    assert verdict(own(), public=other) == CertificateFlaw.OTHER_KEY


def test_octets_that_are_no_certificate_do_not_vouch() -> None:
    for presented in ((b"junk",), (own().der[:-1],), (own().der, b"junk")):
        found = vouch(PUBLIC, JID, NOW, Vouchers(authorities=(ROOT.der,)), presented)
        assert found == NotVouched(CertificateFlaw.UNREADABLE)


# ---------------------------------------------------------------------------------------------------- names
@pytest.mark.parametrize(
    ("jid", "names", "vouches"),
    [
        (JID, [xmpp_address("Alice@Example.Org")], True),
        (JID, [xmpp_address("bob@example.org"), xmpp_address(JID)], True),
        (f"{JID}/phone", [xmpp_address(JID)], True),
        (JID, [x509.UniformResourceIdentifier(f"xmpp:{JID}")], True),
        (JID, [x509.UniformResourceIdentifier(f"https:{JID}")], False),
        (JID, [x509.RFC822Name(JID)], False),
        (JID, [xmpp_address("alice@example.org.evil.example")], False),
        (JID, [xmpp_address("example.org")], False),
        (JID, [x509.DNSName("example.org")], False),
        (JID, [x509.DNSName(JID)], False),
        (JID, [], False),
        ("example.org", [x509.DNSName("Example.org")], True),
        ("example.org", [x509.DNSName("*.org")], False),
        ("example.org", [xmpp_address("example.org")], True),
        ("kim@example.org", [xmpp_address("\u212aim@example.org")], False),
        ("straße@example.org", [xmpp_address("straße@example.org")], True),
        (f"{'a' * 200}@example.org", [xmpp_address(f"{'a' * 200}@example.org")], True),
        (f"{'a' * 300}@example.org", [xmpp_address(f"{'a' * 300}@example.org")], True),
        (JID, [x509.OtherName(ObjectIdentifier("1.2.3"), xmpp_address(JID).value)], False),
        (JID, [x509.OtherName(ObjectIdentifier("1.3.6.1.5.5.7.8.5"), b"\x16" + xmpp_address(JID).value[1:])], False),
    ],
)
def test_a_certificate_is_for_this_name(jid: str, names: list[x509.GeneralName], vouches: bool) -> None:
    expected = By.CERTIFICATE if vouches else CertificateFlaw.OTHER_NAME
    assert verdict(own(names=names), jid=jid) == expected


# ---------------------------------------------------------------------------------------------------- PEM
def test_the_certificates_of_a_file_are_read_in_order() -> None:
    assert read_pem(b"# ours\n" + ROOT.pem + MIDDLE.pem) == (ROOT.der, MIDDLE.der)
    for wrong in (b"", b"junk", ROOT.der, ROOT.pem[:100]):
        with pytest.raises(BadCertificates) as bad:
            read_pem(wrong)
        assert bad.value.__context__ is None


def test_validity_counts_to_the_second() -> None:
    assert verdict(own(), now_s=NOW + DAY) == By.CERTIFICATE
    assert verdict(own(), now_s=NOW + DAY + 1) == CertificateFlaw.NOT_VALID_NOW
