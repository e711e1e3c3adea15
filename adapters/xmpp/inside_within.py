"""Presence and iq stanzas whose content is encrypted in a session. They have no thread: their sender finds it."""

from dataclasses import replace

from adapters.xmpp.inside_ending import end_talk
from adapters.xmpp.inside_leg import ANY_TERMS, LegStep
from adapters.xmpp.inside_limits import rekeys_too_often
from adapters.xmpp.inside_queries import answered
from adapters.xmpp.inside_sessions import took
from adapters.xmpp.inside_signals import presence_taken
from adapters.xmpp.inside_stanzas import is_opaque
from adapters.xmpp.inside_state import Talk
from crypto.esession.conversation import Event, Outcome, receive
from crypto.xml import Element

_OPENED = frozenset({Event.CONTENT, Event.REPEATED, Event.ENDED})


def receive_within(at: LegStep, stanza: Element, peer: str) -> None:
    """A presence or an iq from the user's resource `peer`, with encrypted content.

    It belongs to whichever of the sessions with that resource its authentication code is of. When it is of none, the
    newest has missed or is shown something that its peer did not send: it ends, as XEP-0200 demands.
    """
    sessions = [t for t in reversed(at.leg.talks) if t.peer == peer and t.active]
    attempts = [(talk, outcome) for talk in sessions if (outcome := _attempt(at, talk, stanza)) is not None]
    found = next(((talk, outcome) for talk, outcome in attempts if outcome.event in _OPENED), None)
    if found is None:
        _foreign(at, stanza, peer, attempts)
        return
    talk, outcome = found
    if outcome.event is Event.REPEATED:
        at.report("stanza-repeated")
        return
    before = at.conversation(talk.thread)
    took(at, talk.thread, outcome, stanza, peer)
    if rekeys_too_often(at, before, outcome.conversation, peer):
        end_talk(at, talk)
    if outcome.event is not Event.CONTENT or not outcome.content:
        return
    if talk.held:
        at.report("query-held")
        _refused(at, stanza, peer, "verify-again")
    elif stanza.name == "presence":
        presence_taken(at, outcome.content)
    elif (kind := stanza.attribute("type")) in ("get", "set"):
        _answer(at, talk, stanza, *answered(at, str(kind), outcome.content, at.standing(talk.thread)))


def _attempt(at: LegStep, talk: Talk, stanza: Element) -> Outcome | None:
    conversation = at.conversation(talk.thread)
    if conversation is None:
        return None
    return receive(conversation, stanza, terms=ANY_TERMS, retained=at.retained, draw=at.step.draw)


def _foreign(at: LegStep, stanza: Element, peer: str, attempts: list[tuple[Talk, Outcome]]) -> None:
    broken = next(((talk, outcome) for talk, outcome in attempts if outcome.event is Event.BROKEN), None)
    if broken is not None:
        took(at, broken[0].thread, broken[1], stanza, peer)
    else:
        at.report("session-unknown")
        at.leg = replace(at.leg, wanted=True)
    _refused(at, stanza, peer, "not-acceptable")


def _refused(at: LegStep, stanza: Element, peer: str, code: str) -> None:
    """An error in the clear, for a question that cannot be answered inside a session."""
    stanza_id = stanza.attribute("id")
    if stanza.name == "iq" and stanza.attribute("type") in ("get", "set") and is_opaque(stanza_id):
        at.iq(peer, str(stanza_id), "error", code=code)


def _answer(at: LegStep, talk: Talk, stanza: Element, kind: str, content: bytes) -> None:
    stanza_id, conversation = stanza.attribute("id"), at.conversation(talk.thread)
    if not is_opaque(stanza_id) or conversation is None or not conversation.active:
        at.report("query-unanswerable")
        return
    sealed = at.seal(conversation, content, "iq") if kind == "result" else at.seal_error(conversation, content)
    if sealed is None:
        _refused(at, stanza, talk.peer, "busy")
    else:
        at.iq(talk.peer, str(stanza_id), kind, content=sealed)
