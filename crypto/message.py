"""The network-neutral message that travels between two adapter halves, inside the enclave only."""

from dataclasses import dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    """What sort of message it is."""

    TEXT = "text"
    NOTICE = "notice"
    EMOTE = "emote"


class Assurance(StrEnum):
    """What a leg's encryption is worth, best first (design, section 7)."""

    END_TO_END = "end-to-end"
    END_TO_END_NO_FORWARD_SECRECY = "end-to-end-no-forward-secrecy"
    TRANSPORT = "transport"
    NONE = "none"

    def meets(self, required: "Assurance") -> bool:
        """Whether this is at least what is required."""
        order = list(Assurance)
        return order.index(self) <= order.index(required)


class Availability(StrEnum):
    """Whether somebody is there."""

    AVAILABLE = "available"
    AWAY = "away"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class Typing:
    """The person began or ceased to write."""

    active: bool


@dataclass(frozen=True, slots=True)
class Presence:
    """Whether the person is there, and the line they gave for it."""

    availability: Availability
    status: str = field(default="", repr=False)


Signal = Typing | Presence
"""What is true only for a moment: it is never queued, never repeated, and nobody is told when it is lost."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message. `id` is the source network's own id of it: what an acknowledgement names, what doubles share.

    `body` is text in Unicode. `sent_at_ms` is what the sender's side claims, milliseconds since 1970.
    `position` is the inbox row it arrived by, for tracing.
    """

    id: str
    body: str = field(repr=False)
    kind: Kind = Kind.TEXT
    sent_at_ms: int | None = None
    position: int = 0
