"""Fuzz target: whatever comes as a message by OMEMO, only what the user's device sealed is handed on, and only once.

The octets stand inside a `<message/>` of the user's. `@` stands for the header of an authentic message, which anybody
on the way can put into others.
"""

import sys
from functools import cache

from adapters.xmpp.inside_omemo_own import store_of
from crypto.omemo.conversation import encrypted
from crypto.omemo.device import own, public_bundle
from crypto.omemo.model import Peer, Recipient
from crypto.xml import CLIENT, serialize
from tests.unit.omemo_desk import OLD, Desk
from tests.unit.omemo_world import End
from tests.unit.xmpp_site import ALICE, BOB

PHONE = End.make(ALICE, 11)
TEXT = "sealed by the phone"


@cache
def _begun() -> tuple[Desk, bytes, bytes]:
    """A message for Bob is sealed; its `<encrypted/>`, and the header of it."""
    desk = Desk().begin()
    desk.nodes.announce(PHONE)
    desk.reach()
    ours = desk.at(lambda at: own(store_of(at)))
    bundle = desk.at(lambda at: public_bundle(store_of(at), OLD))
    assert ours is not None
    to = Recipient(Peer(OLD, BOB, ours.device_id), bundle)
    made = encrypted(PHONE.shelf, PHONE.dice, {OLD: TEXT.encode()}, [to]).elements[OLD]
    header = next(child for child in made.elements if child.name == "header")
    desk.step.reports.clear()
    return desk, serialize(made, inherited=CLIENT), serialize(header)


def target(data: bytes) -> None:
    """Hand it in, each time to the same state; then the authentic message, which must still be read."""
    desk, authentic, header = _begun()
    held = dict(desk.records.held)
    try:
        desk.arrive(_stanza(data.replace(b"@", header)[:60_000]))
        desk.settle()
        assert desk.bodies() == []
        desk.arrive(_stanza(authentic))
        desk.arrive(_stanza(authentic))
        desk.settle()
        # Who cuts the payload off the header uses the key up: he might as well have dropped the message.
        assert desk.bodies() == [TEXT] or (b"@" in data and not desk.bodies())
    finally:
        desk.records.held = held
        desk.step.reports.clear()
        desk.step.deliveries.clear()


def _stanza(inside: bytes) -> bytes:
    head = f"<message xmlns='{CLIENT}' from='{ALICE}/phone' to='{BOB}' type='chat' id='x'>"
    return head.encode() + inside + b"</message>"


def main() -> None:
    """Run under atheris."""
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
