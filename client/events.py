"""What an endpoint tells the program around it. Each event has a name under which slixmpp hands it on."""

from dataclasses import dataclass, field
from typing import ClassVar

from client.content import NOTHING, Said
from crypto.xml import Element


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
    weak_string: bool = False
    """Whether the string is of the XEP's own kind: somebody between can make it the same at both ends within seconds.
    The user must be told that comparing it proves little (docs/decisions/0089)."""
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
    post_quantum: bool = False
    """Whether a later quantum computer that has the recorded traffic is still none the wiser (ML-KEM-768 went into the
    keys)."""
    suite: str | None = None
    """The algorithms, for example `aes256-ctr sha256 group 14 ml-kem-768`."""
    rekeyed: int = 0
    """How often either end has brought new keys into the session (XEP-0200)."""
    fingerprint: str | None = None
    """SHA-256 of the public key that the other end proved to hold, hexadecimal; None: it showed none."""
    key: str | None = None
    """What is known of that key: `new`, `same`, `validated`; `changed`, `shared` (known as another contact's), `absent`
    (it used to show one): the user must be warned of these."""
    weaker: tuple[str, ...] = ()
    """What earlier sessions with the contact had and this one has not (`hybrid`, `group`, `public-key`, ...)."""
    password: bool = False
    """Whether the password that both ends know went into the keys."""
    stanzas: tuple[str, ...] = ()
    """The kinds of stanzas that are encrypted: `message`, `presence`, `iq`."""
    typing: bool = False
    """Whether the contact is writing, as it says inside the session."""
    presence: str | None = None
    """What the contact says inside the session: `available`, `chat`, `away`, `xa`, `dnd`; None: nothing."""
    status: str = field(default="", repr=False)
    """The sentence that goes with it."""


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
    said: Said = NOTHING
    """What it says beside its text: whether it is a new wording, an answer."""


@dataclass(frozen=True, slots=True)
class Reacted(Happening):
    """All that the contact now feels about a message: these, and nothing else any more."""

    event: ClassVar[str] = "esession_reaction"
    id: str
    to: str
    emojis: tuple[str, ...] = field(repr=False)
    peer: str


@dataclass(frozen=True, slots=True)
class Retracted(Happening):
    """The contact takes a message of theirs back. Whether it is one of theirs is for the program to see."""

    event: ClassVar[str] = "esession_retraction"
    id: str
    to: str
    peer: str


@dataclass(frozen=True, slots=True)
class ContactRead(Happening):
    """The contact has been shown all up to this message of the user's."""

    event: ClassVar[str] = "esession_read"
    up_to: str
    peer: str


@dataclass(frozen=True, slots=True)
class MessageCopied(Happening):
    """What the user wrote to the contact with another client, as the contact's end tells inside the session.

    To be shown as the user's own. `sender` is the other client's full JID. That the other client wrote it is the
    contact's end's word: a gateway's is worth what its delivery is worth; another person's client could make it up.
    """

    event: ClassVar[str] = "esession_copied"
    id: str
    body: str = field(repr=False)
    sender: str
    peer: str
    said: Said = NOTHING


@dataclass(frozen=True, slots=True)
class ContactTyping(Happening):
    """The contact has begun to write (`composing`), or stopped (`paused`, `active`, `inactive`, `gone`)."""

    event: ClassVar[str] = "esession_typing"
    state: str


@dataclass(frozen=True, slots=True)
class ContactPresence(Happening):
    """The contact's presence, as it says inside the session: `available`, `chat`, `away`, `xa`, `dnd`."""

    event: ClassVar[str] = "esession_presence"
    show: str
    status: str = field(repr=False)
    peer: str


@dataclass(frozen=True, slots=True)
class Answered(Happening):
    """The contact's end answered a question. `kind`: `result`; `error`; `lost`, when the session ended before."""

    event: ClassVar[str] = "esession_answer"
    id: str
    kind: str
    content: tuple[Element, ...] = field(repr=False)
    """Of a result what it holds, of an error what was encrypted in its `<error/>`."""


@dataclass(frozen=True, slots=True)
class Warned(Happening):
    """Something the user must see before writing on: see `SessionView.key` and `SessionView.weaker`.

    `reason`: `changed`, `shared`, `absent` (keys), or `weaker`."""

    event: ClassVar[str] = "esession_warning"
    reason: str
    view: SessionView


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
