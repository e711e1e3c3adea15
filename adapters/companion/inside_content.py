"""What peers send, once it is readable: receipts for the queue, everything else for the user's client."""

from dataclasses import replace
from hashlib import blake2b

from adapters.companion import inside_words as words
from adapters.companion.inside_peer import PeerStep
from adapters.companion.inside_queue import acknowledged, owe, refused, sealed
from adapters.companion.inside_stanzas import (
    Content,
    condition_of,
    copies,
    is_event,
    opened,
    read_content,
    stanza_error,
)
from adapters.companion.inside_state import MARK, MAX_SEEN, Inbound, Inbounds, Seen
from adapters.companion.names import NS_CARBONS, bare
from adapters.inside_api import Step
from crypto.esession.session import Exhausted
from crypto.xml import CLIENT, Element, serialize
from crypto.xml import element as xml

_HELD = "The session is not linked to a verified one: its string must be compared first."
_PASSING = frozenset({"remote-server-timeout", "service-unavailable", "recipient-unavailable", "resource-constraint"})


def taken(at: PeerStep, content: Content, stanza: Element, sender: str) -> None:
    """Decrypted content of a session that counts."""
    for message_id in content.received:
        acknowledged(at, message_id)
    if content.error is not None:
        condition = condition_of(content.error)
        passing = content.error.attribute("type") == "wait" or condition in _PASSING
        refused(at, content.origin_id or stanza.attribute("id"), content.error, passing=passing, condition=condition)
        return
    if content.transient:
        if content.shown and stanza.name == "message":
            at.show(opened(stanza, at.own, content.shown, None))
        return
    if content.origin_id is not None and _known(at, content.origin_id):
        at.report("message-repeated")
        if content.receipt_wanted and not _pending(at, content.origin_id):
            owe(at, content.origin_id)
        return
    _hand_over(at, content, stanza)


def _hand_over(at: PeerStep, content: Content, stanza: Element) -> None:
    message_id = content.origin_id or stanza.attribute("id") or at.new_id()
    stanza_id = stanza.attribute("id") or message_id
    octets = opened(stanza, at.own, content.shown, stanza_id)
    number = (at.step.records.get("inbound", Inbounds) or Inbounds()).next
    at.step.records.put("inbound", Inbounds(number + 1))
    wanted = message_id if content.receipt_wanted else None
    at.step.records.put(inbound_name(number), Inbound(at.jid, wanted, octets))
    at.show(octets, key=inbound_name(number))


def inbound_name(number: int) -> str:
    """Record of an opened message, and key of the request that hands it over."""
    return f"inbound/{number:012x}"


def _known(at: PeerStep, message_id: str) -> bool:
    """Whether the message of that authentic id was taken before; it is from now on."""
    seen = at.step.records.get(f"seen/{at.jid}", Seen) or Seen()
    mark = blake2b(message_id.encode(), digest_size=MARK).digest()
    marks = {seen.marks[place : place + MARK] for place in range(0, len(seen.marks), MARK)}
    if mark in marks:
        return True
    at.step.records.put(f"seen/{at.jid}", Seen((seen.marks + mark)[-MAX_SEEN * MARK :]))
    return False


def _pending(at: PeerStep, message_id: str) -> bool:
    """Whether the client does not have the message yet: its receipt follows when it has."""
    for name in at.step.records.names("inbound/"):
        kept = at.step.records.get(name, Inbound)
        if kept is not None and (kept.peer, kept.receipt) == (at.jid, message_id):
            return True
    return False


def refuse(at: PeerStep, content: Content, thread: str) -> None:
    """Content of a held session: it is not shown, its sender keeps it (docs/decisions/0037)."""
    talk = at.peer.talk(thread)
    conversation = at.conversation(thread)
    at.report("message-held")
    if content.origin_id is None or talk is None or conversation is None or conversation.session is None:
        return
    if not talk.refused:
        talk = replace(talk, refused=True)
        at.peer = at.peer.with_talk(talk)
    error = stanza_error("not-authorized", "wait", _HELD)
    origin = xml("urn:xmpp:sid:0", "origin-id", id=content.origin_id)
    octets = serialize(error, inherited=CLIENT) + serialize(origin, inherited=CLIENT)
    try:
        at.keep(sealed(at, talk, conversation, octets, at.new_id()))
    except Exhausted:
        at.report("session-exhausted")


def taken_plain(at: PeerStep, stanza: Element, octets: bytes) -> None:
    """An unencrypted message of a peer that encrypts: never shown as if it were from the peer.

    Of receipts, those of a deployed peer are taken, which has no others.
    """
    content = read_content(stanza.elements)
    if not at.peer.encrypts or at.peer.plain:
        at.show(octets)
        return
    if content.received and not at.peer.authentic:
        for message_id in content.received:
            acknowledged(at, message_id)
    body = stanza.child(CLIENT, "body")
    if body is None and is_event(stanza):
        at.show(octets)
    elif body is not None or not content.transient:
        at.report("plain-received")
        at.tell(words.unencrypted(at.name, words.NO_TEXT if body is None else body.text))


def taken_copy(step: Step, stanza: Element) -> bool:
    """Copies of messages by our own server, which could write anything into them; False: of nobody who encrypts.

    Of a peer that encrypts, a copy is told as what it is, and what the archive has of it is not shown.
    """
    own = bare(step.account.near_address)
    inner = copies(stanza)
    named = {bare(m.attribute(side) or "") for m in inner for side in ("from", "to")} - {own, ""}
    about = [at for at in (PeerStep(step, jid) for jid in sorted(named)) if at.peer.encrypts and not at.peer.plain]
    if not about:
        return False
    at = about[0]
    at.report("plain-copy")
    body = next((m.child(CLIENT, "body") for m in inner if m.child(CLIENT, "body") is not None), None)
    if body is not None and any(e.namespace == NS_CARBONS for e in stanza.elements):
        ours = any(bare(m.attribute("from") or "") == own for m in inner)
        at.tell((words.sent_elsewhere if ours else words.unencrypted)(at.name, body.text))
    return True
