"""ESessions of one contact: taking stanzas of the protocol, starting, losing and ending sessions."""

from dataclasses import replace

from adapters.xmpp.inside_content import taken, tell
from adapters.xmpp.inside_holding import adopted, is_held, judged, refuse, refuse_repeated, tell_held
from adapters.xmpp.inside_leg import LegStep
from adapters.xmpp.inside_queue import flush, take_for_delivered
from adapters.xmpp.inside_seen import find_by_mac
from adapters.xmpp.inside_stanzas import error_condition, is_opaque, mac_of, read_content
from adapters.xmpp.inside_state import (
    CLOSING_MS,
    DECLINED_MS,
    MAX_TALKS,
    NEGOTIATION_MS,
    RECEIPT_MOST_MS,
    YIELD_MS,
    Pace,
    Talk,
)
from adapters.xmpp.inside_targets import target
from adapters.xmpp.names import Resources
from crypto.esession.conversation import (
    Conversation,
    Event,
    Outcome,
    Payload,
    abandon,
    end,
    initiate,
    receive,
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
    if payload is Payload.REQUEST and not _may_answer(at, stanza, peer):
        return
    outcome = receive(conversation, stanza, terms=at.terms, retained=at.retained, draw=at.step.draw)
    if outcome.retained is not None:
        at.keep_retained(outcome.retained)
    if outcome.conversation is not None and outcome.conversation is not conversation:
        at.keep(outcome.conversation)
    at.reply(thread, peer, outcome.replies)
    _happened(at, outcome, stanza, peer, began=conversation is None)
    if outcome.content:
        content = read_content(outcome.content)
        # What ends a session may hold a text too: then only the entry from before says whether it was held.
        if is_held(at, before, at.leg.talk(thread)):
            refuse(at, content, stanza, thread, peer)
        else:
            taken(at, content, stanza, thread)
    _bound(at)


def _may_answer(at: LegStep, stanza: Element, peer: str) -> bool:
    """Each answer costs exponentiations: a request beyond the limit gets an error, the client may try later."""
    pace = (at.step.records.get("pace", Pace) or Pace()).used(at.step.now_ms())
    if pace is not None:
        at.step.records.put("pace", pace)
        return True
    at.report("request-too-many")
    at.error(peer, stanza.attribute("id"), "busy")
    return False


def _happened(at: LegStep, outcome: Outcome, stanza: Element, peer: str, *, began: bool) -> None:
    after = outcome.conversation
    match outcome.event:
        case Event.ANSWERED | Event.PROVED | Event.OFFERED if after is not None:
            at.leg = replace(at.leg.with_talk(_talk(at, after, peer)), last_peer=peer)
        case Event.ESTABLISHED if after is not None:
            _established(at, after, peer)
        case Event.CONTENT if after is not None:
            _heard(at, after, peer)
        case Event.REPEATED:
            _repeated(at, stanza, peer)
        case Event.IGNORED:
            at.report("stanza-out-of-place")
        case Event.UNKNOWN:
            at.report("session-unknown")
            at.leg = replace(at.leg, wanted=True, last_peer=peer, start_at_ms=at.step.now_ms() + YIELD_MS)
        case _ if began:
            at.report(f"session-{outcome.event.value}")
        case _:
            _over(at, outcome, stanza, peer)


def _talk(at: LegStep, conversation: Conversation, peer: str) -> Talk:
    """Its entry; a renegotiation beside an active session does not end that session when it takes too long."""
    return judged(at, conversation, peer, at.step.now_ms() + NEGOTIATION_MS)


def _established(at: LegStep, conversation: Conversation, peer: str) -> None:
    session = conversation.session
    assert session is not None
    at.report(f"chain-{session.chain.value}")
    talk = _talk(at, conversation, peer)
    at.leg = at.leg.with_talk(talk)
    if not talk.held:
        adopted(at, talk, session)
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
    if last is None or last.thread != conversation.thread or known.peer != peer:
        at.leg = replace(at.leg.with_talk(replace(known, peer=peer)), last_peer=peer)
    if at.leg.failures:
        at.leg = replace(at.leg, failures=0)
    if at.line.waiting_since_ms and not at.line.heard:
        at.line = replace(at.line, heard=True)


def _repeated(at: LegStep, stanza: Element, peer: str) -> None:
    """The peer repeats what it holds for unconfirmed: if that was settled long ago, our word of it was lost."""
    at.report("stanza-repeated")
    talk = at.leg.talk(thread_of(stanza))
    if talk is not None and talk.held:
        refuse_repeated(at, talk, stanza, peer)
        return
    message = find_by_mac(at.step.records, at.contact.id, mac_of(stanza))
    if message is not None:
        tell(at, message)


# ---------------------------------------------------------------- what ends
def _over(at: LegStep, outcome: Outcome, stanza: Element, peer: str) -> None:
    """A session or a negotiation is over."""
    now, thread = at.step.now_ms(), thread_of(stanza) or ""
    at.report(f"session-{outcome.event.value}")
    at.forget(thread)
    match outcome.event:
        case Event.FAILED if outcome.retry is not None:
            start_with(at, peer, outcome.retry, 1)
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
    """Too many sessions with one contact: the oldest give way, first of those that are held."""
    while len(at.leg.talks) > MAX_TALKS:
        end_talk(at, next((t for t in at.leg.talks[:-1] if t.active and t.held), at.leg.talks[0]))
        if at.leg.talks and at.leg.talks[0].closing:
            at.forget(at.leg.talks[0].thread)


# ---------------------------------------------------------------- what time and waiting messages call for
def expire(at: LegStep) -> None:
    """Do what the time calls for."""
    now = at.step.now_ms()
    for talk in at.leg.talks:
        if talk.until_ms and talk.until_ms <= now:
            _took_too_long(at, talk)
    leg, line = at.leg, at.line
    if not line.waiting_since_ms or now < line.waiting_since_ms + leg.receipt_ms:
        return
    if leg.authentic or leg.profile is Profile.LETTER or leg.receipts:
        at.report("receipt-missing")
        at.leg = replace(leg, receipt_ms=min(RECEIPT_MOST_MS, 2 * leg.receipt_ms))
        stuck = leg.talk(line.sent_on)
        if stuck is not None:
            end_talk(at, stuck)
    elif line.heard:
        take_for_delivered(at)
    else:
        at.line = replace(line, waiting_since_ms=now)


def _took_too_long(at: LegStep, talk: Talk) -> None:
    end_talk(at, talk)
    if talk.closing:
        return
    at.report("negotiation-timed-out")
    # The deployed implementation falls silent where it should answer with an error: try the other reading in turn.
    other = Profile.LETTER if at.leg.profile is not Profile.LETTER else None
    at.leg = replace(at.leg.failed(at.step.now_ms()), profile=other)
    if at.leg.failures >= 3:
        _explain(at, talk.peer)


def proceed(at: LegStep) -> None:
    """Send what may be sent; start a session when one is needed."""
    flush(at)
    leg = at.leg
    if not (at.line.sent < at.line.next or leg.wanted) or at.current is not None or leg.negotiating is not None:
        return
    resources = at.step.records.get("resources", Resources)
    to = target(at, resources)
    if to is None and leg.held is not None:
        tell_held(at, leg.held)
    elif to is None:
        _tell_waiting(at, resources)
    elif at.step.now_ms() >= leg.start_at_ms:
        start_with(at, to, leg.profile, 0)


def start_with(at: LegStep, peer: str, profile: Profile | None, attempt: int) -> None:
    """Ask a resource for a session."""
    thread = at.step.draw("thread", 16).hex()
    outcome = initiate(thread, at.terms, at.step.draw, profile=profile, attempt=attempt)
    assert outcome.conversation is not None
    at.keep(outcome.conversation)
    at.leg = replace(at.leg.with_talk(_talk(at, outcome.conversation, peer)), wanted=False)
    at.report("session-offered")
    at.reply(thread, peer, outcome.replies)


def _tell_waiting(at: LegStep, resources: Resources | None) -> None:
    """A message waits and none of the user's clients speaks ESessions: say so once, or ask to see their presence."""
    if resources is None or not resources.complete:
        return
    if not resources.available:
        at.ask_for_presence()
    elif not at.leg.noticed:
        at.leg = replace(at.leg, noticed=True)
        at.notice(resources.available[0][0], "waiting-no-session")
