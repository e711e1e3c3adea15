"""What was missed of a room, fetched backwards within the operator's bounds (spec: Pagination of room history)."""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import quote, urlencode

import msgspec

from adapters.matrix.names import LOGGED_OUT
from adapters.matrix.outside_sync import TIMELINE_TYPES, Event, decoded_or_none, event_of
from adapters.matrix.transport import MAX_SYNC, Homeserver, Reply, outcome_of

PAGE = 100
PAGE_TRIES = 5
LONGEST_PAUSE_S = 60.0
MOST_OCTETS = 64 << 20
"""Of the events of one gap: it is held in memory until it is stored, as one batch."""
DAY_MS = 24 * 3_600_000
DEFAULT_DAYS = 30
DEFAULT_MESSAGES = 20_000


class GapUnfilled(Exception):
    """Events between two syncs could not be fetched; the batch must not be acknowledged. `reply`: what came instead."""

    def __init__(self, reply: Reply | None = None) -> None:
        super().__init__("a gap of the timeline could not be filled")
        self.reply = reply


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is fetched of what was missed: no older than this, and no more for one room at a time."""

    days: int = DEFAULT_DAYS
    messages: int = DEFAULT_MESSAGES

    @classmethod
    def of(cls, settings: Mapping[str, str]) -> "Bounds":
        """As the operator has set them."""
        days, messages = settings.get("history_days"), settings.get("history_messages")
        return cls(int(days or DEFAULT_DAYS), int(messages or DEFAULT_MESSAGES))

    def oldest_ms(self) -> int:
        """Since when messages are fetched, milliseconds since 1970."""
        return time.time_ns() // 1_000_000 - self.days * DAY_MS


class Place(msgspec.Struct, frozen=True):
    """Up to where was read: the mark that is stored with each batch.

    `since`: for the next sync, None when the server refuses the one we had. `first`: of the first sync, before which
    nothing is meant for this device. `last`: the newest event by room.
    """

    since: str | None = None
    first: str | None = None
    last: dict[str, str] = {}

    def encoded(self) -> str:
        """As it is stored."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def decoded(cls, mark: str | None) -> "Place":
        """As it was stored; earlier versions stored the token alone."""
        if not mark:
            return cls()
        if not mark.startswith("{"):
            return cls(mark, mark)
        return decoded_or_none(mark.encode(), cls) or cls()


class Stop(Enum):
    """Where reading backwards ends."""

    NOT_YET = "not yet"
    WITH_THIS = "with this event"
    BEFORE_THIS = "without this event"


@dataclass(frozen=True, slots=True)
class Gap:
    """What was fetched, oldest first. `left_out`: there was more, beyond the bounds. `met`: `stop` ended it."""

    events: list[msgspec.Raw] = field(default_factory=list, repr=False)
    left_out: bool = False
    met: bool = False


async def missed(
    server: Homeserver, room_id: str, start: str, *, end: str | None, stop: Callable[[Event], Stop], bounds: Bounds
) -> Gap:
    """The events of a room before `start`, back to `end` (a token) or to where `stop` says. Raises GapUnfilled.

    A server that refuses for good, because we may not read the room any more, leaves out the rest.
    """
    found: list[msgspec.Raw] = []
    seen: set[str] = set()
    room, oldest_ms = MOST_OCTETS, bounds.oldest_ms()
    left_out, position = False, start
    while True:
        page = await _page(server, room_id, position, end)
        if page is None:
            return Gap(found[::-1], left_out=True)
        recent = not page.chunk
        for raw in page.chunk:
            event = event_of(raw)
            verdict = stop(event)
            if verdict is Stop.BEFORE_THIS:
                return Gap(found[::-1], left_out, met=True)
            old = event.sent_before(oldest_ms)
            left_out |= old and event.state_key is None
            recent |= not old
            if not old and (len(found) >= bounds.messages or room <= 0):
                return Gap(found[::-1], left_out=True)
            if not old and event.event_id not in seen:
                seen.add(event.event_id)
                found.append(raw)
                room -= len(bytes(raw))
            if verdict is Stop.WITH_THIS:
                return Gap(found[::-1], left_out, met=True)
        if page.end is None or page.end == position or not recent:
            return Gap(found[::-1], left_out)
        position = page.end


class _Page(msgspec.Struct):
    chunk: list[msgspec.Raw] = []
    end: str | None = None


async def _page(server: Homeserver, room_id: str, position: str, end: str | None) -> _Page | None:
    """One page, asked for as often as the server wants. None when it refuses for good. Raises GapUnfilled."""
    query = {
        "dir": "b",
        "from": position,
        "limit": str(PAGE),
        "filter": json.dumps({"types": list(TIMELINE_TYPES), "lazy_load_members": True}),
    }
    if end is not None:
        query["to"] = end
    path = f"/rooms/{quote(room_id, safe='')}/messages?{urlencode(query)}"
    reply = Reply(0)
    for attempt in range(PAGE_TRIES):
        reply = await server.request("GET", path, limit=MAX_SYNC)
        outcome = outcome_of(reply)
        page = decoded_or_none(reply.body, _Page) if reply.ok else None
        if page is not None:
            return page
        if not reply.ok and not outcome.retry:
            return None
        if outcome.code == LOGGED_OUT:
            break
        await asyncio.sleep(min(LONGEST_PAUSE_S, outcome.retry_after_s or 0.1 * 2**attempt))
    raise GapUnfilled(reply)
