"""What the homeserver, and through it the contact, is told of the user: reading, writing, being there.

All of it is in clear in Matrix, so the operator decides: receipts are told (to the user's own homeserver alone where
they are off for the contact), writing and being there only where they were asked for.

| record | kind |
|---|---|
| `reading/<mxid>` | Reading: up to where was told |
| `presence` | Shown: what was told last; forgotten when the account is brought in, for the gateway forgets it as well |
"""

from dataclasses import dataclass

from adapters.inside_api import ContactPolicy, Step
from adapters.matrix import inside_rooms
from adapters.matrix.inside_relations import event_id_of
from adapters.matrix.names import PRESENCE_PUT, ROOM_RECEIPT, ROOM_TYPING
from bridge.wire.values import Address, Code, Number
from crypto.content import ContentPolicy
from crypto.message import Availability, Presence, Read, Signal, Typing

TYPING_MS = 30_000
"""So long a homeserver shows that somebody writes, unless it is told again."""
_WORDS = {
    Availability.AVAILABLE: "online",
    Availability.AWAY: "unavailable",
    Availability.UNAVAILABLE: "offline",
}


@dataclass(frozen=True, slots=True)
class Reading:
    """The event that the user has read up to."""

    event_id: str


@dataclass(frozen=True, slots=True)
class Shown:
    """The word for the user's presence."""

    presence: str


def started(step: Step) -> None:
    """Nothing is known to have been told."""
    step.records.delete("presence")


def told(step: Step, contact: ContactPolicy, signal: Signal) -> None:
    """Tell it, where the policy has it so and there is a room."""
    policy = ContentPolicy.of(contact.options)
    if isinstance(signal, Presence):
        if policy.presence:
            _presence(step, signal)
        return
    room = inside_rooms.room_of(step, contact)
    if room is None or not room.room_id or room.problem is not None:
        return
    if isinstance(signal, Read):
        _read(step, contact, room.room_id, signal, policy)
    elif isinstance(signal, Typing) and policy.typing:
        timeout = Number(v=TYPING_MS if signal.active else 0)
        address = Address(v=room.room_id)
        step.carry(ROOM_TYPING, {"room": address, "timeout-ms": timeout}, lane=f"signals-{contact.id}")


def _read(step: Step, contact: ContactPolicy, room_id: str, signal: Read, policy: ContentPolicy) -> None:
    event_id = event_id_of(signal.up_to)
    if not event_id or step.records.get(f"reading/{contact.address}", Reading) == Reading(event_id):
        return
    step.records.put(f"reading/{contact.address}", Reading(event_id))
    kind = Code(v="read" if policy.receipts else "read-private")
    room, event = Address(v=room_id), Address(v=event_id)
    step.carry(ROOM_RECEIPT, {"room": room, "event": event, "kind": kind}, lane=f"signals-{contact.id}")


def _presence(step: Step, signal: Presence) -> None:
    shown = Shown(_WORDS[signal.availability])
    if step.records.get("presence", Shown) != shown:
        step.records.put("presence", shown)
        step.carry(PRESENCE_PUT, {"presence": Code(v=shown.presence)}, lane="presence")
