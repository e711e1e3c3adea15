"""Direct rooms with the mapped contacts: known ones, found ones, made ones (spec: Direct Messaging)."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from adapters.matrix.names import MALFORMED
from adapters.matrix.transport import Homeserver, Reply, outcome_of
from adapters.outside_api import Edge, Outcome

ROOMS_MARK = "rooms"
ALGORITHM = "m.megolm.v1.aes-sha2"
MOST_MEMBERS = 20
"""Members that are told of a room; with two it is private, so more than a few say nothing new."""
MOST_SEARCHED = 50
PRESENT = ("join", "invite", "knock")


class RoomUnreadable(Exception):
    """A room's state could not be read. `outcome` says whether it is worth trying again."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__("a room's state could not be read")
        self.outcome = outcome


@dataclass(slots=True)
class Rooms:
    """The rooms of one account. `known`: by contact, the newest first; kept as a mark."""

    account: str
    edge: Edge
    server: Homeserver
    contacts: frozenset[str]
    known: dict[str, list[str]] = field(default_factory=dict)

    async def load(self) -> None:
        """Read what was known before."""
        try:
            stored = json.loads(await self.edge.mark(self.account, ROOMS_MARK) or "{}")
        except ValueError:
            stored = {}
        self.known = {contact: list(rooms) for contact, rooms in stored.items()}

    def contact_of(self, room_id: str) -> str | None:
        """The mapped contact that the room is with, None when it is with none."""
        found = (contact for contact, rooms in self.known.items() if room_id in rooms and contact in self.contacts)
        return next(found, None)

    def mapped(self) -> list[tuple[str, str]]:
        """Contact and room of all known rooms, the oldest first."""
        return [(contact, room) for contact in sorted(self.contacts) for room in reversed(self.known.get(contact, []))]

    async def adopt(self, contact: str, room_id: str) -> None:
        """This room is with that contact from now on, and the newest of theirs."""
        rooms = self.known.setdefault(contact, [])
        if rooms[:1] != [room_id]:
            self.known[contact] = [room_id, *(room for room in rooms if room != room_id)]
            await self.edge.set_mark(self.account, ROOMS_MARK, json.dumps(self.known))

    # ------------------------------------------------------------ state
    async def state(self, contact: str, room_id: str) -> bytes:
        """Body of a `room` arrival. Raises RoomUnreadable."""
        members = await self.members(room_id)
        reply = await self.server.request("GET", f"/rooms/{_quoted(room_id)}/state/m.room.encryption")
        if not reply.ok and reply.errcode() != "M_NOT_FOUND":
            raise RoomUnreadable(outcome_of(reply))
        told = {
            "contact": contact,
            "room_id": room_id,
            "encryption": _object(reply) if reply.ok else None,
            "members": _shortened(members, {contact, self.server.user}),
        }
        return json.dumps(told).encode()

    async def members(self, room_id: str) -> dict[str, str]:
        """The membership of all who did not leave. Raises RoomUnreadable."""
        reply = await self.server.request("GET", f"/rooms/{_quoted(room_id)}/members", limit=8 << 20)
        chunk = _object(reply).get("chunk")
        if not isinstance(chunk, list):
            raise RoomUnreadable(Outcome(MALFORMED, retry=True))
        found: dict[str, str] = {}
        for event in chunk:
            if isinstance(event, dict) and isinstance(event.get("content"), dict):
                user, membership = event.get("state_key"), event["content"].get("membership")
                if isinstance(user, str) and isinstance(membership, str):
                    found[user] = membership
        return found

    async def others(self, room_id: str) -> set[str]:
        """Who else is in a room that we are in, or is invited. Raises RoomUnreadable."""
        members = await self.members(room_id)
        return {user for user, membership in members.items() if membership in PRESENT} - {self.server.user}

    async def join(self, contact: str, room_id: str) -> Outcome:
        """Accept an invitation of the contact's."""
        reply = await self.server.request("POST", f"/rooms/{_quoted(room_id)}/join", b"{}")
        outcome = outcome_of(reply)
        if outcome.code == "ok":
            await self.adopt(contact, room_id)
            await self._note_direct(contact, room_id)
        return outcome

    # ------------------------------------------------------------ finding or making one
    async def obtain(self, contact: str, avoid: str | None) -> Outcome:
        """The outcome of `room-obtain`: the state of an encrypted direct room with the contact.

        A repetition after a crash finds the room that was made the first time: there is no way to make the
        request itself idempotent.
        """
        try:
            candidates = [*self.known.get(contact, []), *(await self._direct(contact)), *(await self._joined())]
            for room_id in list(dict.fromkeys(candidates))[:MOST_SEARCHED]:
                if room_id != avoid and await self._fits(contact, room_id):
                    return await self._taken(contact, room_id)
            return await self._made(contact)
        except RoomUnreadable as error:
            return error.outcome

    async def _fits(self, contact: str, room_id: str) -> bool:
        """Whether the room is encrypted and nobody but the two of us is in it."""
        try:
            told = json.loads(await self.state(contact, room_id))
        except RoomUnreadable as error:
            if error.outcome.retry:
                raise
            return False
        members = told["members"]
        present = {user for user, membership in members.items() if membership in PRESENT}
        encryption = told["encryption"] or {}
        ours = members.get(self.server.user) == "join" and members.get(contact) in ("join", "invite")
        return ours and present == {contact, self.server.user} and encryption.get("algorithm") == ALGORITHM

    async def _taken(self, contact: str, room_id: str) -> Outcome:
        await self.adopt(contact, room_id)
        await self._note_direct(contact, room_id)
        return Outcome(body=await self.state(contact, room_id))

    async def _made(self, contact: str) -> Outcome:
        request = {
            "preset": "trusted_private_chat",
            "is_direct": True,
            "invite": [contact],
            "initial_state": [
                {"type": "m.room.encryption", "state_key": "", "content": {"algorithm": ALGORITHM}},
            ],
        }
        reply = await self.server.request("POST", "/createRoom", json.dumps(request).encode())
        outcome = outcome_of(reply)
        if outcome.code != "ok":
            return outcome
        room_id = _object(reply).get("room_id")
        if not isinstance(room_id, str):
            return Outcome(MALFORMED, retry=True)
        return await self._taken(contact, room_id)

    async def _direct(self, contact: str) -> list[str]:
        rooms = (await self.direct_rooms()).get(contact, [])
        return [room for room in rooms if isinstance(room, str)] if isinstance(rooms, list) else []

    async def direct_rooms(self) -> dict[str, Any]:
        """The account's `m.direct`. Raises RoomUnreadable."""
        reply = await self.server.request("GET", self._direct_path())
        if reply.errcode() == "M_NOT_FOUND":
            return {}
        return _object(reply)

    async def adopt_direct(self, direct: dict[str, Any]) -> list[tuple[str, str]]:
        """Take over the joined rooms that the user's clients call direct rooms with a contact; returns new ones."""
        named = ((contact, direct.get(contact)) for contact in self.contacts)
        wanted = [
            (contact, room)
            for contact, rooms in named
            if isinstance(rooms, list)
            for room in rooms
            if isinstance(room, str) and self.contact_of(room) is None
        ]
        joined = set(await self._joined()) if wanted else set()
        found = [(contact, room) for contact, room in wanted if room in joined]
        for contact, room in found:
            await self.adopt(contact, room)
        return found

    async def _note_direct(self, contact: str, room_id: str) -> None:
        """Tell the user's other clients. They can live without it, so a failure is not ours to mend."""
        try:
            direct = await self.direct_rooms()
        except RoomUnreadable:
            return
        rooms = direct.get(contact)
        rooms = rooms if isinstance(rooms, list) else []
        if room_id not in rooms:
            direct[contact] = [*rooms, room_id]
            await self.server.request("PUT", self._direct_path(), json.dumps(direct).encode())

    async def _joined(self) -> Iterable[str]:
        reply = await self.server.request("GET", "/joined_rooms")
        rooms = _object(reply).get("joined_rooms")
        return [room for room in rooms if isinstance(room, str)] if isinstance(rooms, list) else []

    def _direct_path(self) -> str:
        return f"/user/{_quoted(self.server.user)}/account_data/m.direct"


def _quoted(text: str) -> str:
    return quote(text, safe="")


def _object(reply: Reply) -> dict[str, Any]:
    """The body of a successful reply. Raises RoomUnreadable."""
    outcome = outcome_of(reply)
    if outcome.code != "ok":
        raise RoomUnreadable(outcome)
    return reply.object() or {}


def _shortened(members: dict[str, str], always: set[str]) -> dict[str, str]:
    kept = {user: membership for user, membership in members.items() if user in always}
    for user, membership in members.items():
        if len(kept) >= MOST_MEMBERS:
            break
        if membership in PRESENT:
            kept[user] = membership
    return kept
