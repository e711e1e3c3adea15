"""ESessions of one contact: taking stanzas of the protocol, starting, losing and ending sessions."""

from dataclasses import replace

from adapters.xmpp.inside_content import taken, tell
from adapters.xmpp.inside_holding import adopted, is_held, refuse, refuse_repeated
from adapters.xmpp.inside_knowing import associate, known_by_key, once_held
from adapters.xmpp.inside_leg import ANY_TERMS, LegStep
from adapters.xmpp.inside_limits import may_answer
from adapters.xmpp.inside_queue import take_for_delivered
from adapters.xmpp.inside_seen import find_by_mac
from adapters.xmpp.inside_signals import greet
from adapters.xmpp.inside_stanzas import error_condition, is_opaque, mac_of, read_content
from adapters.xmpp.inside_starting import crossing, joins, settled_rival, shunned, start_with, talk_for
from adapters.xmpp.inside_state import (
    CLOSING_MS,
    DECLINED_MS,
    MAX_HALF_OPEN,
    MAX_TALKS,
    RECEIPT_MOST_MS,
    YIELD_MS,
    Talk,
)
from crypto.esession.conversation import (
    Conversation,
    Event,
    Outcome,
    Payload,
    abandon,
    end,
    receive,
    refresh,
    thread_of,
)
from crypto.esession.profiles import Profile
from crypto.xml import Element

_BOUNCED = frozenset({"service-unavailable", "recipient-unavailable", "remote-server-not-found", "item-not-found"})
"""Conditions by which a server says that a resource is not there."""


# ---------------------------------------------------------------- what comes
def receive_stanza(at: LegStep, stanza: Element, payload: Payload, peer: str) -> None:
    """A stanza of the protocol from the user's resource `peer`."""
    thread = thread_of(stanza) or ""
    if not is_opaque(thread):
        if payload is not Payload.ERROR:
            at.report("thread-unusable")
        return
    conversation, before = at.conversation(thread), at.leg.talk(thread)
    if payload is Payload.REQUEST and not may_answer(at, stanza, peer):
        return
    terms = ANY_TERMS if payload is Payload.ENCRYPTED else at.terms
    outcome = receive(conversation, stanza, terms=terms, retained=at.retained, draw=at.step.draw, judge=at.judge)
    took(at, thread, outcome, stanza, peer, began=conversation is None)
    if outcome.content:
        content = read_content(outcome.content)
        # What ends a session may hold a text too: then only the entry from before says whether it was held.
        once = outcome.event is Event.CONTENT_ONCE
        held = once_held(at, outcome) if once else is_held(at, before, at.leg.talk(thread))
        if held:
            refuse(at, content, stanza, thread, peer)
        else:
            taken(at, content, stanza, thread, peer)
    _bound(at)


def took(at: LegStep, thread: str, outcome: Outcome, stanza: Element, peer: str, *, began: bool = False) -> None:
    """Keep and send what came of a stanza, and note what has happened."""
    if outcome.retained is not None:
        at.keep_retained(outcome.retained)
    if outcome.conversation is not None:
        at.keep(outcome.conversation)
    at.reply(thread, peer, outcome.replies)
    _happened(at, thread, outcome, stanza, peer, began=began)


def _happened(at: LegStep, thread: str, outcome: Outcome, stanza: Element, peer: str, *, began: bool) -> None:
    after = outcome.conversation
    match outcome.event:
        case Event.ANSWERED | Event.PROVED | Event.OFFERED if after is not None:
            _negotiates(at, after, peer, began=began)
        case Event.ESTABLISHED if after is not None:
            _established(at, known_by_key(at, after, outcome, peer), peer)
        case Event.CONTENT_ONCE:
            at.report("content-once")
            if after is None:
                at.forget(thread)
            associate(at, outcome.identity, outcome.certificates, peer)
        case Event.CONTENT if after is not None:
            _heard(at, after, peer)
        case Event.REPEATED:
            _repeated(at, thread, stanza, peer)
        case Event.IGNORED:
            at.report("stanza-out-of-place")
        case Event.UNKNOWN:
            at.report("session-unknown")
            at.leg = replace(at.leg, wanted=True, last_peer=peer, start_at_ms=at.step.now_ms() + YIELD_MS)
        case _ if began:
            at.report(f"session-{outcome.event.value}")
        case _:
            _over(at, thread, outcome, stanza, peer)


def _negotiates(at: LegStep, conversation: Conversation, peer: str, *, began: bool) -> None:
    talk = talk_for(at, conversation, peer)
    if began:
        talk = crossing(at, talk)
    # A further resource that answers has not written: where the user is says what the user writes.
    at.leg = at.leg.with_talk(talk) if talk.further else replace(at.leg.with_talk(talk), last_peer=peer)


