"""Where a session came from, and what that is worth.

A session whose key its own device sent us is proved to be that device's. One from the account's backup, or from another
device of the account's, is not: the homeserver can write into the backup, and the other device may have it from there.
What such a session opens is held or marked (docs/decisions/0129).
"""

from dataclasses import replace

from adapters.inside_api import ContactPolicy, Step
from adapters.matrix import inside_devices, inside_peers
from adapters.matrix.inside_peers import Trust
from adapters.matrix.inside_state import Inbound
from crypto.message import Message
from crypto.olm.group import RoomEvent

DIRECT = ""
BACKUP = "backup"
FORWARDED = "forwarded"
NOT_PROVED = "key-not-proved"
"""Why an event is parked whose key is there, but not from the device that made it."""
MARK = "[Not proved to be from this contact: the key to this message did not come from their device.]\n"
_MARKED = "m.room.message"


def is_proved(origin: Inbound) -> bool:
    """Whether the session is known to be the device's that it names."""
    return origin.source == DIRECT


def claimed_device(step: Step, user: str, origin: Inbound) -> str:
    """Id of the listed device with the keys that the session is said to be of; empty when there is none."""
    device = inside_devices.device_of(step, user, origin.curve25519)
    return device.device_id if device is not None and device.ed25519 == origin.ed25519 else ""


def believed(step: Step, contact: ContactPolicy, origin: Inbound) -> str | None:
    """Why what the session opens is not shown as the contact's, as a code; None when it is (marked, if not proved)."""
    if is_proved(origin):
        return inside_peers.believed(step, contact, origin.device_id)
    if inside_peers.trust_of(contact) is Trust.VERIFIED and inside_peers.problem(step, contact) is None:
        return NOT_PROVED
    return inside_peers.believed(step, contact, claimed_device(step, contact.address, origin))


def proving_device(origin: Inbound) -> str:
    """Id of the device that what the session opens is proved to be from; empty when it is not."""
    return origin.device_id if is_proved(origin) else ""


def judged(opened: RoomEvent, origin: Inbound) -> RoomEvent:
    """The event with what its session is worth noted on it."""
    return replace(opened, proved=is_proved(origin))


def may_be_shown(opened: RoomEvent) -> bool:
    """What cannot be marked (a reaction, a redaction, ...) passes only from sessions that are proved."""
    return opened.proved or opened.type == _MARKED


def marked(message: Message, opened: RoomEvent) -> Message:
    """The message, with a line before it when nobody can prove that the contact wrote it.

    Nothing is left then that could be shown without that line: no file, no place, nothing quoted, and a new wording is
    a message of its own.
    """
    if opened.proved:
        return message
    marks = tuple(replace(mark, start=mark.start + len(MARK), end=mark.end + len(MARK)) for mark in message.marks)
    text = message.body or (message.attachment.name if message.attachment is not None else "")
    reply = replace(message.reply, quoted="") if message.reply is not None else None
    bare = replace(message, reply=reply, attachment=None, place="", replaces=None, retracts=None, reaction=None)
    return replace(bare, body=MARK + text, marks=marks)
