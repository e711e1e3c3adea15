"""Which event is which message: of what we sent into a contact's room, the newest thousand, both ways.

| record | kind |
|---|---|
| `known/<mxid>` | Known: the newest few |
| `known-before/<mxid>/<number>` | Known: earlier ones; of the oldest, the record is deleted |

An ordinary message rewrites the first record alone, of at most 700 octets.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from adapters.inside_api import ContactPolicy, Step

CHUNK = 8
CHUNKS = 128
"""Chunks beside the newest: about 1,000 messages."""


@dataclass(frozen=True, slots=True)
class Known:
    """`entries`: id of the message, of its event, and of the event whose new wording it is (empty: none).

    The id of the message is empty for an event that stands for no message of its own (a reaction, our own words).
    """

    number: int = 0
    room_id: str = ""
    entries: tuple[tuple[str, str, str], ...] = ()


def note(step: Step, contact: ContactPolicy, room_id: str, entry: tuple[str, str, str]) -> None:
    """A message has an event now: an entry as `Known` has them."""
    head = step.records.get(_head(contact), Known) or Known(room_id=room_id)
    if len(head.entries) >= CHUNK or (head.room_id != room_id and head.entries):
        step.records.put(_before(contact, head.number), head)
        step.records.delete(_before(contact, head.number - CHUNKS))
        head = Known(head.number + 1)
    entries = (*head.entries, entry)
    step.records.put(_head(contact), Known(head.number, room_id, entries))


def event_of(step: Step, contact: ContactPolicy, room_id: str, message_id: str) -> str:
    """The event of a message of ours in that room: of its first wording. Empty when it is not known (any more)."""
    for known in _chunks(step, contact):
        if known.room_id == room_id:
            for entry in reversed(known.entries):
                if entry[0] == message_id and message_id:
                    return entry[2] or entry[1]
    return ""


def events_of(step: Step, contact: ContactPolicy, room_id: str, first: str) -> tuple[str, ...]:
    """That event and those of its later wordings, in order."""
    found = [
        entry[1]
        for known in _chunks(step, contact)
        if known.room_id == room_id
        for entry in reversed(known.entries)
        if entry[2] == first
    ]
    return (first, *reversed(found))


def message_of(step: Step, contact: ContactPolicy, event_id: str) -> str | None:
    """The message that an event of ours is, empty when it is none of the user's. None: the event is not ours."""
    entries = (entry for known in _chunks(step, contact) for entry in reversed(known.entries))
    return next((entry[0] for entry in entries if entry[1] == event_id), None)


def message_up_to(step: Step, contact: ContactPolicy, event_id: str) -> str | None:
    """The newest message of the user's that is not after an event of ours. None: the event is not ours."""
    found = False
    for known in _chunks(step, contact):
        for entry in reversed(known.entries):
            found = found or entry[1] == event_id
            if found and entry[0]:
                return entry[0]
    return "" if found else None


def _chunks(step: Step, contact: ContactPolicy) -> Iterator[Known]:
    """The newest first."""
    known = step.records.get(_head(contact), Known)
    while known is not None:
        yield known
        known = step.records.get(_before(contact, known.number - 1), Known)


def _head(contact: ContactPolicy) -> str:
    return f"known/{contact.address}"


def _before(contact: ContactPolicy, number: int) -> str:
    return f"known-before/{contact.address}/{number:012d}"
