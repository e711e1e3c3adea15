"""Verifying a contact: what the person at our end may do, and what they are shown."""

from dataclasses import dataclass, replace
from hashlib import sha256

from adapters.inside_api import ContactPolicy, Shown, Step
from adapters.matrix import inside_devices, inside_identity, inside_rooms, inside_talks
from adapters.matrix.names import NETWORK
from adapters.matrix.sentences import EMOJI
from crypto.olm import qr
from crypto.olm import verification as machine
from crypto.olm import verification_messages as messages
from crypto.olm import verification_states as states
from crypto.olm.sas import SECRET


@dataclass(frozen=True, slots=True)
class Wanted:
    """Somebody here wants to verify the contact, and it could not begin yet."""


def begin(step: Step, contact: ContactPolicy, *, to_device: bool = False, code: bool = False) -> str:
    """Accept what the contact asked for, or ask. `code`: show one to scan. Returns a code."""
    kept = inside_talks.kept(step, contact)
    if kept is not None and not inside_talks.timed_out(step, contact, kept) and machine.live(kept[1]):
        if not isinstance(kept[1], states.Asked | states.Proposed):
            return "under-way"
        joined = states.Joined(step.draw("sas", SECRET), inside_talks.drawn_code(step) if code else b"")
        inside_talks.advance(step, contact, (replace(kept[0], code=code), kept[1]), joined)
        return "ok"
    us, told = inside_talks.us(step), inside_devices.tracked(step, contact.address)
    if us is None or not inside_identity.settled(step):
        step.records.put(f"verify-wanted/{contact.address}", Wanted())
        return "identity-not-ready"
    if told is None or not told.known:
        step.records.put(f"verify-wanted/{contact.address}", Wanted())
        inside_devices.current_devices(step, contact.address)
        return "devices-unknown"
    if told.identity is None or not told.vouched:
        return "not-cross-signed"
    inside_talks.ask(step, contact, us, "" if to_device else _room(step, contact), told.vouched, code=code)
    return "ok"


def _room(step: Step, contact: ContactPolicy) -> str:
    """The room to ask in; empty when there is none yet that both are in."""
    room = inside_rooms.room_of(step, contact)
    return room.room_id if room is not None and room.problem is None and room.joined_ms else ""


def decide(step: Step, contact: ContactPolicy, decision: str, compared: str | None, by: str) -> str:
    """`match` or `differ`, about what was `compared` (`Shown.mark`), by whom; or `cancel`. Returns a code."""
    kept = inside_talks.kept(step, contact)
    if kept is None or inside_talks.timed_out(step, contact, kept) or not machine.live(kept[1]):
        return "no-verification"
    if decision == "cancel":
        inside_talks.advance(step, contact, kept, states.Withdrawn())
        return "ok"
    mark = _mark(kept[1])
    if not mark:
        return "nothing-to-compare"
    if compared != mark:
        return "other-session"
    told = replace(kept[0], how=_how(kept[1]), by=by)
    inside_talks.advance(step, contact, (told, kept[1]), states.Matched() if decision == "match" else states.Differed())
    return "ok"


def _mark(state: states.State) -> str:
    """What a decision must carry to be about this."""
    if isinstance(state, states.Comparing):
        return " ".join(str(number) for number in state.sas.decimal)
    if isinstance(state, states.Scanned):
        return sha256(state.flow.ends.transaction_id.encode(errors="replace")).hexdigest()[:32]
    return ""


def _how(state: states.State) -> str:
    if isinstance(state, states.Comparing):
        return "emoji" if messages.EMOJI in state.strings else "numbers"
    return "code"


def shown(step: Step, contact: ContactPolicy) -> Shown:
    """How the conversation stands."""
    kept = inside_talks.kept(step, contact)
    if kept is None:
        return Shown("none")
    talk, state = kept
    way = "room" if talk.room_id else "to-device"
    if isinstance(state, states.Comparing):
        emoji = state.sas.emoji if messages.EMOJI in state.strings else ()
        words = tuple(" ".join(EMOJI[number]) for number in emoji)
        return Shown(talk.state, way, emoji, words, state.sas.decimal, mark=_mark(state))
    if isinstance(state, states.Prepared) and state.code:
        return Shown(talk.state, way, scan=qr.code_of(state.flow.ends, state.code))
    if isinstance(state, states.Cancelled):
        return Shown(talk.state, way, code=_code(state.code), by_us=state.by_us)
    return Shown(talk.state, way, mark=_mark(state))


def _code(code: str) -> str:
    """A cancellation code as a word of ours; what is not one of the known is `other`."""
    return code.removeprefix("m.").replace("_", "-") if code in states.REASONS else "other"


def may_begin(step: Step) -> None:
    """Tell of contacts whose verification was wanted too early."""
    for name in list(step.records.names("verify-wanted/")):
        contact = step.account.contact_by_address(NETWORK, name.removeprefix("verify-wanted/"))
        told = inside_devices.tracked(step, contact.address) if contact is not None else None
        if contact is None or (told is not None and told.known and inside_identity.settled(step)):
            step.records.delete(name)
            if contact is not None:
                step.moved(contact.id)
