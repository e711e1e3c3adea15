"""Who types, who is there, what was read, as `/sync` tells it: handed on when it changes.

Spec: Typing Notifications, Presence, Receipts.
"""

from collections.abc import Callable

import msgspec

from adapters.matrix.names import SIGNAL
from adapters.matrix.outside_sync import Entry, Sync, event_of

MOST_READ = 16
"""Receipts of one contact in one sync that are handed on: there is one for each thread."""
MAX_STATUS = 256
"""Characters of a status line that are handed on."""


class _Typing(msgspec.Struct):
    user_ids: list[str] = []


class _Presence(msgspec.Struct):
    presence: str = ""
    status_msg: str | None = None


class SignalNews:
    """Remembers what was told of each contact, so that only changes cross the wall."""

    def __init__(self) -> None:
        self._typing: dict[str, bool] = {}
        self._read: dict[str, str] = {}
        self._presence: dict[str, bytes] = {}

    def entries(self, sync: Sync, contact_of: Callable[[str], str | None], contacts: frozenset[str]) -> list[Entry]:
        """The arrivals that a sync gives rise to. `contact_of` names the contact of a room."""
        found: list[Entry] = []
        for room_id, room in sync.rooms.join.items():
            contact = contact_of(room_id)
            typing = _typing_in(room.ephemeral.events)
            if contact is not None and typing is not None:
                active = contact in typing
                if active != self._typing.get(contact, False):
                    self._typing[contact] = active
                    found.append(_entry(contact, {"typing": active}))
            read = _read_in(room.ephemeral.events, contact) if contact is not None else ()
            news = [event_id for event_id in read if event_id != self._read.get(room_id)][:MOST_READ]
            if contact is not None and news:
                self._read[room_id] = news[-1]
                found.append(_entry(contact, {"read": news}))
        for raw in sync.presence.events:
            event = event_of(raw)
            told = _decoded_presence(event.content) if event.sender in contacts else None
            if told is not None:
                body = _entry(event.sender, told)
                if self._presence.get(event.sender) != body[1]:
                    self._presence[event.sender] = body[1]
                    found.append(body)
        return found


def _entry(contact: str, told: dict[str, object]) -> Entry:
    return SIGNAL, msgspec.json.encode({"contact": contact, **told})


def _typing_in(events: list[msgspec.Raw]) -> frozenset[str] | None:
    """Who types in a room, None when nothing is said about it."""
    for raw in events:
        event = event_of(raw)
        if event.type == "m.typing":
            try:
                return frozenset(msgspec.json.decode(event.content, type=_Typing).user_ids)
            except (ValueError, RecursionError):
                return None
    return None


def _read_in(events: list[msgspec.Raw], contact: str) -> list[str]:
    """The events up to which a contact has read."""
    found: list[str] = []
    for event in map(event_of, events):
        if event.type == "m.receipt":
            try:
                told = msgspec.json.decode(event.content, type=dict[str, dict[str, dict[str, object]]])
            except (ValueError, RecursionError):
                continue
            found += [event_id for event_id, kinds in told.items() if contact in kinds.get("m.read", {})]
    return found


def _decoded_presence(content: msgspec.Raw) -> dict[str, object] | None:
    try:
        told = msgspec.json.decode(content, type=_Presence)
    except (ValueError, RecursionError):
        return None
    if not told.presence:
        return None
    return {"presence": told.presence[:32], "status": (told.status_msg or "")[:MAX_STATUS]}
