"""Conversations of a verification: kept, carried on, sent, ended in time. One for each contact.

| record | kind |
|---|---|
| `verifying/<mxid>`, `verifying-state/<mxid>` | Talk, and the machine's state, whose kind the former names |
| `verify-wanted/<mxid>` | the person here wants to begin, and cannot yet (inside_verification_person) |
| `verify-waiting/<mxid>` | a request whose device is not known yet (inside_verification) |
| `verify-talk/<mxid>`, `verify-session/<mxid>` | the Megolm session for a room (inside_verification_room) |
| `vouching/<mxid>` | a signature that the server is to have (inside_vouching) |
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import msgspec

from adapters.inside_api import AnyValue, ContactPolicy, Proof, Step
from adapters.matrix import inside_devices, inside_identity, inside_notices, inside_verification_room
from adapters.matrix.inside_own import own_state
from adapters.matrix.inside_vouching import proved
from adapters.matrix.names import SEND_VERIFICATION, TOLD_VERIFICATION_ASKED, TOLD_VERIFICATION_OVER, TOLD_VERIFIED
from bridge.wire.values import Opaque, Public
from crypto.olm import qr
from crypto.olm import verification as machine
from crypto.olm import verification_messages as messages
from crypto.olm import verification_states as states
from crypto.olm.errors import OlmError
from crypto.olm.identity import MASTER
from crypto.olm.sas import Ends, Party
from crypto.olm.verification import Limits, expired

TIMER = "verification"
LIMITS = Limits()
START_AFTER_MS = 20_000
"""How long whoever asked us may take to start, before we do."""


@dataclass(frozen=True, slots=True)
class Talk:
    """A conversation: its state (named by `state`, kept beside), its room (empty: to-device), its times."""

    state: str
    transaction_id: str
    room_id: str
    begun_ms: int
    start_ms: int = 0
    asked: tuple[str, ...] = ()
    """Devices that our to-device request went to."""
    code: bool = False
    """Whether the person here shows a code to scan."""
    how: str = ""
    by: str = ""
    """What was compared, and who said that it is the same (`Proof`)."""


Kept = tuple[Talk, states.State]


def drawn_code(step: Step) -> bytes:
    """The secret of a code that may be shown."""
    return step.draw("verification-code", qr.SECRET)


def kept(step: Step, contact: ContactPolicy) -> Kept | None:
    """The conversation with the contact, the last one when it is over."""
    talk = step.records.get(f"verifying/{contact.address}", Talk)
    kind = states.STATES.get(talk.state) if talk is not None else None
    read: Callable[..., states.State | None] = step.records.get
    state = read(f"verifying-state/{contact.address}", kind) if kind is not None else None
    return (talk, state) if talk is not None and state is not None else None


def kept_so(step: Step, contact: ContactPolicy, talk: Talk, state: states.State) -> Talk:
    """Keep it so."""
    talk = replace(talk, state=type(state).__name__.lower())
    step.records.put(f"verifying/{contact.address}", talk)
    step.records.put(f"verifying-state/{contact.address}", state)
    return talk


def talks(step: Step) -> list[tuple[ContactPolicy, Kept]]:
    """The conversations with all contacts."""
    found = ((contact, kept(step, contact)) for contact in step.account.contacts if contact.network == "matrix")
    return [(contact, entry) for contact, entry in found if entry is not None]


# ---------------------------------------------------------------- going on
def advance(step: Step, contact: ContactPolicy, entry: Kept, event: states.Event) -> None:
    """Something happened in it: go on, or break it off."""
    talk, state = entry
    code = states.INVALID
    following: states.State | None = None
    sends: tuple[messages.Send, ...] = ()
    try:
        following, sends = machine.advanced(state, event)
    except states.Refused as error:
        code = error.cancel
    except OlmError:
        pass
    if following is None:
        following, sends = machine.ended(state, code)
    if isinstance(following, states.Verified) and not _still_theirs(step, contact, following.flow):
        following, sends = machine.ended(states.Asked(following.flow), states.KEY_MISMATCH)
    talk = kept_so(step, contact, talk, following)
    for each in sends:
        _send(step, contact, talk, machine.flow_of(following) or machine.flow_of(state), each)
    _followed(step, contact, talk, state, following)


def _followed(step: Step, contact: ContactPolicy, talk: Talk, before: states.State, following: states.State) -> None:
    """What else comes of a transition."""
    if not isinstance(following, states.Asked | states.Proposed):
        inside_notices.over(step, contact, TOLD_VERIFICATION_ASKED)
    if isinstance(before, states.Requested) and isinstance(following, states.Prepared):
        _tell_others(step, contact, talk, following)
        if not following.code:
            advance(step, contact, (talk, following), states.Begun())  # we asked, so we start
    elif isinstance(following, states.Prepared) and not following.code and not isinstance(before, states.Prepared):
        kept_so(step, contact, replace(talk, start_ms=step.now_ms() + START_AFTER_MS), following)
    elif isinstance(following, states.Verified) and not isinstance(before, states.Verified):
        proved(step, contact, following.flow.ends.them.master, Proof(talk.how, talk.by, step.now_ms()))
        step.notify(contact.id, TOLD_VERIFIED)
    elif isinstance(following, states.Cancelled) and not isinstance(before, states.Cancelled):
        step.report("verification-cancelled", contact.id)
        if not following.by_us and not isinstance(before, states.Asked | states.Proposed):
            step.notify(contact.id, TOLD_VERIFICATION_OVER)  # somebody here took part in it
    arm(step)
    step.moved(contact.id)


def ask(
    step: Step, contact: ContactPolicy, us: Party, room_id: str, devices: tuple[str, ...], *, code: bool = False
) -> None:
    """Ask the contact, in the room, or those of the devices when there is none."""
    shows_code = code and bool(us.master)
    content: dict[str, object] = {"from_device": us.device_id, "methods": machine.methods(shows_code=shows_code)}
    transaction_id = "" if room_id else step.draw("verification", 16).hex()
    talk = Talk("", transaction_id, room_id, step.now_ms(), asked=() if room_id else devices, code=shows_code)
    opened(step, contact, talk, states.Requested(transaction_id, bool(room_id), us))
    if room_id:
        words = f"{us.user_id} asks to verify your keys, but this client cannot do it."
        content |= {"msgtype": messages.REQUEST, "to": contact.address, "body": words}
        inside_verification_room.send(step, contact, "m.room.message", msgspec.json.encode(content))
    else:
        content |= {"transaction_id": transaction_id, "timestamp": step.now_ms()}
        _to_devices(step, contact, devices, messages.Send(messages.REQUEST, content))
    step.report("verification-requested", contact.id)


def opened(step: Step, contact: ContactPolicy, talk: Talk, state: states.State) -> None:
    """A new conversation."""
    if talk.room_id:
        inside_verification_room.open_talk(step, contact, talk.room_id)
    kept_so(step, contact, talk, state)
    arm(step)


def _send(step: Step, contact: ContactPolicy, talk: Talk, within: states.Flow | None, send: messages.Send) -> None:
    if talk.room_id:
        if talk.transaction_id:  # else nobody knows of it yet
            inside_verification_room.send(step, contact, send.kind, msgspec.json.encode(send.content))
        return
    devices = (within.ends.them.device_id,) if within is not None else talk.asked
    _to_devices(step, contact, devices, send)


def _tell_others(step: Step, contact: ContactPolicy, talk: Talk, state: states.Prepared) -> None:
    """Of a to-device request: the contact's other devices need not ask any more."""
    others = tuple(device for device in talk.asked if device != state.flow.ends.them.device_id)
    if others:
        content = {"code": states.ACCEPTED, "reason": states.REASONS[states.ACCEPTED]}
        _to_devices(step, contact, others, messages.framed("cancel", talk.transaction_id, content, in_room=False))


