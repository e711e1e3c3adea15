"""Events of the timeline: opened and handed on, or parked until their key comes."""

import hashlib
from dataclasses import replace

import msgspec
from vodozemac import InboundGroupSession

from adapters.inside_api import ContactPolicy, Step
from adapters.matrix import (
    inside_clear,
    inside_forgotten,
    inside_missing,
    inside_notices,
    inside_origin,
    inside_parking,
    inside_received,
    inside_rooms,
    inside_verification,
    inside_withheld,
)
from adapters.matrix.inside_attachments import offered
from adapters.matrix.inside_parking import DISBELIEF, PLACE, UNSIGNED_DEVICE
from adapters.matrix.inside_relations import EVENT_ID
from adapters.matrix.inside_state import Inbound, Mark, Opening, Parked, Seen
from adapters.matrix.names import (
    IDENTITY_CHANGED,
    NOT_CROSS_SIGNED,
    NOT_VERIFIED,
    TOLD_DEVICE_UNSIGNED,
    TOLD_UNSUPPORTED,
)
from crypto.message import Message
from crypto.olm.canonical import decoded
from crypto.olm.errors import Malformed, OlmError, Replayed, Undecryptable, WrongParty
from crypto.olm.group import ENCRYPTED, RoomEvent, SealedEvent, opened_event, sealed_event

CHUNK = 16
OPENED_AT_ONCE = 1 << 20
"""Octets of parked events that are opened in one step: its effects must fit one frame."""
TIMER = "parked"
_SESSION_ID = 43


class Disbelieved(Exception):
    """The event may be genuine, but its device is not one that the policy lets speak for the contact."""

    def __init__(self, reason: str) -> None:
        super().__init__("the device is not believed")
        self.reason = reason


class EventArrival(msgspec.Struct):
    """Body of an `event` arrival."""

    room_id: str
    event: msgspec.Raw


class TimelineEvent(msgspec.Struct):
    """What is read of an event of the timeline."""

    type: str
    sender: str
    event_id: str
    content: msgspec.Raw
    origin_server_ts: object = None

    def sent_at_ms(self) -> int | None:
        """When it was sent, as the server says."""
        at_ms = self.origin_server_ts
        return at_ms if isinstance(at_ms, int) and 0 <= at_ms < 1 << 53 else None


def arrived(step: Step, body: bytes) -> None:
    """One event of a timeline. Raises OlmError when it is refused."""
    arrival = decoded(body, EventArrival)
    event = decoded(arrival.event, TimelineEvent)
    if event.sender == step.account.far_addresses.get("matrix"):
        return
    if EVENT_ID.fullmatch(event.event_id) is None:
        raise Malformed
    contact = step.account.contact_by_address("matrix", event.sender)
    if contact is None or not inside_rooms.is_room_of(step, contact, arrival.room_id):
        _refuse(step, "event-stranger" if contact is None else "event-other-room")
    elif event.type != ENCRYPTED and inside_verification.is_message(event.type, bytes(event.content)):
        # matrix-js-sdk 43 sends them in plain: like to-device messages they prove nothing by themselves.
        whence = inside_verification.Origin(arrival.room_id, event.event_id, "", event.sent_at_ms() or 0)
        inside_verification.from_room(step, contact, whence, event.type, bytes(event.content))
    elif event.type in inside_clear.TYPES:
        blank = Message(event.event_id, "", sent_at_ms=event.sent_at_ms(), position=step.position)
        inside_clear.arrived(step, contact, event.type, blank, arrival.event)
    elif event.type == ENCRYPTED and bytes(event.content) == b"{}":
        _refuse(step, "event-redacted", contact)  # it was taken back before it came
    elif event.type != ENCRYPTED:
        _refuse(step, "event-not-encrypted", contact)
    else:
        _encrypted(step, contact, arrival, event)


def key_arrived(step: Step, user: str, session_id: str, room: int = OPENED_AT_ONCE) -> int:
    """A session came: open what was parked for it, in order; make room by forgetting the oldest sessions.

    `room`: octets that may be looked at in this step. Returns what is left of it.
    """
    room = _open_parked(step, user, session_id, after="", room=room)
    inside_forgotten.forget_oldest(step, user)
    inside_missing.key_came(step, user, session_id)
    inside_withheld.key_came(step, user, session_id)
    return room


