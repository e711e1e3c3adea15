"""Fuzz target: whatever the server hands in, the companion's inside half takes it, and nothing of the user's leaves."""

import sys
from contextlib import suppress
from functools import lru_cache

from adapters.companion import names
from adapters.companion.names import PLAIN
from crypto.xml import MalformedXml
from tests.unit.companion_desk import Desk
from tests.unit.companion_peer import BOB, from_client

WAITING = "waits for the session 5c1f"


@lru_cache(1)
def _talking() -> dict[str, object]:
    """Records with a session, in which nothing more reaches the peer, and a message that waits."""
    desk = Desk().online()
    desk.write("alpha")
    desk.reaching = False
    desk.arrive(names.FROM_CLIENT, from_client(WAITING, to=BOB))
    return desk.step.records.held


def target(data: bytes) -> None:
    """Hand it in: as a stanza, and as a word about a peer."""
    for name in (names.FROM_SERVER, names.ABLE, names.ONLINE):
        desk = Desk(reaching=False)
        desk.step.records.held = dict(_talking())
        with suppress(MalformedXml):
            desk.arrive(name, data)
        assert not desk.left(WAITING)
        assert all(request != PLAIN for request, _ in desk.sent)


def main() -> None:
    """Run under atheris."""
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
