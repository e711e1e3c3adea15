"""What a transaction tells: whom it concerns (spec: Application Service API, Pushing events).

Of its contents nothing is handed on: they come by `/sync`, where nothing can be missing (decision 0140). So whatever
cannot be read here is no loss: everybody is asked then.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeVar

import msgspec

from adapters.matrix.names import EVENT, TO_DEVICE
from adapters.matrix.outside_sync import Entry

TIMELINE = ("events",)
EPHEMERAL = ("ephemeral", "de.sorunome.msc2409.ephemeral")
TO_DEVICE_LISTS = ("to_device", "de.sorunome.msc2409.to_device")
DEVICE_LISTS = ("device_lists", "org.matrix.msc3202.device_lists")
HANDED_ON = frozenset({"m.room.encrypted", "m.room.message"})
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Told:
    """Something new in a room. `mark`: of what is to be in the inbox before the transaction is acknowledged."""

    sender: str
    mark: str | None = None


@dataclass(frozen=True, slots=True)
class News:
    """Whom a transaction concerns: members of these rooms, these users, and those who have them as contacts.

    `to_device`: marks of messages from device to device, by recipient. `everybody`: part of it could not be read.
    """

    rooms: Mapping[str, Sequence[Told]] = field(default_factory=lambda: MappingProxyType({}))
    users: frozenset[str] = frozenset()
    to_device: Mapping[str, frozenset[str]] = field(default_factory=lambda: MappingProxyType({}))
    everybody: bool = False


class _Event(msgspec.Struct):
    type: str = ""
    sender: str = ""
    room_id: str = ""
    event_id: str = ""
    state_key: str | None = None


class _ToDevice(msgspec.Struct):
    to_user_id: str
    type: str
    sender: str
    content: msgspec.Raw


class _Addressed(msgspec.Struct):
    type: str
    sender: str
    content: msgspec.Raw


class _Arrived(msgspec.Struct):
    event: _Event


class _DeviceLists(msgspec.Struct):
    changed: list[str] = []
    left: list[str] = []


class _Reading:
    """What was found so far."""

    def __init__(self) -> None:
        self.rooms: dict[str, list[Told]] = {}
        self.users: set[str] = set()
        self.to_device: dict[str, set[str]] = {}
        self.everybody = False

    def decoded(self, raw: bytes | msgspec.Raw, kind: type[T]) -> T | None:
        """The value; None when it is malformed, which is noted."""
        found = _decoded(raw, kind)
        self.everybody = self.everybody or found is None
        return found

    def listed(self, members: Mapping[str, msgspec.Raw], names: tuple[str, ...], kind: type[T]) -> Iterator[T]:
        """The members of lists, without those that are malformed."""
        for name in names:
            for raw in self.decoded(members[name], list[msgspec.Raw]) or [] if name in members else []:
                value = self.decoded(raw, kind)
                if value is not None:
                    yield value


def transaction_news(body: bytes) -> News:
    """Whom the body of a transaction concerns. Raises nothing, whatever it is."""
    reading = _Reading()
    members = reading.decoded(body, dict[str, msgspec.Raw]) or {}
    for event in reading.listed(members, TIMELINE, _Event):
        _note_event(reading, event)
    for event in reading.listed(members, EPHEMERAL, _Event):
        reading.rooms.setdefault(event.room_id, []).append(Told(""))
        reading.users.add(event.sender)
    for message in reading.listed(members, TO_DEVICE_LISTS, _ToDevice):
        mark = _digest(message.type, message.sender, message.content)
        reading.to_device.setdefault(message.to_user_id, set()).add(mark)
    for name in DEVICE_LISTS:
        lists = reading.decoded(members[name], _DeviceLists) if name in members else None
        if lists is not None:
            reading.users.update(lists.changed, lists.left)
    to_device = {user: frozenset(marks) for user, marks in reading.to_device.items()}
    return News(reading.rooms, frozenset(reading.users) - {""}, to_device, reading.everybody)


def entry_mark(entry: Entry) -> str | None:
    """The mark of an arrival, the same as that of what a transaction tells of it; None when it has none."""
    name, body = entry
    if name == EVENT:
        arrived = _decoded(body, _Arrived)
        return arrived.event.event_id if arrived is not None else None
    if name == TO_DEVICE:
        message = _decoded(body, _Addressed)
        return _digest(message.type, message.sender, message.content) if message is not None else None
    return None


def _note_event(reading: _Reading, event: _Event) -> None:
    if event.type == "m.room.member" and event.state_key is not None:
        reading.users.add(event.state_key)
    message = event.type in HANDED_ON and event.state_key is None
    told = Told(event.sender, event.event_id or None if message else None)
    reading.rooms.setdefault(event.room_id, []).append(told)


def _digest(kind: str, sender: str, content: msgspec.Raw) -> str:
    """Tells messages apart that come from device to device, which have no ids; the same for the same JSON."""
    try:
        value = msgspec.json.decode(content)
        text = msgspec.json.encode([kind, sender, value], order="deterministic")
    except (ValueError, RecursionError):
        text = bytes(content)
    return hashlib.sha256(text).hexdigest()


def _decoded(data: bytes | msgspec.Raw, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(data, type=kind)
    except (ValueError, RecursionError):
        return None
