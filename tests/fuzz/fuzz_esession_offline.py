"""Fuzz target: a stanza that begins an offline session, with its content, at the functions that take it.

The MAC and the signature keep random changes from getting far, so the input is also tried as what they protect: the
identity that was decrypted, and the content.
"""

import sys
from contextlib import suppress

from crypto.esession.identities import new_ed25519
from crypto.esession.offline_accepting import introduced, offline_form, taken
from crypto.esession.offline_content import created_ms, ends, opened, sealed
from crypto.esession.offline_options import Offer, read_options
from crypto.esession.offline_publishing import Lifetime, Shelf, publish
from crypto.esession.offline_refusals import OfflineRefusal
from crypto.esession.offline_sending import begin, choose
from crypto.esession.offline_time import read_time, write_time
from crypto.xml import MalformedXml, parse

NOW = 1_800_000_000_000
ALICE, BOB = new_ed25519(b"a" * 32), new_ed25519(b"b" * 32)
OFFER = Offer(groups=("x25519",))
_START, _END = b"<message xmlns='jabber:client'>", b"</message>"


def draw(name: str, size: int) -> bytes:
    """Always the same: what is fuzzed is the peer."""
    return name.encode().ljust(size, b".")[:size]


KEPT, FORM = publish(OFFER, (ALICE,), Lifetime(NOW, NOW + 86_400_000), draw)
SHELF = Shelf((KEPT,))
OPTIONS = read_options(FORM)


def _begun(*, once: bool) -> bytes:
    chosen = choose(OPTIONS, OFFER, BOB.public)
    begun = begin(OPTIONS, chosen, BOB, b"<body>x</body>", draw, now_ms=NOW, once=once)
    return _START + begun.init + begun.content + _END


GOING_ON = parse(_begun(once=False))
_X = offline_form(GOING_ON)
assert _X is not None
WAY = introduced(_X, SHELF, now_ms=NOW, resource="").way


def target(data: bytes) -> None:
    """Only refusals come of it."""
    _as_content(data)
    with suppress(OfflineRefusal):
        at_ms = read_time(data.decode("utf-8", "replace"))
        assert read_time(write_time(at_ms)) == at_ms // 1000 * 1000
    try:
        stanza = parse(data, max_octets=100_000)
    except MalformedXml:
        return
    with suppress(OfflineRefusal):
        opened(WAY, stanza, now_ms=NOW)
    x = offline_form(stanza)
    if x is None:
        return
    with suppress(OfflineRefusal):
        introduction = introduced(x, SHELF, now_ms=NOW, resource="pda")
        found = taken(introduction, SHELF, stanza, now_ms=NOW)
        assert found.shelf.sets[0].used


def _as_content(data: bytes) -> None:
    """The input as what an honest key sealed: any octets may come out of that."""
    if not 0 < len(data) <= 100_000:
        return
    _, c = sealed(WAY, data)
    with suppress(OfflineRefusal):
        _, content = opened(WAY, parse(c), now_ms=NOW)
        ends(content)
        created_ms(content)


def seeds() -> dict[str, bytes]:
    """Good ones to begin with."""
    return {
        "once": _begun(once=True),
        "session": _begun(once=False),
        "content": b'<body>x</body><headers xmlns="http://jabber.org/protocol/shim"><header name="Created">'
        b"2027-01-15T08:00:00Z</header></headers>",
        "time": b"2027-01-15T08:00:00.123+01:00",
    }


def main() -> None:
    """Run under atheris."""
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
