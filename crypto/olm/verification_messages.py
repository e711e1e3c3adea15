"""The messages of a verification, read and written (spec: Key verification framework). What a peer sends is hostile."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import msgspec

from crypto.olm.canonical import decoded, decoded_object
from crypto.olm.errors import Malformed
from crypto.olm.qr import told_secret
from crypto.olm.sas import MOST_KEYS

PREFIX = "m.key.verification."
REQUEST = f"{PREFIX}request"
SAS = "m.sas.v1"
SHOW_CODE, SCAN_CODE, RECIPROCATE = "m.qr_code.show.v1", "m.qr_code.scan.v1", "m.reciprocate.v1"
AGREEMENT, HASH, MAC = "curve25519-hkdf-sha256", "sha256", "hkdf-hmac-sha256.v2"
DECIMAL, EMOJI = "decimal", "emoji"
LONGEST = 255
"""Characters of an id."""
LONGEST_START = 8 << 10
"""Octets of the content of a start message: it is kept, and hashed."""


# ---------------------------------------------------------------- read
@dataclass(frozen=True, slots=True)
class Request:
    """Somebody wants to verify. `sent_ms`: what a to-device message says; in a room the event's own time counts."""

    from_device: str
    methods: tuple[str, ...]
    sent_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Ready:
    """The request is accepted, on this device."""

    from_device: str
    methods: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Start:
    """A method is begun. `content` is all of it, as it was sent: the commitment covers it."""

    from_device: str
    method: str
    agreements: tuple[str, ...]
    hashes: tuple[str, ...]
    macs: tuple[str, ...]
    strings: tuple[str, ...]
    content: bytes


@dataclass(frozen=True, slots=True)
class Reciprocate:
    """They scanned the code that we show: its secret. A start message, of another method."""

    from_device: str
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Accept:
    """What was chosen of the offer, and the commitment to a key."""

    agreement: str
    hash: str
    mac: str
    strings: tuple[str, ...]
    commitment: str


@dataclass(frozen=True, slots=True)
class Key:
    """An ephemeral public key."""

    key: str


@dataclass(frozen=True, slots=True)
class Mac:
    """Keys that are to be verified, by MACs."""

    macs: Mapping[str, str]
    keys: str


@dataclass(frozen=True, slots=True)
class Done:
    """It is over, well."""


@dataclass(frozen=True, slots=True)
class Cancel:
    """It is over, and why."""

    code: str


Message = Request | Ready | Start | Reciprocate | Accept | Key | Mac | Done | Cancel


class _Relation(msgspec.Struct):
    rel_type: str = ""
    event_id: str = ""


class _Content(msgspec.Struct):
    transaction_id: str = ""
    relation: _Relation | None = msgspec.field(default=None, name="m.relates_to")
    from_device: str = ""
    methods: list[str] = []
    method: str = ""
    secret: str = ""
    timestamp: int | None = None
    agreements: list[str] = msgspec.field(default_factory=list, name="key_agreement_protocols")
    hashes: list[str] = []
    message_authentication_codes: list[str] = []
    strings: object = msgspec.field(default=None, name="short_authentication_string")
    agreement: str = msgspec.field(default="", name="key_agreement_protocol")
    hash: str = ""
    message_authentication_code: str = ""
    commitment: str = ""
    key: str = ""
    mac: dict[str, str] = {}
    keys: str = ""
    code: str = ""


def transaction_of(content: bytes, *, in_room: bool) -> str:
    """The id that a message names: of the event it refers to, or the one that was made up. Raises Malformed."""
    read = decoded(content, _Content)
    found = read.transaction_id
    if in_room:
        found = read.relation.event_id if read.relation is not None and read.relation.rel_type == "m.reference" else ""
    return _id(found)


def message_of(kind: str, content: bytes) -> Message:
    """The message of an event of that type. Raises Malformed, also for a type that is none of these."""
    read = _READERS.get(kind)
    if read is None:
        raise Malformed
    return read(decoded(content, _Content), content)


def _start(read: _Content, content: bytes) -> Start | Reciprocate:
    if len(content) > LONGEST_START:
        raise Malformed
    decoded_object(content)
    if read.method == RECIPROCATE:
        return Reciprocate(_id(read.from_device), told_secret(read.secret))
    return Start(
        from_device=_id(read.from_device),
        method=read.method,
        agreements=tuple(read.agreements),
        hashes=tuple(read.hashes),
        macs=tuple(read.message_authentication_codes),
        strings=tuple(_strings(read)),
        content=content,
    )


def _accept(read: _Content, _content: bytes) -> Accept:
    chosen = (read.agreement, read.hash, read.message_authentication_code)
    return Accept(*chosen, tuple(_strings(read)), _id(read.commitment))


def _mac(read: _Content, _content: bytes) -> Mac:
    if not 0 < len(read.mac) <= MOST_KEYS:
        raise Malformed
    return Mac({_id(key_id): _id(value) for key_id, value in read.mac.items()}, _id(read.keys))


def _strings(read: _Content) -> list[str]:
    if not isinstance(read.strings, list) or not all(isinstance(each, str) for each in read.strings):
        raise Malformed
    return [each for each in read.strings if isinstance(each, str)]


def _id(text: str) -> str:
    if not 1 <= len(text) <= LONGEST:
        raise Malformed
    return text


_READERS: Mapping[str, Callable[[_Content, bytes], Message]] = MappingProxyType(
    {
        REQUEST: lambda read, _: Request(_id(read.from_device), tuple(read.methods), read.timestamp),
        f"{PREFIX}ready": lambda read, _: Ready(_id(read.from_device), tuple(read.methods)),
        f"{PREFIX}start": _start,
        f"{PREFIX}accept": _accept,
        f"{PREFIX}key": lambda read, _: Key(_id(read.key)),
        f"{PREFIX}mac": _mac,
        f"{PREFIX}done": lambda _read, _: Done(),
        f"{PREFIX}cancel": lambda read, _: Cancel(_id(read.code)),
    }
)


# ---------------------------------------------------------------- written
@dataclass(frozen=True, slots=True)
class Send:
    """A message for the other end: the type of its event, and its content with the conversation's id."""

    kind: str
    content: Mapping[str, object] = field(repr=False)


def framed(name: str, transaction_id: str, content: Mapping[str, object], *, in_room: bool) -> Send:
    """The message of that name (`ready`, ...) within a conversation."""
    if in_room:
        frame: dict[str, object] = {"m.relates_to": {"rel_type": "m.reference", "event_id": transaction_id}}
    else:
        frame = {"transaction_id": transaction_id}
    return Send(PREFIX + name, {**content, **frame})
