"""Messages of the user's: kept until the peer acknowledges them, sent in order, sent again in new sessions."""

from dataclasses import replace

from adapters.companion import inside_words as words
from adapters.companion.inside_peer import PeerStep
from adapters.companion.inside_stanzas import (
    MAX_ID,
    content_of,
    origin_id_of,
    read_stanza,
    receipt,
    refusal,
    stanza_error,
    wants_receipt,
)
from adapters.companion.inside_state import (
    MAX_OWED,
    MAX_QUEUED,
    MAX_QUEUED_OCTETS,
    SENT_AT_ONCE,
    WINDOW,
    Line,
    Queued,
    Talk,
)
from crypto.esession.conversation import Conversation, Kind, Reply, abandon, send
from crypto.esession.profiles import Profile
from crypto.esession.session import Exhausted
from crypto.xml import CLIENT, Element, serialize
from crypto.xml import element as xml

NS_RECEIPTS = "urn:xmpp:receipts"
UNIQUE = 16
"""Characters from which on an id of a client's is taken for one that it does not give twice."""
REPEATED = 64
"""Messages among which a repetition of the client's is looked for."""


# ---------------------------------------------------------------- in
def enqueue(at: PeerStep, stanza: Element, octets: bytes) -> None:
    """Keep a message of the client's, or say at once that it cannot be taken."""
    line = at.peer.line
    if _is_queued(at, stanza, octets):
        at.report("stanza-given-again")
        return
    if line.waiting >= MAX_QUEUED or line.octets + len(octets) > MAX_QUEUED_OCTETS:
        error = stanza_error("resource-constraint", "wait", words.too_many(at.name))
        at.show(refusal(stanza, stanza.attribute("to") or at.jid, error))
        return
    client_id = stanza.attribute("id") or ""
    # By its stanza's id a client without origin-ids corrects a message. Short ones begin anew in each run.
    own = client_id if UNIQUE <= len(client_id) <= MAX_ID else f"lg-{at.step.draw('origin-id', 12).hex()}"
    origin = origin_id_of(stanza.elements) or own
    queued = Queued(origin, client_id if len(client_id) <= MAX_ID else "", wants_receipt(stanza), octets)
    at.step.records.put(_name(at, line.next), queued)
    since = at.peer.since_ms or (0 if at.peer.current else at.now)
    at.update(line=replace(line, next=line.next + 1, octets=line.octets + len(octets)), since_ms=since, quiet=False)


def _is_queued(at: PeerStep, stanza: Element, octets: bytes) -> bool:
    """Whether the client repeats, octet for octet, what it had no acknowledgement for."""
    if not stanza.attribute("id"):
        return False
    newest = range(max(at.peer.line.first, at.peer.line.next - REPEATED), at.peer.line.next)
    kept = (at.step.records.get(_name(at, number), Queued) for number in newest)
    return any(queued is not None and queued.stanza == octets for queued in kept)


# ---------------------------------------------------------------- out
def flush(at: PeerStep) -> None:
    """Send what may be sent now: receipts that are owed, then messages, as many as the window allows."""
    talk = at.peer.current
    if talk is None or not at.online:
        return
    conversation = at.conversation(talk.thread)
    if conversation is None or conversation.session is None:
        at.forget(talk.thread)
        return
    deployed = conversation.session.profile is Profile.DEPLOYED
    try:
        after = _send_window(at, talk, _pay(at, talk, conversation), deployed=deployed)
    except Exhausted:
        at.reply(talk.thread, talk.peer, abandon(conversation).replies)
        at.forget(talk.thread)
        return
    if after is not conversation:
        at.keep(after)


def _pay(at: PeerStep, talk: Talk, conversation: Conversation) -> Conversation:
    owed = at.peer.owed
    if owed:
        at.update(owed=())
    for message_id in owed:
        content = serialize(xml(NS_RECEIPTS, "received", id=message_id), inherited=CLIENT)
        conversation = sealed(at, talk, conversation, content, at.new_id())
    return conversation


def owe(at: PeerStep, message_id: str) -> None:
    """The peer is to be told that a message of its was received."""
    at.update(owed=tuple(dict.fromkeys((*at.peer.owed, message_id)))[-MAX_OWED:])


