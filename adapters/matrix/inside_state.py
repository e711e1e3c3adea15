"""Records of the Matrix half. Small ones: a message rewrites only what it changes.

| name | kind |
|---|---|
| `own` | OwnState |
| `account` | vodozemac Account |
| `identity` | IdentityState: the cross-signing keys of the account (inside_identity) |
| `recovery` | Recovery: joining an identity that another client made (inside_recovery) |
| `pin/<mxid>` | Pin: the identity a contact is known by (inside_peers) |
| `told/<mxid>/<code>` | Telling: what the user is told about a contact (inside_notices) |
| `user/<mxid>` | Tracked: the devices of a contact or of the user |
| `olm/<curve25519>` | Olm: which sessions there are with a device |
| `olm-session/<curve25519>/<session id>` | vodozemac Session |
| `claim` | Claim: the one request for one-time keys under way |
| `unclaimed/<curve25519>` | Unclaimed: had no key to claim |
| `wedged/<curve25519>` | Wedged: its session is broken |
| `room/<mxid>` | Room: the direct room with a contact |
| `out/<mxid>` | Outbound: whom our session in that room was shared with |
| `out-session/<mxid>` | vodozemac GroupSession |
| `line/<mxid>`, `queue/<mxid>/<n>` | Line, Queued: messages that wait |
| `sent/<key>` | Sent: messages under way |
| `back/<mxid>/<n>` | Returned: messages that the room did not take (inside_returned) |
| `known/<mxid>`, `known-before/<mxid>/<n>` | Known: which event is which message of ours (inside_known) |
| `reacting/<mxid>`, `reacted/<mxid>` | Reactions: ours, and the contact's (inside_reactions) |
| `threads/<mxid>`, `edits/<mxid>`, `polls/<mxid>` | the contact's newest (inside_received, inside_polls) |
| `plain/<mxid>` | Digests: of the contact's newest events in clear (inside_clear) |
| `reading/<mxid>`, `read-early/<mxid>` | read receipts (inside_telling, inside_signals) |
| `presence` | what the homeserver was told of the user (inside_telling) |
| `wake/<name>` | Due: timers that several contacts share (inside_timers) |
| `in/<mxid>/<session id>` | vodozemac InboundGroupSession |
| `in-of/<mxid>/<session id>` | Inbound: where it came from |
| `seen/<mxid>/<session id>/<chunk>` | Seen: replay marks |
| `missing/<mxid>/<session id>` | Missing: a session that is looked for (inside_missing) |
| `withheld/<mxid>` | Withheld: sessions that we are not given (inside_withheld) |
| `backup` | BackupState: the account's key backup (inside_backup) |
| `backup-writing` | Batch: what is being written into it (inside_backup_writing) |
| `backup-sweep` | Sweep: how far all sessions were written into a backup that is another now |
| `backup-due/<mxid>/<session id>` | Due: a session that is to be written |
| `backup-own/<session id>` | DueOwn: one of our own; `backup-own-key/<session id>` is its InboundGroupSession |
| `storage`, `stored-secret` | Storage, StoredSecret: what the recovery key opened, until the backup is set up |
| `answering/<curve25519>/<session id>` | Answering: a device of ours waits for a session (inside_key_requests) |
| `answered/<curve25519>` | Answered: requests of a device of ours that were answered |
| `forgotten/<mxid>` | Forgotten: sessions that are kept no longer |
| `opening/<mxid>/<session id>` | Opening: how far the events that were parked for it are opened |
| `reopening/<mxid>` | Opening: how far the events that were held for want of belief are looked at again |
| `parked/<mxid>/<session id>/<position>` | Parked: events that wait for a key |
| `strangers/<mxid>` | Strangers: devices that turned out not to be listed |
| `unbound/<mxid>/<n>` | Unbound: Olm events that wait for the sender's device list |
"""

from dataclasses import dataclass, field

from crypto.content import Attachment, Reaction, Reply
from crypto.content import Mark as TextMark
from crypto.message import Kind
from crypto.olm.device import Device, OwnDevice
from crypto.olm.identity import Identity

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS


@dataclass(frozen=True, slots=True)
class OwnState:
    """Our device and how its keys stand on the server. `uploading` is the key of the upload under way."""

    device: OwnDevice
    published: bool = False
    uploading: str | None = None
    uploaded_ms: int = 0
    fallback_ms: int = 0
    count: int = 0
    """One-time keys on the server, as last told."""


@dataclass(frozen=True, slots=True)
class Tracked:
    """Devices of a user. `query` is the key of the request under way; `again`: it was outdated meanwhile."""

    devices: tuple[Device, ...] = ()
    known: bool = False
    outdated: bool = True
    query: str | None = None
    again: bool = False
    tries: int = 0
    retry_ms: int = 0
    identity: Identity | None = None
    """The user's cross-signing keys, when they verify."""
    claims_identity: bool = False
    """Whether the server lists any cross-signing keys of the user, good or bad."""
    vouched: tuple[str, ...] = ()
    """Ids of the devices, our own among them, that the identity vouches for."""


@dataclass(frozen=True, slots=True)
class OlmEntry:
    """One session with a device. Not `sendable`: its sending keys may have been used in a future we forgot."""

    session_id: str
    last_ms: int
    sendable: bool = True


