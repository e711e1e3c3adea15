"""Direct rooms with the mapped contacts: known, found, made, replaced by others (spec: Direct Messaging)."""

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from adapters.matrix.names import LOGGED_OUT, MALFORMED, ROOM_NOT_PRIVATE
from adapters.matrix.outside_room_state import (
    ALGORITHM,
    ROOM_ID,
    RoomState,
    RoomUnreadable,
    object_of,
    quoted,
    state_of,
)
from adapters.matrix.transport import Homeserver, outcome_of
from adapters.outside_api import Edge, Outcome

ROOMS_MARK = "rooms"
JOINS_MARK = "joins"
MOST_SEARCHED = 50
MOST_KNOWN = 9
"""Rooms of one contact that are listened to: the present one, and as many earlier ones as the enclave takes."""
MOST_FOLLOWED = 4
JOIN_AGAIN_S = (5.0, 30.0, 120.0, 600.0)


@dataclass(slots=True)
class Joining:
    """A room that is to be joined, and could not be yet. `replaces`: the room whose tombstone names it."""

    contact: str
    replaces: str | None = None
    tries: int = 0
    at: float = 0.0


@dataclass(slots=True)
class Rooms:
    """The rooms of one account. `known`: by contact, the newest first; kept as a mark."""

    account: str
    edge: Edge
    server: Homeserver
    contacts: frozenset[str]
    known: dict[str, list[str]] = field(default_factory=dict)
    joining: dict[str, Joining] = field(default_factory=dict)

    async def load(self) -> None:
        """Read what was known before."""
        self.known = {contact: list(rooms) for contact, rooms in (await self._stored(ROOMS_MARK)).items()}
        stored = await self._stored(JOINS_MARK)
        self.joining = {room: Joining(contact, replaces) for room, (contact, replaces) in stored.items()}

    async def _stored(self, mark: str) -> dict[str, Any]:
        try:
            return dict(json.loads(await self.edge.mark(self.account, mark) or "{}"))
        except ValueError:
            return {}

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
            self.known[contact] = [room_id, *(room for room in rooms if room != room_id)][:MOST_KNOWN]
            await self.edge.set_mark(self.account, ROOMS_MARK, json.dumps(self.known))

    # ------------------------------------------------------------ state
    async def told(self, contact: str, room_id: str) -> tuple[RoomState, bytes]:
        """The room's state, and the body of a `room` arrival about it. Raises RoomUnreadable if that may change."""
        try:
            state = await state_of(self.server, room_id)
        except RoomUnreadable as error:
            if error.outcome.retry:
                raise
            state = RoomState({self.server.user: "leave"})  # who may not read it is not in it
        return state, state.body(contact, room_id, self.server.user)

    async def others(self, room_id: str) -> set[str]:
        """Who else is in a room that we are in, or is invited. Raises RoomUnreadable if that may change."""
        try:
            return (await state_of(self.server, room_id)).others(self.server.user)
        except RoomUnreadable as error:
            if error.outcome.retry:
                raise
            return {"unknown", "many"}

    # ------------------------------------------------------------ joining
    async def join(self, contact: str, room_id: str, replaces: str | None = None) -> bool:
        """Join a room of the contact's, now or, when the server cannot, later. True: it is the contact's newest now.

        Raises RoomUnreadable when the access token is gone.
        """
        joining = self.joining.get(room_id) or Joining(contact, replaces)
        outcome = await self._joined_and_checked(contact, room_id, joining.replaces)
        if outcome.code == LOGGED_OUT:
            raise RoomUnreadable(outcome)
        if outcome.retry:
            delay = outcome.retry_after_s or JOIN_AGAIN_S[min(joining.tries, len(JOIN_AGAIN_S) - 1)]
            joining.tries, joining.at = joining.tries + 1, time.monotonic() + delay
        await self._keep(room_id, joining if outcome.retry else None)
        return outcome.code == "ok"

    async def join_waiting(self) -> list[str]:
        """Try again what it is time for; returns what was joined. Raises RoomUnreadable."""
        due = [(room, waiting.contact) for room, waiting in self.joining.items() if waiting.at <= time.monotonic()]
        return [room for room, contact in due if contact in self.contacts and await self.join(contact, room)]

    async def _keep(self, room_id: str, joining: Joining | None) -> None:
        """Remember what is yet to be joined: the server tells of an invitation once."""
        before = set(self.joining)
        self.joining.pop(room_id, None)
        if joining is not None:
            self.joining[room_id] = joining
        if set(self.joining) != before:
            kept = {room: (waiting.contact, waiting.replaces) for room, waiting in self.joining.items()}
            await self.edge.set_mark(self.account, JOINS_MARK, json.dumps(kept))

    async def _joined_and_checked(self, contact: str, room_id: str, replaces: str | None) -> Outcome:
        try:
            present = room_id in await self._joined()
            via = {"via": contact.partition(":")[2]} if replaces is not None else {}
            query = f"?{urlencode(via)}" if via else ""
            outcome = outcome_of(await self.server.request("POST", f"/rooms/{quoted(room_id)}/join{query}", b"{}"))
            if outcome.code != "ok":
                return outcome
            state = await state_of(self.server, room_id)
        except RoomUnreadable as error:
            return error.outcome
        plausible = replaces is None or (state.predecessor == replaces and state.is_with(self.server.user, contact))
        if not plausible and not present:  # nobody invited us
            await self.server.request("POST", f"/rooms/{quoted(room_id)}/leave", b"{}")
        if not plausible or state.others(self.server.user) - {contact}:
            return Outcome(ROOM_NOT_PRIVATE)  # the user's own concern
        await self.adopt(contact, room_id)
        await self._note_direct(contact, room_id)
        return outcome

    async def follow(self, contact: str, room_id: str, state: RoomState) -> str | None:
        """The room that replaces this one, if it was joined: of the same two people, who alone may say so.

        When we are not let in, an invitation is yet to come, and is accepted like any other.
        """
        named = state.replacement
        if named is None or ROOM_ID.fullmatch(named) is None or named == room_id:
            return None
        if state.replaced_by not in (contact, self.server.user) or self.contact_of(named) is not None:
            return None
        return named if await self.join(contact, named, room_id) else None

    # ------------------------------------------------------------ finding or making one
    async def obtain(self, contact: str, avoid: str | None) -> Outcome:
        """The outcome of `room-obtain`: the state of an encrypted direct room with the contact.

        A repetition after a crash finds the room that was made the first time: there is no way to make the
        request itself idempotent.
        """
        try:
            if avoid is not None:
                await self._follow_on(contact, avoid)
            candidates = [*self.known.get(contact, []), *(await self._direct(contact)), *(await self._joined())]
            for room_id in list(dict.fromkeys(candidates))[:MOST_SEARCHED]:
                if room_id != avoid and await self._fits(contact, room_id):
                    return await self._taken(contact, room_id)
            return await self._made(contact)
        except RoomUnreadable as error:
            return error.outcome

    async def _follow_on(self, contact: str, room_id: str) -> None:
        following: str | None = room_id
        for _ in range(MOST_FOLLOWED):
            if following is None:
                return
            state, _body = await self.told(contact, following)
            following = await self.follow(contact, following, state)

    async def _fits(self, contact: str, room_id: str) -> bool:
        """Whether the room is encrypted, in use, and nobody but the two of us is in it."""
        try:
            return (await state_of(self.server, room_id)).is_with(self.server.user, contact)
        except RoomUnreadable as error:
            if error.outcome.retry:
                raise
            return False

    async def _taken(self, contact: str, room_id: str) -> Outcome:
        await self.adopt(contact, room_id)
        await self._note_direct(contact, room_id)
        _, body = await self.told(contact, room_id)
        return Outcome(body=body)

    async def _made(self, contact: str) -> Outcome:
        """A new room. Who joins it sees nothing of before: keys of old messages must never go with an invitation."""
        visibility = {"history_visibility": "joined"}
        request = {
            "preset": "trusted_private_chat",
            "is_direct": True,
            "invite": [contact],
            "initial_state": [
                {"type": "m.room.encryption", "state_key": "", "content": {"algorithm": ALGORITHM}},
                {"type": "m.room.history_visibility", "state_key": "", "content": visibility},
            ],
        }
        reply = await self.server.request("POST", "/createRoom", json.dumps(request).encode())
        outcome = outcome_of(reply)
        if outcome.code != "ok":
            return outcome
        room_id = object_of(reply).get("room_id")
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
        return object_of(reply)

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
        rooms = object_of(reply).get("joined_rooms")
        return [room for room in rooms if isinstance(room, str)] if isinstance(rooms, list) else []

    def _direct_path(self) -> str:
        return f"/user/{quoted(self.server.user)}/account_data/m.direct"
