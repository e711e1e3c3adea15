"""What is read of `/sync` and `/messages`, and in which order it is handed on (spec: Syncing)."""

import json
from collections.abc import Container, Iterable
from typing import TypeVar

import msgspec

from adapters.matrix.names import EVENT, KEYS, TO_DEVICE
from bridge.wire.values import MAX_BODY

TIMELINE_TYPES = (
    "m.room.encrypted",
    "m.room.message",
    "m.room.member",
    "m.room.encryption",
    "m.room.history_visibility",
    "m.room.tombstone",
    "m.key.verification.*",
    "m.reaction",
    "m.room.redaction",
)
MESSAGE_TYPES = frozenset({"m.room.encrypted", "m.room.message", "m.reaction", "m.room.redaction"})
ROOM_TYPES = ("m.room.member", "m.room.encryption", "m.room.history_visibility", "m.room.tombstone")
TIMELINE_LIMIT = 50
REFILL_BELOW = 25

Entry = tuple[str, bytes]
T = TypeVar("T")


class Timeline(msgspec.Struct):
    """The events of a room since the last sync; `limited`: there are more before `prev_batch`."""

    events: list[msgspec.Raw] = []
    limited: bool = False
    prev_batch: str | None = None


class Events(msgspec.Struct):
    """A list of events."""

    events: list[msgspec.Raw] = []


_SUMMARY = {"joined": "m.joined_member_count", "invited": "m.invited_member_count", "heroes": "m.heroes"}


class Summary(msgspec.Struct, rename=_SUMMARY):
    """How many are in a room, and some of those who are or were; told when it changed."""

    joined: int | None = None
    invited: int | None = None
    heroes: list[str] | None = None


class JoinedRoom(msgspec.Struct):
    """A room that we are in."""

    timeline: Timeline = msgspec.field(default_factory=Timeline)
    state: Events = msgspec.field(default_factory=Events)
    ephemeral: Events = msgspec.field(default_factory=Events)
    summary: Summary = msgspec.field(default_factory=Summary)

    def may_be_direct(self, contacts: Container[str]) -> bool:
        """Whether, as far as is told, no more than two are in it, and the other is one of these."""
        few = (self.summary.joined or 0) + (self.summary.invited or 0) <= 2
        return few and (not self.summary.heroes or any(hero in contacts for hero in self.summary.heroes))


class InvitedRoom(msgspec.Struct):
    """A room that we are invited to."""

    invite_state: Events = msgspec.field(default_factory=Events)

    def is_for_many(self, invitation: "Event") -> bool:
        """Whether it has a name or an address of its own, and is not called a direct room."""
        named = any(event_of(raw).type in ("m.room.name", "m.room.canonical_alias") for raw in self.invite_state.events)
        told = decoded_or_none(invitation.content, _Invitation) or _Invitation()
        return named and told.is_direct is not True


class LeftRoom(msgspec.Struct):
    """A room that we are no longer in, with what was written before."""

    timeline: Timeline = msgspec.field(default_factory=Timeline)


class Rooms(msgspec.Struct):
    """Rooms with something new."""

    join: dict[str, JoinedRoom] = {}
    invite: dict[str, InvitedRoom] = {}
    leave: dict[str, LeftRoom] = {}


class Sync(msgspec.Struct):
    """The answer to `/sync`."""

    next_batch: str
    rooms: Rooms = msgspec.field(default_factory=Rooms)
    to_device: Events = msgspec.field(default_factory=Events)
    presence: Events = msgspec.field(default_factory=Events)
    account_data: Events = msgspec.field(default_factory=Events)
    device_lists: msgspec.Raw = msgspec.Raw()
    device_one_time_keys_count: msgspec.Raw = msgspec.Raw()
    device_unused_fallback_key_types: msgspec.Raw = msgspec.Raw()


class Event(msgspec.Struct):
    """What is read of an event here."""

    type: str = ""
    sender: str = ""
    event_id: str = ""
    state_key: str | None = None
    content: msgspec.Raw = msgspec.Raw()
    origin_server_ts: object = None
    unsigned: msgspec.Raw = msgspec.Raw()

    def sent_before(self, at_ms: int) -> bool:
        """Whether it says that it was sent before that time, in milliseconds since 1970."""
        return isinstance(self.origin_server_ts, int) and self.origin_server_ts < at_ms


class _Membership(msgspec.Struct):
    membership: str = ""


class _Invitation(msgspec.Struct):
    is_direct: object = None


