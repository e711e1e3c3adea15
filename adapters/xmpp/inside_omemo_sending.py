"""Messages for the user by OMEMO: one stanza to the bare JID for all devices, kept until it counts as delivered.

Decision 0172. What is said to one device only, or is nothing that anybody reads, is in `inside_omemo_healing`.
"""

from collections.abc import Mapping
from dataclasses import replace

from adapters.inside_api import AnyValue, Step
from adapters.xmpp.inside_leg import LegStep, arm
from adapters.xmpp.inside_omemo_beside import beside_values, older_text
from adapters.xmpp.inside_omemo_binding import told_again, told_once
from adapters.xmpp.inside_omemo_devices import Recipients, recipients, unusable
from adapters.xmpp.inside_omemo_given_up import HASTE_MS, closed_by, due_ms, is_given_up
from adapters.xmpp.inside_omemo_outbox import (
    Out,
    Sending,
    drop_out,
    forget_sending,
    keep_out,
    keep_sending,
    out_at,
    sending_of,
)
from adapters.xmpp.inside_omemo_own import omemo_on, store_of
from adapters.xmpp.inside_queue import acknowledged, content_of, entry_at, give_up
from adapters.xmpp.inside_references import number_of
from adapters.xmpp.inside_state import SECOND_MS, SENT_AT_ONCE, Queued
from adapters.xmpp.names import OMEMO, Resources, address_of, bare
from bridge.wire.link import Input
from bridge.wire.values import Code, Opaque, Sealed
from crypto.omemo.conversation import encrypted
from crypto.omemo.envelope import sealed_envelope
from crypto.omemo.model import Recipient
from crypto.omemo.names import Namespace
from crypto.xml import CLIENT, Element, parse, serialize

AT_ONCE = 16
"""Messages that are sent in one step: each costs a key for every device."""
GRACE_MS = 60 * SECOND_MS
"""How long after the server took a message it may still come back, or a receipt be missed; doubles."""
MAX_TRIES = 3
"""How often a message goes out to a client that gives receipts, when none comes."""
MAX_GRACE = 256
"""Messages that the server has and that are kept all the same; beyond that the oldest count as delivered."""
MAX_CONTENT = 250_000
"""Octets of what is encrypted, in all forms together: servers allow stanzas of 256 KiB."""
PAUSE_MS = 5 * SECOND_MS
PAUSE_MOST_MS = 600 * SECOND_MS
MAX_BOUNCES = 150
"""Pauses of ten minutes: about a day."""
STANZA_COST = 4_096
"""Octets that a stanza is counted for beside its content: sessions of its devices, and what holds it."""
_FORMS = {
    frozenset({Namespace.AXOLOTL}): "axolotl",
    frozenset({Namespace.OMEMO_2}): "omemo-2",
    frozenset(Namespace): "both",
}


def within(content: bytes) -> tuple[Element, ...]:
    """Children of a stanza that were written as text."""
    return parse(b"<s xmlns='" + CLIENT.encode() + b"'>" + content + b"</s>").elements


def sealed_for(
    at: LegStep, ready: tuple[Recipient, ...], content: Mapping[Namespace, bytes]
) -> tuple[bytes, str] | None:
    """`<encrypted/>` elements for those devices, and in which forms; None: none is reached."""
    parts: dict[Namespace, bytes] = {}
    forms = {each.peer.namespace for each in ready}
    if Namespace.AXOLOTL in forms:
        parts[Namespace.AXOLOTL] = content[Namespace.AXOLOTL]
    if Namespace.OMEMO_2 in forms:
        parts[Namespace.OMEMO_2] = sealed_envelope(
            within(content[Namespace.OMEMO_2]),
            at.step.draw,
            sender=bare(at.contact.alias),
            recipient=bare(at.step.account.near_address),
        )
    made = encrypted(store_of(at), at.step.draw, parts, ready)
    for each in made.refused:
        at.report("omemo-device-left-out")
        unusable(at, each.peer)
    if not made.elements:
        return None
    return b"".join(map(serialize, made.elements.values())), _FORMS[frozenset(made.elements)]


# ---------------------------------------------------------------- what waits
def flush_omemo(at: LegStep, forms: frozenset[Namespace]) -> bool:
    """Send what waits, as much as one step may; False: there is no device to send it to."""
    sending, now = sending_of(at.step.records, at.contact.id), at.step.now_ms()
    if now < sending.hold_ms:
        return True
    found = recipients(at)
    if found.waiting:
        return True
    ready = _allowed(found, forms)
    if not ready:
        told_once(at, found.refused or "omemo-no-devices")
        return False
    if closed_by(at, ready):
        return True
    told_again(at)
    if not sending.used:
        keep_sending(at, replace(sending, used=True))
    _send(at, ready)
    return True


def _grace_ms(at: LegStep, number: int, out: Out) -> int:
    return HASTE_MS if is_given_up(at, number) else GRACE_MS << (out.tries - 1)


def _allowed(found: Recipients, forms: frozenset[Namespace]) -> tuple[Recipient, ...]:
    return tuple(each for each in found.ready if each.peer.namespace in forms)


