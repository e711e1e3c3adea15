"""The public profiles of the contacts: a name and a small picture, fetched after a start and when they changed."""

import asyncio
import base64
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import quote

from adapters.matrix.names import PROFILE
from adapters.matrix.outside_sync import Sync, event_of
from adapters.matrix.transport import MEDIA_API, Homeserver, Reply, outcome_of
from adapters.outside_api import Edge

MAX_PICTURE = 64 << 10
SIDE = 96
"""Pixels of the picture that is asked for."""
MAX_NAME = 512
TRIES = 3
PAUSE_S = 30.0
_MXC = re.compile(r"mxc://([A-Za-z0-9.:\[\]-]{1,255})/([A-Za-z0-9_-]{1,255})")
_TYPES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"RIFF", "image/webp"),
)


@dataclass(slots=True)
class Profiles:
    """What of one account's contacts is to be fetched; one request at a time, beside the syncs."""

    account: str
    edge: Edge
    server: Homeserver
    _due: dict[str, None] = field(default_factory=dict)
    _seen: set[str] = field(default_factory=set)
    _task: "asyncio.Task[None] | None" = None

    def look(self, sync: Sync, contacts: frozenset[str]) -> None:
        """Fetch the profiles of contacts that are new to us, or whose membership shows another name or picture."""
        self._due.update(dict.fromkeys(sorted(contacts - self._seen)))
        self._seen |= contacts
        for room in sync.rooms.join.values():
            for event in map(event_of, (*room.timeline.events, *room.state.events)):
                if event.type == "m.room.member" and event.state_key in contacts:
                    self._due[event.state_key] = None
        if self._due and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._fetch())

    async def close(self) -> None:
        """Fetch no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _fetch(self) -> None:
        while self._due:
            contact = next(iter(self._due))
            del self._due[contact]
            for _ in range(TRIES):
                body = await self._profile(contact)
                if body is not None:
                    await self.edge.arrived(self.account, PROFILE, body)
                    break
                await asyncio.sleep(PAUSE_S)

    async def _profile(self, contact: str) -> bytes | None:
        """Body of the arrival; None when it is worth trying again."""
        reply = await self.server.request("GET", f"/profile/{quote(contact, safe='')}")
        if not reply.ok:
            return None if outcome_of(reply).retry else _body(contact, "", b"")
        told = reply.object() or {}
        name, address = told.get("displayname"), told.get("avatar_url")
        picture = await self._picture(address if isinstance(address, str) else "")
        return None if picture is None else _body(contact, name if isinstance(name, str) else "", picture)

    async def _picture(self, address: str) -> bytes | None:
        place = _MXC.fullmatch(address)
        if place is None:
            return b""
        path = f"/media/thumbnail/{quote(place[1], safe='')}/{quote(place[2], safe='')}"
        query = f"?width={SIDE}&height={SIDE}&method=crop&animated=false"
        reply: Reply = await self.server.request("GET", path + query, limit=MAX_PICTURE, api=MEDIA_API)
        if reply.ok:
            return reply.body if len(reply.body) <= MAX_PICTURE else b""
        return None if reply.status in (0, 429) or reply.status >= 500 else b""


def _body(contact: str, name: str, picture: bytes) -> bytes:
    kinds: Iterable[str] = (media_type for magic, media_type in _TYPES if picture.startswith(magic))
    media_type = next(iter(kinds), "")
    shown = base64.b64encode(picture).decode() if media_type else ""
    told = {"contact": contact, "name": name[:MAX_NAME], "picture": shown, "media_type": media_type}
    return json.dumps(told).encode()
