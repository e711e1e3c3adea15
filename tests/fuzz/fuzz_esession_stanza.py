"""Fuzz target: the `<c/>` element, and what stands decrypted inside it."""

import sys
from contextlib import suppress

from crypto.esession import initiator, responder
from crypto.esession.profiles import Profile
from crypto.esession.retained import Retained
from crypto.esession.session import (
    MAX_CONTENT,
    MalformedStanza,
    Repeated,
    Session,
    UnauthenticStanza,
    UnusableStanza,
    open_stanza,
    seal,
)
from crypto.esession.terms import Terms
from crypto.xml import MalformedXml, parse


def _sessions(profile: Profile) -> tuple[Session, Session]:
    terms = Terms(groups=(14,))
    offered, request = initiator.offer(terms, nonce=b"initiate", exponents=(b"x" * 32,), profile=profile)
    answered, response = responder.answer(request, terms, nonce=b"responds", exponent=b"y" * 32, counter=b"A" * 16)
    proved, completion = initiator.prove(offered, response, Retained(), hashes=b"h" * 64)
    bob, init = responder.verify(answered, completion, Retained(), confirmation=b"c" * 32)
    return initiator.complete(proved, init).session, bob.session


SESSIONS = (_sessions(Profile.DEPLOYED), _sessions(Profile.LETTER))


def target(data: bytes) -> None:
    """As a `<c/>` element it is not authentic; as an authentic content it is read or the session is over."""
    for alice, bob in SESSIONS:
        with suppress(MalformedXml, MalformedStanza, UnauthenticStanza, Repeated):
            open_stanza(bob, parse(data, max_octets=100_000))
        if 0 < len(data) <= MAX_CONTENT:
            _, payload = seal(alice, data)
            with suppress(UnusableStanza):
                open_stanza(bob, parse(payload))


def main() -> None:
    """Run under atheris."""
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
