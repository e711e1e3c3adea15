"""Presence and iq stanzas within a session (XEP-0200): the client's directed ones, and the peer's."""

from adapters.companion.inside_peer import LANE, TERMS, PeerStep
from adapters.companion.inside_stanzas import around, opened, without_content
from adapters.companion.inside_state import MAX_IQS, Talk
from adapters.companion.names import HANDSHAKE
from bridge.wire.values import Public
from crypto.esession.conversation import Event, Outcome, receive, send, send_error
from crypto.esession.session import Exhausted
from crypto.esession.stanzas import IQ, PRESENCE, divided
from crypto.xml import CLIENT, Element, serialize

_DIRECTED = frozenset({None, "unavailable"})
_ASKING = frozenset({"get", "set"})


# ---------------------------------------------------------------- the client's
def sealed_within(at: PeerStep, stanza: Element) -> bool:
    """Send a presence or an iq to the client that a session is with, in that session; False: it goes as it is.

    Answers are encrypted if what they answer was: who asked in plain would not understand.
    """
    talk = at.peer.current
    conversation = None if talk is None else at.conversation(talk.thread)
    session = None if conversation is None else conversation.session
    if talk is None or conversation is None or session is None or not at.online:
        return False
    if stanza.attribute("to") != talk.peer or stanza.name not in session.agreed.stanzas:
        return False
    if not _is_for_session(at, stanza):
        return False
    outside, inside = divided(stanza.elements)
    content = b"".join(serialize(e, inherited=CLIENT) for e in inside)
    error = next((e for e in outside if e.name == "error"), None)
    try:
        if error is not None and stanza.attribute("type") == "error":
            within = b"".join(serialize(e, inherited=CLIENT) for e in error.elements)
            outcome = send_error(
                conversation,
                within,
                condition=_condition(error),
                error_type=error.attribute("type") or "cancel",
                content=content,
                kind=stanza.name,
                draw=at.step.draw,
                now_ms=at.now,
            )
        else:
            outcome = send(conversation, content, kind=stanza.name, draw=at.step.draw, now_ms=at.now)
    except Exhausted:
        return False
    assert outcome.conversation is not None
    at.keep(outcome.conversation)
    for reply in outcome.replies:
        at.sealed(around(stanza, reply.payload))
    return True


def _is_for_session(at: PeerStep, stanza: Element) -> bool:
    kind = stanza.attribute("type")
    if stanza.name == PRESENCE:
        return kind in _DIRECTED
    if stanza.name != IQ:
        return False
    asked = stanza.attribute("id") or ""
    if kind in _ASKING:
        return True
    if asked not in at.peer.iqs:
        return False
    at.update(iqs=tuple(each for each in at.peer.iqs if each != asked))
    return True


def _condition(error: Element) -> str:
    found = (e.name for e in error.elements if e.namespace == "urn:ietf:params:xml:ns:xmpp-stanzas")
    return next((name for name in found if name != "text"), "undefined-condition")


# ---------------------------------------------------------------- the peer's
def session_of(at: PeerStep, stanza: Element, sender: str) -> Talk | None:
    """The session of that address that a presence or an iq is of: these bear no thread, but an authentication code.

    When it is of none, the newest has missed something, or is shown what its peer did not send: it will end.
    """
    active = [talk for talk in reversed(at.peer.talks) if talk.active and talk.peer == sender]
    return next((talk for talk in active if _fits(at, talk, stanza)), active[0] if active else None)


def _fits(at: PeerStep, talk: Talk, stanza: Element) -> bool:
    conversation = at.conversation(talk.thread)
    outcome = receive(conversation, stanza, terms=TERMS, retained=at.retained, draw=at.step.draw)
    return outcome.event in (Event.CONTENT, Event.REPEATED, Event.ENDED)


def opened_within(at: PeerStep, stanza: Element, outcome: Outcome) -> None:
    """Hand an opened presence or iq to the client."""
    if stanza.name == IQ and stanza.attribute("type") in _ASKING:
        asked = stanza.attribute("id") or ""
        at.update(iqs=(*at.peer.iqs, asked)[-MAX_IQS:])
    children = outcome.content
    error = stanza.child(CLIENT, "error")
    if error is not None and stanza.attribute("type") == "error":
        shown = Element(CLIENT, "error", error.attributes, outcome.within_error or without_content(error).children)
        children = (*children, shown)
    at.show(opened(stanza, at.own, children, stanza.attribute("id")))


def unopened(at: PeerStep, stanza: Element, sender: str) -> None:
    """There is no session that it could be of. A presence still says who is there; an iq is answered."""
    at.report("session-unknown")
    if stanza.name == PRESENCE:
        at.show(opened(stanza, at.own, (), stanza.attribute("id")))
    elif stanza.name == IQ and stanza.attribute("type") in _ASKING:
        error = Element(
            CLIENT,
            "error",
            (("type", "cancel"),),
            (Element("urn:ietf:params:xml:ns:xmpp-stanzas", "not-acceptable"),),
        )
        attributes = (("to", sender), ("id", stanza.attribute("id") or ""), ("type", "error"))
        answer = serialize(Element(CLIENT, IQ, attributes, (error,)), inherited=CLIENT)
        at.step.carry(HANDSHAKE, {"stanza": Public(v=answer)}, lane=LANE)
