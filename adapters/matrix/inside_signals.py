"""Typing and presence of a contact, as the homeserver tells them: nothing in Matrix authenticates either."""

import msgspec

from adapters.inside_api import Step
from crypto.message import Availability, Presence, Typing
from crypto.olm.canonical import decoded

MAX_STATUS = 256
"""Characters of a status line that are taken."""
_AVAILABILITY = {
    "online": Availability.AVAILABLE,
    "unavailable": Availability.AWAY,
    "offline": Availability.UNAVAILABLE,
}


class SignalArrival(msgspec.Struct):
    """Body of a `signal` arrival."""

    contact: str
    typing: bool | None = None
    presence: str | None = None
    status: str = ""


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
        step.signal(contact.id, Presence(availability, _one_line(told.status)))


def _one_line(text: str) -> str:
    """Without characters that end a line or that no XML may hold."""
    kept = "".join(char for char in text if char.isprintable())
    return kept[:MAX_STATUS]
