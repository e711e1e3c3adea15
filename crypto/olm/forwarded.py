"""Megolm sessions that come by another way than from their sender (spec: Key requests; session export format).

An export is not signed: whoever makes one can call any ratchet by any session's name. Two sessions are parts of one
ratchet only when both give the same at the same index (`same_ratchet`); a ratchet runs in one direction, so that who
knows an earlier place of a genuine one was given it by somebody who had it.
"""

from contextlib import suppress
from dataclasses import dataclass

import msgspec
from vodozemac import ExportedSessionKey, InboundGroupSession

from crypto.olm.canonical import decoded
from crypto.olm.contained import contained
from crypto.olm.device import MEGOLM
from crypto.olm.errors import Malformed, UnknownAlgorithm, WrongParty
from crypto.olm.keys import curve25519, ed25519

KEY_REQUEST = "m.room_key_request"
FORWARDED = "m.forwarded_room_key"
SECRET_REQUEST = "m.secret.request"  # noqa: S105 - the name of an event
LONGEST_ID = 255
_EXPORT = 400
"""Characters of the longest text that is tried as a session: an honest one has 220."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which session a request is about."""

    room_id: str
    session_id: str


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """A request for a session's key, or the end of one (`wanted` None). It proves nothing of who sent it."""

    device_id: str
    request_id: str
    wanted: Wanted | None


class _Body(msgspec.Struct):
    algorithm: str = ""
    room_id: str = ""
    session_id: str = ""


class _Request(msgspec.Struct):
    action: str
    requesting_device_id: str
    request_id: str
    body: _Body | None = None


class Forward(msgspec.Struct):
    """Content of an `m.forwarded_room_key`."""

    algorithm: str
    room_id: str
    session_id: str
    session_key: str
    sender_key: str
    sender_claimed_ed25519_key: str


# ---------------------------------------------------------------- exports
def exported(session: InboundGroupSession) -> str:
    """The session from the first index we know, in the export format. Secret."""
    export = session.export_at(session.first_known_index)
    if export is None:
        raise Malformed
    return export.to_base64()


def imported(text: str) -> InboundGroupSession:
    """The session of an export. Raises Malformed. Nothing is proved of where it comes from."""
    if len(text) > _EXPORT:
        raise Malformed
    with contained():
        return InboundGroupSession.import_session(ExportedSessionKey(text))
    raise Malformed


def same_ratchet(one: InboundGroupSession, other: InboundGroupSession) -> bool:
    """Whether both are one session's ratchet, known from two places on."""
    if one.session_id != other.session_id:
        return False
    index = max(one.first_known_index, other.first_known_index)
    with suppress(ValueError):
        first, second = one.export_at(index), other.export_at(index)
        return first is not None and second is not None and first.to_base64() == second.to_base64()
    return False


# ---------------------------------------------------------------- requests
def request_content(device_id: str, request_id: str, wanted: Wanted | None) -> dict[str, object]:
    """Content of an `m.room_key_request`; without `wanted`: its cancellation."""
    content: dict[str, object] = {"requesting_device_id": device_id, "request_id": request_id}
    if wanted is None:
        return {**content, "action": "request_cancellation"}
    body = {"algorithm": MEGOLM, "room_id": wanted.room_id, "session_id": wanted.session_id}
    return {**content, "action": "request", "body": body}


def received_request(content: bytes | msgspec.Raw) -> KeyRequest:
    """The request in an `m.room_key_request`. Raises Malformed, UnknownAlgorithm."""
    told = decoded(content, _Request)
    if not all(1 <= len(text) <= LONGEST_ID for text in (told.requesting_device_id, told.request_id)):
        raise Malformed
    if told.action == "request_cancellation":
        return KeyRequest(told.requesting_device_id, told.request_id, None)
    if told.action != "request" or told.body is None:
        raise Malformed
    if told.body.algorithm != MEGOLM:
        raise UnknownAlgorithm
    session_id = ed25519(told.body.session_id).to_base64()
    if session_id != told.body.session_id or not 1 <= len(told.body.room_id) <= LONGEST_ID:
        raise Malformed
    return KeyRequest(told.requesting_device_id, told.request_id, Wanted(told.body.room_id, session_id))


def forward_content(session: InboundGroupSession, room_id: str, sender_key: str, signing_key: str) -> dict[str, object]:
    """Content of the `m.forwarded_room_key` that hands a session on. Secret."""
    return {
        "algorithm": MEGOLM,
        "forwarding_curve25519_key_chain": [],
        "room_id": room_id,
        "sender_claimed_ed25519_key": signing_key,
        "sender_key": sender_key,
        "session_id": session.session_id,
        "session_key": exported(session),
    }


def received_forward(content: bytes) -> tuple[Wanted, InboundGroupSession, str, str]:
    """Which session, the session, and the claimed keys (Curve25519, Ed25519) of the device that made it.

    Raises Malformed, UnknownAlgorithm, WrongParty. Proved: nothing; who sent it is the caller's to check.
    """
    told = decoded(content, Forward)
    if told.algorithm != MEGOLM:
        raise UnknownAlgorithm
    session = imported(told.session_key)
    if session.session_id != told.session_id:
        raise WrongParty
    sender, signing = curve25519(told.sender_key).to_base64(), ed25519(told.sender_claimed_ed25519_key).to_base64()
    return Wanted(told.room_id, told.session_id), session, sender, signing
