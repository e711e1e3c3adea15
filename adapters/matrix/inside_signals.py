"""Typing, presence, reading and the public profile of a contact, as the homeserver tells them.

Nothing in Matrix authenticates any of it.

| record | kind |
|---|---|
| `read-early/<mxid>` | Early: a receipt for an event whose id the server has not told us yet |
"""

from dataclasses import dataclass

import msgspec

from adapters.inside_api import ContactPolicy, Step
from adapters.matrix import inside_known
from adapters.matrix.inside_relations import event_id_of
from crypto.content import ContentPolicy
from crypto.message import Availability, Presence, Profile, Read, Typing
from crypto.olm.canonical import decoded

MAX_STATUS = 256
"""Characters of a status line that are taken."""
MAX_NAME = 128
MAX_PICTURE = 64 << 10
MOST_READ = 16
_AVAILABILITY = {
    "online": Availability.AVAILABLE,
    "unavailable": Availability.AWAY,
    "offline": Availability.UNAVAILABLE,
}
_PICTURES = {
    "image/png": (b"\x89PNG\r\n\x1a\n",),
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/gif": (b"GIF87a", b"GIF89a"),
    "image/webp": (b"RIFF",),
}


@dataclass(frozen=True, slots=True)
class Early:
    """The event that the contact has read."""

    event_id: str


class SignalArrival(msgspec.Struct):
    """Body of a `signal` arrival."""

    contact: str
    typing: bool | None = None
    presence: str | None = None
    status: str = ""
    read: list[str] = []


class ProfileArrival(msgspec.Struct):
    """Body of a `profile` arrival. `picture`: base64."""

    contact: str
    name: str = ""
    picture: bytes = b""
    media_type: str = ""


def arrived(step: Step, body: bytes) -> None:
    """Hand it to the other side. Raises Malformed."""
    told = decoded(body, SignalArrival)
    contact = step.account.contact_by_address("matrix", told.contact)
    if contact is None:
        step.report("signal-stranger")
        return
    if told.typing is not None:
        step.signal(contact.id, Typing(told.typing))
    availability = _AVAILABILITY.get(told.presence or "")
    if availability is not None:
        step.signal(contact.id, Presence(availability, _one_line(told.status)[:MAX_STATUS]))
    for event_id in told.read[:MOST_READ]:
        _read(step, contact, event_id_of(event_id))


def profile_arrived(step: Step, body: bytes) -> None:
    """How a contact presents themselves: a name of one line, and a picture that is one. Raises Malformed."""
    told = decoded(body, ProfileArrival)
    contact = step.account.contact_by_address("matrix", told.contact)
    if contact is None or not ContentPolicy.of(contact.options).profile:
        step.report("signal-stranger" if contact is None else "profile-ignored")
        return
    name = _one_line(told.name).strip()[:MAX_NAME]
    fits = len(told.picture) <= MAX_PICTURE and told.picture.startswith(_PICTURES.get(told.media_type, ()))
    if told.picture and fits:
        step.signal(contact.id, Profile(name, told.picture, told.media_type))
    else:
        step.signal(contact.id, Profile(name))


def known_now(step: Step, contact: ContactPolicy) -> None:
    """The server told us the id of an event: the contact may have read it already."""
    early = step.records.get(f"read-early/{contact.address}", Early)
    if early is not None and inside_known.message_up_to(step, contact, early.event_id) is not None:
        step.records.delete(f"read-early/{contact.address}")
        _read(step, contact, early.event_id)


def _read(step: Step, contact: ContactPolicy, event_id: str) -> None:
    if not event_id or not ContentPolicy.of(contact.options).receipts:
        return
    message = inside_known.message_up_to(step, contact, event_id)
    if message:
        step.signal(contact.id, Read(message))
    elif message is None and any(True for _ in step.records.names("sent/")):
        step.records.put(f"read-early/{contact.address}", Early(event_id))


def _one_line(text: str) -> str:
    """Without characters that end a line or that no XML may hold."""
    return "".join(char for char in text if char.isprintable())
