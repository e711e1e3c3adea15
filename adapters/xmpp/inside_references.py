"""Which message is meant: between ids of stanzas, as clients name messages, and `Message.id`, as the halves do.

What the user wrote is found among the messages that were taken (`inside_seen`). What came from the other network is
written down when it is queued: sixteen to a record, which each of them writes once.
"""

from dataclasses import dataclass, replace

from adapters.inside_api import Step
from adapters.xmpp.inside_leg import LegStep
from adapters.xmpp.inside_seen import find, find_by_peer_id

SENT_CHUNK = 16
SENT_CHUNKS = 64
"""16 times 64: the last 1024 messages from the other network can be referred to."""
MAX_REWORDED = 64
_TAIL = 8


@dataclass(frozen=True, slots=True)
class SentChunk:
    """Messages for the user, one after the other in the queue: their ids, and what is random in their stanzas' ids."""

    first: int
    """Place of the first of them in the queue."""
    ids: tuple[str, ...] = ()
    tails: bytes = b""


@dataclass(frozen=True, slots=True)
class Reworded:
    """New wordings that the user has sent, each with the message it is one of: the newest last."""

    pairs: tuple[tuple[str, str], ...] = ()


# ---------------------------------------------------------------- from the other network
def new_stanza_id(at: LegStep, number: int, message_id: str) -> str:
    """The id of the stanza for the message at that place of the queue; it is written down."""
    tail = at.step.draw("stanza-id", _TAIL)
    name = _name(at, number)
    chunk = at.step.records.get(name, SentChunk)
    if chunk is None or chunk.first + len(chunk.ids) != number:
        if (oldest := number - SENT_CHUNK * SENT_CHUNKS) >= 0:
            at.step.records.delete(_name(at, oldest))
        chunk = SentChunk(number)
    at.step.records.put(name, SentChunk(chunk.first, (*chunk.ids, message_id), chunk.tails + tail))
    return _stanza_id(number, tail)


def to_far(at: LegStep, stanza_id: str) -> str | None:
    """The message of the other network's that went out in the stanza of that id; None: it is not known."""
    number = number_of(stanza_id)
    chunk = None if number is None else at.step.records.get(_name(at, number), SentChunk)
    if number is None or chunk is None or not 0 <= number - chunk.first < len(chunk.ids):
        return None
    place = number - chunk.first
    known = _stanza_id(number, chunk.tails[place * _TAIL : (place + 1) * _TAIL])
    return chunk.ids[place] if known == stanza_id else None


def to_user(at: LegStep, message_id: str) -> str | None:
    """The id of the stanza in which that message went out; None: it is not known."""
    newest = at.line.next - 1
    for number in range(newest, newest - SENT_CHUNK * SENT_CHUNKS, -SENT_CHUNK):
        chunk = at.step.records.get(_name(at, number), SentChunk) if number >= 0 else None
        if chunk is not None and message_id in chunk.ids:
            place = len(chunk.ids) - 1 - chunk.ids[::-1].index(message_id)
            return _stanza_id(chunk.first + place, chunk.tails[place * _TAIL : (place + 1) * _TAIL])
    return None


def number_of(stanza_id: str) -> int | None:
    """The place in the queue that a stanza id of ours names."""
    parts = stanza_id.split("-")
    if len(parts) != 3 or parts[0] != "m" or not 0 < len(parts[1]) <= 12:
        return None
    try:
        return int(parts[1], 16)
    except ValueError:
        return None


# ---------------------------------------------------------------- from the user
def of_user(at: LegStep, stanza_id: str) -> str | None:
    """The message that the user sent under that id; None: it is not known (any more)."""
    records, contact = at.step.records, at.contact.id
    return stanza_id if find(records, contact, stanza_id) else find_by_peer_id(records, contact, stanza_id)


def stanza_of_user(at: LegStep, message_id: str) -> str | None:
    """The id by which the user's clients know their message; None: it is not known, or has none."""
    known = find(at.step.records, at.contact.id, message_id)
    return None if known is None else known.peer_id


def first_wording(at: LegStep, message_id: str) -> str:
    """The message itself, or the one that it is a new wording of: some clients name the last, some the first."""
    known = at.step.records.get(f"reworded/{at.contact.id}", Reworded) or Reworded()
    return dict(known.pairs).get(message_id, message_id)


def reworded(at: LegStep, message_id: str, first: str) -> None:
    """The user's message is a new wording of that one."""
    name = f"reworded/{at.contact.id}"
    known = at.step.records.get(name, Reworded) or Reworded()
    at.step.records.put(name, replace(known, pairs=(*known.pairs, (message_id, first))[-MAX_REWORDED:]))


def forget_references(step: Step, contact: str) -> None:
    """The contact is not on the map any more."""
    for name in list(step.records.names(f"sent/{contact}/")):
        step.records.delete(name)
    step.records.delete(f"reworded/{contact}")


def _stanza_id(number: int, tail: bytes) -> str:
    return f"m-{number:x}-{tail.hex()}"


def _name(at: LegStep, number: int) -> str:
    return f"sent/{at.contact.id}/{number // SENT_CHUNK:x}"
