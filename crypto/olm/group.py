"""Megolm: one device to all devices of a room (spec: m.megolm.v1.aes-sha2)."""

from dataclasses import dataclass, field

import msgspec
from vodozemac import GroupSession, InboundGroupSession, MegolmMessage, SessionKey

from crypto.olm.canonical import decoded
from crypto.olm.contained import contained
from crypto.olm.device import LONGEST_ID, MEGOLM, Device
from crypto.olm.errors import Malformed, TooLarge, Undecryptable, UnknownAlgorithm, WrongParty
from crypto.olm.keys import ed25519

MAX_CIPHERTEXT = 62_000
"""Octets of base64 in an event: the event as federated is at most 65,536 octets, all its other fields included."""
ROOM_KEY = "m.room_key"
ENCRYPTED = "m.room.encrypted"


class MegolmContent(msgspec.Struct):
    """Content of a room's `m.room.encrypted` event. `sender_key` and `device_id` are not read: they prove nothing."""

    algorithm: str
    session_id: str = ""
    ciphertext: object = None


class _Plain(msgspec.Struct):
    type: str
    room_id: str
    content: msgspec.Raw


class _RoomKey(msgspec.Struct):
    algorithm: str
    room_id: str
    session_id: str
    session_key: str


@dataclass(frozen=True, slots=True)
class RoomKey:
    """A session that a peer shares with us, at the place of its ratchet from which on we may read."""

    room_id: str
    session_id: str
    session: InboundGroupSession = field(repr=False)


@dataclass(frozen=True, slots=True)
class SealedEvent:
    """A Megolm event before it is opened: which session, and the message."""

    session_id: str
    message: MegolmMessage = field(repr=False)


@dataclass(frozen=True, slots=True)
class RoomEvent:
    """What was in an event, and the index of its message in the session."""

    index: int
    type: str
    content: bytes = field(repr=False)
    proved: bool = True
    """Whether the session is known to be the device's that it is taken for."""


def room_key_content(session: GroupSession, room_id: str) -> dict[str, object]:
    """Content of the `m.room_key` that lets its reader open this session from its present index on. Secret."""
    return {
        "algorithm": MEGOLM,
        "room_id": room_id,
        "session_id": session.session_id,
        "session_key": session.session_key.to_base64(),
    }


def received_room_key(content: bytes) -> RoomKey:
    """The session in an `m.room_key`. Proved: its creator holds the session's signing key.

    Raises Malformed, UnknownAlgorithm, WrongParty (the session is not the one it is called).
    """
    key = decoded(content, _RoomKey)
    if key.algorithm != MEGOLM:
        raise UnknownAlgorithm
    if not 1 <= len(key.room_id.encode()) <= LONGEST_ID:
        raise Malformed
    session = _inbound(key.session_key)
    if session.session_id != key.session_id:
        raise WrongParty
    return RoomKey(key.room_id, key.session_id, session)


def encrypted_event(session: GroupSession, own: Device, room_id: str, kind: str, content: object) -> bytes:
    """JSON content of an `m.room.encrypted` event for the room. The session has changed. Raises TooLarge.

    `sender_key` and `device_id` are deprecated but to be sent (v1.3).
    """
    plain = msgspec.json.encode({"type": kind, "content": content, "room_id": room_id})
    if len(plain) * 4 // 3 > MAX_CIPHERTEXT:
        raise TooLarge
    return msgspec.json.encode(
        {
            "algorithm": MEGOLM,
            "ciphertext": session.encrypt(plain).to_base64(),
            "device_id": own.device_id,
            "sender_key": own.curve25519,
            "session_id": session.session_id,
        }
    )


def sealed_event(content: bytes | msgspec.Raw) -> SealedEvent:
    """The Megolm message in an event's content. Raises Malformed, UnknownAlgorithm."""
    parsed = decoded(content, MegolmContent)
    if parsed.algorithm != MEGOLM:
        raise UnknownAlgorithm
    if not isinstance(parsed.ciphertext, str):
        raise Malformed
    session_id = ed25519(parsed.session_id).to_base64()  # a session is named by its signing key
    if session_id != parsed.session_id:
        raise Malformed
    with contained():
        return SealedEvent(session_id, MegolmMessage.from_base64(parsed.ciphertext))
    raise Malformed


def opened_event(session: InboundGroupSession, event: SealedEvent, room_id: str) -> RoomEvent:
    """Open an event that arrived in the room. The session has not changed in what it can open.

    Proved on return: the holder of the session's signing key wrote it, for this room. Raises Undecryptable (also:
    its index lies before what we were given), Malformed, WrongParty (it was written for another room).
    """
    plaintext, index = _decrypted(session, event.message)
    plain = decoded(plaintext, _Plain)
    if plain.room_id != room_id:
        raise WrongParty
    return RoomEvent(index, plain.type, bytes(plain.content))


def _decrypted(session: InboundGroupSession, message: MegolmMessage) -> tuple[bytes, int]:
    with contained():
        result = session.decrypt(message)
        return result.plaintext, result.message_index
    raise Undecryptable


def _inbound(session_key: str) -> InboundGroupSession:
    with contained():
        return InboundGroupSession(SessionKey(session_key))
    raise Malformed