def _to_devices(step: Step, contact: ContactPolicy, devices: tuple[str, ...], send: messages.Send) -> None:
    body = {"messages": {contact.address: {device: dict(send.content) for device in devices}}}
    values: dict[str, AnyValue] = {"type": Opaque(v=send.kind), "body": Public(v=msgspec.json.encode(body))}
    step.carry(SEND_VERIFICATION, values, lane="to-device")


def arm(step: Step) -> None:
    """Ask for the next time at which something is due."""
    due = [
        talk.start_ms if isinstance(state, states.Prepared) and talk.start_ms else talk.begun_ms + LIMITS.whole_ms
        for _, (talk, state) in talks(step)
        if machine.live(state)
    ]
    if due:
        step.wake_at(TIMER, max(step.now_ms(), min(due)))


def timed_out(step: Step, contact: ContactPolicy, entry: Kept) -> bool:
    """Whether it took too long: then it is over."""
    if machine.live(entry[1]) and expired(step.now_ms(), entry[0].begun_ms, LIMITS):
        advance(step, contact, entry, states.Withdrawn(states.TIMEOUT))
        return True
    return False


def identified(step: Step, contact: ContactPolicy, entry: Kept, transaction_id: str) -> Kept:
    """The room gave our request its id."""
    talk, state = entry
    assert isinstance(state, states.Requested)
    state = replace(state, transaction_id=transaction_id)
    return kept_so(step, contact, replace(talk, transaction_id=transaction_id), state), state


