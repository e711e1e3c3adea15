"""Fuzz target: the gateway's reading of rooms: their state, pages of their history, the mark that says where it was."""

import json
import sys

import msgspec

from adapters.matrix.outside_feed import Feed
from adapters.matrix.outside_history import Bounds, Place
from adapters.matrix.outside_room_state import RoomState, read_state
from adapters.matrix.outside_sync import Timeline, decoded_or_none, event_of, membership_before, parsed_sync
from adapters.matrix.transport import Homeserver

ALICE, BOB = "@alice:one.example", "@bob:two.example"


def target(data: bytes) -> None:
    """Nothing is raised; a room that fits is of the two, encrypted, and in use; events keep their octets and order."""
    _state(data)
    place = Place.decoded(data.decode("utf-8", "replace"))
    assert Place.decoded(place.encoded()) == place
    sync = parsed_sync(data)
    for room in sync.rooms.invite.values() if sync is not None else ():
        for raw in room.invite_state.events:
            room.is_for_many(event_of(raw))
    timeline = decoded_or_none(data, Timeline)
    if timeline is not None:
        _timeline(timeline)


def _state(data: bytes) -> None:
    try:
        state = read_state(data)
    except (ValueError, RecursionError):
        return
    told = json.loads(state.body(BOB, "!r", ALICE))
    assert set(told) == {"contact", "room_id", "encryption", "members", "history_visibility", "replaced"}
    if state.is_with(ALICE, BOB):
        assert state.encryption is not None
        assert not told["replaced"]
        assert {user for user, membership in told["members"].items() if membership != "leave"} >= {ALICE, BOB}
        assert isinstance(state, RoomState)


def _timeline(timeline: Timeline) -> None:
    feed = Feed(Homeserver.__new__(Homeserver), Bounds())
    feed.server.user = ALICE
    entries = feed.entries(BOB, "!r", timeline.events, left_out=False, fresh=False)
    bodies = [bytes(raw) for raw in timeline.events]
    found = 0
    for _, body in entries:
        event = bytes(msgspec.json.decode(body, type=dict[str, msgspec.Raw])["event"])
        found = bodies.index(event, found) + 1
        membership_before(event_of(msgspec.Raw(event)))


def main() -> None:
    """Run under atheris."""
    import atheris

    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
