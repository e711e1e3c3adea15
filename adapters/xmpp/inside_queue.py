"""Messages for the user: kept until they are acknowledged, sent in order, sent again in new sessions."""

from dataclasses import replace

from adapters.inside_api import AnyValue
from adapters.xmpp.inside_leg import LegStep
from adapters.xmpp.inside_stanzas import MAX_BODY, receipt_content, refusal_content, text_content, text_of
from adapters.xmpp.inside_state import (
    MAX_QUEUED,
    MAX_QUEUED_OCTETS,
    RECEIPT_MS,
    SENT_AT_ONCE,
    WINDOW,
    Line,
    Queued,
    Talk,
)
from adapters.xmpp.names import PLAIN, address_of
from bridge.wire.values import Opaque, Public
from crypto.esession.conversation import Conversation, abandon, send
from crypto.esession.profiles import Profile
from crypto.esession.session import Exhausted
from crypto.message import Assurance, Message
from crypto.xml import sanitise_text


def enqueue(at: LegStep, message: Message) -> None:
    """Keep a message for the user, or say at once why it cannot be taken."""
    body = sanitise_text(text_of(message.body, message.kind))
    code = "too-large" if len(body.encode()) > MAX_BODY else None
    if at.line.waiting >= MAX_QUEUED or at.line.octets + len(body.encode()) > MAX_QUEUED_OCTETS:
        code = "queue-full"
    if code is not None:
        failure = code
        at.step.trace(message.position, "refused", failure)
        at.later(lambda: at.step.failed(at.contact.id, message.id, failure))
        return
    line, number = at.line, at.line.next
    stanza_id = f"m-{number:x}-{at.step.draw('stanza-id', 8).hex()}"
    at.step.records.put(_name(at, number), Queued(stanza_id, message.id, body, message.position))
    octets = line.octets + len(body.encode())
    at.line = Line(line.first, number + 1, line.sent, line.sent_on, line.waiting_since_ms, line.heard, octets)


def flush(at: LegStep) -> None:
    """Send what may be sent now: what the user is owed, then messages in order, as many as the window allows."""
    talk = at.current
    if talk is None:
        if at.leg.plain and at.contact.require is Assurance.NONE:
            _flush_plain(at)
        return
    conversation = at.conversation(talk.thread)
    if conversation is None or not conversation.active:
        at.forget(talk.thread)
        return
    try:
        after = _send_window(at, talk, _pay(at, talk, conversation))
    except Exhausted:
        # Not before 64 GiB in one session: all that is unacknowledged goes again in the next one.
        at.reply(talk.thread, talk.peer, abandon(conversation).replies)
        at.forget(talk.thread)
        return
    if after is not conversation:
        at.keep(after)


def _pay(at: LegStep, talk: Talk, conversation: Conversation) -> Conversation:
    """Receipts and refusals that had to wait for a session."""
    owed = (*at.leg.owed, *at.owed)
    if at.leg.owed:
        at.leg = replace(at.leg, owed=())
    at.owed = []
    for debt in owed:
        if debt.code is not None and (debt.id is None or _profile(conversation) is not Profile.LETTER):
            at.error(talk.peer, debt.id, debt.code)
            continue
        known = debt.id or ""
        content = receipt_content(known) if debt.code is None else refusal_content(known, debt.code)
        stanza_id = f"s-{at.step.draw('stanza-id', 8).hex()}"
        conversation = sealed(at, talk, conversation, content, stanza_id=stanza_id)
    return conversation


def _send_window(at: LegStep, talk: Talk, conversation: Conversation) -> Conversation:
    line = at.line
    number, room = line.sent, SENT_AT_ONCE
    while number < line.next and number - line.first < WINDOW and room > 0:
        entry = at.step.records.get(_name(at, number), Queued)
        number += 1
        if entry is None or entry.plain:
            continue
        content = text_content(entry.body, entry.stanza_id)
        room -= len(content)
        conversation = sealed(at, talk, conversation, content, stanza_id=entry.stanza_id, trace=entry.position or None)
        at.step.trace(entry.position, "sealed")
    if number != line.sent:
        since = line.waiting_since_ms or at.step.now_ms()
        at.line = Line(line.first, line.next, number, talk.thread, since, line.heard, line.octets)
    return conversation


def sealed(
    at: LegStep, talk: Talk, conversation: Conversation, content: bytes, *, stanza_id: str, trace: int | None = None
) -> Conversation:
    """Send content in a session: the conversation afterwards. Raises Exhausted."""
    outcome = send(conversation, content)
    assert outcome.conversation is not None
    for reply in outcome.replies:
        at.encrypted(talk.thread, talk.peer, stanza_id, reply.payload, trace)
    return outcome.conversation


