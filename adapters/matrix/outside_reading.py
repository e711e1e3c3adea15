"""What the answers to `/sync` make known: arrivals, in order, and what has to be asked for besides."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from adapters.matrix import names
from adapters.matrix.outside_feed import Feed
from adapters.matrix.outside_history import Place
from adapters.matrix.outside_rooms import Rooms
from adapters.matrix.outside_signals import SignalNews
from adapters.matrix.outside_sync import (
    ROOM_TYPES,
    Entry,
    InvitedRoom,
    JoinedRoom,
    KeyNews,
    LeftRoom,
    Sync,
    event_of,
    membership,
    to_device_entries,
)
from bridge.wire.values import MAX_BODY


@dataclass(slots=True)
class Reader:
    """What was read of one account's rooms, and what is to be looked at. Loops and logins are the account's."""

    rooms: Rooms
    feed: Feed
    stale: set[str] = field(default_factory=set)
    """Rooms whose state may have changed."""
    behind: dict[str, bool] = field(default_factory=dict)
    """Rooms in which no sync showed what was written so far; True: they became the contact's after the last one."""
    lost: bool = False
    """Whether the server knows our place no more: what was missed is found by the last event of each room."""
    _told: dict[str, bytes] = field(default_factory=dict)
    """The state of each room, as it was handed on last."""
    _news: KeyNews = field(default_factory=KeyNews)
    _signals: SignalNews = field(default_factory=SignalNews)

    def resume(self, place: Place) -> None:
        """Go on from there."""
        self.feed.first, self.feed.last = place.first, dict(place.last)
        newest = [rooms[0] for rooms in self.rooms.known.values() if rooms]
        self.behind = {room: False for room in newest if room in self.feed.last}

    def lose_place(self) -> None:
        """The server does not know it any more."""
        self.feed.first, self.lost = None, True

    @property
    def waiting(self) -> bool:
        """Whether there is something to ask for that the homeserver does not tell of by itself."""
        return bool(self.stale or self.behind or self.feed.fresh or self.rooms.joining)

    def entered(self, room_id: str) -> None:
        """We joined a room for a contact."""
        self.stale.add(room_id)
        self.feed.fresh.add(room_id)

    def missed(self, rooms: Iterable[str]) -> None:
        """Rooms that became a contact's after the last sync, which did not show them."""
        self.behind.update(dict.fromkeys(set(rooms) - self.feed.fresh - self.behind.keys(), True))

    async def read(self, sync: Sync, since: str | None) -> list[Entry]:
        """All arrivals of an answer, in order. What it raises leaves everything as it was."""
        kept = self.feed.kept(), dict(self._told), set(self.stale), dict(self.behind)
        try:
            return await self._entries(sync, since)
        except BaseException:  # nothing of it is stored, so it is read again
            last, self._told, self.stale, self.behind = kept
            self.feed.restore(last)
            raise

    def place(self, sync: Sync) -> Place:
        """Where reading goes on after this answer."""
        self.feed.first = self.feed.first or sync.next_batch
        return Place(sync.next_batch, self.feed.first, self.feed.last)

    async def look_over(self, sync: Sync) -> None:
        """Find the rooms of contacts in an answer that holds no messages."""
        for room_id, invited in sync.rooms.invite.items():
            await self._invited(room_id, invited)
        for room_id, room in sync.rooms.join.items():
            await self._is_mapped(room_id, room)

    async def _entries(self, sync: Sync, since: str | None) -> list[Entry]:
        await self._direct_news(sync)
        for room_id, invited in sync.rooms.invite.items():
            await self._invited(room_id, invited)
        timelines = await self._caught_up(since)
        timelines += [entry for item in sync.rooms.leave.items() for entry in await self._left(*item, since)]
        for room_id, room in sync.rooms.join.items():
            timelines += await self._joined(room_id, room, since, sync.next_batch)
        rooms = await self._room_entries()
        entries = [*to_device_entries(sync), *self._news.entries(sync, full=since is None), *rooms, *timelines]
        entries += self._signals.entries(sync, self.rooms.contact_of, self.rooms.contacts)
        return [entry for entry in entries if len(entry[1]) <= MAX_BODY]

    async def _direct_news(self, sync: Sync) -> None:
        for raw in sync.account_data.events:
            event = event_of(raw)
            if event.type == "m.direct":
                try:
                    direct = msgspec.json.decode(event.content, type=dict[str, Any])
                except (ValueError, RecursionError):
                    continue
                for _, room in await self.rooms.adopt_direct(direct):
                    self.stale.add(room)

    async def _invited(self, room_id: str, invited: InvitedRoom) -> None:
        """Join when a mapped contact invites; leave every other invitation to the user."""
        us = self.feed.server.user
        for raw in invited.invite_state.events:
            event = event_of(raw)
            if event.type == "m.room.member" and event.state_key == us and membership(event) == "invite":
                wanted = event.sender in self.rooms.contacts and not invited.is_for_many(event)
                if wanted and await self.rooms.join(event.sender, room_id):
                    self.entered(room_id)
                return

    async def _joined(self, room_id: str, room: JoinedRoom, since: str | None, now: str) -> list[Entry]:
        """The arrivals of a room that we are in: messages of its timeline, gaps filled."""
        if not await self._is_mapped(room_id, room):
            return []
        contact = self.rooms.contact_of(room_id) or ""
        if since is None:
            self.stale.add(room_id)
            if not self.lost:
                return []  # what was written before our device existed is encrypted for others
            return await self.feed.catch_up(contact, room_id, now, joined=room_id not in self.feed.last)
        if any(event_of(raw).type in ROOM_TYPES for raw in (*room.timeline.events, *room.state.events)):
            self.stale.add(room_id)
        return await self.feed.timeline(contact, room_id, room.timeline, since)

    async def _left(self, room_id: str, room: LeftRoom, since: str | None) -> list[Entry]:
        """The arrivals of a room that we are no longer in: what was written before."""
        contact = self.rooms.contact_of(room_id)
        if contact is None or since is None:
            return []
        self.stale.add(room_id)
        return await self.feed.timeline(contact, room_id, room.timeline, since)

    async def _caught_up(self, since: str | None) -> list[Entry]:
        """The arrivals of rooms that no sync showed so far; after a start, what a restored database hid from it."""
        entries: list[Entry] = []
        for room_id, joined in list(self.behind.items()):
            contact = self.rooms.contact_of(room_id)
            if contact is not None and since is not None:
                entries += await self.feed.catch_up(contact, room_id, since, joined=joined)
        self.behind.clear()
        return entries

    async def _is_mapped(self, room_id: str, room: JoinedRoom) -> bool:
        """Whether the room is with a mapped contact. Messages of all others are not shown to us."""
        if self.rooms.contact_of(room_id) is not None:
            return True
        if not room.may_be_direct(self.rooms.contacts):
            return False
        others = await self.rooms.others(room_id)
        contact = next(iter(others & self.rooms.contacts), None) if len(others) == 1 else None
        if contact is None:
            return False
        await self.rooms.adopt(contact, room_id)
        self.stale.add(room_id)
        return True

    async def _room_entries(self) -> list[Entry]:
        """The state of rooms that may have changed, when it did; goes over to rooms that replace them."""
        entries: list[Entry] = []
        stale, self.stale = self.stale, set()
        for contact, room_id in self.rooms.mapped():
            if room_id in stale:
                state, body = await self.rooms.told(contact, room_id)
                followed = await self.rooms.follow(contact, room_id, state)
                if followed is not None:
                    self.entered(followed)
                if self._told.get(room_id) != body:
                    entries.append((names.ROOM, body))
                    self._told[room_id] = body
        return entries
