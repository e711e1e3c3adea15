"""Events from device to device: Olm messages, the room keys in them, and what waits for a device list."""

import msgspec
from vodozemac import Account, InboundGroupSession

from adapters.inside_api import Step
from adapters.matrix import (
    inside_backup_writing,
    inside_devices,
    inside_forgotten,
    inside_key_requests,
    inside_late,
    inside_olm,
    inside_origin,
    inside_timeline,
    inside_verification,
    inside_withheld,
)
from adapters.matrix.inside_own import own_state
from adapters.matrix.inside_state import Inbound, OwnState, Strangers, Unbound
from crypto.olm.canonical import decoded
from crypto.olm.device import Device
from crypto.olm.errors import OlmError, TooLarge, Undecryptable, WrongParty
from crypto.olm.forwarded import FORWARDED, KEY_REQUEST, SECRET_REQUEST
from crypto.olm.group import ENCRYPTED, ROOM_KEY, received_room_key
from crypto.olm.pairwise import OlmEvent, OlmMessage, Opened, checked_event, message_for, opened
from crypto.olm.verification_messages import PREFIX as VERIFICATION

MOST_UNBOUND = 100
MOST_STRANGERS = 20
MOST_OCTETS = 128 << 10
"""Of an event that has to wait: a room key has 1 KiB."""


class _ToDevice(msgspec.Struct):
    type: str
    sender: str
    content: msgspec.Raw


def arrived(step: Step, body: bytes) -> None:
    """One to-device event. Raises OlmError when it is refused."""
    event = decoded(body, _ToDevice)
    own = own_state(step)
    if own is None or not inside_devices.may_be_tracked(step, event.sender):
        step.report("to-device-stranger")
    elif event.type == ENCRYPTED:
        _olm_arrived(step, own, event)
    elif event.type == inside_withheld.WITHHELD:
        inside_withheld.arrived(step, event.sender, event.content)
    elif event.type == KEY_REQUEST:
        inside_key_requests.asked(step, own, event.sender, event.content)
    elif event.type == SECRET_REQUEST:
        step.report("secret-request-ignored")
    elif event.type.startswith(VERIFICATION):
        contact = step.account.contact_by_address("matrix", event.sender)
        if contact is not None:
            inside_verification.from_device(step, contact, event.type, bytes(event.content))
    else:
        step.report("to-device-unsupported")


def rebind(step: Step, user: str) -> None:
    """The user's device list came, or could not be told: take up what waited for it.

    While a newer one is being asked for, or to be, what this one does not have waits on.
    """
    told = inside_devices.tracked(step, user)
    settled = told is not None and told.known and not told.outdated
    if settled:
        _gone(step, user)
    room = inside_timeline.OPENED_AT_ONCE
    for name in list(step.records.names(f"unbound/{user}/")):
        waiting = step.records.get(name, Unbound)
        device = inside_devices.device_of(step, user, waiting.sender_key) if waiting is not None else None
        if waiting is None or (device is None and not settled):
            continue
        step.records.delete(name)
        event = OlmEvent(waiting.kind, user, waiting.sender_key, waiting.signing_key, waiting.content)
        if device is None:
            step.report("olm-unknown-device")
            _note_stranger(step, user, event.sender_key)
        else:
            room = _reported(step, event, device, room)


def _gone(step: Step, user: str) -> None:
    """Devices that are not listed any more are strangers: a server may list any number, one after the other."""
    waiting = (step.records.get(name, Unbound) for name in list(step.records.names("unbound/")))
    known = inside_devices.all_keys(step) | {event.sender_key for event in waiting if event is not None}
    strangers = step.records.get(f"strangers/{user}", Strangers) or Strangers()
    for name in list(step.records.names("olm/")):
        curve25519 = name.removeprefix("olm/")
        if curve25519 not in known and curve25519 not in strangers.keys:
            _note_stranger(step, user, curve25519)
    for prefix in ("unclaimed/", "wedged/"):
        for name in list(step.records.names(prefix)):
            if name.removeprefix(prefix) not in known:
                step.records.delete(name)


