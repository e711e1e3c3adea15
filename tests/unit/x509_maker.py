"""Makes X.509 certificates for tests, right and wrong ones."""

import datetime
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from crypto.esession.certificates import XMPP_ADDRESS

NOW = 1_750_000_000
DAY = 86400
CA = x509.BasicConstraints(ca=True, path_length=None)


def ed25519(label: int) -> Ed25519PrivateKey:
    """A key that is always the same."""
    return Ed25519PrivateKey.from_private_bytes(bytes([label]) * 32)


def xmpp_address(jid: str) -> x509.OtherName:
    """id-on-xmppAddr."""
    octets = jid.encode()
    width = 0 if len(octets) < 128 else 1 if len(octets) < 256 else 2
    size = bytes([0x80 + width]) * bool(width) + len(octets).to_bytes(width or 1, "big")
    return x509.OtherName(XMPP_ADDRESS, b"\x0c" + size + octets)


def usage(**true: bool) -> x509.KeyUsage:
    """A key usage with those bits only."""
    names = [
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    ]
    return x509.KeyUsage(**{name: true.get(name, False) for name in names})


@dataclass(frozen=True)
class Made:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: Ed25519PrivateKey | rsa.RSAPrivateKey

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)


def make(
    name: str,
    key: Ed25519PrivateKey | rsa.RSAPrivateKey,
    *,
    issuer: Made | None = None,
    extensions: Iterable[tuple[Any, bool]] = (),
    names: Iterable[x509.GeneralName] = (),
    begin_s: int = NOW - DAY,
    end_s: int = NOW + DAY,
    signer: Ed25519PrivateKey | rsa.RSAPrivateKey | None = None,
) -> Made:
    """A certificate, self-signed without an issuer; `signer` forges."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    begin, end = (datetime.datetime.fromtimestamp(t, datetime.UTC) for t in (begin_s, end_s))
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(list(names)), False)
    by = signer or (issuer.key if issuer else key)
    return Made(builder.sign(by, SHA256() if isinstance(by, rsa.RSAPrivateKey) else None), key)
