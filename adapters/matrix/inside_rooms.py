"""The direct room with a contact, as the homeserver tells it, and whether it is fit to be sent into."""

import re
from dataclasses import replace

import msgspec

from adapters.inside_api import ContactPolicy, Step
from adapters.matrix import inside_notices
from adapters.matrix.inside_state import HOUR_MS, Room
from adapters.matrix.inside_timers import wake_by
from adapters.matrix.names import (
    CONTACT_LEFT,
    ROOM_CLOSED,
    ROOM_LEFT,
    ROOM_NOT_ENCRYPTED,
    ROOM_NOT_PRIVATE,
    ROOM_OBTAIN,
    ROOM_REPLACED,
    TOLD_NOT_JOINED,
)
from bridge.wire.link import Input
from bridge.wire.values import Address
from crypto.olm.canonical import decoded
from crypto.olm.device import MEGOLM
from crypto.olm.errors import Malformed

DEFAULT_ROTATION_MS = 7 * 24 * HOUR_MS
DEFAULT_ROTATION_MESSAGES = 100
MOST_ROTATION_MS = 4 * DEFAULT_ROTATION_MS
MOST_ROTATION_MESSAGES = 10_000
"""A room may ask for less, down to one hour and one message, and for more up to these."""
EARLIER_ROOMS = 8
MAX_VISIBILITY = 32
JOIN_PAUSE_MS = 2_000
GONE = frozenset({CONTACT_LEFT, ROOM_LEFT, ROOM_REPLACED, ROOM_CLOSED})
"""Another room is needed then."""
SUCCESSOR_PATIENCE_MS = 30_000
"""So long the room that takes the place of a closed one may take to show, before we make one ourselves."""
SEEK_AGAIN_MS = 600_000
"""Nobody came into the room that was asked for last: no other is asked for before."""
TIMER = "line"
_ROOM_ID = re.compile(r"![^\x00-\x20\x7f]{1,254}")


class _Encryption(msgspec.Struct):
    algorithm: object = None
    rotation_period_ms: object = None
    rotation_period_msgs: object = None


class RoomArrival(msgspec.Struct):
    """Body of a `room` arrival, and of the answer to `room-obtain`."""

    contact: str
    room_id: str
    encryption: _Encryption | None
    members: dict[str, str]
    history_visibility: object = None
    replaced: object = None


def room_of(step: Step, contact: ContactPolicy) -> Room | None:
    """What is known of the room with the contact."""
    return step.records.get(f"room/{contact.address}", Room)


def obtain(step: Step, contact: ContactPolicy) -> None:
    """Ask for a room, if none is being asked for. One that the contact left is not to be used again."""
    room = room_of(step, contact) or Room()
    if room.obtaining is not None:
        return
    values = {"contact": Address(v=contact.address)}
    if room.room_id:
        values["avoid"] = Address(v=room.room_id)
    key = step.carry(ROOM_OBTAIN, values, lane=f"contact-{contact.id}")
    step.records.put(f"room/{contact.address}", replace(room, obtaining=key, sought_ms=step.now_ms()))


def seek(step: Step, contact: ContactPolicy, room: Room) -> str | None:
    """Another room is needed: ask for one when it is time. Returns the code for which none is asked for now."""
    if room.obtaining is not None:
        return None
    due_ms = room.problem_ms + SUCCESSOR_PATIENCE_MS if room.problem in (ROOM_REPLACED, ROOM_CLOSED) else 0
    if room.problem_ms <= step.now_ms() < due_ms:
        wake_by(step, TIMER, due_ms)
        return None
    if room.sought_ms <= step.now_ms() < room.sought_ms + SEEK_AGAIN_MS:
        return room.problem
    obtain(step, contact)
    return None


def closed(step: Step, contact: ContactPolicy, room_id: str) -> None:
    """We may not write into it: why, and what takes its place, will be told."""
    room = room_of(step, contact)
    if room is not None and room.room_id == room_id and room.problem is None:
        problem = replace(room, problem=ROOM_CLOSED, problem_ms=step.now_ms(), epoch=room.epoch + 1)
        step.records.put(f"room/{contact.address}", problem)
        step.report(ROOM_CLOSED, contact.id)


