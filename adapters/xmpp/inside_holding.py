"""Sessions that are not linked to the verified ones: held until the operator compared the string (decision 0037).

The flag of a talk follows from its session and the retained secrets: it is judged anew whenever either changes.
"""

from dataclasses import replace

from adapters.inside_api import Step
from adapters.xmpp.inside_content import usable
from adapters.xmpp.inside_demands import demands_verified
from adapters.xmpp.inside_leg import LegStep, talk_of
from adapters.xmpp.inside_omemo_own import omemo_on
from adapters.xmpp.inside_queue import sealed
from adapters.xmpp.inside_stanzas import Content, refusal_content
from adapters.xmpp.inside_state import Talk
from crypto.esession.conversation import Conversation
from crypto.esession.profiles import Profile
from crypto.esession.session import Exhausted, Session
from crypto.xml import Element

CODE = "verify-again"


# ---------------------------------------------------------------- which are held
def judged(at: LegStep, conversation: Conversation, peer: str, until_ms: int) -> Talk:
    """The entry of a conversation in its leg. A renegotiation within its thread does not release it."""
    known = at.leg.talk(conversation.thread)
    return replace(talk_of(conversation, peer, until_ms, known), held=_unlinked(at, conversation))


def judge_again(at: LegStep) -> bool:
    """A string was compared: sessions that it says nothing of are held from now on. Returns whether any changed."""
    before = at.leg
    for talk in before.talks:
        conversation = at.conversation(talk.thread) if talk.active else None
        held = talk.held if conversation is None else _unlinked(at, conversation)
        if held and not talk.held:
            at.report("session-held")
            if at.line.sent_on == talk.thread:
                at.line = at.line.resent()
        if held != talk.held:
            changed = replace(talk, held=held)
            at.leg = replace(at.leg, talks=tuple(changed if t is talk else t for t in at.leg.talks))
    return at.leg is not before


def judge_all(step: Step) -> None:
    """A device of the user's was compared: the same, for all contacts that are OMEMO devices."""
    for contact in step.account.contacts:
        if omemo_on(contact):
            at = LegStep(step, contact)
            judge_again(at)
            at.finish()


def is_held(at: LegStep, before: Talk | None, after: Talk | None) -> bool:
    """Whether what a stanza held counts as of a held session: by its entries before and after it was taken."""
    if before is not None and (before.active or before.closing):
        return before.held or (after is not None and after.held)
    return demands_verified(at) if after is None else after.held


def _unlinked(at: LegStep, conversation: Conversation) -> bool:
    session = conversation.session
    return session is not None and demands_verified(at) and not at.policy.counts(session)


def adopted(at: LegStep, talk: Talk, session: Session) -> None:
    """The session is one to send in: what is under way, and what is known of the peer, follows it."""
    # A peer that tells doubles apart is sent what is unacknowledged at once; for another the older session goes on.
    sent_on = at.line.sent_on
    if session.profile is Profile.LETTER or at.leg.talk(sent_on) is None or sent_on == talk.thread:
        at.line = at.line.resent()
    letter = session.profile is Profile.LETTER
    # Who only repeated the hashes of our secrets must not turn receipts in the clear into ones that count.
    doubtful = at.leg.authentic and not letter and not session.proved
    at.leg = replace(
        at.leg,
        profile=at.leg.profile if doubtful else session.profile,
        authentic=letter or doubtful,
        last_peer=talk.peer,
        wanted=False,
        plain=False,
        noticed=False,
    )


# ---------------------------------------------------------------- what comes in them
def refuse(at: LegStep, content: Content, stanza: Element, thread: str, peer: str) -> None:
    """A text is not handed on but refused, so that its sender keeps it; receipts count for nothing."""
    if content.received:
        at.report("receipt-unauthenticated")
    if not content.speaks:
        return
    at.report("message-held")
    at.step.trace(at.step.position, "refused", CODE)
    talk = at.leg.talk(thread)
    if talk is not None and not talk.refused:
        talk = replace(talk, refused=True)
        at.leg = at.leg.with_talk(talk)
    _tell(at, talk, content.origin_id or usable(stanza.attribute("id")), peer)


def refuse_repeated(at: LegStep, talk: Talk, stanza: Element, peer: str) -> None:
    """It is still held. Without an answer the client would give the session up, and with it the string to compare."""
    if talk.active and talk.refused:
        _tell(at, talk, usable(stanza.attribute("id")), peer)


def _tell(at: LegStep, talk: Talk | None, id_: str | None, peer: str) -> None:
    conversation = at.conversation(talk.thread) if talk is not None and talk.active and id_ is not None else None
    session = None if conversation is None else conversation.session
    if talk is None or conversation is None or session is None or session.profile is not Profile.LETTER:
        at.error(peer, id_, CODE)
        return
    stanza_id = f"s-{at.step.draw('stanza-id', 8).hex()}"
    try:
        at.keep(sealed(at, talk, conversation, refusal_content(id_ or "", CODE), stanza_id=stanza_id))
    except Exhausted:
        at.error(peer, id_, CODE)


def tell_held(at: LegStep, talk: Talk) -> None:
    """Messages wait and there is only a held session: say so once."""
    if at.line.waiting and not at.leg.noticed:
        at.leg = replace(at.leg, noticed=True)
        at.notice(talk.peer, "waiting-verify")