class _Unsigned(msgspec.Struct):
    prev_content: msgspec.Raw = msgspec.Raw()


def parsed_sync(body: bytes) -> Sync | None:
    """The answer, None when it is malformed."""
    return decoded_or_none(body, Sync)


def event_of(raw: msgspec.Raw) -> Event:
    """What is read of an event; an empty one when it is malformed."""
    return decoded_or_none(raw, Event) or Event()


def membership(event: Event) -> str:
    """The membership that a member event sets."""
    found = decoded_or_none(event.content, _Membership)
    return found.membership if found is not None else ""


def membership_before(event: Event) -> str:
    """The membership that it replaces, empty when the server does not tell."""
    unsigned = decoded_or_none(event.unsigned, _Unsigned) or _Unsigned()
    found = decoded_or_none(unsigned.prev_content, _Membership)
    return found.membership if found is not None else ""


def sync_filter(rooms: Iterable[str], *, limit: int = TIMELINE_LIMIT, contacts: Iterable[str] = frozenset()) -> bytes:
    """The filter: messages of these rooms only, presence of these contacts, and only the types that are used.

    The state of other rooms passes, so that a room that we join shows, and invitations do. A message in another room
    changes no state, so it neither shows nor ends the wait.
    """
    listed, senders = sorted(rooms), sorted(contacts)
    room = {
        "timeline": {"limit": limit, "types": list(TIMELINE_TYPES), "rooms": listed, "lazy_load_members": True},
        "state": {"types": list(ROOM_TYPES), "lazy_load_members": True},
        "ephemeral": {"types": ["m.typing", "m.receipt"], "rooms": listed},
        "account_data": {"types": []},
    }
    presence = {"types": ["m.presence"], "senders": senders} if senders else {"types": []}
    return json.dumps({"room": room, "presence": presence, "account_data": {"types": ["m.direct"]}}).encode()


def is_message(event: Event) -> bool:
    """Whether the enclave has a use for it."""
    known = event.type in MESSAGE_TYPES or event.type.startswith("m.key.verification.")
    return known and event.state_key is None


OVERVIEW = json.dumps(
    {
        "room": {
            "timeline": {"rooms": [], "limit": 1},
            "state": {"types": ["m.room.member"], "lazy_load_members": True},
            "ephemeral": {"types": []},
            "account_data": {"types": []},
        },
        "presence": {"types": []},
        "account_data": {"types": []},
    }
)
"""A filter that shows which rooms there are, how many are in them and who, and nothing of what was written."""


def to_device_entries(sync: Sync) -> list[Entry]:
    """One arrival for each to-device event, in order."""
    return [(TO_DEVICE, bytes(raw)) for raw in sync.to_device.events if len(bytes(raw)) <= MAX_BODY]


def event_entry(room_id: str, raw: msgspec.Raw) -> Entry:
    """The arrival of an event of a room's timeline."""
    return EVENT, b'{"room_id":' + msgspec.json.encode(room_id) + b',"event":' + bytes(raw) + b"}"


class KeyNews:
    """Tells what a sync says about keys, when it says something new."""

    def __init__(self) -> None:
        self._told: tuple[bytes, bytes] | None = None

    def entries(self, sync: Sync, *, full: bool) -> list[Entry]:
        """No or one arrival. `full`: changes of device lists may have been missed."""
        counts, fallbacks = bytes(sync.device_one_time_keys_count), bytes(sync.device_unused_fallback_key_types)
        lists = bytes(sync.device_lists)
        changed = decoded_or_none(lists, dict[str, list[str]]) if lists else None
        if not full and not any((changed or {}).values()) and not self._news(counts, fallbacks):
            return []
        self._told = (counts, fallbacks)
        members = {
            "device_one_time_keys_count": counts,
            "device_unused_fallback_key_types": fallbacks,
            "device_lists": lists,
        }
        body: dict[str, object] = {name: msgspec.Raw(text) for name, text in members.items() if text}
        return [(KEYS, msgspec.json.encode({**body, "full": full}))]

    def _news(self, counts: bytes, fallbacks: bytes) -> bool:
        if self._told is None or self._told[1] != fallbacks:
            return True
        if self._told[0] == counts:
            return False
        count = (decoded_or_none(counts, dict[str, int]) or {}).get("signed_curve25519", 0) if counts else 0
        return count < REFILL_BELOW


def decoded_or_none(data: bytes | msgspec.Raw, kind: type[T]) -> T | None:
    """What the octets say, None when they are not of that shape."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (ValueError, RecursionError):
        return None
