"""ESessions with one peer: taking stanzas of the protocol, starting, losing and ending sessions."""

from dataclasses import replace

from adapters.companion import inside_words as words
from adapters.companion.inside_content import refuse, taken
from adapters.companion.inside_peer import TERMS, PeerStep, entry
from adapters.companion.inside_queue import flush, pass_all
from adapters.companion.inside_stanzas import is_opaque, read_content
from adapters.companion.inside_state import (
    CLOSING_MS,
    DECLINED_MS,
    MAX_TALKS,
    NEGOTIATION_MS,
    PAUSE_MOST_MS,
    RECEIPT_MOST_MS,
    UNSURE_MS,
    WAITS_MS,
    YIELD_MS,
    Pace,
    Talk,
)
from adapters.companion.inside_within import opened_within, session_of, unopened
from adapters.companion.names import Ability
from crypto.esession.conversation import (
    Conversation,
    Event,
    Outcome,
    Payload,
    abandon,
    end,
    initiate,
    receive,
    refresh,
    thread_of,
)
from crypto.esession.profiles import Profile
from crypto.xml import Element


# ---------------------------------------------------------------- what comes
def receive_stanza(at: PeerStep, stanza: Element, payload: Payload, sender: str) -> None:
    """A stanza of the protocol from the peer's address `sender`."""
    if stanza.name == "message":
        thread = thread_of(stanza) or ""
        if not is_opaque(thread):
            at.report("thread-unusable")
        elif payload is not Payload.REQUEST or _may_answer(at):
            _receive_message(at, stanza, thread, sender)
        return
    talk = session_of(at, stanza, sender)
    if talk is None:
        unopened(at, stanza, sender)
        return
    before, outcome = _received(at, stanza, talk.thread, sender)
    if outcome.event is Event.CONTENT and not _was_held(at, before, at.peer.talk(talk.thread)):
        opened_within(at, stanza, outcome)


def _receive_message(at: PeerStep, stanza: Element, thread: str, sender: str) -> None:
    before, outcome = _received(at, stanza, thread, sender)
    if outcome.content:
        content = read_content(outcome.content)
        if _was_held(at, before, at.peer.talk(thread)):
            refuse(at, content, thread)
        else:
            taken(at, content, stanza, sender)
    while len(at.peer.talks) > MAX_TALKS:
        at.forget(next((t for t in at.peer.talks[:-1] if t.active and t.held), at.peer.talks[0]).thread)


def _received(at: PeerStep, stanza: Element, thread: str, sender: str) -> tuple[Talk | None, Outcome]:
    """Take it in its session; the session's entry from before, and what came of it."""
    conversation, before = at.conversation(thread), at.peer.talk(thread)
    outcome = receive(conversation, stanza, terms=TERMS, retained=at.retained, draw=at.step.draw)
    if outcome.retained is not None:
        at.keep_retained(outcome.retained)
    if outcome.conversation is not None and outcome.conversation is not conversation:
        at.keep(outcome.conversation)
    at.reply(thread, sender, outcome.replies)
    _happened(at, outcome, sender, thread, began=conversation is None)
    return before, outcome


def _may_answer(at: PeerStep) -> bool:
    """Each answer costs exponentiations: beyond the limit a request is left without one, the peer will try again."""
    pace = (at.step.records.get("pace", Pace) or Pace()).used(at.now)
    if pace is None:
        at.report("request-too-many")
        return False
    at.step.records.put("pace", pace)
    return True


def _happened(at: PeerStep, outcome: Outcome, sender: str, thread: str, *, began: bool) -> None:
    after = outcome.conversation
    match outcome.event:
        case Event.ANSWERED | Event.PROVED | Event.OFFERED if after is not None:
            at.peer = at.peer.with_talk(_judged(at, after, sender))
        case Event.ESTABLISHED if after is not None:
            _established(at, after, sender)
        case Event.CONTENT if after is not None:
            _heard(at, after, sender)
        case Event.REPEATED:
            at.report("stanza-repeated")
        case Event.IGNORED:
            at.report("stanza-out-of-place")
        case Event.UNKNOWN:
            at.report("session-unknown")
            at.update(wanted=True, start_at_ms=at.now + YIELD_MS)
        case _ if began:
            at.report(f"session-{outcome.event.value}")
        case _:
            _over(at, outcome, thread, sender)


