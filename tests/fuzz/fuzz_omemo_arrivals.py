"""Fuzz target: whatever comes of the user's OMEMO devices, nobody is believed by it, and what was decided stays.

The first octet says how it comes: as a whole arrival, or as what a list or keys that were asked for hold.
"""

import sys
from functools import cache

from adapters.xmpp.inside_omemo_binding import trust_key
from adapters.xmpp.inside_omemo_devices import recipients
from adapters.xmpp.inside_omemo_state import MAX_KNOWN, devices_in
from adapters.xmpp.inside_omemo_trust import keys_in
from adapters.xmpp.pep.names import MAX_ITEM, PEP_EVENT, PEP_ITEMS, Items
from crypto.omemo.fingerprints import fingerprint
from tests.unit.omemo_desk import BUNDLES, LISTS, NEW, OLD, Desk
from tests.unit.omemo_world import End
from tests.unit.xmpp_site import ALICE, BOB

PHONE, DESKTOP = End.make(ALICE, 11), End.make(ALICE, 22)


@cache
def _begun() -> Desk:
    """One device is verified; the lists, and the keys of another device, are asked for and not answered."""
    desk = Desk().begin()
    desk.nodes.announce(PHONE)
    desk.reach()
    desk.at(lambda at: trust_key(at, "verify", fingerprint(PHONE.identity), "operator"))
    desk.nodes.listed(OLD, 11, 22)
    desk.event(OLD)
    desk.later(24 * 600 + 1)
    desk.answering = lambda code, number: number == PHONE.device_id
    for _ in range(2):
        desk.at(recipients)
        desk.settle()
    desk.step.reports.clear()
    return desk


def target(data: bytes) -> None:
    """Hand it in, each time to the same state."""
    desk = _begun()
    held = dict(desk.records.held)
    try:
        _arrive(desk, data[:1], data[1:])
        desk.at(recipients)
        desk.settle()
        _judge(desk)
    finally:
        desk.records.held = held
        desk.step.reports.clear()


def _arrive(desk: Desk, how: bytes, data: bytes) -> None:
    text = data.decode("utf-8", "replace")[:MAX_ITEM]
    answers = {
        b"l": Items(f"{BOB}/lockgate", LISTS[OLD], True, (text,)),
        b"m": Items(f"{BOB}/lockgate", LISTS[NEW], True, (text,)),
        b"k": Items(f"{BOB}/lockgate", BUNDLES[OLD], True, (text,), 22),
    }
    if how in answers:
        desk.arrive(answers[how].encode(), PEP_ITEMS)
    else:
        desk.arrive(data, PEP_EVENT if how == b"e" else PEP_ITEMS)


def _judge(desk: Desk) -> None:
    """Who is known, and what was decided."""
    states = {key.identity: key.state for key in keys_in(desk.records).known}
    assert states.pop(PHONE.identity) == "verified"
    assert set(states.values()) <= {"undecided"}
    known = devices_in(desk.records)
    assert len(known.devices) <= MAX_KNOWN
    phone = known.find(11)
    assert phone is None or phone.identity == PHONE.identity
    for each in desk.reach_now().ready:
        assert each.known == PHONE.identity


def main() -> None:
    """Run under atheris."""
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
