"""Fuzz target: what a device says of the user's keys. Who is not verified changes none by it, whatever it is.

The octets are the content of an envelope. `%` stands for the key of a device that is trusted blindly, `~` for one that
no device has shown; both as Base64.
"""

import sys
from contextlib import suppress
from functools import cache

from adapters.xmpp.inside_omemo_binding import heed, trust_key
from adapters.xmpp.inside_omemo_trust import keys_in
from adapters.xmpp.inside_omemo_vouching import MAX_CLAIMS, Claims, told_of_keys
from crypto.omemo.envelope import NS_SCE, Envelope, opened_envelope
from crypto.omemo.faults import OmemoError
from crypto.omemo.reading import b64
from crypto.omemo.trust_messages import MAX_STATEMENTS, is_trust_message, read_trust_message
from tests.unit.omemo_desk import Desk
from tests.unit.omemo_world import End
from tests.unit.xmpp_site import ALICE, BOB

PHONE, DESKTOP, TABLET = (End.make(ALICE, id_) for id_ in (11, 22, 33))
UNSEEN = bytes([7]) * 32


@cache
def _begun() -> Desk:
    """The phone is verified; the others are trusted blindly."""
    desk = Desk().begin()
    desk.nodes.announce(PHONE, DESKTOP, TABLET)
    desk.reach()
    assert desk.at(lambda at: trust_key(at, "verify", PHONE.identity.hex(), "operator")) == "ok"
    return desk


def _states(desk: Desk) -> dict[bytes, str]:
    return {known.identity: known.state for known in keys_in(desk.records).known}


def _opened(data: bytes) -> Envelope | None:
    names = {b"%": b64(TABLET.identity).encode(), b"~": b64(UNSEEN).encode()}
    for sign, key in names.items():
        data = data.replace(sign, key)
    head = f"<envelope xmlns='{NS_SCE}'><rpad/><from jid='{ALICE}'/><time stamp='2027-01-15T07:00:00Z'/>"
    octets = head.encode() + b"<content>" + data + b"</content></envelope>"
    with suppress(OmemoError):
        return opened_envelope(octets, sender=ALICE, recipient=BOB)
    return None


def target(data: bytes) -> None:
    """Said by the desktop it changes nothing; by the phone only keys that are there, and it is not handed on."""
    opened = _opened(data[:20_000])
    if opened is None:
        return
    with suppress(OmemoError):
        read = read_trust_message(opened.content, opened.stamp, ALICE)
        assert len(read.statements) <= MAX_STATEMENTS
        assert all(len(each.key) == 32 for each in read.statements)
    desk = _begun()
    held, before = dict(desk.records.held), _states(desk)
    try:
        for end in (DESKTOP, PHONE):
            taken = desk.at(lambda at, end=end: told_of_keys(at, opened, end.identity, end.device_id))  # type: ignore[misc]
            assert taken == is_trust_message(opened.content)
            desk.at(heed)
            assert end is PHONE or _states(desk) == before
        assert _states(desk).keys() == before.keys()
        assert len((desk.records.get("omemo-claims", Claims) or Claims()).waiting) <= MAX_CLAIMS
        assert desk.bodies() == []
    finally:
        desk.records.held = held
        desk.step.reports.clear()


def main() -> None:
    """Run under atheris."""
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
