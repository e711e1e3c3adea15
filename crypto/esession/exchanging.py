"""What is done with the stanzas of a session, and with what ends it."""

from crypto.esession import names, payloads
from crypto.esession.outcome import Arrival, Closing, Conversation, Event, Kind, Outcome, Reply, failed_at_proof
from crypto.esession.payloads import Payload
from crypto.esession.profiles import Profile
from crypto.esession.refusals import Condition, error_payload
from crypto.esession.retained import Retained
from crypto.esession.session import (
    BadStanza,
    Exhausted,
    MalformedStanza,
    Repeated,
    Session,
    UnauthenticStanza,
    UnusableStanza,
    open_stanza,
    opened,
    seal,
)
from crypto.xml import Element


def on_encrypted(state: Conversation, arrival: Arrival) -> Outcome:
    """An encrypted stanza of an active session."""
    c = payloads.encrypted(arrival.stanza)
    if state.session is None or c is None:
        return Outcome(Event.IGNORED, state)
    condition = Condition.NOT_ACCEPTABLE
    try:
        return _taken(state, state.session, arrival, *open_stanza(state.session, c))
    except Repeated:
        return Outcome(Event.REPEATED, state)
    except (UnauthenticStanza, MalformedStanza):
        if arrival.stanza.attribute("type") == "error":  # our own stanza came back
            return on_error(state, arrival)
    except UnusableStanza as unusable:
        if unusable.reason is BadStanza.REKEYED:
            condition = Condition.FEATURE_NOT_IMPLEMENTED
    return _broken(state.session, condition)


def _taken(
    state: Conversation, before: Session, arrival: Arrival, session: Session, content: tuple[Element, ...]
) -> Outcome:
    retained = None
    if not before.confirmed and session.agreed.replaced_identity is not None:
        retained = arrival.retained.without(session.agreed.replaced_identity)
    ending = _ending_among(content)
    if ending is not None:
        return _ended(session, content, retained, acknowledge=ending is Payload.TERMINATE)
    after = Conversation(state.thread, answered=state.answered, session=session)
    return Outcome(Event.CONTENT, after, content=content, retained=retained)


def _ending_among(content: tuple[Element, ...]) -> Payload | None:
    """Whether the content ends the session, or acknowledges that."""
    for element in content:
        if element.namespace == names.NEGOTIATION:
            x = element.child(names.DATA, "x")
            payload = None if x is None else payloads.form_payload(x)
            if payload in (Payload.TERMINATE, Payload.ACKNOWLEDGE):
                return payload
    return None


def _ended(session: Session, content: tuple[Element, ...], retained: Retained | None, *, acknowledge: bool) -> Outcome:
    rest = tuple(e for e in content if e.namespace != names.NEGOTIATION)
    replies = _sealed_form(session, payloads.acknowledgement()) if acknowledge else ()
    return Outcome(Event.ENDED, None, replies, rest, retained)


def sealed_termination(session: Session) -> tuple[Reply, ...]:
    """The encrypted form that ends a session; nothing when its key may not be used any more."""
    return _sealed_form(session, payloads.termination())


def _sealed_form(session: Session, form: bytes) -> tuple[Reply, ...]:
    try:
        return (Reply(Kind.ENCRYPTED, seal(session, form)[1]),)
    except Exhausted:
        return ()


def _broken(session: Session, condition: Condition) -> Outcome:
    """The session cannot go on. The letter ends it with an encrypted form, deployed peers know a plain one only."""
    last = (
        (Reply(Kind.NEGOTIATION, payloads.termination()),)
        if session.profile is Profile.DEPLOYED
        else sealed_termination(session)
    )
    replies = (Reply(Kind.ERROR, error_payload(condition)), *last)
    return Outcome(Event.BROKEN, None, replies, condition=condition.value)


def on_encrypted_while_closing(state: Conversation, arrival: Arrival) -> Outcome:
    """Content that was on its way when we ended the session, or the acknowledgement."""
    c = payloads.encrypted(arrival.stanza)
    assert state.closing is not None
    assert c is not None
    try:
        receiving, accepted, content = opened(state.closing.receiving, state.closing.accepted, c)
    except Repeated:
        return Outcome(Event.REPEATED, state)
    except (UnauthenticStanza, MalformedStanza, UnusableStanza):
        return Outcome(Event.ENDED, None)
    if _ending_among(content) is not None:
        return Outcome(Event.ENDED, None, content=tuple(e for e in content if e.namespace != names.NEGOTIATION))
    return Outcome(Event.CONTENT, Conversation(state.thread, closing=Closing(receiving, accepted)), content=content)


def on_encrypted_unknown(_state: Conversation, _arrival: Arrival) -> Outcome:
    """The peer believes in a session that we do not have: tell it, in the letter's way and in the deployed one."""
    replies = (
        Reply(Kind.ERROR, error_payload(Condition.NOT_ACCEPTABLE)),
        Reply(Kind.NEGOTIATION, payloads.termination()),
    )
    return Outcome(Event.UNKNOWN, None, replies, condition=Condition.NOT_ACCEPTABLE.value)


def on_plain_end(state: Conversation, _arrival: Arrival) -> Outcome:
    """An unauthenticated termination: anybody on the path can forge it, but keeping on would help nobody."""
    if state.closing is not None:
        return Outcome(Event.ENDED, None)
    return Outcome(Event.ENDED_UNAUTHENTICATED if state.session else Event.DECLINED, None)


def on_error(state: Conversation, arrival: Arrival) -> Outcome:
    """An error stanza, which nothing authenticates: what it concerns is over."""
    condition = payloads.error_condition(arrival.stanza)
    if state.proved is not None:
        return failed_at_proof(state, condition)
    if state.closing is not None:
        return Outcome(Event.ENDED, None, condition=condition)
    return Outcome(Event.LOST if state.session else Event.FAILED, None, condition=condition)