def _send_window(at: PeerStep, talk: Talk, conversation: Conversation, *, deployed: bool) -> Conversation:
    line = at.peer.line
    number, room = line.sent, SENT_AT_ONCE
    while number < line.next and number - line.first < WINDOW and room > 0:
        queued = at.step.records.get(_name(at, number), Queued)
        number += 1
        if queued is None:
            continue
        content = content_of(read_stanza(queued.stanza), queued.id)
        room -= len(content)
        conversation = sealed(at, talk, conversation, content, queued.client_id or queued.id)
        if deployed:  # such a peer gives no receipt that could be believed
            _drop(at, number - 1, queued)
    if number != line.sent:
        line = at.peer.line
        since = 0 if deployed else line.waiting_since_ms or at.now
        changed = replace(line, sent=max(number, line.first), sent_on=talk.thread, waiting_since_ms=since)
        changed = replace(changed, tried=max(number, line.tried))
        at.update(line=changed, since_ms=0)
    return conversation


def sealed(at: PeerStep, talk: Talk, conversation: Conversation, content: bytes, stanza_id: str) -> Conversation:
    """Send content in a message of a session: the conversation afterwards. Raises Exhausted."""
    outcome = send(conversation, content, draw=at.step.draw, now_ms=at.now)
    assert outcome.conversation is not None
    for reply in outcome.replies:
        at.send(talk.peer, Reply(Kind.ENCRYPTED, reply.payload), talk.thread, stanza_id)
    return outcome.conversation


def send_now(at: PeerStep, content: bytes) -> bool:
    """Send content that is not kept, if there is a session."""
    talk = at.peer.current
    conversation = None if talk is None else at.conversation(talk.thread)
    if talk is None or conversation is None or not conversation.active or not at.online:
        return False
    try:
        at.keep(sealed(at, talk, conversation, content, at.new_id()))
    except Exhausted:
        return False
    return True


def pass_all(at: PeerStep) -> None:
    """The peer has no ESessions, or the user wants to do without: what waits goes out as the client wrote it.

    But for what was encrypted once: the peer may have it, and its text was not written to go in plain. It goes back.
    """
    line = at.peer.line
    for number in range(line.first, line.next):
        queued = at.step.records.get(_name(at, number), Queued)
        if queued is None:
            continue
        if number < line.tried:
            error = stanza_error("not-acceptable", "modify", words.UNCERTAIN)
            at.show(refusal(read_stanza(queued.stanza), _told_from(at, queued), error))
        else:
            at.plain(queued.stanza)
        at.step.records.delete(_name(at, number))
    at.update(line=Line(line.next, line.next, line.next), since_ms=0, unsure_until_ms=at.peer.unsure_until_ms)


# ---------------------------------------------------------------- what comes back
def acknowledged(at: PeerStep, message_id: str) -> None:
    """A receipt came: the message goes from the queue, and the client is told if it had asked."""
    found = _find(at, message_id)
    if found is None:
        return
    number, queued = found
    _drop(at, number, queued)
    if queued.wanted and queued.client_id:
        at.show(receipt(_told_from(at, queued), at.own, at.new_id(), queued.client_id))


def refused(at: PeerStep, message_id: str | None, error: Element, *, passing: bool, condition: str) -> None:
    """The peer refused a message: for good, then the client gets the error; or for now, then it is kept."""
    found = None if message_id is None else _find(at, message_id)
    if found is None:
        return
    number, queued = found
    if passing:
        at.tell(words.held_back(at.name, condition))
        return
    _drop(at, number, queued)
    at.show(refusal(read_stanza(queued.stanza), _told_from(at, queued), error))


def _told_from(at: PeerStep, queued: Queued) -> str:
    return read_stanza(queued.stanza).attribute("to") or at.jid


def _find(at: PeerStep, message_id: str) -> tuple[int, Queued] | None:
    line = at.peer.line
    for number in range(line.first, line.sent):
        queued = at.step.records.get(_name(at, number), Queued)
        if queued is not None and message_id in (queued.id, queued.client_id):
            return number, queued
    return None


def _drop(at: PeerStep, number: int, queued: Queued) -> None:
    at.step.records.delete(_name(at, number))
    line = at.peer.line
    first = line.first
    while first < line.next and (first == number or at.step.records.get(_name(at, first), Queued) is None):
        first += 1
    sent = max(line.sent, first)
    since = at.now if sent > first else 0
    octets = max(0, line.octets - len(queued.stanza))
    at.update(line=Line(first, line.next, sent, line.sent_on, since, octets, line.tried))


def _name(at: PeerStep, number: int) -> str:
    return f"queue/{at.jid}/{number:012x}"
