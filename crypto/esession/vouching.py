"""Who, beside the two users, says that a key belongs to a JID (XEP-0116, "Verifying Keys").

Pinned fingerprints, X.509 certificates under pinned authorities, OpenPGP certificates: all of them configured. Without
any, sessions rest on the short authentication string and the retained secrets alone.
"""

import re
from dataclasses import dataclass, field
from enum import StrEnum

from crypto.errors import Misuse
from crypto.esession import certificates, openpgp
from crypto.esession.certificates import CertificateFlaw
from crypto.esession.identities import PublicIdentity
from crypto.esession.openpgp import OpenPgpFlaw

_SEPARATORS = re.compile(r"[\s:]+")
_FINGERPRINT = re.compile(r"[0-9a-fA-F]{64}\Z")


class By(StrEnum):
    """What vouches."""

    FINGERPRINT = "fingerprint"
    CERTIFICATE = "certificate"
    OPENPGP = "openpgp"


class Reason(StrEnum):
    """Why nothing vouches."""

    NOTHING_CONFIGURED = "nothing-configured"
    OTHER_FINGERPRINT = "other-fingerprint"
    """Fingerprints are pinned, and the key has none of them. Nothing else is asked then."""
    NO_CERTIFICATE = "no-certificate"


@dataclass(frozen=True, slots=True)
class Vouched:
    """The key is the JID's, says `by`."""

    by: By


@dataclass(frozen=True, slots=True)
class NotVouched:
    """Nobody says whose key it is. Not an error: most keys are not vouched for."""

    reason: Reason | CertificateFlaw | OpenPgpFlaw


@dataclass(frozen=True, slots=True)
class Vouchers:
    """What is configured for one JID. Storable.

    Authorities may be the same for many JIDs, since their certificates hold names; the rest names one JID's keys.
    """

    fingerprints: tuple[bytes, ...] = ()
    """SHA-256 of the normalised `<KeyValue/>`, 32 octets each."""
    authorities: tuple[bytes, ...] = field(default=(), repr=False)
    """X.509 certificates, DER, that may sign others; or the contact's own, self-signed."""
    certificates: tuple[bytes, ...] = field(default=(), repr=False)
    """The contact's own X.509 certificate and at most one that signed it, DER, if it presents none."""
    openpgp: tuple[bytes, ...] = field(default=(), repr=False)
    """The contact's OpenPGP certificates, binary or armoured."""


def vouch(
    public: PublicIdentity, jid: str, now_s: int, vouchers: Vouchers, presented: tuple[bytes, ...] = ()
) -> Vouched | NotVouched:
    """Whether something configured vouches that the key is the bare JID's, at `now_s` (seconds since 1970).

    `presented`: the certificates of `Presented`. Raises nothing: what cannot be read does not vouch.
    """
    if vouchers.fingerprints:
        pinned = public.fingerprint() in vouchers.fingerprints
        return Vouched(By.FINGERPRINT) if pinned else NotVouched(Reason.OTHER_FINGERPRINT)
    reason: Reason | CertificateFlaw | OpenPgpFlaw = Reason.NOTHING_CONFIGURED
    for octets in vouchers.openpgp:
        flaw = openpgp.flaw(octets, public, now_s)
        if flaw is None:
            return Vouched(By.OPENPGP)
        reason = flaw
    if vouchers.authorities:
        return _by_certificate(public, jid, now_s, vouchers, presented)
    return NotVouched(reason)


def _by_certificate(
    public: PublicIdentity, jid: str, now_s: int, vouchers: Vouchers, presented: tuple[bytes, ...]
) -> Vouched | NotVouched:
    reason: Reason | CertificateFlaw = Reason.NO_CERTIFICATE
    for chain in filter(None, (presented, vouchers.certificates)):
        found = certificates.flaw(chain, vouchers.authorities, public, jid, now_s)
        if found is None:
            return Vouched(By.CERTIFICATE)
        reason = found
    return NotVouched(reason)


class BadVoucher(Misuse):
    """A pinned fingerprint is not 64 hexadecimal digits."""

    def __init__(self) -> None:
        super().__init__("a pinned fingerprint is not one of SHA-256 in hexadecimal digits")


def pinned(text: str) -> bytes:
    """The octets of a fingerprint as people write it: colons and spaces do not matter. Raises BadVoucher."""
    digits = _SEPARATORS.sub("", text)
    if not _FINGERPRINT.match(digits):
        raise BadVoucher
    return bytes.fromhex(digits)
