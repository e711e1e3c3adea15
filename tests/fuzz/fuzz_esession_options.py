"""Fuzz target: offline options of a peer, at the functions that judge, choose and answer them."""

import sys
from contextlib import suppress

from crypto.esession.identities import new_ed25519
from crypto.esession.offline_options import Offer, read_options
from crypto.esession.offline_publishing import Lifetime, publish
from crypto.esession.offline_refusals import OfflineRefusal
from crypto.esession.offline_sending import begin, choose, require_current, require_signed
from crypto.xml import MalformedXml, parse, serialize

NOW = 1_800_000_000_000
ALICE, BOB = new_ed25519(b"a" * 32), new_ed25519(b"b" * 32)
OFFER = Offer(groups=("x25519", "14"))


def draw(name: str, size: int) -> bytes:
    """Always the same: what is fuzzed is the peer."""
    return name.encode().ljust(size, b".")[:size]


def target(data: bytes) -> None:
    """Only refusals come of it; what is usable can be answered."""
    try:
        x = parse(data, max_octets=100_000)
    except MalformedXml:
        return
    with suppress(OfflineRefusal):
        options = read_options(x)
        with suppress(OfflineRefusal):
            require_current(options, now_ms=NOW, publisher="alice@example.org")
        with suppress(OfflineRefusal):
            require_signed(options, (ALICE.public, BOB.public))
        chosen = choose(options, OFFER, BOB.public)
        begin(options, chosen, BOB, b"<body>x</body>", draw, now_ms=NOW)


def seeds() -> dict[str, bytes]:
    """Good ones to begin with."""
    lifetime = Lifetime(NOW, NOW + 86_400_000)
    both = publish(OFFER, (ALICE, BOB), lifetime, draw, publisher="alice@example.org")[1]
    plain = publish(Offer(groups=("14",), kems=()), (ALICE,), lifetime, draw, resource="pda")[1]
    small = publish(Offer(groups=("x25519",), kems=()), (ALICE,), lifetime, draw)[1]
    return {"both": serialize(both), "plain": serialize(plain), "small": serialize(small)}


def main() -> None:
    """Run under atheris."""
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
