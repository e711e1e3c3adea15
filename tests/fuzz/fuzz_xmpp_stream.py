"""Fuzz target: however a component's stream is cut into pieces, the same stanzas come of it, or it is refused.

The first octet is the size of the pieces.
"""

import sys
import xml.etree.ElementTree as ET

from adapters.outside_api import AccountRoutes, Route
from adapters.xmpp.outside_disco import announces_esession, caps_of
from adapters.xmpp.outside_iq import answer
from adapters.xmpp.outside_pep import Pep
from adapters.xmpp.outside_roster import Roster
from adapters.xmpp.outside_stream import Cut, Cutter, StreamBroken

PEP = Pep(lambda _: None)
ROSTER = Roster([AccountRoutes("alice", "alice@x", {}, (Route("bob", "matrix", "@b:x", "bob@m.x"),))])


def target(data: bytes) -> None:
    """The pieces make no difference, and elements are answered or not."""
    size, stream = (data[0] or 1, data[1:]) if data else (1, b"")
    whole = _cut([stream])
    pieces = _cut([stream[at : at + size] for at in range(0, len(stream), size)])
    shared = min(len(pieces[0]), len(whole[0]))
    assert pieces[0][:shared] == whole[0][:shared]
    assert len(pieces[0]) == len(whole[0]) or pieces[1] or whole[1], "only a broken stream yields more in one way"
    for cut in whole[0]:
        element = cut.element()
        if element is None:
            continue
        caps_of(element)
        announces_esession(element)
        reply = answer(element, "m.x", ROSTER, PEP)
        assert reply is None or ET.fromstring(reply).tag == "iq"


def _cut(pieces: list[bytes]) -> tuple[list[Cut], bool]:
    cutter = Cutter()
    found: list[Cut] = []
    try:
        for piece in pieces:
            found += [one for one in cutter.feed(piece) if isinstance(one, Cut)]
    except StreamBroken:
        return found, True
    return found, False


def main() -> None:
    """Run under atheris."""
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