# ---------------------------------------------------------------- held sessions (docs/decisions/0037)
def _judged(at: PeerStep, conversation: Conversation, sender: str) -> Talk:
    known = at.peer.talk(conversation.thread)
    talk = entry(conversation, sender, at.now + NEGOTIATION_MS)
    refresh_ms = known.refresh_ms if known is not None else 0
    held = _unlinked(at, conversation)
    return replace(talk, held=held, refused=known is not None and known.refused, refresh_ms=refresh_ms)


def _unlinked(at: PeerStep, conversation: Conversation) -> bool:
    session = conversation.session
    return session is not None and not session.verified and at.retained.demands_verified


def _was_held(at: PeerStep, before: Talk | None, after: Talk | None) -> bool:
    if before is not None and (before.active or before.closing):
        return before.held or (after is not None and after.held)
    return at.retained.demands_verified if after is None else after.held


def judge_again(at: PeerStep) -> None:
    """A string was compared: sessions that it says nothing of are held from now on, the one compared is not."""
    for talk in at.peer.talks:
        conversation = at.conversation(talk.thread) if talk.active else None
        held = talk.held if conversation is None else _unlinked(at, conversation)
        if held != talk.held:
            changed = replace(talk, held=held)
            line = at.peer.line.resent() if held and at.peer.line.sent_on == talk.thread else at.peer.line
            at.update(talks=tuple(changed if t is talk else t for t in at.peer.talks), line=line)


# ---------------------------------------------------------------- how they go
def _established(at: PeerStep, conversation: Conversation, sender: str) -> None:
    session = conversation.session
    assert session is not None
    at.report(f"chain-{session.chain.value}")
    talk = _judged(at, conversation, sender)
    at.peer = at.peer.with_talk(talk)
    at.update(encrypts=True, wanted=False, plain=False, warned=False)
    if not talk.held:
        letter = session.profile is Profile.LETTER
        # Who only repeated the hashes of our secrets says nothing of how the peer reads the specifications.
        doubtful = at.peer.authentic and not letter and not session.proved
        at.update(profile=at.peer.profile if doubtful else session.profile)
        adopted(at, letter=letter or doubtful)
    at.tell(words.started(at.name, session, held=talk.held))


def adopted(at: PeerStep, *, letter: bool) -> None:
    """There is a new session to send in: all that is unacknowledged goes in it."""
    at.update(line=at.peer.line.resent(), authentic=letter, since_ms=0)


def _heard(at: PeerStep, conversation: Conversation, sender: str) -> None:
    """Content was verified: this is the session that the peer uses, from this address."""
    known = at.peer.talk(conversation.thread)
    if known is None or known.closing:
        return
    last = next((t for t in reversed(at.peer.talks) if t.active and not t.held), None)
    if not known.held and (last is None or last.thread != known.thread or known.peer != sender):
        if at.peer.line.sent_on not in (None, known.thread):
            at.update(line=at.peer.line.resent())
        at.peer = at.peer.with_talk(replace(known, peer=sender))
    session = conversation.session
    if at.peer.authentic and not known.held and session is not None and session.profile is not Profile.LETTER:
        at.update(profile=session.profile, authentic=False)
    if at.peer.failures:
        at.update(failures=0)


def _over(at: PeerStep, outcome: Outcome, thread: str, sender: str) -> None:
    """A session or a negotiation is over."""
    talk = at.peer.talk(thread)
    at.report(f"session-{outcome.event.value}")
    at.forget(thread)
    if talk is not None and talk.active:
        at.tell(words.ended(at.name, outcome.event.value))
    match outcome.event:
        case Event.FAILED if outcome.retry is not None:
            start_with(at, sender, outcome.retry, 1)
        case Event.DECLINED:
            at.peer = at.peer.failed(at.now, least_ms=DECLINED_MS)
        case Event.FAILED:
            at.peer = at.peer.failed(at.now)
        case Event.BROKEN | Event.LOST:
            at.peer = replace(at.peer.failed(at.now, least_ms=YIELD_MS), wanted=True)
        case _:
            at.update(start_at_ms=max(at.peer.start_at_ms, at.now + YIELD_MS))


def end_talk(at: PeerStep, talk: Talk) -> None:
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
        closing = Talk(talk.thread, talk.peer, False, at.now + CLOSING_MS, closing=True, held=talk.held)
        at.update(talks=(closing, *at.peer.talks))