def _established(at: LegStep, conversation: Conversation, peer: str) -> None:
    session = conversation.session
    assert session is not None
    at.report(f"chain-{session.chain.value}")
    at.report("session-hybrid" if session.agreed.hybrid else "session-classical")
    current = at.current
    talk = talk_for(at, conversation, peer)
    at.leg = at.leg.with_talk(talk)
    if not talk.held:
        if not joins(at, talk, current) and not settled_rival(at, talk):
            adopted(at, talk, session)
        greet(at, talk)
        return
    at.report("session-held")
    others = any(t.active and t.held and t != talk for t in at.leg.talks)
    at.leg = replace(at.leg, wanted=False, noticed=at.leg.noticed and others)
    if at.line.sent_on == talk.thread:  # renegotiated within a thread: the keys before were another's
        at.line = at.line.resent()


def _heard(at: LegStep, conversation: Conversation, peer: str) -> None:
    """Content was verified: this is the session that the peer uses, from this resource."""
    known = at.leg.talk(conversation.thread)
    if known is None or known.closing:
        return
    if known.held:
        # It says nothing of the session in which the messages are under way, nor of its client.
        if at.leg.held != replace(known, peer=peer):
            at.leg = at.leg.with_talk(replace(known, peer=peer))
        return
    last = next((t for t in reversed(at.leg.talks) if t.active and not t.held), None)
    if known.superseded:
        pass  # the peer has not seen yet which of the two it is; ours go on in the other
    elif last is None or last.thread != conversation.thread or known.peer != peer:
        at.leg = replace(at.leg.with_talk(replace(known, peer=peer)), last_peer=peer)
    if at.leg.failures:
        at.leg = replace(at.leg, failures=0)
    carrier = at.leg.talk(at.line.sent_on)
    if at.line.waiting_since_ms and not at.line.heard and (carrier is None or carrier.peer == peer):
        at.line = replace(at.line, heard=True)


def _repeated(at: LegStep, thread: str, stanza: Element, peer: str) -> None:
    """The peer repeats what it holds for unconfirmed: if that was settled long ago, our word of it was lost."""
    at.report("stanza-repeated")
    talk = at.leg.talk(thread)
    if talk is not None and talk.held:
        refuse_repeated(at, talk, stanza, peer)
        return
    message = find_by_mac(at.step.records, at.contact.id, mac_of(stanza))
    if message is not None:
        tell(at, message, peer)


# ---------------------------------------------------------------- what ends
def _over(at: LegStep, thread: str, outcome: Outcome, stanza: Element, peer: str) -> None:
    """A session or a negotiation is over."""
    now = at.step.now_ms()
    talk = at.leg.talk(thread)
    at.report(f"session-{outcome.event.value}")
    at.forget(thread)
    match outcome.event:
        case Event.FAILED if outcome.retry is not None:
            start_with(at, peer, outcome.retry, 1, further=talk is not None and talk.further)
        case Event.DECLINED | Event.FAILED | Event.LOST if talk is not None and talk.further and not talk.active:
            at.leg = shunned(at.leg, peer, now)
        case Event.DECLINED:
            at.leg = at.leg.failed(now, least_ms=DECLINED_MS)
            _explain(at, peer)
        case Event.FAILED:
            at.leg = at.leg.failed(now)
            if at.leg.failures >= 3:
                _explain(at, peer)
        case Event.LOST if error_condition(stanza) in _BOUNCED:
            at.leg = at.leg.failed(now, least_ms=5 * YIELD_MS)
        case Event.BROKEN | Event.LOST:
            at.leg = replace(at.leg.failed(now, least_ms=YIELD_MS), wanted=True, last_peer=peer)
        case _:
            at.leg = replace(at.leg, start_at_ms=max(at.leg.start_at_ms, now + YIELD_MS))


def _explain(at: LegStep, peer: str) -> None:
    """Messages wait and no session comes about: say so once."""
    if at.line.waiting and not at.leg.noticed:
        at.leg = replace(at.leg, noticed=True)
        at.notice(peer, "waiting-negotiation")


def bounced(at: LegStep, peer: str) -> None:
    """The server sent a stanza of a session back without naming its thread: sessions with that resource are lost."""
    for talk in at.leg.talks:
        if talk.peer == peer:
            at.forget(talk.thread)
    at.report("session-lost")
    at.leg = at.leg.failed(at.step.now_ms(), least_ms=5 * YIELD_MS)


def retire(at: LegStep, talk: Talk) -> None:
    """The session that gave way to its rival was read long enough; it stays if nothing else is left."""
    if any(t.active and not t.held and not t.superseded and t.peer == talk.peer for t in at.leg.talks):
        end_talk(at, talk)
        return
    alone = replace(talk, superseded=False, rival=None, until_ms=0)
    at.leg = replace(at.leg, talks=tuple(alone if t.thread == talk.thread else t for t in at.leg.talks))


