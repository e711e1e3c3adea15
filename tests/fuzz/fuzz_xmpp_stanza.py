"""Fuzz target: whatever stanza the gateway hands in, nothing is handed on, nothing leaves, nothing raises.

The first octet says how far things have come with Alice: nothing yet, a message waits, a session is active.
"""

import sys
from functools import cache

from adapters.xmpp.names import PLAIN
from adapters.xmpp.outside_stanzas import rendered
from tests.unit.fake_step import MemoryRecords
from tests.unit.xmpp_site import Site

SECRET = "never-to-be-seen"


@cache
def _stage(stage: int) -> Site:
    site = Site()
    if stage:
        site.message(SECRET, "$1")
    if stage == 2:
        site.alice.receipts = False
        site.resources(site.alice.jid)
        site.run()
    return site


def target(data: bytes) -> None:
    """Nothing comes of octets that nobody who knows the keys wrote."""
    before = _stage(data[0] % 3 if data else 0)
    site = Site()
    site.records = MemoryRecords()
    site.records.held = dict(before.records.held)
    site.step.records, site.step.now = site.records, before.step.now
    site.arrive(data[1:])
    for carried in site.step.take():
        assert carried.request != PLAIN
        assert SECRET.encode() not in rendered(carried.request, carried.values)
    assert not site.step.deliveries
    assert not site.step.done
    assert not site.step.failures


def main() -> None:
    """Run under atheris."""
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
