"""Fuzz target: the gateway's reading of a homeserver's answers: `/sync`, its events, error bodies."""

import json
import sys

from adapters.matrix.outside_sync import KeyNews, event_entry, event_of, membership, parsed_sync, to_device_entries
from adapters.matrix.transport import Reply, outcome_of


def target(data: bytes) -> None:
    """Nothing is raised, and what is handed on is JSON."""
    for status in (200, 401, 403, 429, 500):
        reply = Reply(status, data)
        outcome = outcome_of(reply)
        assert outcome.retry or outcome.code == "ok" or reply.errcode()
    sync = parsed_sync(data)
    if sync is None:
        return
    for _, body in [*to_device_entries(sync), *KeyNews().entries(sync, full=True)]:
        json.loads(body)
    for room_id, room in sync.rooms.join.items():
        room.may_be_direct()
        for raw in room.timeline.events:
            membership(event_of(raw))
            json.loads(event_entry(room_id, raw)[1])


def main() -> None:
    """Run under atheris."""
    import atheris

    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
