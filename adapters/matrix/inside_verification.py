"""Verifying a contact: what the contact sends, and what time does.

The machine is crypto.olm.verification, its conversations are in inside_talks, the person at our end is
inside_verification_person; here it is found out which message belongs to which, and what it means there.
"""

from contextlib import suppress
from dataclasses import dataclass, field

from adapters.inside_api import ContactPolicy, Step
from adapters.matrix import (
    inside_devices,
    inside_notices,
    inside_talks,
    inside_verification_person,
    inside_verification_room,
    inside_vouching,
)
from adapters.matrix.inside_talks import LIMITS, Kept, Talk
from adapters.matrix.names import TOLD_VERIFICATION_ASKED
from bridge.wire.link import Input
from crypto.olm import verification as machine
from crypto.olm import verification_messages as messages
from crypto.olm import verification_states as states
from crypto.olm.errors import Malformed, OlmError
from crypto.olm.sas import SECRET
from crypto.olm.verification import expired
from crypto.olm.verification_messages import Accept, Ready, Request, Start

START = f"{messages.PREFIX}start"
READY = f"{messages.PREFIX}ready"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an event of a room comes from, and when, as the server says. `device_id`: whose session opened it.

    It is empty for an event in plain, of which nothing says whose it is.
    """

    room_id: str
    event_id: str
    device_id: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class _Heard:
    """A message of a conversation. No room: it came to the device. No `device_id`: nothing proves whose it is."""

    transaction_id: str
    room_id: str
    device_id: str
    kind: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request of a device that we do not know (yet): its owner's list is being asked for. One for each contact."""

    talk: Talk
    from_device: str
    methods: tuple[str, ...]


# ---------------------------------------------------------------- the peer
def is_message(kind: str, content: bytes) -> bool:
    """Whether an event that was opened in a room belongs to a verification."""
    if kind.startswith(messages.PREFIX):
        return True
    with suppress(OlmError):
        return kind == "m.room.message" and machine.is_request(content)
    return False


def from_room(step: Step, contact: ContactPolicy, origin: Origin, kind: str, content: bytes) -> None:
    """An event of the contact's. Raises Malformed."""
    if kind == "m.room.message":
        request = messages.message_of(messages.REQUEST, content)
        if isinstance(request, Request) and origin.device_id in ("", request.from_device):
            _asked(step, contact, Talk("", origin.event_id, origin.room_id, origin.at_ms), request)
        return
    transaction_id = messages.transaction_of(content, in_room=True)
    _heard(step, contact, _Heard(transaction_id, origin.room_id, origin.device_id, kind, content))


def from_device(step: Step, contact: ContactPolicy, kind: str, content: bytes) -> None:
    """A to-device event in the contact's name: nothing but the comparison will prove it. Raises Malformed."""
    transaction_id = messages.transaction_of(content, in_room=False)
    if kind != messages.REQUEST:
        _heard(step, contact, _Heard(transaction_id, "", "", kind, content))
        return
    request = messages.message_of(kind, content)
    if isinstance(request, Request):
        _asked(step, contact, Talk("", transaction_id, "", request.sent_ms or 0), request)


def _asked(step: Step, contact: ContactPolicy, talk: Talk, request: Request, *, again: bool = False) -> None:
    """The contact wants to verify. `again`: their devices were asked for because of this."""
    if expired(step.now_ms(), talk.begun_ms, LIMITS):
        step.report("verification-old", contact.id)
        return
    flow = inside_talks.flow(step, contact, talk.transaction_id, request.from_device, in_room=bool(talk.room_id))
    if flow is None and not again:
        step.records.put(f"verify-waiting/{contact.address}", Waiting(talk, request.from_device, request.methods))
    elif flow is not None and _common(request.methods) and inside_talks.free(step, contact, flow):
        _prompt(step, contact, talk, states.Asked(flow, request.methods))


def _common(methods: tuple[str, ...]) -> bool:
    return messages.SAS in methods or {messages.SCAN_CODE, messages.RECIPROCATE} <= set(methods)


def _proposed(step: Step, contact: ContactPolicy, heard: _Heard) -> None:
    """The contact's device starts without having asked (deprecated, only to-device). Raises Malformed."""
    start = messages.message_of(heard.kind, heard.content)
    assert isinstance(start, Start)
    flow = inside_talks.flow(step, contact, heard.transaction_id, start.from_device, in_room=False)
    if flow is not None and inside_talks.free(step, contact, flow):
        _prompt(step, contact, Talk("", heard.transaction_id, "", step.now_ms()), states.Proposed(flow, start))


