"""Messages for the user: kept until they are acknowledged, sent in order, sent again in new sessions."""

from dataclasses import replace

from adapters.inside_api import AnyValue
from adapters.xmpp.inside_leg import LegStep
from adapters.xmpp.inside_omemo_outbox import drop_out, out_at
from adapters.xmpp.inside_references import new_stanza_id, number_of, reworded
from adapters.xmpp.inside_stanzas import MARKABLE, MAX_BODY, receipt_content, refusal_content, text_content
from adapters.xmpp.inside_state import (
    MAX_OWED,
    MAX_QUEUED,
    MAX_QUEUED_OCTETS,
    RECEIPT_MS,
    SENT_AT_ONCE,
    WINDOW,
    Line,
    Owed,
    Queued,
    Rich,
    Talk,
    mark_of,
)
from adapters.xmpp.inside_writing import Attached, written
from adapters.xmpp.names import PLAIN, Resources, address_of
from bridge.wire.values import Opaque, Public
from crypto.content import ContentPolicy
from crypto.esession.conversation import Conversation, abandon
from crypto.esession.session import Exhausted
from crypto.message import Assurance, Message


def enqueue(at: LegStep, message: Message, attached: Attached | None = None) -> None:
    """Keep a message for the user, or say at once why it cannot be taken. `attached`: how its file is shown."""
    found = written(at, message, attached)
    rich = Rich(found.elements, found.said) if found.elements or found.said is not None else None
    octets = found.octets
    code = "too-large" if octets > MAX_BODY else None
    if at.line.waiting >= MAX_QUEUED or at.line.octets + octets > MAX_QUEUED_OCTETS:
        code = "queue-full"
    if code is not None:
        failure = code
        at.step.trace(message.position, "refused", failure)
        at.later(lambda: at.step.failed(at.contact.id, message.id, failure))
        return
    line, number = at.line, at.line.next
    stanza_id = new_stanza_id(at, number, message.id)
    if message.replaces is not None:
        reworded(at, message.id, message.replaces)
    at.step.records.put(_name(at, number), Queued(stanza_id, message.id, found.body, message.position, rich=rich))
    at.line = replace(line, next=number + 1, octets=line.octets + octets, last_ms=at.step.now_ms())
    at.traffic = True


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
    owed = _debts(at, talk)
    others = at.leg.audience(talk)
    sent = at.line.sent
    try:
        after = _pay(at, talk, conversation, owed.pop(talk.thread, []))
        after = _send_window(at, talk, after, SENT_AT_ONCE // (1 + len(others)))
    except Exhausted:
        # Not before 64 GiB in one session: all that is unacknowledged goes again in the next one.
        at.reply(talk.thread, talk.peer, abandon(conversation).replies)
        at.forget(talk.thread)
        return
    if after is not conversation:
        at.keep(after)
    for other in others:
        _to_another(at, other, owed.get(other.thread, []), sent)


def _to_another(at: LegStep, talk: Talk, owed: list[Owed], sent: int) -> None:
    """What goes out in a session beside the current one: its own receipts, and copies."""
    if not owed and _copies_from(at.line, talk, sent) >= at.line.sent:
        return
    conversation = at.conversation(talk.thread)
    if conversation is None or not conversation.active:
        at.forget(talk.thread)
        return
    before = at.line
    try:
        after = _copy_window(at, talk, _pay(at, talk, conversation, owed), sent)
    except Exhausted:
        at.line = before
        at.reply(talk.thread, talk.peer, abandon(conversation).replies)
        at.forget(talk.thread)
        return
    if after is not conversation:
        at.keep(after)


def _debts(at: LegStep, current: Talk) -> dict[str, list[Owed]]:
    """Receipts and refusals that had to wait, by the thread to tell them in: that of the resource that asked.

    Those of a resource that is not there any more are told in the current session; those of one that is there wait.
    """
    if not at.leg.owed and not at.owed:
        return {}
    resources = at.step.records.get("resources", Resources)
    present = {mark_of(jid) for jid, _ in resources.available} if resources else set()
    sessions = {mark_of(t.peer): t.thread for t in (*at.leg.audience(current), current)}
    found: dict[str, list[Owed]] = {}
    waiting: list[Owed] = []
    for debt in (*at.leg.owed, *at.owed):
        thread = sessions.get(debt.to, None if debt.to in present else current.thread)
        if thread is None:
            waiting.append(debt)
        else:
            found.setdefault(thread, []).append(debt)
    at.owed = []
    if at.leg.owed != tuple(waiting):
        at.leg = replace(at.leg, owed=tuple(waiting[:MAX_OWED]))
    return found


def _pay(at: LegStep, talk: Talk, conversation: Conversation, owed: list[Owed]) -> Conversation:
    for debt in owed:
        if debt.code is not None and (debt.id is None or not talk.letter):
            at.error(talk.peer, debt.id, debt.code)
            continue
        known = debt.id or ""
        content = receipt_content(known) if debt.code is None else refusal_content(known, debt.code)
        stanza_id = f"s-{at.step.draw('stanza-id', 8).hex()}"
        conversation = sealed(at, talk, conversation, content, stanza_id=stanza_id)
    return conversation


def _send_window(at: LegStep, talk: Talk, conversation: Conversation, room: int) -> Conversation:
    line = at.line
    number = line.sent
    if not talk.letter:
        # It had copies of these already, and would show doubles.
        number = min(line.next, max(number, line.mark(talk.thread) or 0))
    while number < line.next and number - line.first < WINDOW and room > 0:
        entry = at.step.records.get(_name(at, number), Queued)
        number += 1
        if entry is None or entry.plain or out_at(at, number - 1) is not None:
            continue
        content = content_of(at, entry, letter=talk.letter)
        room -= len(content)
        conversation = sealed(at, talk, conversation, content, stanza_id=entry.stanza_id, trace=entry.position or None)
        at.step.trace(entry.position, "sealed")
    if number != line.sent:
        since = line.waiting_since_ms or at.step.now_ms()
        marks = line.marks
        if line.sent_on is not None and line.sent_on != talk.thread:
            marks = line.marked(line.sent_on, line.sent)
        marks = tuple(m for m in marks if m[0] != talk.thread) if marks else marks
        at.line = replace(line, sent=number, sent_on=talk.thread, waiting_since_ms=since, marks=marks)
    return conversation


def _copies_from(line: Line, talk: Talk, sent: int) -> int:
    mark = line.mark(talk.thread)
    return max(line.first, sent if mark is None else mark)


def _copy_window(at: LegStep, talk: Talk, conversation: Conversation, sent: int) -> Conversation:
    """Copies of what was sent in the current session (docs/decisions/0096): its receipt is the one that counts."""
    line = at.line
    start = _copies_from(line, talk, sent)
    for number in range(start, line.sent):
        entry = at.step.records.get(_name(at, number), Queued)
        if entry is None or entry.plain or out_at(at, number) is not None:
            continue
        # A peer that does not tell doubles apart gives receipts in the clear, for which any of its kind will do.
        content = content_of(at, entry, letter=talk.letter, receipt=not talk.letter)
        conversation = sealed(at, talk, conversation, content, stanza_id=entry.stanza_id)
    if start < line.sent:
        at.line = replace(line, marks=line.marked(talk.thread, line.sent))
    return conversation


def content_of(at: LegStep, entry: Queued, *, letter: bool, receipt: bool = True) -> bytes:
    """The content of a message; a peer that is not of the letter is told in words what it cannot know."""
    if not letter:
        return text_content(entry.said, entry.stanza_id, receipt=receipt)
    more = MARKABLE if ContentPolicy.of(at.contact.options).receipts else ""
    return text_content(
        entry.body,
        entry.stanza_id,
        receipt=receipt,
        more=more if entry.rich is None else more + entry.rich.elements,
    )


def sealed(
    at: LegStep, talk: Talk, conversation: Conversation, content: bytes, *, stanza_id: str, trace: int | None = None
) -> Conversation:
    """Send content in a session: the conversation afterwards. Raises Exhausted."""
    outcome = at.send(conversation, content)
    assert outcome.conversation is not None
    for reply in outcome.replies:
        at.encrypted(talk.thread, talk.peer, stanza_id, reply.payload, trace)
    return outcome.conversation


def _flush_plain(at: LegStep) -> None:
    """The policy of this contact allows it, and the user wrote unencrypted last (docs/decisions/0035)."""
    to = at.leg.last_peer or at.step.account.near_address
    number, room = at.line.sent, SENT_AT_ONCE
    while number < at.line.next and number - at.line.first < WINDOW and room > 0:
        entry = at.step.records.get(_name(at, number), Queued)
        number += 1
        if entry is None or out_at(at, number - 1) is not None:
            continue
        room -= len(entry.said.encode())
        values: dict[str, AnyValue] = {
            "from": at.contact_jid,
            "to": address_of(to),
            "id": Opaque(v=entry.stanza_id),
            "body": Public(v=entry.said.encode()),
        }
        at.step.records.put(_name(at, number - 1), replace(entry, plain=True))
        at.step.carry(
            PLAIN, values, lane=at.lane, key=f"plain/{at.contact.id}/{entry.stanza_id}", trace=entry.position or None
        )
    at.line = replace(at.line, sent=number)


# ---------------------------------------------------------------- one message by itself
def entry_at(at: LegStep, number: int) -> Queued | None:
    """The message of that place."""
    return at.step.records.get(_name(at, number), Queued)


def awaits_receipt(at: LegStep) -> bool:
    """Whether a message is under way whose receipt decides; others are looked after by themselves."""
    for number in range(at.line.first, at.line.sent):
        entry = entry_at(at, number)
        if entry is not None and not entry.plain and out_at(at, number) is None:
            return True
    return False


def queued_at(at: LegStep) -> tuple[int, Queued | None]:
    """The next message that waits, and its place."""
    for number in range(at.line.sent, at.line.next):
        entry = at.step.records.get(_name(at, number), Queued)
        if entry is not None and not entry.plain and out_at(at, number) is None:
            return number, entry
    return at.line.next, None


def sent_alone(at: LegStep, number: int) -> None:
    """The message of that place went out sealed alone: its receipt is awaited."""
    line, entry = at.line, at.step.records.get(_name(at, number), Queued)
    if entry is None or number < line.sent:  # it went another way meanwhile
        return
    at.step.trace(entry.position, "sealed")
    since = line.waiting_since_ms or at.step.now_ms()
    at.line = replace(line, sent=number + 1, sent_on=None, waiting_since_ms=since)


# ---------------------------------------------------------------- what comes back
def acknowledged(at: LegStep, stanza_id: str) -> bool:
    """A receipt came for the message of that stanza id; False when no such message waits."""
    number = number_of(stanza_id)
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
        if entry is not None and out_at(at, number) is None:
            acknowledged(at, entry.stanza_id)
    at.report("delivered-without-receipt")


def under_way(at: LegStep, stanza_id: str | None) -> bool:
    """Whether this is the id of a message that was sent and is not acknowledged."""
    number = number_of(stanza_id or "")
    if number is None or not at.line.first <= number < at.line.sent:
        return False
    entry = at.step.records.get(_name(at, number), Queued)
    return entry is not None and entry.stanza_id == stanza_id


def refused_by_peer(at: LegStep, stanza_id: str) -> None:
    """An unencrypted message was sent back with an error."""
    number = number_of(stanza_id)
    entry = None if number is None else at.step.records.get(_name(at, number), Queued)
    if number is not None and entry is not None and entry.plain and entry.stanza_id == stanza_id:
        give_up(at, number, "undeliverable")


def give_up(at: LegStep, number: int, code: str) -> None:
    """The message of that place will not be delivered, and why."""
    entry = entry_at(at, number)
    if entry is None:
        return
    _drop(at, number, entry)
    at.step.trace(entry.position, "refused", code)
    at.later(lambda: at.step.failed(at.contact.id, entry.message_id, code))
    _advance(at)


def _drop(at: LegStep, number: int, entry: Queued) -> None:
    at.step.records.delete(_name(at, number))
    drop_out(at, number)
    at.line = replace(at.line, octets=max(0, at.line.octets - entry.octets))


def _advance(at: LegStep) -> None:
    """Move the beginning of the queue past what is acknowledged."""
    line = at.line
    first = line.first
    while first < line.next and at.step.records.get(_name(at, first), Queued) is None:
        first += 1
    sent = max(first, line.sent)
    since = at.step.now_ms() if sent > first and line.waiting_since_ms else 0
    at.line = replace(line, first=first, sent=sent, waiting_since_ms=since, heard=False)


def _name(at: LegStep, number: int) -> str:
    return f"queue/{at.contact.id}/{number:012x}"