def withdrawn_late(
    step: Step, contact: ContactPolicy, talk: Talk, state: states.Cancelled, transaction_id: str
) -> None:
    """The room gave our request its id after it was broken off: now its other end can be told."""
    talk = kept_so(step, contact, replace(talk, transaction_id=transaction_id), state)
    content = {"code": state.code, "reason": states.REASONS.get(state.code, states.REASONS[states.USER])}
    _send(step, contact, talk, None, messages.framed("cancel", transaction_id, content, in_room=True))


# ---------------------------------------------------------------- who they are
def us(step: Step) -> Party | None:
    """Our end, None before the first log-in."""
    own = own_state(step)
    if own is None:
        return None
    identity = inside_identity.state_of(step)
    master = identity.own.public(MASTER) if identity.own is not None and not identity.elsewhere else ""
    return Party(own.device.user_id, own.device.device_id, own.device.ed25519, master)


def party(step: Step, contact: ContactPolicy, device_id: str) -> Party | None:
    """A device of the contact's that the identity shown now vouches for, with that identity."""
    told = inside_devices.tracked(step, contact.address)
    device = next((d for d in told.devices if d.device_id == device_id), None) if told is not None else None
    if told is None or device is None or told.identity is None or device_id not in told.vouched:
        step.report("verification-unknown-device", contact.id)
        if not inside_devices.outdated(step, contact.address):
            inside_devices.current_devices(step, contact.address)
        return None
    return Party(contact.address, device_id, device.ed25519, told.identity.master)


def flow(
    step: Step, contact: ContactPolicy, transaction_id: str, device_id: str, *, in_room: bool
) -> states.Flow | None:
    """A conversation with one of the contact's devices, None when it is not one to talk with."""
    ours, them = us(step), party(step, contact, device_id)
    return None if ours is None or them is None else states.Flow(Ends(transaction_id, ours, them), in_room)


def _still_theirs(step: Step, contact: ContactPolicy, proven: states.Flow) -> bool:
    """Whether the identity that was proved is the one that is shown now."""
    told = inside_devices.tracked(step, contact.address)
    return told is not None and told.identity is not None and told.identity.master == proven.ends.them.master


def free(step: Step, contact: ContactPolicy, asked: states.Flow) -> bool:
    """Whether nothing else is under way. If so, all of it ends (spec: Error handling), but for what nobody answered."""
    found = kept(step, contact)
    if found is None or not machine.live(found[1]):
        return True
    if found[0].transaction_id == asked.ends.transaction_id:
        return False
    advance(step, contact, found, states.Withdrawn())
    if isinstance(found[1], states.Asked | states.Proposed):
        return True
    if not asked.in_room:
        _, sends = machine.ended(states.Asked(asked), states.UNEXPECTED)
        for each in sends:
            _to_devices(step, contact, (asked.ends.them.device_id,), each)
    step.report("verification-crossed", contact.id)
    return False
