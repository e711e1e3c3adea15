"""ESessions of one contact: how they end, by a stanza, by our own decision, or by time."""

from dataclasses import replace

from adapters.xmpp.inside_leg import LegStep
from adapters.xmpp.inside_omemo_own import omemo_on
from adapters.xmpp.inside_once import came_to_nothing
from adapters.xmpp.inside_queue import awaits_receipt, take_for_delivered
from adapters.xmpp.inside_stanzas import error_condition
from adapters.xmpp.inside_starting import shunned, start_with
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
    Event,
    Outcome,
    abandon,
    end,
    refresh,
)
from crypto.esession.profiles import Profile
from crypto.xml import Element

_BOUNCED = frozenset({"service-unavailable", "recipient-unavailable", "remote-server-not-found", "item-not-found"})
"""Conditions by which a server says that a resource is not there."""


# ---------------------------------------------------------------- what ends
def over(at: LegStep, thread: str, outcome: Outcome, stanza: Element, peer: str) -> None:
    """A session or a negotiation is over."""
    now = at.step.now_ms()
    talk = at.leg.talk(thread)
    at.report(f"session-{outcome.event.value}")
    at.forget(thread)
    match outcome.event:
        case _ if talk is not None and talk.alone:
            came_to_nothing(at, talk)
        case Event.FAILED if outcome.refused_fields == ("dhkeys",) and talk is not None and talk.ours:
            # The peer negotiates in 4 messages only; which identity is shielded matters less than a session. Anybody
            # may have written that error: the user is told.
            at.report("shield-undone")
            at.notice(peer, "shield-undone")
            start_with(at, peer, None, 1, further=talk.further, three_message=False)
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


def bound(at: LegStep) -> None:
    """Too many sessions with one contact, or begun by one resource: the oldest give way, first those that are held."""
    for peer in {t.peer for t in at.leg.talks if not (t.active or t.closing or t.ours)}:
        half_open = [t for t in at.leg.talks if t.peer == peer and not (t.active or t.closing or t.ours)]
        for talk in half_open[:-MAX_HALF_OPEN]:
            end_talk(at, talk)
    while len(at.leg.talks) > MAX_TALKS:
        oldest = next((t for t in at.leg.talks[:-1] if t.active and t.held), at.leg.talks[0])
        end_talk(at, oldest)
        if oldest.alone:
            came_to_nothing(at, oldest)
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
    if at.line.waiting_since_ms and now >= at.line.waiting_since_ms + at.leg.receipt_ms:
        _unacknowledged(at)


def _unacknowledged(at: LegStep) -> None:
    """No receipt came for too long."""
    if omemo_on(at.contact) and not awaits_receipt(at):
        at.line = replace(at.line, waiting_since_ms=0)
        return
    leg, line = at.leg, at.line
    stuck = leg.talk(line.sent_on)
    gives = leg.authentic or leg.profile is Profile.LETTER or leg.receipts or at.policy.sends_alone
    if gives or (stuck is not None and stuck.letter):
        at.report("receipt-missing")
        at.leg = replace(leg, receipt_ms=min(RECEIPT_MOST_MS, 2 * leg.receipt_ms))
        if stuck is not None:
            end_talk(at, stuck)
        elif at.policy.sends_alone:
            at.line = line.resent()
    elif line.heard:
        take_for_delivered(at)
    else:
        at.line = replace(line, waiting_since_ms=at.step.now_ms())


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
    if talk.alone:
        came_to_nothing(at, talk)
        return
    if talk.further and at.current is not None:
        at.leg = shunned(at.leg, talk.peer, at.step.now_ms())
        return
    # The deployed implementation falls silent where it should answer with an error: try the other reading in turn.
    other = Profile.LETTER if at.leg.profile is not Profile.LETTER else None
    at.leg = replace(at.leg.failed(at.step.now_ms()), profile=other)
    if at.leg.failures >= 3:
        _explain(at, talk.peer)
