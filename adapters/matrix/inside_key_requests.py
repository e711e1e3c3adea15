"""Keys asked of the account's own other devices, and given to them (spec: Key requests).

Only devices that our own identity vouches for are asked, answered and believed to be ours; a contact's device never.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from vodozemac import InboundGroupSession

from adapters.inside_api import Step
from adapters.matrix import inside_olm, inside_origin
from adapters.matrix.inside_identity import trusted_devices
from adapters.matrix.inside_own import own_state
from adapters.matrix.inside_state import Inbound, OwnState
from adapters.matrix.names import SEND_KEY_REQUEST
from bridge.wire.values import Public
from crypto.olm.device import Device
from crypto.olm.forwarded import FORWARDED, Wanted, forward_content, received_request, request_content

MOST_ANSWERS = 100
MOST_REMEMBERED = 200
"""Requests of a device that are known as answered: a repetition by whoever stands between costs nothing."""


@dataclass(frozen=True, slots=True)
class Answering:
    """A device of ours waits for a session."""

    device_id: str
    user: str
    room_id: str
    request_id: str


@dataclass(frozen=True, slots=True)
class Answered:
    """Digests of the requests of one device that were answered."""

    requests: tuple[bytes, ...] = ()


# ---------------------------------------------------------------- asking
def ask(step: Step, request_id: str, wanted: Wanted) -> tuple[str, ...]:
    """Ask our other devices for a session. Returns the ids of those that were asked."""
    own = own_state(step)
    devices = trusted_devices(step, own) if own is not None else ()
    asked = tuple(device.device_id for device in devices)
    if own is not None and asked:
        _send(step, own, asked, request_content(own.device.device_id, request_id, wanted))
        step.report("key-requested")
    return asked


def cancel(step: Step, request_id: str, asked: Sequence[str]) -> None:
    """The session is not needed any more."""
    own = own_state(step)
    if own is not None and asked:
        _send(step, own, asked, request_content(own.device.device_id, request_id, None))


def _send(step: Step, own: OwnState, devices: Sequence[str], content: object) -> None:
    body = msgspec.json.encode({"messages": {own.device.user_id: dict.fromkeys(devices, content)}})
    step.carry(SEND_KEY_REQUEST, {"body": Public(v=body)}, lane="to-device")


# ---------------------------------------------------------------- answering
def asked(step: Step, own: OwnState, sender: str, content: msgspec.Raw) -> None:
    """Somebody asks for a session. Raises Malformed, UnknownAlgorithm.

    The request proves nothing; what is sent only the device can read that it names.
    """
    request = received_request(content)
    devices = trusted_devices(step, own) if sender == own.device.user_id else ()
    device = next((device for device in devices if device.device_id == request.device_id), None)
    if device is None:
        step.report("key-request-refused")
        return
    if request.wanted is None:
        for name in list(step.records.names(f"answering/{device.curve25519}/")):
            waiting = step.records.get(name, Answering)
            if waiting is not None and waiting.request_id == request.request_id:
                step.records.delete(name)
        return
    holder = _holder(step, request.wanted)
    if holder is None:
        step.report("key-request-unknown")
    elif _is_new(step, device, request.request_id):
        if len(list(step.records.names("answering/"))) >= MOST_ANSWERS:
            step.report("key-request-overflow")
            return
        waiting = Answering(device.device_id, holder, request.wanted.room_id, request.request_id)
        step.records.put(f"answering/{device.curve25519}/{request.wanted.session_id}", waiting)
        answer_all(step)


def answer_all(step: Step) -> None:
    """Send what our other devices wait for, as far as there are Olm sessions with them."""
    own = own_state(step)
    if own is None:
        return
    devices = {device.curve25519: device for device in trusted_devices(step, own)}
    without: list[Device] = []
    for name in list(step.records.names("answering/")):
        curve25519, session_id = name.removeprefix("answering/")[:-44], name[-43:]
        waiting, device = step.records.get(name, Answering), devices.get(curve25519)
        if waiting is None or device is None or inside_olm.unclaimable(step, curve25519) is not None:
            step.records.delete(name)
        elif inside_olm.sending_session(step, curve25519) is None:
            without.append(device)
        else:
            step.records.delete(name)
            _forward(step, own, device, waiting, session_id)
    if without:
        inside_olm.claim(step, without)


def _forward(step: Step, own: OwnState, device: Device, waiting: Answering, session_id: str) -> None:
    session = step.records.get(f"in/{waiting.user}/{session_id}", InboundGroupSession)
    origin = step.records.get(f"in-of/{waiting.user}/{session_id}", Inbound)
    if session is None or origin is None:
        return
    content = forward_content(session, waiting.room_id, origin.curve25519, origin.ed25519)
    inside_olm.send_to_devices(step, own, [device], FORWARDED, content)
    _remember(step, device, waiting.request_id)
    step.report("key-forwarded")


def _holder(step: Step, wanted: Wanted) -> str | None:
    """The contact whose session it is, when we have it from its own device."""
    for contact in step.account.contacts:
        origin = step.records.get(f"in-of/{contact.address}/{wanted.session_id}", Inbound)
        if origin is not None and origin.room_id == wanted.room_id and inside_origin.is_proved(origin):
            return contact.address
    return None


def _is_new(step: Step, device: Device, request_id: str) -> bool:
    known = step.records.get(f"answered/{device.curve25519}", Answered) or Answered()
    return _digest(request_id) not in known.requests


def _remember(step: Step, device: Device, request_id: str) -> None:
    known = step.records.get(f"answered/{device.curve25519}", Answered) or Answered()
    requests = (*known.requests, _digest(request_id))[-MOST_REMEMBERED:]
    step.records.put(f"answered/{device.curve25519}", Answered(requests))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()[:16]
