"""X.509 certificates that vouch for a key: a path of at most two signatures to a pinned authority, and names.

What is not done, since it needs a network or more code than it is worth here: revocation lists, name constraints,
policies, wildcards. An authority with critical extensions that are not understood vouches for nothing.
"""

import re
from collections.abc import Iterator
from enum import StrEnum
from itertools import pairwise
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from crypto.errors import Misuse
from crypto.esession.identities import KeyNotAccepted, PublicIdentity, of_library
from crypto.esession.key_values import SignAlgorithm

MAX_CHAIN = 2
XMPP_ADDRESS = x509.ObjectIdentifier("1.3.6.1.5.5.7.8.5")
"""id-on-xmppAddr (RFC 6120, section 13.7.1.4)."""
_HASHES = (SHA256, SHA384, SHA512)
_UNDERSTOOD = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    }
)
_PURPOSES = frozenset(
    {
        ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
        ExtendedKeyUsageOID.CLIENT_AUTH,
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.EMAIL_PROTECTION,
    }
)
_UNREADABLE = (
    ValueError,
    TypeError,
    OverflowError,
    UnsupportedAlgorithm,
    InternalError,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
_UPPER = re.compile("[A-Z]+")
T = TypeVar("T", bound=x509.ExtensionType)


class CertificateFlaw(StrEnum):
    """Why a chain of certificates does not vouch."""

    UNREADABLE = "certificate-unreadable"
    OTHER_KEY = "certificate-for-another-key"
    OTHER_NAME = "certificate-for-another-name"
    NOT_VALID_NOW = "certificate-not-valid-now"
    NOT_FOR_SIGNING = "certificate-not-for-signing"
    UNKNOWN_ISSUER = "certificate-of-unknown-issuer"
    NOT_UNDERSTOOD = "certificate-with-unknown-constraints"


class _Refused(Exception):
    def __init__(self, flaw: CertificateFlaw) -> None:
        super().__init__()
        self.flaw = flaw


def flaw(
    chain: tuple[bytes, ...], authorities: tuple[bytes, ...], public: PublicIdentity, jid: str, now_s: int
) -> CertificateFlaw | None:
    """Why the chain (DER, the key's own certificate first) does not vouch that the key is the JID's; None if it does.

    At least one signature, or the pinned certificate itself, leads to one of `authorities` (DER).
    """
    try:
        _check(chain, authorities, public, jid, now_s)
    except _Refused as refused:
        return refused.flaw
    except _UNREADABLE:
        return CertificateFlaw.UNREADABLE
    return None


def _check(
    chain: tuple[bytes, ...], authorities: tuple[bytes, ...], public: PublicIdentity, jid: str, now_s: int
) -> None:
    own, *above = [x509.load_der_x509_certificate(octets) for octets in chain[:MAX_CHAIN]]
    anchors = [x509.load_der_x509_certificate(octets) for octets in authorities]
    if _key(own) != public:
        raise _Refused(CertificateFlaw.OTHER_KEY)
    if not _names(own, jid):
        raise _Refused(CertificateFlaw.OTHER_NAME)
    _require_live(own, now_s)
    _require_signer(own)
    if any(own == anchor for anchor in anchors):
        return
    _require_path(own, above, anchors, now_s)


def _require_path(
    own: x509.Certificate, above: list[x509.Certificate], anchors: list[x509.Certificate], now_s: int
) -> None:
    """A signature of an anchor over the certificate, or over the one presented between them."""
    flaws: list[CertificateFlaw] = []
    for path in ([own], [own, *above])[: 1 + len(above)]:
        for anchor in anchors:
            try:
                _require_steps([*path, anchor], now_s)
            except _Refused as refused:
                flaws.append(refused.flaw)
            else:
                return
    real = [f for f in flaws if f is not CertificateFlaw.UNKNOWN_ISSUER]
    raise _Refused(real[0] if real else CertificateFlaw.UNKNOWN_ISSUER)


def _require_steps(path: list[x509.Certificate], now_s: int) -> None:
    for below, (subject, issuer) in enumerate(pairwise(path)):
        _require_signed(subject, issuer)
        _require_live(issuer, now_s)
        _require_authority(issuer, below)


def _require_signed(subject: x509.Certificate, issuer: x509.Certificate) -> None:
    signed = True
    key = issuer.public_key()
    hashed = subject.signature_hash_algorithm  # None for Ed25519, which hashes inside
    if not (hashed is None or isinstance(hashed, _HASHES)) or (
        isinstance(key, rsa.RSAPublicKey) and key.key_size < 2048
    ):
        signed = False
    else:
        try:
            subject.verify_directly_issued_by(issuer)
        except (InvalidSignature, *_UNREADABLE):
            signed = False
    if not signed:
        raise _Refused(CertificateFlaw.UNKNOWN_ISSUER)


def _require_live(certificate: x509.Certificate, now_s: int) -> None:
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not begin.timestamp() <= now_s <= end.timestamp():
        raise _Refused(CertificateFlaw.NOT_VALID_NOW)


def _require_authority(certificate: x509.Certificate, below: int) -> None:
    """That it may sign certificates, with `below` of them between it and the key's own."""
    _require_understood(certificate)
    constraints = _extension(certificate, x509.BasicConstraints)
    usage = _extension(certificate, x509.KeyUsage)
    if constraints is None or not constraints.ca or (usage is not None and not usage.key_cert_sign):
        raise _Refused(CertificateFlaw.NOT_FOR_SIGNING)
    if constraints.path_length is not None and constraints.path_length < below:
        raise _Refused(CertificateFlaw.NOT_FOR_SIGNING)


def _require_signer(certificate: x509.Certificate) -> None:
    """That the key's own certificate allows signatures."""
    _require_understood(certificate)
    usage = _extension(certificate, x509.KeyUsage)
    purposes = _extension(certificate, x509.ExtendedKeyUsage)
    if usage is not None and not (usage.digital_signature or usage.content_commitment):
        raise _Refused(CertificateFlaw.NOT_FOR_SIGNING)
    if purposes is not None and not _PURPOSES & set(purposes):
        raise _Refused(CertificateFlaw.NOT_FOR_SIGNING)


def _require_understood(certificate: x509.Certificate) -> None:
    if any(e.critical and e.oid not in _UNDERSTOOD for e in certificate.extensions):
        raise _Refused(CertificateFlaw.NOT_UNDERSTOOD)
    if _extension(certificate, x509.NameConstraints) is not None:
        raise _Refused(CertificateFlaw.NOT_UNDERSTOOD)


def _extension(certificate: x509.Certificate, kind: type[T]) -> T | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _key(certificate: x509.Certificate) -> PublicIdentity | None:
    try:
        return of_library(certificate.public_key(), accepted=frozenset(SignAlgorithm))
    except KeyNotAccepted:
        return None


# ---------------------------------------------------------------------------------------------------- names
def _names(certificate: x509.Certificate, jid: str) -> bool:
    wanted = _folded(jid.partition("/")[0])
    return any(_folded(name) == wanted for name in _addresses(certificate, service="@" not in wanted))


def _addresses(certificate: x509.Certificate, *, service: bool) -> Iterator[str]:
    """The bare JIDs that it is for; DNS names are those of services only. Common names are nobody's."""
    found = _extension(certificate, x509.SubjectAlternativeName)
    for name in found or ():
        if isinstance(name, x509.OtherName) and name.type_id == XMPP_ADDRESS:
            address = _utf8_string(name.value)
            if address is not None:
                yield address
        elif isinstance(name, x509.UniformResourceIdentifier) and _folded(name.value[:5]) == "xmpp:":
            yield name.value[5:]
        elif service and isinstance(name, x509.DNSName):
            yield name.value


def _utf8_string(der: bytes) -> str | None:
    """The text of a DER UTF8String of fewer than 3072 octets."""
    if len(der) < 2 or der[0] != 0x0C:
        return None
    size, start = der[1], 2
    if size in (0x81, 0x82):
        start = 2 + size - 0x80
        size = int.from_bytes(der[2:start], "big")
    if size > 3071 or len(der) != start + size:
        return None
    return der[start:].decode("utf-8", "replace")


def _folded(address: str) -> str:
    """Lower case of ASCII only: letters of other scripts must be equal, so that none passes for an ASCII one."""
    return _UPPER.sub(lambda found: found.group().lower(), address)


# ---------------------------------------------------------------------------------------------------- reading PEM
class BadCertificates(Misuse):
    """A configured file holds no X.509 certificates in PEM."""

    def __init__(self) -> None:
        super().__init__("the file holds no X.509 certificate in PEM")


def read_pem(pem: bytes) -> tuple[bytes, ...]:
    """The certificates of a configured file, DER, in its order. Raises BadCertificates."""
    found: list[x509.Certificate] = []
    try:
        found = x509.load_pem_x509_certificates(pem)
    except _UNREADABLE:
        found = []
    if not found:
        raise BadCertificates
    return tuple(c.public_bytes(Encoding.DER) for c in found)
