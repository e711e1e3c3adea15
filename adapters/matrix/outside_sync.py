"""What is read of `/sync` and `/messages`, and in which order it is handed on (spec: Syncing)."""

import json
from collections.abc import Callable, Iterable
from typing import TypeVar
from urllib.parse import quote, urlencode

import msgspec

from adapters.matrix.names import EVENT, KEYS, TO_DEVICE
from adapters.matrix.transport import MAX_SYNC, Homeserver, outcome_of
from bridge.wire.values import MAX_BODY

TIMELINE_TYPES = (
    "m.room.encrypted",
    "m.room.message",
    "m.room.member",
    "m.room.encryption",
    "m.room.tombstone",
    "m.key.verification.*",
)
ROOM_TYPES = ("m.room.member", "m.room.encryption")
TIMELINE_LIMIT = 50
PAGE = 100
MOST_FILLED = 20_000
"""Events that are fetched for one gap at most; a bound against a server that never ends."""
REFILL_BELOW = 25

Entry = tuple[str, bytes]
T = TypeVar("T")


class GapUnfilled(Exception):
    """Events between two syncs could not be fetched; the batch must not be acknowledged."""

    def __init__(self) -> None:
        super().__init__("a gap of the timeline could not be filled")


class Timeline(msgspec.Struct):
    """The events of a room since the last sync; `limited`: there are more before `prev_batch`."""

    events: list[msgspec.Raw] = []
    limited: bool = False
    prev_batch: str | None = None


class Events(msgspec.Struct):
    """A list of events."""

    events: list[msgspec.Raw] = []


class Summary(msgspec.Struct, rename={"joined": "m.joined_member_count", "invited": "m.invited_member_count"}):
    """How many are in a room; told when it changed."""

    joined: int | None = None
    invited: int | None = None


class JoinedRoom(msgspec.Struct):
    """A room that we are in."""

    timeline: Timeline = msgspec.field(default_factory=Timeline)
    state: Events = msgspec.field(default_factory=Events)
    ephemeral: Events = msgspec.field(default_factory=Events)
    summary: Summary = msgspec.field(default_factory=Summary)

    def may_be_direct(self) -> bool:
        """Whether, as far as is told, no more than two are in it."""
        return (self.summary.joined or 0) + (self.summary.invited or 0) <= 2


class InvitedRoom(msgspec.Struct):
    """A room that we are invited to."""

    invite_state: Events = msgspec.field(default_factory=Events)


class Rooms(msgspec.Struct):
    """Rooms with something new."""

    join: dict[str, JoinedRoom] = {}
    invite: dict[str, InvitedRoom] = {}


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


class _Page(msgspec.Struct):
    chunk: list[msgspec.Raw] = []
    end: str | None = None


class _Membership(msgspec.Struct):
    membership: str = ""


def parsed_sync(body: bytes) -> Sync | None:
    """The answer, None when it is malformed."""
    return _decoded(body, Sync)


def event_of(raw: msgspec.Raw) -> Event:
    """What is read of an event; an empty one when it is malformed."""
    return _decoded(raw, Event) or Event()


def membership(event: Event) -> str:
    """The membership that a member event sets."""
    found = _decoded(event.content, _Membership)
    return found.membership if found is not None else ""


def sync_filter(
    excluded: Iterable[str], *, limit: int = TIMELINE_LIMIT, contacts: Iterable[str] = frozenset()
) -> bytes:
    """The filter: only the event types that are used, presence of these contacts, and nothing of these rooms."""
    senders = sorted(contacts)
    room = {
        "not_rooms": sorted(excluded),
        "timeline": {"limit": limit, "types": list(TIMELINE_TYPES), "lazy_load_members": True},
        "state": {"types": list(ROOM_TYPES), "lazy_load_members": True},
        "ephemeral": {"types": ["m.typing"]},
        "account_data": {"types": []},
    }
    presence = {"types": ["m.presence"], "senders": senders} if senders else {"types": []}
    return json.dumps({"room": room, "presence": presence, "account_data": {"types": ["m.direct"]}}).encode()


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
        changed = _decoded(lists, dict[str, list[str]]) if lists else None
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
        count = (_decoded(counts, dict[str, int]) or {}).get("signed_curve25519", 0) if counts else 0
        return count < REFILL_BELOW


async def filled(
    server: Homeserver, room_id: str, timeline: Timeline, since: str | None, stop: Callable[[Event], bool]
) -> list[msgspec.Raw]:
    """The events of a timeline with what lies between the last sync and it, oldest first (spec: /messages).

    Fetched backwards to `since`, or, in a room that is new to us (None), to the event at which `stop` says so.
    Raises GapUnfilled.
    """
    if not timeline.limited or timeline.prev_batch is None:
        return timeline.events
    gap: list[msgspec.Raw] = []
    seen = {event_of(raw).event_id for raw in timeline.events}
    position: str | None = timeline.prev_batch
    while position is not None:
        page = await _page(server, room_id, position, since)
        if page is None:
            break
        for raw in page.chunk:
            event = event_of(raw)
            if event.event_id not in seen:
                seen.add(event.event_id)
                gap.append(raw)
            if stop(event):
                return [*reversed(gap), *timeline.events]
        position = page.end if page.end != position and len(gap) < MOST_FILLED else None
    return [*reversed(gap), *timeline.events]


async def _page(server: Homeserver, room_id: str, position: str, since: str | None) -> _Page | None:
    """One page. None when the server refuses it for good (we are no longer in the room). Raises GapUnfilled."""
    query = {
        "dir": "b",
        "from": position,
        "limit": str(PAGE),
        "filter": json.dumps({"types": list(TIMELINE_TYPES), "lazy_load_members": True}),
    }
    if since is not None:
        query["to"] = since
    path = f"/rooms/{quote(room_id, safe='')}/messages?{urlencode(query)}"
    reply = await server.request("GET", path, limit=MAX_SYNC)
    if not reply.ok and not outcome_of(reply).retry:
        return None
    page = _decoded(reply.body, _Page) if reply.ok else None
    if page is None:
        raise GapUnfilled
    return page


def _decoded(data: bytes | msgspec.Raw, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(data, type=kind)
    except (ValueError, RecursionError):
        return None