def reconsider(step: Step, contact: ContactPolicy, room: int = OPENED_AT_ONCE) -> int:
    """Who is believed may have changed: look again at what was parked for that, in its order, the rest soon.

    `room`: octets that may be looked at in this step. Returns what is left of it.
    """
    return _open_held(step, contact, after="", room=room)


def _open_held(step: Step, contact: ContactPolicy, *, after: str, room: int) -> int:
    """`after`: the place, as names of records end in it, up to which all was looked at."""
    step.records.delete(f"reopening/{contact.address}")
    held = []
    for name in list(step.records.names(f"parked/{contact.address}/")):
        parked = step.records.get(name, Parked) if name[-PLACE:] > after else None
        if parked is not None and parked.reason in DISBELIEF:
            held.append((name[-PLACE:], name, parked))
    for place, name, parked in sorted(held, key=lambda entry: entry[0]):
        if room <= 0:
            step.records.put(f"reopening/{contact.address}", Opening(after))
            step.wake_at(TIMER, step.now_ms())
            return room
        _retry(step, contact, name, parked)
        room, after = room - len(parked.event), place
    if held and not _parked_for(step, contact, UNSIGNED_DEVICE, NOT_CROSS_SIGNED):
        inside_notices.over(step, contact, TOLD_DEVICE_UNSIGNED)
    return room


def _parked_for(step: Step, contact: ContactPolicy, *reasons: str) -> bool:
    held = (step.records.get(name, Parked) for name in step.records.names(f"parked/{contact.address}/"))
    return any(parked is not None and parked.reason in reasons for parked in held)


def woken(step: Step) -> None:
    """Go on with what was held of one contact, or parked for one session."""
    waiting = [*step.records.names("reopening/"), *step.records.names("opening/")]
    opening = step.records.get(waiting[0], Opening) if waiting else None
    if opening is None:
        return
    step.records.delete(waiting[0])
    if waiting[0].startswith("reopening/"):
        contact = step.account.contact_by_address("matrix", waiting[0].removeprefix("reopening/"))
        if contact is not None:
            _open_held(step, contact, after=opening.after, room=OPENED_AT_ONCE)
    else:
        user, session_id = _named(waiting[0])
        _open_parked(step, user, session_id, after=opening.after)
    if len(waiting) > 1:
        step.wake_at(TIMER, step.now_ms())


def _named(name: str) -> tuple[str, str]:
    """User and session of an `opening` record: both may hold slashes, and a session id has 43 characters."""
    rest = name.removeprefix("opening/")
    return rest[: -_SESSION_ID - 1], rest[-_SESSION_ID:]


def _open_parked(step: Step, user: str, session_id: str, *, after: str, room: int = OPENED_AT_ONCE) -> int:
    contact = step.account.contact_by_address("matrix", user)
    if room <= 0:
        step.records.put(f"opening/{user}/{session_id}", Opening(after))
        step.wake_at(TIMER, step.now_ms())
        return room
    for name in list(step.records.names(f"parked/{user}/{session_id}/")):
        parked = step.records.get(name, Parked) if name > after else None
        if parked is None or contact is None:
            continue
        _retry(step, contact, name, parked)
        room -= len(parked.event)
        if room <= 0:
            step.records.put(f"opening/{user}/{session_id}", Opening(name))
            step.wake_at(TIMER, step.now_ms())
            break
    return room


# ---------------------------------------------------------------- one event
def _encrypted(step: Step, contact: ContactPolicy, arrival: EventArrival, event: TimelineEvent) -> None:
    sealed = sealed_event(event.content)
    try:
        opened = _opened(step, contact, arrival.room_id, event, sealed)
    except Undecryptable as error:
        reason = error.code
        if step.records.get(_of(contact, sealed), Inbound) is None:
            reason = inside_withheld.reason_for(step, contact.address, sealed.session_id)
    except Disbelieved as error:
        reason = error.reason
    else:
        if opened is not None:
            _deliver(step, contact, event, opened, step.position)
        return
    inside_parking.park(
        step, contact, sealed.session_id, Parked(arrival.room_id, step.position, reason, bytes(arrival.event))
    )


