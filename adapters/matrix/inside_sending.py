"""From a message to a Megolm event: the line of waiting messages, the room's session, its sharing, its rotation.

When everything is ready a message is one encryption and one request. Otherwise it waits in the contact's line, and
`advance` does the next thing that is missing, again after every answer, until the line is empty or has failed.
"""

from collections.abc import Container
from dataclasses import replace

from vodozemac import GroupSession

from adapters.inside_api import ContactPolicy, Step
from adapters.matrix import (
    inside_backup_writing,
    inside_identity,
    inside_notices,
    inside_olm,
    inside_outgoing,
    inside_recipients,
    inside_returned,
    inside_rooms,
    inside_signals,
    inside_taken_back,
)
from adapters.matrix.inside_own import own_state
from adapters.matrix.inside_recipients import SHARED_AT_ONCE, share_of
from adapters.matrix.inside_state import Line, Outbound, OwnState, Queued, Room, Sent
from adapters.matrix.inside_timers import wake_by
from adapters.matrix.names import NO_SESSIONS, QUEUE_FULL, ROOM_SEND, TOLD_NOT_JOINED
from bridge.wire.link import Input
from crypto.olm.device import Device
from crypto.olm.errors import OlmError
from crypto.olm.group import ROOM_KEY, room_key_content

MOST_WAITING = 1_000
SENT_AT_ONCE = 512 << 10
"""Octets of waiting messages that are sent in one step: its effects must fit one frame."""
TIMER = "line"
PATIENCE_MS = 15_000
"""So long a contact may take to accept the invitation before the user is told that messages wait for it."""


# ---------------------------------------------------------------- entry points
def send(step: Step, contact: ContactPolicy, message: Queued) -> None:
    """Send now if all is ready and nobody waits; else get in line."""
    over = inside_taken_back.taken_back(step, contact, message)
    for each in over:
        _succeed(step, contact.id, each.message_id, each.position)
    if message in over:
        advance(step, contact)
        return
    out = _ready(step, contact)
    own = own_state(step)
    straight = out is not None and own is not None and step.records.get(f"line/{contact.address}", Line) is None
    if straight and out is not None and own is not None and not inside_outgoing.waits(step, contact, message):
        _emit(step, contact, own, out, message)
        return
    line = step.records.get(f"line/{contact.address}", Line) or Line()
    if line.next - line.first >= MOST_WAITING:
        _fail(step, contact, message, QUEUE_FULL)
        return
    step.records.put(f"queue/{contact.address}/{line.next:016d}", message)
    step.records.put(f"line/{contact.address}", replace(line, next=line.next + 1, contact=contact.id))
    advance(step, contact)


def advance(step: Step, contact: ContactPolicy) -> None:
    """Do the next thing that the waiting messages need."""
    own = own_state(step)
    if not inside_returned.merged(step, contact):
        return
    if own is None or not own.published or step.records.get(f"line/{contact.address}", Line) is None:
        return
    if not inside_identity.settled(step):  # strict clients hide what an unsigned device sent
        inside_identity.proceed(step)
        return
    room = inside_rooms.room_of(step, contact)
    if room is None or not room.room_id:
        inside_rooms.obtain(step, contact)
    elif room.problem in inside_rooms.GONE:
        if (code := inside_rooms.seek(step, contact, room)) is not None:
            fail_line(step, contact, code)
    elif room.problem is not None:
        fail_line(step, contact, room.problem)
    elif (ready_ms := inside_rooms.ready_ms(room)) is not None and ready_ms <= step.now_ms():
        _advance_devices(step, contact, own, room)
    elif ready_ms is not None:
        wake_by(step, TIMER, ready_ms)
    else:
        inside_notices.tell(step, contact, TOLD_NOT_JOINED, after_ms=PATIENCE_MS)


def advance_all(step: Step) -> None:
    """`advance` for every contact."""
    for contact in step.account.contacts:
        if contact.network == "matrix":
            advance(step, contact)


def reconsider(step: Step, contact: ContactPolicy) -> None:
    """Devices or room changed: look at them before the next message."""
    out = step.records.get(f"out/{contact.address}", Outbound)
    if out is not None and out.ready_until_ms:
        step.records.put(f"out/{contact.address}", replace(out, ready_until_ms=0))


def forget_session(step: Step, contact: ContactPolicy) -> None:
    """The next message starts a new session."""
    step.records.delete(f"out/{contact.address}")
    step.records.delete(f"out-session/{contact.address}")