def _send(at: LegStep, ready: tuple[Recipient, ...]) -> None:
    number, room, left = at.line.sent, SENT_AT_ONCE - at.spent, AT_ONCE
    while number < at.line.next and room > 0 and left > 0:
        entry = entry_at(at, number)
        if entry is not None and not entry.plain and out_at(at, number) is None:
            made = sealed_for(at, ready, content_in(at, entry))
            if made is None:
                break
            room, left = room - len(made[0]), left - 1
            _goes_out(at, number, entry, Out(*made))
        number += 1
    if number != at.line.sent:
        at.line = replace(at.line, sent=number, sent_on=None)


def _goes_out(at: LegStep, number: int, entry: Queued, out: Out) -> None:
    if len(out.content) > MAX_CONTENT:
        give_up(at, number, "too-large")
        return
    keep_out(at, number, out)
    _carry(at, entry, out)
    at.step.trace(entry.position, "sealed")


def content_in(at: LegStep, entry: Queued, *, receipt: bool = True) -> Mapping[Namespace, bytes]:
    """The older form encrypts the body and nothing else: there everything is said in words (decisions 0173, 0187)."""
    return {
        Namespace.AXOLOTL: older_text(at, entry).encode(),
        Namespace.OMEMO_2: content_of(at, entry, letter=True, receipt=receipt),
    }


def _carry(at: LegStep, entry: Queued, out: Out) -> None:
    at.spent += len(out.content) + STANZA_COST
    values: dict[str, AnyValue] = {
        "from": at.contact_jid,
        "to": address_of(bare(at.step.account.near_address)),
        "id": Opaque(v=entry.stanza_id),
        "form": Code(v=out.form),
        "content": Sealed(v=out.content),
    }
    if out.heard:
        values["again"] = Code(v="yes")
    if out.form != "omemo-2":
        values |= beside_values(at, entry)
    key = f"omemo/{at.contact.id}/{entry.stanza_id}/{out.tries}"
    at.step.carry(OMEMO, values, lane=at.lane, key=key, trace=entry.position or None)


# ---------------------------------------------------------------- what becomes of it
def omemo_answered(step: Step, answer: Input) -> LegStep | None:
    """The server took a stanza, or never will; the leg that goes on, None: it is none of these."""
    parts = (answer.key or "").split("/")
    contact = step.account.contact_by_id(parts[1]) if answer.name == OMEMO and len(parts) == 4 else None
    if contact is None:
        return None
    at = LegStep(step, contact)
    number, out = _sent_as(at, parts[2])
    if out is None or out.bounced or out.due_ms or parts[3] != str(out.tries):
        return at
    if answer.code != "ok":
        step.report("stanza-not-carried")
        give_up(at, number, "undeliverable")
        return at
    _due(at, number, replace(out, due_ms=step.now_ms() + _grace_ms(at, number, out)))
    if at.line.sent - at.line.first > MAX_GRACE:
        settle_oldest(at)
    return at


