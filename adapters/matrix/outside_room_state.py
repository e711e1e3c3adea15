"""What the homeserver says of one room (spec: Room state)."""

import json
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from adapters.matrix.names import MALFORMED, TOO_LARGE
from adapters.matrix.transport import OVERSIZE, Homeserver, Reply, outcome_of
from adapters.outside_api import Outcome

ALGORITHM = "m.megolm.v1.aes-sha2"
MOST_STATE = 8 << 20
"""Octets of a room's state: a room with more is none of two people."""
MOST_MEMBERS = 20
"""Members that are told of a room; with two it is private, so more than a few say nothing new."""
PRESENT = ("join", "invite", "knock")
ROOM_ID = re.compile(r"![^\x00-\x20\x7f]{1,254}")
"""Of any version: since room version 12 there is no domain in it, and letters of either case differ."""


class RoomUnreadable(Exception):
    """A room's state could not be read. `outcome` says whether it is worth trying again."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__("a room's state could not be read")
        self.outcome = outcome


@dataclass(frozen=True, slots=True)
class RoomState:
    """A room: `members` without those who left, but with us. `replacement`: the room that the tombstone names."""

    members: dict[str, str] = field(default_factory=dict)
    encryption: dict[str, Any] | None = None
    visibility: str | None = None
    replacement: str | None = None
    replaced_by: str | None = None
    predecessor: str | None = None

    def others(self, own: str) -> set[str]:
        """Who else is in it, or is invited."""
        return {user for user, membership in self.members.items() if membership in PRESENT} - {own}

    def is_with(self, own: str, contact: str) -> bool:
        """Whether we are in it, encrypted, with the contact and nobody else, and it was not replaced."""
        ours = self.members.get(own) == "join" and self.others(own) == {contact}
        joinable = self.members.get(contact) in ("join", "invite") and self.visibility != "world_readable"
        encrypted = (self.encryption or {}).get("algorithm") == ALGORITHM
        return ours and joinable and encrypted and self.replacement is None

    def body(self, contact: str, room_id: str, own: str) -> bytes:
        """Body of a `room` arrival."""
        told = {
            "contact": contact,
            "room_id": room_id,
            "encryption": self.encryption,
            "members": _shortened(self.members, {contact, own}),
            "history_visibility": self.visibility,
            "replaced": self.replacement is not None,
        }
        return json.dumps(told).encode()


async def state_of(server: Homeserver, room_id: str) -> RoomState:
    """What the room is now, or was when we left it. Raises RoomUnreadable."""
    reply = await server.request("GET", f"/rooms/{quoted(room_id)}/state", limit=MOST_STATE)
    if reply.status == OVERSIZE:
        raise RoomUnreadable(Outcome(TOO_LARGE))
    if not reply.ok:
        raise RoomUnreadable(outcome_of(reply))
    try:
        return read_state(reply.body)
    except (ValueError, RecursionError):
        malformed = Outcome(MALFORMED, retry=True)
    raise RoomUnreadable(malformed)


def object_of(reply: Reply) -> dict[str, Any]:
    """The body of a successful reply. Raises RoomUnreadable."""
    outcome = outcome_of(reply)
    if outcome.code != "ok":
        raise RoomUnreadable(outcome)
    return reply.object() or {}


def quoted(text: str) -> str:
    """A part of a path."""
    return quote(text, safe="")


def read_state(body: bytes) -> RoomState:
    """A room's state from the list of its events. Raises ValueError, RecursionError."""
    events = json.loads(body)
    if not isinstance(events, list):
        raise ValueError
    found: dict[str, Any] = {"members": {}}
    for event in events:
        content = event.get("content") if isinstance(event, dict) else None
        if not isinstance(content, dict):
            continue
        kind, key, sender = event.get("type"), event.get("state_key"), event.get("sender")
        if kind == "m.room.member" and isinstance(key, str) and isinstance(content.get("membership"), str):
            found["members"][key] = content["membership"]
        elif key != "":
            continue
        elif kind == "m.room.encryption":
            found["encryption"] = content
        elif kind == "m.room.history_visibility":
            found["visibility"] = _text(content.get("history_visibility"))
        elif kind == "m.room.tombstone":
            found["replacement"], found["replaced_by"] = _text(content.get("replacement_room")) or "", _text(sender)
        elif kind == "m.room.create" and isinstance(content.get("predecessor"), dict):
            found["predecessor"] = _text(content["predecessor"].get("room_id"))
    return RoomState(**found)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _shortened(members: dict[str, str], always: set[str]) -> dict[str, str]:
    kept = {user: membership for user, membership in members.items() if user in always}
    for user, membership in members.items():
        if len(kept) >= MOST_MEMBERS:
            break
        if membership in PRESENT:
            kept[user] = membership
    return kept
