"""What the companion shows to its client, kept in its folder: a certificate of its own, and a password."""

import datetime
import hashlib
import ipaddress
import os
import secrets
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_LIFETIME = datetime.timedelta(days=5 * 365)
_AHEAD = datetime.timedelta(days=30)


def kept_certificate(folder: Path, domain: str) -> Path:
    """The PEM file with certificate and key, made when there is none, or none that fits the domain and lasts."""
    path = folder / "certificate.pem"
    if not path.exists() or not _fits(path.read_bytes(), domain):
        _write(path, _made(domain))
    return path


def certificate_der(path: Path) -> bytes:
    """The certificate of a PEM file."""
    return x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(serialization.Encoding.DER)


def fingerprint(der: bytes) -> str:
    """SHA-256 as clients show it: pairs of hexadecimal digits with colons."""
    return hashlib.sha256(der).digest().hex(":")


def public_part(folder: Path, path: Path) -> Path:
    """A file with the certificate alone, for clients that can be told to trust one."""
    public = folder / "certificate.crt"
    _write(public, ssl.DER_cert_to_PEM_cert(certificate_der(path)).encode())
    return public


def kept_password(folder: Path) -> tuple[str, Path]:
    """The local password and its file, made at the first start."""
    path = folder / "password"
    if not path.exists() or not path.read_text().strip():
        _write(path, (secrets.token_urlsafe(18) + "\n").encode())
    return path.read_text().strip(), path


def private_folder(folder: Path) -> None:
    """Make the folder, for its owner only."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)


def _write(path: Path, octets: bytes) -> None:
    """Whole or not at all, readable by the owner only from the first moment."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(octets)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def _fits(pem: bytes, domain: str) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        serialization.load_pem_private_key(pem, None)
    except (ValueError, x509.ExtensionNotFound):
        return False
    lasts = certificate.not_valid_after_utc > datetime.datetime.now(datetime.UTC) + _AHEAD
    return lasts and domain in names.get_values_for_type(x509.DNSName)


def _made(domain: str) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Lockgate companion")])
    names = [x509.DNSName(n) for n in dict.fromkeys((domain, "localhost"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + _LIFETIME)
        .add_extension(
            x509.SubjectAlternativeName([*names, x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