def end_talk(at: LegStep, talk: Talk) -> None:
    """End a session or negotiation from our side."""
    conversation = at.conversation(talk.thread)
    if conversation is None:
        at.forget(talk.thread)
        return
    outcome = end(conversation)
    at.reply(talk.thread, talk.peer, outcome.replies)
    at.forget(talk.thread)
    if outcome.conversation is not None and not talk.closing:
        at.keep(outcome.conversation)
        closing = Talk(talk.thread, talk.peer, False, at.step.now_ms() + CLOSING_MS, closing=True, held=talk.held)
        at.leg = replace(at.leg, talks=(closing, *at.leg.talks))


def abandon_all(at: LegStep) -> None:
    """The state may be older than what was sent: no sending key of it is used again."""
    for talk in at.leg.talks:
        conversation = at.conversation(talk.thread)
        if conversation is not None:
            at.reply(talk.thread, talk.peer, abandon(conversation).replies)
        at.forget(talk.thread)
    at.line = at.line.resent()
    at.leg = replace(at.leg, start_at_ms=at.step.now_ms() + YIELD_MS)


def gone(at: LegStep, peers: frozenset[str]) -> None:
    """Resources became unavailable: sessions with them are of no use any more, and nobody is left to be told."""
    for talk in at.leg.talks:
        if talk.peer in peers:
            at.forget(talk.thread)
            at.report("session-gone")
    if at.leg.last_peer in peers:
        at.leg = replace(at.leg, last_peer=None)


def _bound(at: LegStep) -> None:
    """Too many sessions with one contact, or begun by one resource: the oldest give way, first those that are held."""
    for peer in {t.peer for t in at.leg.talks if not (t.active or t.closing or t.ours)}:
        half_open = [t for t in at.leg.talks if t.peer == peer and not (t.active or t.closing or t.ours)]
        for talk in half_open[:-MAX_HALF_OPEN]:
            end_talk(at, talk)
    while len(at.leg.talks) > MAX_TALKS:
        end_talk(at, next((t for t in at.leg.talks[:-1] if t.active and t.held), at.leg.talks[0]))
        if at.leg.talks and at.leg.talks[0].closing:
            at.forget(at.leg.talks[0].thread)


# ---------------------------------------------------------------- what time calls for
def expire(at: LegStep) -> None:
    """Do what the time calls for."""
    now = at.step.now_ms()
    for talk in at.leg.talks:
        if talk.active:
            _refresh(at, talk)
    for talk in at.leg.talks:
        if talk.until_ms and talk.until_ms <= now:
            if talk.superseded and talk.active:
                retire(at, talk)
            else:
                _took_too_long(at, talk)
    leg, line = at.leg, at.line
    if not line.waiting_since_ms or now < line.waiting_since_ms + leg.receipt_ms:
        return
    stuck = leg.talk(line.sent_on)
    gives = leg.authentic or leg.profile is Profile.LETTER or leg.receipts
    if gives or (stuck is not None and stuck.letter):
        at.report("receipt-missing")
        at.leg = replace(leg, receipt_ms=min(RECEIPT_MOST_MS, 2 * leg.receipt_ms))
        if stuck is not None:
            end_talk(at, stuck)
    elif line.heard:
        take_for_delivered(at)
    else:
        at.line = replace(line, waiting_since_ms=now)


def _refresh(at: LegStep, talk: Talk) -> None:
    """New keys for a session that fell silent; values that waited long enough are destroyed (XEP-0200)."""
    conversation = at.conversation(talk.thread)
    if conversation is None or talk.held:
        return
    outcome = refresh(conversation, draw=at.step.draw, now_ms=at.step.now_ms(), policy=at.policy.rekey)
    if outcome is not None and outcome.conversation is not None:
        at.keep(outcome.conversation)
        for reply in outcome.replies:
            at.state(talk.thread, talk.peer, reply.payload)


def _took_too_long(at: LegStep, talk: Talk) -> None:
    end_talk(at, talk)
    if talk.closing:
        return
    at.report("negotiation-timed-out")
    if talk.further and at.current is not None:
        at.leg = shunned(at.leg, talk.peer, at.step.now_ms())
        return
    # The deployed implementation falls silent where it should answer with an error: try the other reading in turn.
    other = Profile.LETTER if at.leg.profile is not Profile.LETTER else None
    at.leg = replace(at.leg.failed(at.step.now_ms()), profile=other)
    if at.leg.failures >= 3:
        _explain(at, talk.peer)