def forget_sessions(step: Step, *, kept: Container[str] = ()) -> None:
    """All contacts' next messages start new sessions, also those of contacts that are off the map now."""
    for prefix in ("out/", "out-session/"):
        for name in list(step.records.names(prefix)):
            if name.removeprefix(prefix) not in kept:
                step.records.delete(name)


def sent(step: Step, answer: Input) -> None:
    """The outcome of a message's request."""
    entry = step.records.get(f"sent/{answer.key}", Sent)
    if entry is None:
        return
    step.records.delete(f"sent/{answer.key}")
    contact = step.account.contact_by_id(entry.contact)
    if contact is None:
        step.report("contact-removed")
        return
    inside_outgoing.noted(step, contact, entry, answer)
    inside_signals.known_now(step, contact)
    if contact.network != "matrix":
        step.report("contact-removed")
    elif inside_returned.returned(step, contact, entry, answer.code):
        reconsider(step, contact)
        advance(step, contact)
    elif entry.notice:
        step.report("notice-sent" if answer.code == "ok" else "notice-failed", entry.contact)
    elif answer.code == "ok":
        _succeed(step, entry.contact, entry.message_id, entry.position)
    else:
        _trace(step, entry.position, "refused", answer.code)
        step.failed(entry.contact, entry.message_id, answer.code)
    line = step.records.get(f"line/{contact.address}", Line)
    if inside_returned.pending(step, contact) or (line is not None and line.for_event):
        advance(step, contact)  # it may have waited for the id of this event


def shared(step: Step, answer: Input) -> None:
    """The outcome of sharing a session's key."""
    for contact in step.account.contacts:
        out = step.records.get(f"out/{contact.address}", Outbound)
        if out is None or out.sharing is None or out.sharing != answer.key:
            continue
        if answer.code != "ok":
            forget_session(step, contact)
            fail_line(step, contact, answer.code)
            return
        done = replace(out, shared=out.shared + out.pending, sharing=None, pending=())
        step.records.put(f"out/{contact.address}", done)
        advance(step, contact)
        return


def fail_line(step: Step, contact: ContactPolicy, code: str) -> None:
    """Nothing of what waits can be sent."""
    for message in _taken(step, contact):
        _fail(step, contact, message, code)


# ---------------------------------------------------------------- what has to be there
def _ready(step: Step, contact: ContactPolicy) -> Outbound | None:
    out = step.records.get(f"out/{contact.address}", Outbound)
    if out is None or out.policy != inside_recipients.policy_of(contact):
        return None
    return out if step.now_ms() < out.ready_until_ms else None


def _advance_devices(step: Step, contact: ContactPolicy, own: OwnState, room: Room) -> None:
    found = inside_recipients.of(step, contact, own)
    if found is None:
        return
    if isinstance(found, inside_recipients.Nobody):
        if found.held:
            _hold(step, contact, found.code)
        else:
            fail_line(step, contact, found.code)
        return
    _advance_session(step, contact, own, room, found)


def _advance_session(
    step: Step, contact: ContactPolicy, own: OwnState, room: Room, found: inside_recipients.Recipients
) -> None:
    recipients = found.served
    out = _session_for(step, contact, room, recipients)
    if out.sharing is not None:
        return
    out = inside_recipients.withhold(step, contact, own, out, found.excluded)
    missing = [device for device in recipients if share_of(device) not in out.shared]
    if inside_olm.claim_missing(step, missing):
        return
    reachable = [d for d in missing if inside_olm.sending_session(step, d.curve25519) is not None]
    if reachable:
        _share_session(step, contact, own, out, reachable[:SHARED_AT_ONCE])
    elif not any(share.user_id == contact.address for share in out.shared):
        fail_line(step, contact, NO_SESSIONS)
    else:
        until_ms = out.created_ms + room.rotation_ms
        for device in missing:  # when one without a key may be asked for one again
            until_ms = min(until_ms, inside_olm.unclaimable(step, device.curve25519) or 0)
        out = replace(out, ready_until_ms=until_ms, most_messages=room.rotation_messages)
        step.records.put(f"out/{contact.address}", out)
        _empty_line(step, contact, own, out)


def _hold(step: Step, contact: ContactPolicy, reason: str) -> None:
    """What waits goes on waiting, for a decision of the operator's."""
    line = step.records.get(f"line/{contact.address}", Line) or Line()
    for number in range(line.first, line.next):
        message = step.records.get(f"queue/{contact.address}/{number:016d}", Queued)
        if message is not None and not message.notice:
            _trace(step, message.position, "parked", reason)