def told(step: Step, body: bytes, *, sought: bool = False) -> ContactPolicy | None:
    """Take note of a room's state. Returns the contact it is with. Raises Malformed."""
    state = decoded(body, RoomArrival)
    contact = step.account.contact_by_address("matrix", state.contact)
    if contact is None:
        step.report("room-stranger")
        return None
    if _ROOM_ID.fullmatch(state.room_id) is None:
        raise Malformed
    before = room_of(step, contact) or Room()
    problem = _problem(step, contact, state)
    other = before.room_id != state.room_id and bool(before.room_id)
    if other and problem is not None and not (sought and before.problem is not None):
        step.report(problem, contact.id)  # another room turned up, and it is unfit: stay where we are
        return None
    if other and before.problem is None and state.room_id in before.earlier:
        return None
    if problem is None and before.problem == ROOM_CLOSED and not other:
        problem = ROOM_CLOSED  # nothing that is told of it says why, so it may still be
    room = Room(
        room_id=state.room_id,
        problem=problem,
        rotation_ms=_rotation(state, "rotation_period_ms", DEFAULT_ROTATION_MS, HOUR_MS, MOST_ROTATION_MS),
        rotation_messages=_rotation(
            state, "rotation_period_msgs", DEFAULT_ROTATION_MESSAGES, 1, MOST_ROTATION_MESSAGES
        ),
        obtaining=before.obtaining,
        earlier=_earlier(before, state.room_id),
        joined_ms=_joined_ms(step, contact, before, state),
        problem_ms=before.problem_ms if problem == before.problem and not other else step.now_ms(),
        sought_ms=0 if state.members.get(contact.address) == "join" else before.sought_ms,
        visibility=state.history_visibility[:MAX_VISIBILITY] if isinstance(state.history_visibility, str) else "",
    )
    room = replace(room, epoch=before.epoch + _changed(before, room))
    if room != before:
        step.records.put(f"room/{contact.address}", room)
    if room.joined_ms or problem is not None:
        inside_notices.over(step, contact, TOLD_NOT_JOINED)
    if problem is not None and problem != before.problem:
        step.report(problem, contact.id)
    return contact


def _earlier(before: Room, now: str) -> tuple[str, ...]:
    """The rooms before this one, the newest first."""
    earlier = before.earlier
    if before.room_id and before.room_id != now:
        earlier = (before.room_id, *(room for room in earlier if room != before.room_id))[:EARLIER_ROOMS]
    return tuple(room for room in earlier if room != now)


def _changed(before: Room, room: Room) -> bool:
    """Whether a session of before may not be used any more: who can read it, or for how long, is another now."""
    settings = (before.visibility, before.rotation_ms, before.rotation_messages)
    became_unfit = room.problem is not None and before.problem is None
    return became_unfit or settings != (room.visibility, room.rotation_ms, room.rotation_messages)


def ready_ms(room: Room) -> int | None:
    """When what is sent into the room can be read by a strict client of the contact; None before they joined.

    Who joins asks for our keys then. matrix-js-sdk 43 hides for good what it decrypts before it has the answer.
    """
    return None if not room.joined_ms else room.joined_ms + JOIN_PAUSE_MS if room.joined_ms > 1 else 0


def _joined_ms(step: Step, contact: ContactPolicy, before: Room, state: RoomArrival) -> int:
    if state.members.get(contact.address) != "join":
        return 0
    if before.room_id != state.room_id:
        return 1
    return before.joined_ms or step.now_ms()


def obtained(step: Step, answer: Input) -> tuple[ContactPolicy, str | None] | None:
    """The outcome of `obtain`: the contact, and the code of a failure. None when nobody asked, or is on the map."""
    for name in list(step.records.names("room/")):
        room = step.records.get(name, Room)
        if room is not None and room.obtaining is not None and room.obtaining == answer.key:
            break
    else:
        return None
    step.records.put(name, replace(room, obtaining=None))
    contact = step.account.contact_by_address("matrix", name.removeprefix("room/"))
    if contact is None:
        return None
    if answer.code != "ok":
        return contact, answer.code
    try:
        told_of = told(step, answer.body, sought=True)
    except Malformed:
        told_of = None
    return contact, None if told_of == contact else "malformed-response"


def is_room_of(step: Step, contact: ContactPolicy, room_id: str) -> bool:
    """Whether what the contact writes there is taken."""
    room = room_of(step, contact)
    return room is not None and (room.room_id == room_id or room_id in room.earlier)


def _problem(step: Step, contact: ContactPolicy, state: RoomArrival) -> str | None:
    own = step.account.far_addresses.get("matrix") or ""
    present = {user for user, membership in state.members.items() if membership in ("join", "invite", "knock")}
    unfit = {
        ROOM_LEFT: state.members.get(own) != "join",
        ROOM_REPLACED: state.replaced is True,
        ROOM_NOT_ENCRYPTED: state.encryption is None or state.encryption.algorithm != MEGOLM,
        ROOM_NOT_PRIVATE: state.history_visibility == "world_readable" or bool(present - {own, contact.address}),
        CONTACT_LEFT: state.members.get(contact.address) not in ("join", "invite"),
    }
    return next((code for code, holds in unfit.items() if holds), None)


def _rotation(state: RoomArrival, name: str, default: int, least: int, most: int) -> int:
    value = getattr(state.encryption, name, None)
    if not isinstance(value, int) or isinstance(value, bool):
        return default
    return max(least, min(most, value))
