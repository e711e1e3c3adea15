"""Fuzz target: the decrypted identity of a peer, at the functions that take it, with the certificates in it."""

import sys
from contextlib import suppress

from crypto.errors import PeerFault
from crypto.esession.identities import SignatureInvalid, new_ed25519, verify
from crypto.esession.key_values import SignAlgorithm
from crypto.esession.presented import Identification, present, read_presented
from crypto.esession.vouching import NotVouched, Vouchers, vouch

OWN = new_ed25519(b"d" * 32)
NOT_DER = Vouchers(authorities=(b"not DER",))


def target(data: bytes) -> None:
    """Only refusals come of it; a key that is read can be asked about, and its normal form is read again."""
    with suppress(PeerFault):
        read_presented(data, Identification.HASH)
    try:
        found = read_presented(data, Identification.KEY, accepted=frozenset(SignAlgorithm))
    except PeerFault:
        return
    assert found.public is not None
    with suppress(SignatureInvalid):
        verify(found.public, b"mac", found.signature)
    assert isinstance(vouch(found.public, "a@b", 0, NOT_DER, found.certificates), NotVouched)


def seeds() -> dict[str, bytes]:
    """Good identities to begin with."""
    return {how.value: present(OWN, b"mac", how) for how in (Identification.KEY, Identification.HASH)}


def main() -> None:
    """Run under atheris."""
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
