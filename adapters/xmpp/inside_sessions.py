"""ESessions of one contact: taking stanzas of the protocol, and what has happened by them."""

from dataclasses import replace

from adapters.xmpp.inside_content import taken, tell
from adapters.xmpp.inside_ending import bound, end_talk, over
from adapters.xmpp.inside_holding import adopted, is_held, refuse, refuse_repeated
from adapters.xmpp.inside_knowing import associate, known_by_key, once_held
from adapters.xmpp.inside_leg import ANY_TERMS, LegStep
from adapters.xmpp.inside_limits import may_answer, rekeys_too_often
from adapters.xmpp.inside_once import judge_alone, was_sent
from adapters.xmpp.inside_seen import find_by_mac
from adapters.xmpp.inside_signals import greet
from adapters.xmpp.inside_stanzas import is_opaque, mac_of, read_content
from adapters.xmpp.inside_starting import crossing, joins, settled_rival, talk_for
from adapters.xmpp.inside_state import (
    YIELD_MS,
)
from crypto.esession.conversation import (
    Conversation,
    Event,
    Outcome,
    Payload,
    receive,
    thread_of,
)
from crypto.xml import Element


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
    judge = judge_alone(at) if before is not None and before.alone else at.judge
    outcome = receive(conversation, stanza, terms=terms, retained=at.retained, draw=at.step.draw, judge=judge)
    took(at, thread, outcome, stanza, peer, began=conversation is None)
    if outcome.content:
        content = read_content(outcome.content)
        # What ends a session may hold a text too: then only the entry from before says whether it was held.
        once = outcome.event is Event.CONTENT_ONCE
        held = once_held(at, outcome) if once else is_held(at, before, at.leg.talk(thread))
        if held:
            refuse(at, content, stanza, thread, peer)
        else:
            taken(at, content, stanza, thread, peer, once=once)
    if rekeys_too_often(at, conversation, outcome.conversation, peer) and (talk := at.leg.talk(thread)) is not None:
        end_talk(at, talk)
    bound(at)


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
        case Event.CONTENT_ONCE | Event.ONCE_SENT:
            _alone(at, thread, outcome, peer)
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
            talk = at.leg.talk(thread)
            if outcome.event is Event.ENDED and talk is not None and not (talk.active or talk.closing):
                # Begun and ended by one stanza: the key that was shown must be told of all the same.
                associate(at, outcome.identity, outcome.certificates, peer)
            over(at, thread, outcome, stanza, peer)


def _alone(at: LegStep, thread: str, outcome: Outcome, peer: str) -> None:
    """A stanza that was sealed alone, theirs or ours: there is no session."""
    talk = at.leg.talk(thread)
    if outcome.event is Event.CONTENT_ONCE:
        at.report("content-once")
    elif talk is not None:
        was_sent(at, talk)
    if outcome.conversation is None:
        at.forget(thread)
    associate(at, outcome.identity, outcome.certificates, peer)


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
    session = conversation.session
    if at.leg.authentic and not known.letter and not known.superseded and session is not None:
        at.leg = replace(at.leg, profile=session.profile, authentic=False)
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