def _session_for(step: Step, contact: ContactPolicy, room: Room, recipients: tuple[Device, ...]) -> Outbound:
    """The session to send by: the present one while it may be used, else a new one (spec: when to rotate)."""
    out = step.records.get(f"out/{contact.address}", Outbound)
    session = step.records.get(f"out-session/{contact.address}", GroupSession)
    now_ms, policy = step.now_ms(), inside_recipients.policy_of(contact)
    present = {share_of(device) for device in recipients}
    if (
        out is not None
        and session is not None
        and (out.room_id, out.epoch, out.policy) == (room.room_id, room.epoch, policy)
        and now_ms - room.rotation_ms < out.created_ms <= now_ms
        and session.message_index < room.rotation_messages
        and present.issuperset((*out.shared, *out.pending))  # nobody left who can still read
    ):
        return out
    session = GroupSession()
    out = Outbound(room.room_id, session.session_id, now_ms, epoch=room.epoch, policy=policy)
    step.records.put(f"out-session/{contact.address}", session)
    step.records.put(f"out/{contact.address}", out)
    inside_backup_writing.made(step, room.room_id, session)
    step.report("session-rotated", contact.id)
    return out


def _share_session(step: Step, contact: ContactPolicy, own: OwnState, out: Outbound, devices: list[Device]) -> None:
    group = step.records.get(f"out-session/{contact.address}", GroupSession)
    assert group is not None
    sharing = inside_olm.send_to_devices(step, own, devices, ROOM_KEY, room_key_content(group, out.room_id))
    pending = tuple(share_of(device) for device in devices)
    step.records.put(f"out/{contact.address}", replace(out, sharing=sharing, pending=pending))


# ---------------------------------------------------------------- the messages themselves
def _empty_line(step: Step, contact: ContactPolicy, own: OwnState, out: Outbound) -> None:
    """Everything is ready: send what waits, as far as the session may be used and one step can hold."""
    line = step.records.get(f"line/{contact.address}", Line) or Line()
    room = SENT_AT_ONCE
    for number in range(line.first, line.next):
        if _ready(step, contact) is None or room <= 0:
            step.records.put(f"line/{contact.address}", replace(line, first=number, for_event=False))
            wake_by(step, TIMER, step.now_ms()) if room <= 0 else advance(step, contact)
            return
        name = f"queue/{contact.address}/{number:016d}"
        message = step.records.get(name, Queued)
        if message is not None and inside_outgoing.waits(step, contact, message):
            step.records.put(f"line/{contact.address}", replace(line, first=number, for_event=True))
            return
        step.records.delete(name)
        if message is not None:
            room -= len(message.body.encode())
            _emit(step, contact, own, out, message)
    step.records.delete(f"line/{contact.address}")


def _emit(step: Step, contact: ContactPolicy, own: OwnState, out: Outbound, message: Queued) -> None:
    session = step.records.get(f"out-session/{contact.address}", GroupSession)
    assert session is not None
    try:
        requests = inside_outgoing.requests(step, contact, own.device, (out.room_id, session), message)
    except OlmError as error:
        _fail(step, contact, message, error.code)
        return
    step.records.put(f"out-session/{contact.address}", session)
    for entry, request, values in requests:
        key = step.carry(request, values, lane=f"contact-{contact.id}", trace=entry.position or None)
        stands = request == ROOM_SEND and entry.message_id == message.message_id and entry.notice == message.notice
        step.records.put(f"sent/{key}", replace(entry, message=message) if stands else entry)
        if request == ROOM_SEND:
            _trace(step, message.position, "sealed")
    if not requests:  # all is there already
        _succeed(step, contact.id, message.message_id, message.position)
    if session.message_index >= out.most_messages:
        reconsider(step, contact)


def _succeed(step: Step, contact: str, message_id: str, position: int) -> None:
    _trace(step, position, "acknowledged")
    step.delivered(contact, message_id)


def _fail(step: Step, contact: ContactPolicy, message: Queued, code: str) -> None:
    if message.notice:
        step.report("notice-failed", contact.id)
    else:
        _trace(step, message.position, "refused", code)
        step.failed(contact.id, message.message_id, code)


def _trace(step: Step, position: int, stage: str, code: str | None = None) -> None:
    if position:
        step.trace(position, stage, code)


def _taken(step: Step, contact: ContactPolicy) -> list[Queued]:
    """The waiting messages, in order; the line is gone."""
    line = step.records.get(f"line/{contact.address}", Line) or Line()
    step.records.delete(f"line/{contact.address}")
    names = [f"queue/{contact.address}/{number:016d}" for number in range(line.first, line.next)]
    found = [step.records.get(name, Queued) for name in names]
    for name in names:
        step.records.delete(name)
    return [message for message in found if message is not None]