def _prompt(step: Step, contact: ContactPolicy, talk: Talk, state: states.State) -> None:
    inside_talks.opened(step, contact, talk, state)
    step.report("verification-asked", contact.id)
    inside_notices.tell(step, contact, TOLD_VERIFICATION_ASKED)


def _heard(step: Step, contact: ContactPolicy, heard: _Heard) -> None:
    kept = inside_talks.kept(step, contact)
    if kept is not None and _answers_unnamed(kept, heard):
        kept = inside_talks.identified(step, contact, kept, heard.transaction_id)
    if kept is None or (kept[0].transaction_id, kept[0].room_id) != (heard.transaction_id, heard.room_id):
        if heard.kind == START and not heard.room_id:
            _proposed(step, contact, heard)
        else:
            step.report("verification-unknown", contact.id)
        return
    flow = machine.flow_of(kept[1])
    if heard.device_id and flow is not None and flow.ends.them.device_id != heard.device_id:
        return  # another device of the contact's, which has nothing to say in this
    if not inside_talks.timed_out(step, contact, kept):
        event = _event(step, contact, kept, heard)
        if event is not None:
            inside_talks.advance(step, contact, kept, event)


def _answers_unnamed(kept: Kept, heard: _Heard) -> bool:
    """Whether it answers our request in the room before the room has told us the request's id."""
    waiting = isinstance(kept[1], states.Requested) and not kept[0].transaction_id
    return waiting and heard.kind == READY and heard.room_id == kept[0].room_id


def _event(step: Step, contact: ContactPolicy, kept: Kept, heard: _Heard) -> states.Event | None:
    """What a message means to the machine; None when it means nothing."""
    try:
        message = messages.message_of(heard.kind, heard.content)
    except Malformed:
        return states.Withdrawn(states.INVALID)
    if isinstance(message, Ready):
        return _answered(step, contact, kept, heard, message)
    if isinstance(message, Start):
        return states.Began(message, step.draw("sas", SECRET))
    if isinstance(message, Accept):
        return states.Promised(message, step.draw("sas", SECRET))
    return None if isinstance(message, Request) else message


def _answered(step: Step, contact: ContactPolicy, kept: Kept, heard: _Heard, ready: Ready) -> states.Event | None:
    talk, state = kept
    if not isinstance(state, states.Requested) or heard.device_id not in ("", ready.from_device):
        return None  # a second device accepts as well
    them = inside_talks.party(step, contact, ready.from_device)
    if them is None:
        return states.Withdrawn(states.KEY_MISMATCH)
    return states.Answered(them, ready.methods, inside_talks.drawn_code(step) if talk.code else b"")


# ---------------------------------------------------------------- time, answers, restarts
def woken(step: Step) -> None:
    """End what takes too long; start what nobody started; try again to tell whom we vouch for."""
    for contact, kept in inside_talks.talks(step):
        talk, state = kept
        if inside_talks.timed_out(step, contact, kept):
            continue
        if isinstance(state, states.Prepared) and 0 < talk.start_ms <= step.now_ms():
            inside_talks.advance(step, contact, kept, states.Begun())
    inside_talks.arm(step)
    inside_vouching.woken(step)


def answered(step: Step, answer: Input) -> None:
    """A request was carried out: one of ours, or one that ours wait for."""
    inside_verification_person.may_begin(step)
    for contact in step.account.contacts:
        waiting = step.records.get(f"verify-waiting/{contact.address}", Waiting)
        told = inside_devices.tracked(step, contact.address) if waiting is not None else None
        if waiting is not None and told is not None and told.known and not told.outdated:
            step.records.delete(f"verify-waiting/{contact.address}")
            _asked(step, contact, waiting.talk, Request(waiting.from_device, waiting.methods), again=True)
    for contact, kept in inside_talks.talks(step):
        event_id = inside_verification_room.answered(step, answer, contact)
        if event_id is not None and isinstance(kept[1], states.Requested) and not kept[0].transaction_id:
            if event_id:
                inside_talks.identified(step, contact, kept, event_id)
            else:
                inside_talks.advance(step, contact, kept, states.Withdrawn())
        elif event_id and isinstance(kept[1], states.Cancelled) and not kept[0].transaction_id:
            inside_talks.withdrawn_late(step, contact, kept[0], kept[1], event_id)
        inside_verification_room.advance(step, contact)


def interrupted(step: Step) -> None:
    """The state may be old: a secret that was shown once must not meet a second key. All of it ends."""
    inside_verification_room.forget(step)
    for contact, kept in inside_talks.talks(step):
        if machine.live(kept[1]):
            if kept[0].room_id:
                inside_verification_room.open_talk(step, contact, kept[0].room_id)
            inside_talks.advance(step, contact, kept, states.Withdrawn())
