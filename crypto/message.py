"""The network-neutral message that travels between two adapter halves, inside the enclave only."""

from dataclasses import dataclass, field
from enum import StrEnum

from crypto.content import Attachment, Mark, Reaction, Reply


class Kind(StrEnum):
    """What sort of message it is."""

    TEXT = "text"
    NOTICE = "notice"
    EMOTE = "emote"


class Standing(StrEnum):
    """What is known of who wrote a message. Orders to the gateway go by it."""

    PLAIN = "plain"
    """Nothing: anybody on the way can have written it."""
    ENCRYPTED = "encrypted"
    """It came end-to-end encrypted, from whoever the other end is."""
    VERIFIED = "verified"
    """The same, and the other end was compared, or linked to one that was."""


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


@dataclass(frozen=True, slots=True)
class Read:
    """The person has seen the conversation up to this message (`Message.id`, written by the other side)."""

    up_to: str


@dataclass(frozen=True, slots=True)
class Profile:
    """How the person presents themselves, publicly. A picture has at most 64 KiB; empty: none."""

    name: str = field(default="", repr=False)
    picture: bytes = field(default=b"", repr=False)
    media_type: str = ""


Signal = Typing | Presence | Read | Profile
"""What is true only for a moment: it is never queued, never repeated, and nobody is told when it is lost."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message. `id` is the source network's own id of it: what an acknowledgement names, what doubles share.

    `body` is text in Unicode, readable by itself: marks, replies, places only say more about it. `sent_at_ms` is what
    the sender's side claims, milliseconds since 1970. `position` is the inbox row it arrived by, for tracing.
    A retraction and a reaction have no body; whatever a half cannot express, it says in words instead.
    """

    id: str
    body: str = field(repr=False)
    kind: Kind = Kind.TEXT
    sent_at_ms: int | None = None
    position: int = 0
    marks: tuple[Mark, ...] = field(default=(), repr=False)
    replaces: str | None = None
    """The message that this one is a new wording of; always the first wording, not the last."""
    retracts: str | None = None
    """The message that its sender takes back."""
    reply: Reply | None = None
    reaction: Reaction | None = None
    attachment: Attachment | None = None
    """A file; `body` is then the caption, or empty."""
    place: str = field(default="", repr=False)
    """A `geo:` URI; `body` then says it in words."""
    standing: Standing = Standing.PLAIN
    """How it came: whoever delivers it says so."""
