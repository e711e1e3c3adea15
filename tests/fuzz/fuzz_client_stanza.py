"""Fuzz target: whatever message stanza arrives, an endpoint neither raises, nor shows text, nor sends any.

The first octet says how far the endpoint has come with the contact: nothing yet, asked for a session, or in a session.
"""

import sys

from client.events import MessageDelivered, MessageReceived
from client.stanzas import read_content, read_error
from crypto.xml import CLIENT, MalformedXml, parse, parse_content
from tests.unit.client_world import World

SECRET = "never-to-be-seen"


def target(data: bytes) -> None:
    """Nothing comes of octets that nobody who knows the keys wrote."""
    try:
        stanza = parse(data[1:])
        read_error(stanza.child(CLIENT, "error"))
        read_content(stanza.elements)
        read_content(parse_content(data[1:]))
    except MalformedXml:
        pass
    else:
        _receive(data)


def _receive(data: bytes) -> None:
    world = World().meet()
    stage = data[0] % 3
    if stage:
        world.alice.say(SECRET, "kept")
    if stage == 2:
        world.run()
    before, waiting = len(world.bob.bodies), world.alice.contact.waiting
    world.alice.contact.received(parse(data[1:]), world.bob.full)
    world.alice.contact.tick()
    assert not world.alice.of(MessageReceived)
    assert len(world.bob.bodies) == before
    assert world.alice.contact.waiting == waiting or not world.alice.of(MessageDelivered)
    assert all(SECRET.encode() not in flying.stanza.octets() for flying in world.flying)


def main() -> None:
    """Run under atheris."""
    import atheris

    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
