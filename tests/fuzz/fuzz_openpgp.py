"""Fuzz target: OpenPGP certificates. None of them vouches for a key that no certificate holds."""

import sys
from contextlib import suppress

from crypto.esession import openpgp
from crypto.esession.identities import new_ed25519
from crypto.esession.openpgp_packets import MalformedCertificate

STRANGER = new_ed25519(b"nobody has this key in a file...").public
NOW_S = 1740000000


def target(data: bytes) -> None:
    """Verdicts come of it, and at most one refusal."""
    assert openpgp.flaw(data, STRANGER, NOW_S) is not None
    with suppress(MalformedCertificate):
        for component in openpgp.read(data):
            if component.key is not None and component.key.public is not None:
                openpgp.flaw(data, component.key.public, NOW_S)


def main() -> None:
    """Run under atheris."""
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
