"""Fuzz target: the `<c/>` element, what it says about keys, and what stands decrypted inside it."""

import base64
import sys
from contextlib import suppress

from crypto.esession import names
from crypto.esession.encrypted import MAC, read_encrypted
from crypto.esession.faults import MalformedStanza, Repeated, UnauthenticStanza, UnusableStanza
from crypto.esession.opening import open_stanza
from crypto.esession.profiles import Profile
from crypto.esession.sealing import seal
from crypto.esession.session import MAX_CONTENT, Session
from crypto.primitives.integers import from_octets, mpi
from crypto.xml import Element, MalformedXml, parse
from tests.unit.esession_world import established
from tests.unit.rekeying_world import sides


def _negotiated(profile: Profile) -> tuple[Session, Session]:
    alice, bob = established(profile, seed="fuzz")
    return alice.session, bob.session


def _rekeyed() -> tuple[Session, Session]:
    """Two ends with keys on their way in both directions, and MAC keys to publish."""
    alice, bob = sides()
    for number in range(3):
        alice.send("x", key=True)
        bob.take_from(alice, number % 2)
        bob.send("y", key=number == 1)
        alice.take_from(bob, 1)
    bob.take_from(alice)
    return alice.session, bob.session


SESSIONS = (_negotiated(Profile.DEPLOYED), _negotiated(Profile.LETTER), _rekeyed())
_DUMMY = Element(names.STANZA, "mac", (), (base64.b64encode(bytes(MAC)).decode(),))


def target(data: bytes) -> None:
    """As a `<c/>` it is not authentic; as an authentic one, or as its content, it is read or the session is over."""
    for alice, bob in SESSIONS:
        with suppress(MalformedXml, MalformedStanza, UnauthenticStanza, Repeated):
            open_stanza(bob, parse(data, max_octets=100_000))
        if 0 < len(data) <= MAX_CONTENT:
            _, payload = seal(alice, data)
            with suppress(UnusableStanza):
                open_stanza(bob, parse(payload))
        with suppress(MalformedXml, MalformedStanza, UnauthenticStanza, UnusableStanza):
            _as_authentic(alice, bob, data)


def _as_authentic(alice: Session, bob: Session, data: bytes) -> None:
    """The octets as the parts of a stanza that Alice made; what Bob sends afterwards she understands or refuses."""
    inner = parse(b'<c xmlns="' + names.STANZA.encode() + b'">' + data + b"</c>", max_octets=100_000)
    kept = tuple(c for c in inner.children if isinstance(c, str) or c.name != "mac")
    covered = read_encrypted(Element(names.STANZA, "c", (), (*kept, _DUMMY))).covered
    octets = alice.agreed.suite.hmac(alice.sending.mac_key, covered, mpi(from_octets(alice.sending.counter)))
    mac = Element(names.STANZA, "mac", (), (base64.b64encode(octets).decode(),))
    after, _ = open_stanza(bob, Element(names.STANZA, "c", (), (*kept, mac)))
    assert after.receiving.counter != bob.receiving.counter
    if after.rekeying is not None and bob.rekeying is not None:
        assert len(after.rekeying.newer) <= len(bob.rekeying.newer)
        assert 0 <= after.rekeying.oldest == after.rekeying.confirmed <= after.rekeying.sent
    _, payload = seal(after, b"<a/>")
    open_stanza(alice, parse(payload))


def main() -> None:
    """Run under atheris."""
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