def settle_oldest(at: LegStep, room: int = MAX_GRACE // 2) -> None:
    """The oldest that the server has count as delivered, until no more than `room` are under way."""
    for number in range(at.line.first, at.line.next):
        out, entry = out_at(at, number), entry_at(at, number)
        if entry is None:
            continue
        if out is None or not out.due_ms or out.bounced:
            return
        acknowledged(at, entry.stanza_id)
        if at.line.sent - at.line.first <= room:
            return


def omemo_received(at: LegStep, stanza_ids: tuple[str, ...]) -> tuple[str, ...]:
    """Receipts; those that are of no message which went out by OMEMO are left over."""
    left = []
    for stanza_id in stanza_ids if omemo_on(at.contact) else ():
        _, out = _sent_as(at, stanza_id)
        if out is None:
            left.append(stanza_id)
        elif acknowledged(at, stanza_id):
            keep_sending(at, replace(sending_of(at.step.records, at.contact.id), receipts=True))
    return tuple(left) if omemo_on(at.contact) else stanza_ids


def omemo_bounced(at: LegStep, stanza: Element, peer: str) -> bool:
    """The user's server sent a message back: it goes out again after a pause; whether it was one of these.

    What the user's clients send back changes nothing: others may have read it.
    """
    number, out = _sent_as(at, stanza.attribute("id") or "")
    if out is None:
        return False
    at.report("omemo-bounced")
    if "/" in peer or out.bounced:
        return True
    _came_back(at, number, out)
    return True


def _came_back(at: LegStep, number: int, out: Out) -> None:
    due = at.step.now_ms() + min(PAUSE_MOST_MS, PAUSE_MS << min(out.bounces, 16))
    _put_off(at, number, replace(out, due_ms=due, bounces=out.bounces + 1, bounced=True))


def _put_off(at: LegStep, number: int, out: Out) -> None:
    """It goes again at its time; newer ones wait, so that the order stays."""
    _due(at, number, out)
    sending = sending_of(at.step.records, at.contact.id)
    keep_sending(at, replace(sending, hold_ms=max(out.due_ms, sending.hold_ms)))
    arm(at.step, out.due_ms)


def omemo_switched(at: LegStep) -> None:
    """The operator turned OMEMO off: what is not acknowledged is to go out another way."""
    if not omemo_on(at.contact) and at.step.records.get(f"omemo-line/{at.contact.id}", Sending) is not None:
        forget_sending(at.step, at.contact.id)
        at.line = at.line.resent()


def omemo_due_ms(at: LegStep) -> int:
    """When something is to be done about what went out; 0: never."""
    if not omemo_on(at.contact):
        return 0
    sending = sending_of(at.step.records, at.contact.id)
    held = sending.hold_ms if sending.hold_ms > at.step.now_ms() and at.line.waiting else 0
    return min((t for t in (sending.look_ms, held) if t), default=0)


def tend_sent(at: LegStep, forms: frozenset[Namespace]) -> bool:
    """Do what the time calls for: repeat what was not acknowledged, or count it as delivered; seal what came back anew.

    Whether more may be sent now.
    """
    if not omemo_on(at.contact):
        return False
    sending, now = sending_of(at.step.records, at.contact.id), at.step.now_ms()
    freed = 0 < sending.hold_ms <= now
    if freed:
        keep_sending(at, replace(sending, hold_ms=0))
    if not sending.look_ms or now < sending.look_ms:
        return freed
    for number in range(at.line.first, at.line.next):
        if at.spent >= SENT_AT_ONCE:  # the others are due still, and come in the next step
            break
        out, entry = out_at(at, number), entry_at(at, number)
        if out is not None and entry is not None and 0 < due_ms(at, number, out) <= now:
            _overdue(at, number, entry, out, forms)
    pending = ((number, out_at(at, number)) for number in range(at.line.first, at.line.next))
    look = min((due_ms(at, number, out) for number, out in pending if out is not None and out.due_ms), default=0)
    keep_sending(at, replace(sending_of(at.step.records, at.contact.id), look_ms=look))
    arm(at.step, look)
    return True


def _overdue(at: LegStep, number: int, entry: Queued, out: Out, forms: frozenset[Namespace]) -> None:
    if out.bounced and out.bounces >= MAX_BOUNCES:
        give_up(at, number, "undeliverable")
    elif out.bounced:
        _anew(at, number, entry, out, forms)
    elif _acknowledges(at) and out.tries < MAX_TRIES:
        _again(at, number, entry, replace(out, heard=True))
    else:
        at.report("delivered-without-receipt")
        acknowledged(at, entry.stanza_id)


def _again(at: LegStep, number: int, entry: Queued, out: Out) -> None:
    again = replace(out, tries=out.tries + 1, due_ms=0, bounced=False)
    keep_out(at, number, again)
    at.report("omemo-sent-again")
    _carry(at, entry, again)


def _anew(at: LegStep, number: int, entry: Queued, out: Out, forms: frozenset[Namespace]) -> None:
    """It reached nobody. Since then a device may have been removed or distrusted, a session given up."""
    found = recipients(at)
    ready = _allowed(found, forms)
    if not ready and not found.waiting:
        _nobody_left(at, number, out)
        return
    waits = found.waiting or closed_by(at, ready)
    made = None if waits else sealed_for(at, ready, content_in(at, entry))
    if made is None:
        _put_off(at, number, replace(out, due_ms=at.step.now_ms() + PAUSE_MS))
    elif len(made[0]) > MAX_CONTENT:
        give_up(at, number, "too-large")
    else:
        _again(at, number, entry, replace(out, content=made[0], form=made[1]))


def _nobody_left(at: LegStep, number: int, out: Out) -> None:
    """It waits like one that never went out: she is told why, and a session may take it. While newer ones are under way
    in a session, which would be repeated there with it, it counts as come back once more.
    """
    newer = range(number + 1, at.line.sent) if at.line.sent_on is not None else ()
    if any(out_at(at, each) is None and entry_at(at, each) is not None for each in newer):
        _came_back(at, number, out)
    else:
        drop_out(at, number)
        at.line = replace(at.line, sent=min(at.line.sent, number))


def _acknowledges(at: LegStep) -> bool:
    """Whether a receipt was to be expected: a client that gives them is there, and has not got it from the archive."""
    resources = at.step.records.get("resources", Resources)
    present = resources is not None and bool(resources.available)
    return present and sending_of(at.step.records, at.contact.id).receipts


def _due(at: LegStep, number: int, out: Out) -> None:
    keep_out(at, number, out)
    sending = sending_of(at.step.records, at.contact.id)
    if not sending.look_ms or out.due_ms < sending.look_ms:
        keep_sending(at, replace(sending, look_ms=out.due_ms))
        arm(at.step, out.due_ms)


def _sent_as(at: LegStep, stanza_id: str) -> tuple[int, Out | None]:
    """The place of the message that went out by OMEMO in the stanza of that id."""
    number = number_of(stanza_id)
    if number is None or not at.line.first <= number < at.line.next:
        return 0, None
    entry = entry_at(at, number)
    return number, out_at(at, number) if entry is not None and entry.stanza_id == stanza_id else None