@dataclass(frozen=True, slots=True)
class Olm:
    """The sessions with one device, the most recently used first."""

    entries: tuple[OlmEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class Claim:
    """One-time keys that were asked for."""

    key: str
    targets: tuple[Device, ...]


@dataclass(frozen=True, slots=True)
class Unclaimed:
    """No key of this device could be claimed; not to be tried before."""

    until_ms: int


@dataclass(frozen=True, slots=True)
class Wedged:
    """A message of this device's could not be opened: it needs a new session, at most one in an hour."""

    device: Device
    noted_ms: int
    healed: bool = False


@dataclass(frozen=True, slots=True)
class Room:
    """The direct room. `problem` is the code for which nothing is sent into it, None when it is fit."""

    room_id: str = ""
    problem: str | None = None
    rotation_ms: int = 0
    rotation_messages: int = 0
    obtaining: str | None = None
    earlier: tuple[str, ...] = ()
    """Rooms that were used before: what arrives in them is still taken."""
    joined_ms: int = 0
    """Since when the contact is in it; 1: since before we looked, 0: invited only."""
    problem_ms: int = 0
    """Since when there is the problem."""
    sought_ms: int = 0
    """When it was asked for; 0: somebody came since."""
    visibility: str = ""
    """Who may see its history, as the room says."""
    epoch: int = 0
    """Counts the changes after which a session of before is not used any more."""


@dataclass(frozen=True, slots=True)
class Telling:
    """Something that the user is told, at that time; `over`: it is so no longer."""

    at_ms: int
    said: bool = False
    over: bool = False


@dataclass(frozen=True, slots=True)
class Share:
    """A device that was given the session's key."""

    user_id: str
    device_id: str
    curve25519: str


@dataclass(frozen=True, slots=True)
class Outbound:
    """Our Megolm session. `ready_until_ms` 0: devices and room are to be looked at before the next message."""

    room_id: str
    session_id: str
    created_ms: int
    shared: tuple[Share, ...] = ()
    sharing: str | None = None
    pending: tuple[Share, ...] = ()
    ready_until_ms: int = 0
    most_messages: int = 0
    withheld: tuple[Share, ...] = ()
    """Who was told that they are not given it."""
    epoch: int = 0
    """The room's, when it was made."""
    policy: str = ""
    """What the operator had said about the contact then."""


@dataclass(frozen=True, slots=True)
class Line:
    """Numbers of the first waiting message and of the next one to come."""

    first: int = 0
    next: int = 0
    contact: str = ""
    """Whose they are, also when the contact's address is another by now."""
    for_event: bool = False
    """Whether the first one waits for the id of an event that it is about."""


@dataclass(frozen=True, slots=True)
class Beside:
    """What a message has beside its text: see crypto.message.Message."""

    marks: tuple[TextMark, ...] = field(default=(), repr=False)
    replaces: str | None = None
    retracts: str | None = None
    reply: Reply | None = None
    reaction: Reaction | None = None
    attachment: Attachment | None = None
    place: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Queued:
    """A message that waits. `notice`: our own word to the contact, nobody awaits its outcome."""

    message_id: str
    kind: Kind
    position: int
    notice: bool
    body: str = field(repr=False)
    beside: Beside | None = None
    content: bytes = field(default=b"", repr=False)
    """JSON of the content of its `m.room.message` when that is finished already (a file that was uploaded)."""
    again: bool = False
    """Whether a room did not take it: what another one does not take either has failed."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A message on its way to the server.

    `first`: the event that it is a new wording of. `target`, `emoji`: the reaction that it is. `shows`: the contact
    reads it as a message of its own, so it may be what they have read up to.
    """

    contact: str
    message_id: str
    notice: bool
    position: int
    room_id: str = ""
    first: str = ""
    target: str = ""
    emoji: str = field(default="", repr=False)
    shows: bool = True
    message: Queued | None = None
    """For another room, should this one not take it."""


@dataclass(frozen=True, slots=True)
class Returned:
    """A message that came back, and whose it is."""

    contact: str
    message: Queued


@dataclass(frozen=True, slots=True)
class Inbound:
    """Where a session came from: the device whose Olm session carried its key."""

    room_id: str
    curve25519: str
    ed25519: str
    device_id: str
    received_ms: int
    floor: int = 0
    """Indices below this one may have been used before: the session had been forgotten when its key came again."""
    source: str = ""
    """Empty: from the device itself, else how it came (inside_origin); the device's keys are only claimed then."""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """Sessions that are kept no longer: a digest of each id, and the index from which on nothing was used."""

    floors: tuple[tuple[bytes, int], ...] = ()
    unproved: tuple[tuple[bytes, int], ...] = ()
    """Of those whose key did not come from their own device: whoever makes such up pushes out no others."""


@dataclass(frozen=True, slots=True)
class Opening:
    """Parked events up to this record (or, of a whole contact, this position) were looked at, the rest is yet to be."""

    after: str


@dataclass(frozen=True, slots=True)
class Mark:
    """An index that was used, and a digest of the event that used it."""

    index: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Seen:
    """Replay marks of a few neighbouring indices."""

    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True, slots=True)
class Parked:
    """An event that could not be opened yet, and why."""

    room_id: str
    position: int
    reason: str
    event: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Storage:
    """The key of the account's secret storage, while something is yet to be stored."""

    octets: bytes = field(repr=False)
    key_id: str


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """The backup's private key as it stood in secret storage."""

    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Strangers:
    """Identity keys that the sender's device list did not have; sessions with the newest of them are kept."""

    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unbound:
    """An opened Olm event whose sender's device is not in the list we know."""

    kind: str
    sender_key: str
    signing_key: str
    content: bytes = field(repr=False)
