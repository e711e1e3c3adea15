"""Messages that a room did not take: they go into the room that takes its place, once, in their order."""

from collections.abc import Container
from dataclasses import replace

from adapters.inside_api import ContactPolicy, Step
from adapters.matrix import inside_rooms
from adapters.matrix.inside_state import Line, Returned, Sent
from adapters.matrix.inside_timers import wake_by
from adapters.matrix.names import CONTACT_CHANGED, FORBIDDEN, NOT_FOUND

CLOSED = frozenset({FORBIDDEN, NOT_FOUND})
"""What a homeserver answers when we may not write into a room: it was replaced, we were put out, it is gone."""
MOVED_AT_ONCE = 512 << 10
"""Octets of messages that are put into the line in one step: what it changes must fit one frame."""


def returned(step: Step, contact: ContactPolicy, entry: Sent, code: str) -> bool:
    """Keep a message that came back, for another room. False when it has come back before: then it has failed."""
    if code not in CLOSED or entry.message is None or entry.message.again:
        return False
    kept = Returned(contact.id, replace(entry.message, again=True))
    step.records.put(f"{_prefix(contact)}{len(_names(step, contact)):06d}", kept)
    inside_rooms.closed(step, contact, entry.room_id)
    if entry.position:
        step.trace(entry.position, "parked", code)
    return True


def pending(step: Step, contact: ContactPolicy) -> bool:
    """Whether any message came back and is not in the line yet."""
    return bool(_names(step, contact))


def merged(step: Step, contact: ContactPolicy) -> bool:
    """Put what came back before what waits. False while more may come back: then nothing may be sent.

    The last goes first, as far as one step can hold: numbers of the line count down for it, below zero if need be.
    """
    names = _names(step, contact)
    if not names:
        return True
    under_way = (step.records.get(name, Sent) for name in step.records.names("sent/"))
    if any(entry is not None and entry.contact == contact.id and entry.message is not None for entry in under_way):
        return False
    line = step.records.get(f"line/{contact.address}", Line) or Line()
    line, room = replace(line, contact=contact.id, for_event=False), MOVED_AT_ONCE
    for name in reversed(names):
        kept = step.records.get(name, Returned)
        step.records.delete(name)
        if kept is not None:
            line = replace(line, first=line.first - 1)
            step.records.put(f"queue/{contact.address}/{line.first:016d}", kept.message)
            room -= len(kept.message.body.encode())
        if room <= 0:
            break
    step.records.put(f"line/{contact.address}", line)
    if not pending(step, contact):
        return True
    wake_by(step, inside_rooms.TIMER, step.now_ms())
    return False


def drop(step: Step, mapped: Container[str]) -> None:
    """What came back for an address that is off the map will never be sent: its sender is told."""
    for name in list(step.records.names("back/")):
        kept = step.records.get(name, Returned)
        if kept is None or name.removeprefix("back/").rpartition("/")[0] in mapped:
            continue
        step.records.delete(name)
        step.report("contact-removed")
        if step.account.contact_by_id(kept.contact) is not None and not kept.message.notice:
            step.failed(kept.contact, kept.message.message_id, CONTACT_CHANGED)


def _prefix(contact: ContactPolicy) -> str:
    return f"back/{contact.address}/"


def _names(step: Step, contact: ContactPolicy) -> list[str]:
    return sorted(step.records.names(_prefix(contact)))
