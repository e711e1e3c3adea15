"""When a session is asked for, with which resource, and what becomes of two that both sides began at once."""

from dataclasses import replace

from adapters.xmpp.inside_away import send_away
from adapters.xmpp.inside_holding import judged, tell_held
from adapters.xmpp.inside_leg import LegStep
from adapters.xmpp.inside_omemo_choice import goes_by_omemo, taken_back
from adapters.xmpp.inside_omemo_own import omemo_on
from adapters.xmpp.inside_once import send_alone, sends_alone
from adapters.xmpp.inside_queue import flush
from adapters.xmpp.inside_state import (
    FURTHER_MS,
    MAX_ASKED,
    MAX_SHY,
    NEGOTIATION_MS,
    PAUSE_MOST_MS,
    SUPERSEDED_MS,
    YIELD_MS,
    Leg,
    Talk,
    mark_of,
)
from adapters.xmpp.inside_targets import target
from adapters.xmpp.names import Resources
from crypto.esession.conversation import Conversation, initiate
from crypto.esession.profiles import Profile


def proceed(at: LegStep) -> None:
    """Send what may be sent; start a session when one is needed."""
    taken_back(at)
    flush(at)
    if goes_by_omemo(at):
        return
    leg = at.leg
    if at.current is not None:
        if at.traffic:
            _ask_further(at)
        return
    under_way = leg.negotiating
    if not (at.line.sent < at.line.next or leg.wanted) or (under_way is not None and not under_way.further):
        return
    resources = at.step.records.get("resources", Resources)
    to = target(at, resources)
    if under_way is not None and to in (None, under_way.peer):
        return
    if to is None and leg.held is not None:
        tell_held(at, leg.held)
    elif to is None:
        _tell_waiting(at, resources)
    elif at.step.now_ms() >= leg.start_at_ms:
        if sends_alone(at) and at.line.sent < at.line.next:
            send_alone(at, to)
        else:
            start_with(at, to, leg.profile, 0)


def start_with(
    at: LegStep,
    peer: str,
    profile: Profile | None,
    attempt: int,
    *,
    further: bool = False,
    three_message: bool | None = None,
) -> None:
    """Ask a resource for a session. `three_message`: None means as the policy says."""
    if at.policy.closed:
        return
    thread = at.step.draw("thread", 16).hex()
    outcome = initiate(thread, at.terms, at.step.draw, profile=profile, attempt=attempt, three_message=three_message)
    assert outcome.conversation is not None
    at.keep(outcome.conversation)
    talk = replace(talk_for(at, outcome.conversation, peer), ours=True, further=further)
    at.leg = replace(at.leg.with_talk(talk), wanted=at.leg.wanted and further)
    at.report("session-offered")
    at.reply(thread, peer, outcome.replies)


def talk_for(at: LegStep, conversation: Conversation, peer: str) -> Talk:
    """Its entry; a renegotiation beside an active session does not end that session when it takes too long."""
    return judged(at, conversation, peer, at.step.now_ms() + NEGOTIATION_MS)


def _tell_waiting(at: LegStep, resources: Resources | None) -> None:
    """A message waits and none of the user's clients speaks ESessions: say so once, or ask to see their presence."""
    if resources is None or not resources.complete:
        return
    if not resources.available:
        if not send_away(at):
            at.ask_for_presence()
    elif not at.leg.noticed and not omemo_on(at.contact):  # else it was told what is wrong with the devices
        at.leg = replace(at.leg, noticed=True)
        at.notice(resources.available[0][0], "waiting-no-session")


# ---------------------------------------------------------------- further resources
def _ask_further(at: LegStep) -> None:
    """Somebody wrote, and another client of the user's could show it too: ask it for a session, one at a time."""
    leg, resources = at.leg, at.step.records.get("resources", Resources)
    met = {t.peer for t in leg.talks}
    unmet = [jid for jid, able in (resources.available if resources else ()) if able and jid not in met]
    if not unmet:
        return
    now, busy = at.step.now_ms(), [t for t in leg.talks if not t.closing]
    if now < leg.further_at_ms or leg.negotiating is not None or len(busy) >= MAX_ASKED:
        return
    shy = {mark for mark, _, until_ms in leg.shy if now < until_ms}
    to = next((jid for jid in unmet if mark_of(jid) not in shy), None)
    if to is not None:
        at.leg = replace(leg, further_at_ms=now + FURTHER_MS)
        start_with(at, to, None, 0, further=True)


def joins(at: LegStep, talk: Talk, current: Talk | None) -> bool:
    """Whether the new session is one beside the current one: that stays, and the new one gets copies from now on."""
    if not talk.further:
        return False
    known = replace(talk, further=False)
    at.leg = replace(at.leg.with_talk(known), shy=tuple(s for s in at.leg.shy if s[0] != mark_of(talk.peer)))
    if current is None or current.peer == talk.peer:
        return False
    # Behind the current one, which is the newest by being where the user writes. Who tells doubles apart is shown
    # what is on its way as well.
    others = tuple(t for t in at.leg.talks if t.thread not in (talk.thread, current.thread))
    current = at.leg.talk(current.thread) or current
    at.leg = replace(at.leg, talks=(*others, known, current))
    first = at.line.first if talk.letter else at.line.sent
    at.line = replace(at.line, marks=at.line.marked(talk.thread, first))
    at.report("session-joined")
    return True


def shunned(leg: Leg, peer: str, now_ms: int) -> Leg:
    """No session came about with a further resource: it is left alone, each time for longer."""
    mark = mark_of(peer)
    times = next((times for known, times, _ in leg.shy if known == mark), 0) + 1
    pause = min(PAUSE_MOST_MS, 30 * YIELD_MS << min(times, 8))
    others = tuple(s for s in leg.shy if s[0] != mark)[1 - MAX_SHY :]
    return replace(leg, shy=(*others, (mark, times, now_ms + pause)))


# ---------------------------------------------------------------- both at once
def crossing(at: LegStep, talk: Talk) -> Talk:
    """The peer began a negotiation while ours with it was under way: each remembers the other."""
    ours = next((t for t in at.leg.talks if t.ours and not (t.active or t.closing) and t.peer == talk.peer), None)
    if ours is None:
        return talk
    rival = replace(ours, rival=talk.thread)
    at.leg = replace(at.leg, talks=tuple(rival if t is ours else t for t in at.leg.talks))
    return replace(talk, rival=ours.thread)


def settled_rival(at: LegStep, talk: Talk) -> bool:
    """Of two sessions that were begun at once, the one of the smaller thread stays. Whether `talk` is the other.

    Both sides know both threads, so both settle on the same one without a word. Only among peers that tell doubles
    apart, since what is unacknowledged is sent again in it.
    """
    rival = at.leg.talk(talk.rival)
    if rival is None or not rival.active or rival.held or rival.peer != talk.peer or not (talk.letter and rival.letter):
        return False
    loser = max((talk, rival), key=lambda t: t.thread)
    yields = replace(loser, superseded=True, until_ms=at.step.now_ms() + SUPERSEDED_MS)
    at.leg = replace(at.leg, talks=tuple(yields if t.thread == loser.thread else t for t in at.leg.talks))
    at.report("session-superseded")
    return loser is talk
