"""Fuzz target: the gateway's reading of a homeserver's answers: `/sync`, its events, error bodies."""

import sys

from adapters.matrix.outside_sync import KeyNews, event_entry, event_of, membership, parsed_sync, to_device_entries
from adapters.matrix.transport import Reply, outcome_of


def target(data: bytes) -> None:
    """Nothing is raised, and every arrival holds the octets that came, however damaged: the enclave judges them."""
    for status in (200, 401, 403, 429, 500):
        reply = Reply(status, data)
        outcome = outcome_of(reply)
        assert outcome.retry or outcome.code == "ok" or reply.errcode()
    sync = parsed_sync(data)
    if sync is None:
        return
    for raw, (_, body) in zip(sync.to_device.events, to_device_entries(sync), strict=True):
        assert body == bytes(raw)
    assert len(KeyNews().entries(sync, full=True)) == 1
    for room_id, room in sync.rooms.join.items():
        room.may_be_direct(["@bob:two.example"])
        for raw in room.timeline.events:
            membership(event_of(raw))
            assert bytes(raw) in event_entry(room_id, raw)[1]


def main() -> None:
    """Run under atheris."""
    import atheris

    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
