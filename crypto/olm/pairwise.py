"""Olm: one device to one device (spec: m.olm.v1.curve25519-aes-sha2)."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec
from vodozemac import Account, AnyOlmMessage, Curve25519PublicKey, Session

from crypto.olm.canonical import decoded, decoded_object
from crypto.olm.contained import contained
from crypto.olm.device import OLM, Device, OwnDevice, verified_device
from crypto.olm.errors import Malformed, Undecryptable, UnknownAlgorithm, WrongParty
from crypto.olm.keys import b64, curve25519, unb64

PRE_KEY = 0


class OlmPart(msgspec.Struct):
    """The ciphertext for one device."""

    type: int
    body: str


class OlmContent(msgspec.Struct):
    """Content of a to-device `m.room.encrypted` event."""

    algorithm: str
    sender_key: str
    ciphertext: dict[str, OlmPart]


class _Key(msgspec.Struct):
    ed25519: str


class _Plain(msgspec.Struct):
    type: str
    content: msgspec.Raw
    sender: str
    recipient: str
    recipient_keys: _Key
    keys: _Key
    sender_device_keys: msgspec.Raw = msgspec.Raw()


@dataclass(frozen=True, slots=True)
class OlmMessage:
    """A ciphertext for this device; `sender_key` is the Curve25519 key that it claims to come from."""

    sender_key: str
    type: int
    body: bytes


@dataclass(frozen=True, slots=True)
class OlmEvent:
    """What was in a message, after the checks that need no list of devices.

    `signing_key` is the Ed25519 key the sender claims inside: it has to be that of the device whose Curve25519
    key is `sender_key` before anything of this is believed.
    """

    type: str
    sender: str
    sender_key: str
    signing_key: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Opened:
    """The session that opened a message, whether it is new, and the plaintext."""

    session: Session
    created: bool
    plaintext: bytes = field(repr=False)


def message_for(own: Device, content: bytes | msgspec.Raw) -> OlmMessage:
    """The part of a to-device event that is for this device. Raises Malformed, UnknownAlgorithm, WrongParty."""
    parsed = decoded(content, OlmContent)
    if parsed.algorithm != OLM:
        raise UnknownAlgorithm
    part = parsed.ciphertext.get(own.curve25519)
    if part is None:
        raise WrongParty
    if part.type not in (0, 1):
        raise Malformed
    return OlmMessage(curve25519(parsed.sender_key).to_base64(), part.type, unb64(part.body))


def opened(account: Account, sessions: Iterable[Session], message: OlmMessage) -> Opened:
    """Open a message with one of the sender's sessions, or with a new one that the message itself founds.

    `sessions` are all that exist with `message.sender_key`, the most recently used first. The session returned has
    changed, and when it is new, the account too: the one-time key is spent. Raises Undecryptable, Malformed.
    """
    wire = _wire(message)
    pre_key = wire.to_pre_key() if message.type == PRE_KEY else None
    for session in sessions:
        matches = pre_key is not None and session.session_matches(pre_key)
        if pre_key is not None and not matches:
            continue
        with contained():
            return Opened(session, False, session.decrypt(wire))
        if matches:  # it was founded by this very handshake: a second session from it would accept a replay
            raise Undecryptable
    if pre_key is None:
        raise Undecryptable
    with contained():
        session, plaintext = account.create_inbound_session(curve25519(message.sender_key), pre_key)
        return Opened(session, True, plaintext)
    raise Undecryptable


def checked_event(own: Device, sender: str, message: OlmMessage, plaintext: bytes) -> OlmEvent:
    """The event in a plaintext (spec: Validation of incoming decrypted events; 1, 3, 4 and 5 of its list).

    Raises Malformed, WrongParty, BadSignature. The second check, that `signing_key` belongs to the sender's device,
    is the caller's.
    """
    plain = decoded(plaintext, _Plain)
    if (plain.sender, plain.recipient, plain.recipient_keys.ed25519) != (sender, own.user_id, own.ed25519):
        raise WrongParty
    event = OlmEvent(plain.type, sender, message.sender_key, plain.keys.ed25519, bytes(plain.content))
    if bytes(plain.sender_device_keys) not in (b"", b"null"):
        keys = decoded_object(plain.sender_device_keys)
        device = verified_device(sender, str(keys.get("device_id")), keys)
        if (device.curve25519, device.ed25519) != (event.sender_key, event.signing_key):
            raise WrongParty
    return event


def outbound_session(account: Account, device: Device, one_time_key: Curve25519PublicKey) -> Session:
    """A new session towards the device. Raises Undecryptable when its keys contribute nothing."""
    with contained():
        return account.create_outbound_session(curve25519(device.curve25519), one_time_key)
    raise Undecryptable


def encrypted_for(session: Session, own: OwnDevice, device: Device, kind: str, content: object) -> dict[str, object]:
    """Content of a to-device `m.room.encrypted` event for one device. The session has changed."""
    plain = msgspec.json.encode(
        {
            "type": kind,
            "content": content,
            "sender": own.user_id,
            "sender_device": own.device_id,
            "keys": {"ed25519": own.ed25519},
            "recipient": device.user_id,
            "recipient_keys": {"ed25519": device.ed25519},
            "sender_device_keys": msgspec.Raw(own.device_keys),
        }
    )
    message_type, body = session.encrypt(plain).to_parts()
    return {
        "algorithm": OLM,
        "sender_key": own.curve25519,
        "ciphertext": {device.curve25519: {"type": message_type, "body": b64(body)}},
    }


def _wire(message: OlmMessage) -> AnyOlmMessage:
    with contained():
        return AnyOlmMessage.from_parts(message.type, message.body)
    raise Malformed