def _note_stranger(step: Step, user: str, curve25519: str) -> None:
    """The device may be listed yet: its session is kept, but of few such devices. Anybody can make up more."""
    known = step.records.get(f"strangers/{user}", Strangers) or Strangers()
    keys = (*(key for key in known.keys if key != curve25519), curve25519)
    for dropped in keys[:-MOST_STRANGERS]:
        if not inside_devices.is_known(step, dropped):
            inside_olm.forget_device(step, dropped)
    step.records.put(f"strangers/{user}", Strangers(keys[-MOST_STRANGERS:]))


def _reported(step: Step, event: OlmEvent, device: Device, room: int) -> int:
    try:
        return _take(step, event, device, room)
    except OlmError as error:
        step.report(f"room-key-{error.code}")
        return room


def _olm_arrived(step: Step, own: OwnState, event: _ToDevice) -> None:
    message = message_for(own.device, event.content)
    device = inside_devices.device_of(step, event.sender, message.sender_key)
    if device is None and len(list(step.records.names(f"unbound/{event.sender}/"))) >= MOST_UNBOUND:
        step.report("unbound-overflow")
        return
    result = _opened(step, event.sender, message)
    if device is not None:
        inside_olm.keep_session(step, message.sender_key, result.session, used=True)
    inner = checked_event(own.device, event.sender, message, result.plaintext)
    if device is not None:
        _take(step, inner, device)
        return
    if len(inner.content) + len(inner.type) + len(inner.signing_key) > MOST_OCTETS:
        raise TooLarge
    # Only what waits for a list keeps a session: anybody can found sessions under identity keys of nobody.
    inside_olm.keep_session(step, message.sender_key, result.session, used=True)
    waiting = Unbound(inner.type, inner.sender_key, inner.signing_key, inner.content)
    step.records.put(f"unbound/{event.sender}/{step.position:016d}", waiting)
    if not inside_devices.outdated(step, event.sender):
        inside_devices.current_devices(step, event.sender)


def _opened(step: Step, sender: str, message: OlmMessage) -> Opened:
    """The plaintext and its session. When no session opens it, a new session is founded for the next ones."""
    account = step.records.get("account", Account)
    assert account is not None
    sessions = inside_olm.sessions_with(step, message.sender_key)
    try:
        result = opened(account, sessions, message)
    except Undecryptable:
        result = None
    if result is None:
        device = inside_devices.device_of(step, sender, message.sender_key)
        if device is not None:
            inside_olm.wedged(step, device)
        raise Undecryptable
    if result.created:
        step.records.put("account", account)
    return result


def _take(step: Step, event: OlmEvent, device: Device, room: int = inside_timeline.OPENED_AT_ONCE) -> int:
    """Believe an event once its sender is bound to a device of the user's (second check of the list).

    `room`: see inside_timeline.key_arrived.
    """
    if device.ed25519 != event.signing_key:
        raise WrongParty
    if event.type == ROOM_KEY and event.sender == step.account.far_addresses.get("matrix"):
        step.report("room-key-own")  # what the user's other devices write is not bridged
    elif event.type == ROOM_KEY:
        return _room_key(step, event, device, room)
    elif event.type == FORWARDED:
        inside_late.forwarded(step, event.content, device)
    elif event.type != "m.dummy":
        step.report("olm-unsupported")
    return room


def _room_key(step: Step, event: OlmEvent, device: Device, room: int) -> int:
    key = received_room_key(event.content)
    name = f"{event.sender}/{key.session_id}"
    known, kept = step.records.get(f"in-of/{name}", Inbound), key.session
    if known is not None and not inside_origin.is_proved(known):
        kept = inside_late.superseded(step, name, known, key.session)
    elif known is not None:
        session = step.records.get(f"in/{name}", InboundGroupSession)
        same = (known.curve25519, known.room_id) == (device.curve25519, key.room_id)
        if not same or session is None or session.first_known_index <= key.session.first_known_index:
            step.report("room-key-known" if same else "room-key-conflict")
            return room
    step.records.put(f"in/{name}", kept)
    floor = known.floor if known is not None else inside_forgotten.floor_of(step, event.sender, key.session_id)
    origin = Inbound(key.room_id, device.curve25519, device.ed25519, device.device_id, step.now_ms(), floor)
    step.records.put(f"in-of/{name}", origin)
    inside_backup_writing.received(step, event.sender, key.session_id)
    return inside_timeline.key_arrived(step, event.sender, key.session_id, room)