def _opened(
    step: Step, contact: ContactPolicy, room_id: str, event: TimelineEvent, sealed: SealedEvent
) -> RoomEvent | None:
    """The event opened by the contact's session; None when it was opened before, or belongs to a verification.

    Raises Undecryptable, WrongParty, Replayed, Malformed.
    """
    session = step.records.get(f"in/{contact.address}/{sealed.session_id}", InboundGroupSession)
    origin = step.records.get(_of(contact, sealed), Inbound)
    if session is None or origin is None:
        raise Undecryptable
    if origin.room_id != room_id:
        raise WrongParty
    disbelief = inside_origin.believed(step, contact, origin)
    opened = inside_origin.judged(opened_event(session, sealed, room_id), origin)
    verifies = inside_verification.is_message(opened.type, opened.content)
    if disbelief is not None and not (verifies and disbelief in (NOT_VERIFIED, IDENTITY_CHANGED)):
        raise Disbelieved(disbelief)
    name = f"seen/{contact.address}/{sealed.session_id}/{opened.index // CHUNK}"
    seen = step.records.get(name, Seen) or Seen()
    if opened.index < origin.floor:
        raise Replayed
    digest = _digest(event.event_id)
    for mark in seen.marks:
        if mark.index == opened.index:
            if mark.digest != digest:
                raise Replayed
            step.report("event-repeated", contact.id)
            return None
    step.records.put(name, Seen((*seen.marks, Mark(opened.index, digest))))
    if verifies:
        device_id = inside_origin.proving_device(origin)
        whence = inside_verification.Origin(room_id, event.event_id, device_id, event.sent_at_ms() or 0)
        inside_verification.from_room(step, contact, whence, opened.type, opened.content)
        return None
    return opened


def _deliver(step: Step, contact: ContactPolicy, event: TimelineEvent, opened: RoomEvent, position: int) -> None:
    if not inside_origin.may_be_shown(opened):
        step.report("event-not-proved", contact.id)
        step.trace(position, "refused", inside_origin.NOT_PROVED)
        inside_notices.tell(step, contact, TOLD_UNSUPPORTED)
        return
    blank = Message(event.event_id, "", sent_at_ms=event.sent_at_ms(), position=position)
    try:
        message = inside_received.message_of(step, contact, blank, bytes(event.content), opened)
    except Malformed:
        inside_notices.tell(step, contact, TOLD_UNSUPPORTED)
        raise
    if message is None:
        step.report("event-unsupported", contact.id)
        return
    message = inside_origin.marked(message, opened)
    offered(step, contact, message, opened.content)
    step.deliver(contact.id, message)


# ---------------------------------------------------------------- once more
def _retry(step: Step, contact: ContactPolicy, name: str, parked: Parked) -> None:
    try:
        event = decoded(parked.event, TimelineEvent)
        opened = _opened(step, contact, parked.room_id, event, sealed_event(event.content))
        step.records.delete(name)
        if opened is not None:
            step.report("opened-late", contact.id)
            _deliver(step, contact, event, opened, parked.position)
    except Undecryptable as error:
        _held(step, name, parked, error.code)
    except Disbelieved as error:
        _held(step, name, parked, error.reason)
        inside_parking.tell(step, contact, error.reason)
    except OlmError as error:
        step.records.delete(name)
        step.report(f"event-{error.code}", contact.id)
        step.trace(parked.position, "refused", error.code)


def _held(step: Step, name: str, parked: Parked, reason: str) -> None:
    if parked.reason != reason:
        step.records.put(name, replace(parked, reason=reason))
        step.trace(parked.position, "parked", reason)


def _refuse(step: Step, code: str, contact: ContactPolicy | None = None) -> None:
    step.report(code, contact.id if contact is not None else None)
    step.trace(step.position, "refused", code)


def _of(contact: ContactPolicy, sealed: SealedEvent) -> str:
    return f"in-of/{contact.address}/{sealed.session_id}"


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()[:16]
