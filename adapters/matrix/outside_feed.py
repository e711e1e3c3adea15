"""The rooms' events, in order and once: what a sync shows, with what is missing between it and what was handed on."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import msgspec

from adapters.matrix.names import LEFT_OUT
from adapters.matrix.outside_history import Bounds, Gap, Stop, missed
from adapters.matrix.outside_sync import (
    Entry,
    Event,
    Timeline,
    event_entry,
    event_of,
    is_message,
    membership,
    membership_before,
)
from adapters.matrix.transport import Homeserver

MOST_HANDED = 5_000
"""Ids of events that are remembered as handed on outside of their turn."""


@dataclass(slots=True)
class Feed:
    """What was read of one account's rooms. `last`: the newest event by room; stored with the batch it came in."""

    server: Homeserver
    bounds: Bounds
    first: str | None = None
    last: dict[str, str] = field(default_factory=dict)
    fresh: set[str] = field(default_factory=set)
    """Rooms that we joined for a contact: read from the invitation on."""
    _handed: dict[str, None] = field(default_factory=dict)

    def kept(self) -> tuple[dict[str, str], set[str], dict[str, None], str | None]:
        """What `restore` puts back when a batch could not be stored."""
        return dict(self.last), set(self.fresh), dict(self._handed), self.first

    def restore(self, kept: tuple[dict[str, str], set[str], dict[str, None], str | None]) -> None:
        """It was not stored: it will be read again."""
        self.last, self.fresh, self._handed, self.first = kept

    async def timeline(self, contact: str, room_id: str, timeline: Timeline, since: str | None) -> list[Entry]:
        """The arrivals of a room's timeline, gaps filled; notes what was read. Raises GapUnfilled."""
        shown = [event_of(raw) for raw in timeline.events]
        fresh = room_id in self.fresh or any(self._joins(event) for event in shown)
        events, left_out = timeline.events, False
        if timeline.limited and timeline.prev_batch is not None and not self._reaches(room_id, shown):
            end = None if fresh else since  # what came from other servers when we joined has places of its own
            gap = await self._missed(room_id, timeline.prev_batch, end=end, fresh=fresh)
            events, left_out = [*gap.events, *timeline.events], gap.left_out
        self.fresh.discard(room_id)
        return self.entries(contact, room_id, events, left_out=left_out, fresh=fresh)

    async def catch_up(self, contact: str, room_id: str, since: str, *, joined: bool = False) -> list[Entry]:
        """The arrivals of a room up to `since` that no sync showed. Raises GapUnfilled.

        `joined`: a room that became the contact's; nothing when we were in it before this device was.
        """
        gap = await self._missed(room_id, since, end=self.first, fresh=joined)
        if joined and not gap.met:
            return []
        entries = self.entries(contact, room_id, gap.events, left_out=gap.left_out, fresh=joined)
        for event in map(event_of, gap.events):
            self._handed[event.event_id] = None
        while len(self._handed) > MOST_HANDED:
            del self._handed[next(iter(self._handed))]
        return entries

    async def _missed(self, room_id: str, start: str, *, end: str | None, fresh: bool) -> Gap:
        last = self.last.get(room_id)

        def stop(event: Event) -> Stop:
            if last is not None and event.event_id == last:
                return Stop.BEFORE_THIS
            return Stop.WITH_THIS if fresh and self._enters(event) else Stop.NOT_YET

        return await missed(self.server, room_id, start, end=end, stop=stop, bounds=self.bounds)

    def entries(
        self, contact: str, room_id: str, events: Sequence[msgspec.Raw], *, left_out: bool, fresh: bool
    ) -> list[Entry]:
        """The arrivals that these events, oldest first, give rise to; notes that they were read."""
        read = [(event_of(raw), raw) for raw in events]
        known = self._after_last(room_id, [event for event, _ in read])
        if known is not None:
            read = read[known:]
        elif fresh and room_id not in self.last:
            read = read[self._entered([event for event, _ in read]) :]
        if read:
            self.last[room_id] = read[-1][0].event_id
        told = [(LEFT_OUT, _left_out(contact, room_id))] if left_out else []
        return told + [
            event_entry(room_id, raw)
            for event, raw in read
            if is_message(event) and event.sender != self.server.user and event.event_id not in self._handed
        ]

    def _after_last(self, room_id: str, events: Sequence[Event]) -> int | None:
        """Number of the first event that was not handed on, when the last one that was is among them."""
        last = self.last.get(room_id)
        found = (number + 1 for number, event in enumerate(events) if last and event.event_id == last)
        return next(found, None)

    def _reaches(self, room_id: str, events: Sequence[Event]) -> bool:
        return self._after_last(room_id, events) is not None

    def _entered(self, events: Iterable[Event]) -> int:
        """Number of the event by which we were invited or came: what was written before is not for us."""
        entered = (number for number, event in enumerate(events) if self._enters(event) or self._joins(event))
        return next(entered, 0)

    def _joins(self, event: Event) -> bool:
        """Whether we came in by it: a join that follows a join only changes a name."""
        return self._concerns(event) and membership(event) == "join" and membership_before(event) != "join"

    def _enters(self, event: Event) -> bool:
        """Whether by it we were invited, or came uninvited."""
        uninvited = membership(event) == "join" and membership_before(event) not in ("invite", "join")
        return self._concerns(event) and (membership(event) == "invite" or uninvited)

    def _concerns(self, event: Event) -> bool:
        return event.type == "m.room.member" and event.state_key == self.server.user


def _left_out(contact: str, room_id: str) -> bytes:
    return json.dumps({"contact": contact, "room_id": room_id}).encode()