def _profile(conversation: Conversation) -> Profile | None:
    return None if conversation.session is None else conversation.session.profile


def _flush_plain(at: LegStep) -> None:
    """The policy of this contact allows it, and the user wrote unencrypted last (docs/decisions/0035)."""
    to = at.leg.last_peer or at.step.account.near_address
    number, room = at.line.sent, SENT_AT_ONCE
    while number < at.line.next and number - at.line.first < WINDOW and room > 0:
        entry = at.step.records.get(_name(at, number), Queued)
        number += 1
        if entry is None:
            continue
        room -= len(entry.body.encode())
        values: dict[str, AnyValue] = {
            "from": at.contact_jid,
            "to": address_of(to),
            "id": Opaque(v=entry.stanza_id),
            "body": Public(v=entry.body.encode()),
        }
        at.step.records.put(_name(at, number - 1), replace(entry, plain=True))
        at.step.carry(
            PLAIN, values, lane=at.lane, key=f"plain/{at.contact.id}/{entry.stanza_id}", trace=entry.position or None
        )
    at.line = replace(at.line, sent=number)


# ---------------------------------------------------------------- what comes back
def acknowledged(at: LegStep, stanza_id: str) -> bool:
    """A receipt came for the message of that stanza id; False when no such message waits."""
    number = _number(stanza_id)
    if number is None or not at.line.first <= number < at.line.next:
        return False
    entry = at.step.records.get(_name(at, number), Queued)
    if entry is None or entry.stanza_id != stanza_id:
        return False
    _drop(at, number, entry)
    at.step.trace(entry.position, "acknowledged")
    at.later(lambda: at.step.delivered(at.contact.id, entry.message_id))
    _advance(at)
    return True


def received(at: LegStep, stanza_ids: tuple[str, ...]) -> None:
    """Receipts of the user's client."""
    for stanza_id in stanza_ids:
        if acknowledged(at, stanza_id):
            if not at.leg.receipts or at.leg.failures or at.leg.receipt_ms != RECEIPT_MS:
                at.leg = replace(at.leg, receipts=True, failures=0, receipt_ms=RECEIPT_MS)
        else:
            at.report("receipt-unknown")


def take_for_delivered(at: LegStep) -> None:
    """All that was sent counts as delivered: the peer's client gives no receipts, but was heard since."""
    for number in range(at.line.first, at.line.sent):
        entry = at.step.records.get(_name(at, number), Queued)
        if entry is not None:
            acknowledged(at, entry.stanza_id)
    at.report("delivered-without-receipt")


def under_way(at: LegStep, stanza_id: str | None) -> bool:
    """Whether this is the id of a message that was sent and is not acknowledged."""
    number = _number(stanza_id or "")
    if number is None or not at.line.first <= number < at.line.sent:
        return False
    entry = at.step.records.get(_name(at, number), Queued)
    return entry is not None and entry.stanza_id == stanza_id


def refused_by_peer(at: LegStep, stanza_id: str) -> None:
    """An unencrypted message was sent back with an error."""
    number = _number(stanza_id)
    entry = None if number is None else at.step.records.get(_name(at, number), Queued)
    if number is not None and entry is not None and entry.plain and entry.stanza_id == stanza_id:
        _drop(at, number, entry)
        at.step.trace(entry.position, "refused", "undeliverable")
        at.later(lambda: at.step.failed(at.contact.id, entry.message_id, "undeliverable"))
        _advance(at)


def _drop(at: LegStep, number: int, entry: Queued) -> None:
    at.step.records.delete(_name(at, number))
    at.line = replace(at.line, octets=max(0, at.line.octets - len(entry.body.encode())))


def _advance(at: LegStep) -> None:
    """Move the beginning of the queue past what is acknowledged."""
    line = at.line
    first = line.first
    while first < line.next and at.step.records.get(_name(at, first), Queued) is None:
        first += 1
    sent = max(first, line.sent)
    since = at.step.now_ms() if sent > first and line.waiting_since_ms else 0
    at.line = Line(first, line.next, sent, line.sent_on, since, octets=line.octets)


def _name(at: LegStep, number: int) -> str:
    return f"queue/{at.contact.id}/{number:012x}"


def _number(stanza_id: str) -> int | None:
    """The place in the queue that a stanza id of ours names."""
    parts = stanza_id.split("-")
    if len(parts) != 3 or parts[0] != "m" or not 0 < len(parts[1]) <= 12:
        return None
    try:
        return int(parts[1], 16)
    except ValueError:
        return None