def abandon_all(at: PeerStep) -> None:
    """The state may be older than what was sent: no sending key of it is used again."""
    for talk in at.peer.talks:
        conversation = at.conversation(talk.thread)
        if conversation is not None and at.online:
            at.reply(talk.thread, talk.peer, abandon(conversation).replies)
        at.forget(talk.thread)
    at.update(line=at.peer.line.resent(), start_at_ms=at.now + YIELD_MS)


def gone(at: PeerStep, address: str) -> None:
    """An address became unavailable: sessions with it are of no use any more."""
    for talk in at.peer.talks:
        if talk.peer == address:
            at.forget(talk.thread)
            if talk.active:
                at.tell(words.ended(at.name, "gone"))


# ---------------------------------------------------------------- what time and waiting messages call for
def expire(at: PeerStep) -> None:
    """Do what the time calls for."""
    for talk in at.peer.talks:
        if talk.until_ms and talk.until_ms <= at.now:
            _took_too_long(at, talk)
        elif talk.active and 0 < talk.refresh_ms <= at.now:
            _refresh(at, talk)
    peer = at.peer
    if peer.since_ms and at.now >= peer.since_ms + WAITS_MS:
        at.update(since_ms=0)
        if peer.line.waiting and peer.current is None:
            at.tell(words.waiting(at.name, peer.line.waiting))
    if peer.line.waiting_since_ms and at.now >= peer.line.waiting_since_ms + peer.receipt_ms:
        at.report("receipt-missing")
        stuck = peer.talk(peer.line.sent_on)
        at.update(receipt_ms=min(RECEIPT_MOST_MS, 2 * peer.receipt_ms), line=peer.line.resent())
        if stuck is not None:
            end_talk(at, stuck)
            at.tell(words.ended(at.name, "replaced"))


def _refresh(at: PeerStep, talk: Talk) -> None:
    """New keys for a session that has fallen silent, and the end of old ones (XEP-0200)."""
    conversation = at.conversation(talk.thread)
    outcome = None if conversation is None else refresh(conversation, draw=at.step.draw, now_ms=at.now)
    if outcome is not None and outcome.conversation is not None:
        at.keep(outcome.conversation)
        at.reply(talk.thread, talk.peer, outcome.replies)


def _took_too_long(at: PeerStep, talk: Talk) -> None:
    end_talk(at, talk)
    if talk.closing:
        return
    at.report("negotiation-timed-out")
    # The deployed implementation falls silent where it should answer with an error: try the other reading in turn.
    other = Profile.LETTER if at.peer.profile is not Profile.LETTER else None
    at.peer = replace(at.peer.failed(at.now), profile=other)


def proceed(at: PeerStep) -> None:
    """Send what may be sent; start a session when one is needed; pass on what needs none."""
    peer = at.peer
    if peer.plain or (not peer.encrypts and not unsure(at)):
        if peer.line.waiting and at.online:
            pass_all(at)
        return
    flush(at)
    peer = at.peer
    needed = peer.encrypts and not peer.quiet and (peer.line.sent < peer.line.next or peer.wanted)
    if not needed or peer.current is not None or peer.negotiating is not None or not at.online:
        return
    to = peer.target()
    early = 0 < peer.start_at_ms - at.now <= PAUSE_MOST_MS  # more: the clock was set back
    if to is not None and peer.held is None and not early:
        start_with(at, to, peer.profile, 0)


def unsure(at: PeerStep) -> bool:
    """Whether the word is still awaited if the peer has ESessions."""
    peer = at.peer
    if peer.encrypts or peer.able(Ability.YES):
        return False
    return 0 < peer.unsure_until_ms - at.now <= UNSURE_MS  # more: the clock was set back


def start_with(at: PeerStep, to: str, profile: Profile | None, attempt: int) -> None:
    """Ask an address for a session."""
    thread = at.step.draw("thread", 16).hex()
    outcome = initiate(thread, TERMS, at.step.draw, profile=profile, attempt=attempt)
    assert outcome.conversation is not None
    at.keep(outcome.conversation)
    at.peer = at.peer.with_talk(_judged(at, outcome.conversation, to))
    at.update(wanted=False)
    at.report("session-offered")
    at.reply(thread, to, outcome.replies)
