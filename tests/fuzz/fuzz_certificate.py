"""Fuzz target: X.509 certificates that a peer presents: at its own place, and at that of an authority."""

import sys
from pathlib import Path

from cryptography import x509

from crypto.esession import certificates
from crypto.esession.identities import PublicIdentity, new_ed25519, of_library

STRANGER = new_ed25519(b"nobody has this key in a file...").public
OWN = new_ed25519(b"\x09" * 32).public
ROOT = (Path(__file__).parents[1] / "corpus" / "certificate" / "root").read_bytes()
JID = "alice@example.org"
NOW_S = 1750000000


def target(data: bytes) -> None:
    """Verdicts come of it; nothing vouches for a key that it does not hold, or without an authority."""
    assert certificates.flaw((data,), (data,), STRANGER, JID, NOW_S) is not None
    assert certificates.flaw((data, data), (), OWN, JID, NOW_S) is not None
    certificates.flaw((data, data), (ROOT, data), _key_in(data), JID, NOW_S)


def _key_in(data: bytes) -> PublicIdentity:
    """The key in it, so that what comes after the comparison of keys is reached; one of ours when there is none."""
    try:
        return of_library(x509.load_der_x509_certificate(data).public_key())
    except Exception:
        return OWN


def main() -> None:
    """Run under atheris."""
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
