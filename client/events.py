"""What an endpoint tells the program around it. Each event has a name under which slixmpp hands it on."""

from dataclasses import dataclass, field
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class SessionView:
    """How things stand with one contact. Holds no secret: the SAS is meant to be read aloud."""

    jid: str
    """The contact's bare JID."""
    state: str
    """`none`, `negotiating` or `active`."""
    peer: str | None = None
    """The full JID the session is with."""
    thread: str | None = None
    role: str | None = None
    """`initiator` or `responder`."""
    sas: str | None = None
    """Short authentication string, five characters (XEP-0116, sas28x5). To be compared by voice."""
    verified: bool = False
    """Whether the user compared the SAS, in this session or an earlier one it descends from."""
    chain: str | None = None
    """`first`: no earlier session is known; `continued`: joined to one by a retained secret; `broken`: earlier
    sessions are known, but the other end has none of their secrets: compare the SAS again."""
    profile: str | None = None
    """`letter` or `deployed`."""
    disclosure: str | None = None
    """What was agreed about disclosure; other than `never` the user must be told (XEP-0116, Back Doors)."""
    logging: str | None = None
    waiting: int = 0
    """Messages not acknowledged yet."""
    online: bool = False
    """Whether a resource of the contact is available that announces ESessions."""


@dataclass(frozen=True, slots=True)
class Happening:
    """Base of the events; `jid` is the contact's bare JID."""

    event: ClassVar[str] = ""
    jid: str


@dataclass(frozen=True, slots=True)
class SessionChanged(Happening):
    """Anything that `session(jid)` shows is different now."""

    event: ClassVar[str] = "esession_changed"
    view: SessionView


@dataclass(frozen=True, slots=True)
class SessionStarted(Happening):
    """A session is active."""

    event: ClassVar[str] = "esession_started"
    view: SessionView


@dataclass(frozen=True, slots=True)
class SessionEnded(Happening):
    """A session is over. `reason`: `ended` by either side, `unauthenticated` (anyone may have ended it), `broken` (a
    stanza did not verify), `lost` by the other end, `gone` (it went offline), `offline` (we did), `replaced`."""

    event: ClassVar[str] = "esession_ended"
    reason: str
    thread: str


@dataclass(frozen=True, slots=True)
class MessageReceived(Happening):
    """A decrypted, authentic message, in order, once. `id` is its origin-id (or what else names it)."""

    event: ClassVar[str] = "esession_message"
    id: str
    body: str = field(repr=False)
    peer: str
    thread: str


@dataclass(frozen=True, slots=True)
class MessageDelivered(Happening):
    """The other end acknowledged a message."""

    event: ClassVar[str] = "esession_delivered"
    id: str


@dataclass(frozen=True, slots=True)
class MessageFailed(Happening):
    """A message was refused for good and will not be sent again. `text` is the other side's sentence, if any."""

    event: ClassVar[str] = "esession_failed"
    id: str
    condition: str
    text: str


@dataclass(frozen=True, slots=True)
class MessageHeld(Happening):
    """The other end does not take a message yet: it is kept, and sent again. `text` says what has to happen first.

    Told once for each message."""

    event: ClassVar[str] = "esession_held"
    id: str
    condition: str
    text: str


@dataclass(frozen=True, slots=True)
class SessionRefused(Happening):
    """A negotiation failed. It is tried again, with growing pauses, while messages wait."""

    event: ClassVar[str] = "esession_refused"
    condition: str
    text: str


@dataclass(frozen=True, slots=True)
class PlainReceived(Happening):
    """The contact, with whom there were sessions, sent an unencrypted message: nobody knows who wrote it."""

    event: ClassVar[str] = "esession_plain"
    peer: str
