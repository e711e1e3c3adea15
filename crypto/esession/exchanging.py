"""What is done with the stanzas of a session, and with what ends it."""

from crypto.esession import names, payloads
from crypto.esession.faults import BadStanza, Exhausted, MalformedStanza, Repeated, UnauthenticStanza, UnusableStanza
from crypto.esession.opening import Inbound, open_stanza, opened
from crypto.esession.outcome import Arrival, Closing, Conversation, Event, Kind, Outcome, Reply, failed_at_proof
from crypto.esession.payloads import Payload
from crypto.esession.profiles import Profile
from crypto.esession.refusals import Condition, error_payload
from crypto.esession.retained import Retained
from crypto.esession.sealing import seal
from crypto.esession.session import Session
from crypto.esession.stanzas import IQ, MESSAGE, encrypted_parts, require_agreed, require_fitting
from crypto.xml import Element


def on_encrypted(state: Conversation, arrival: Arrival) -> Outcome:
    """An encrypted stanza of an active session."""
    if state.session is None:
        return Outcome(Event.IGNORED, state)
    condition = Condition.NOT_ACCEPTABLE
    try:
        return _taken(state, state.session, arrival)
    except Repeated:
        return Outcome(Event.REPEATED, state)
    except (UnauthenticStanza, MalformedStanza):
        if arrival.stanza.attribute("type") == "error":  # our own stanza came back
            return on_error(state, arrival)
    except UnusableStanza as unusable:
        if unusable.reason is BadStanza.REKEYED:
            condition = Condition.FEATURE_NOT_IMPLEMENTED
    return _broken(state.session, condition, arrival.stanza)


def _taken(state: Conversation, before: Session, arrival: Arrival) -> Outcome:
    """Raises what `open_stanza` raises."""
    session, content, within = _opened_parts(before, arrival.stanza)
    retained = None
    if not before.confirmed and session.agreed.replaced_identity is not None:
        retained = arrival.retained.without(session.agreed.replaced_identity)
    ending = _ending_among(content)
    if ending is not None:
        return _ended(session, content, retained, acknowledge=ending is Payload.TERMINATE)
    after = Conversation(state.thread, answered=state.answered, session=session)
    return Outcome(Event.CONTENT, after, content=content, retained=retained, within_error=within)


def _opened_parts(session: Session, stanza: Element) -> tuple[Session, tuple[Element, ...], tuple[Element, ...]]:
    """The session afterwards, the content, and what was encrypted inside `<error/>`; in the order of the document."""
    c, in_error = encrypted_parts(stanza)
    content: tuple[Element, ...] = ()
    within: tuple[Element, ...] = ()
    if c is not None:
        session, content = open_stanza(session, c)
    if in_error is not None:
        session, within = open_stanza(session, in_error)
    require_agreed(stanza.name, session.agreed.stanzas)
    require_fitting(stanza.name, content, within)
    return session, content, within


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
    replies = _sealed_form(session, payloads.acknowledgement(), _last_key(session)) if acknowledge else ()
    return Outcome(Event.ENDED, None, replies, rest, retained)


def _last_key(session: Session) -> tuple[bytes, ...]:
    """The MAC key of the peer's last stanzas: it has sent its last, and all of them were verified (XEP-0116)."""
    return () if session.profile is Profile.DEPLOYED else (session.receiving.mac_key,)


def sealed_termination(session: Session) -> tuple[Reply, ...]:
    """The encrypted form that ends a session; nothing when its key may not be used any more."""
    return _sealed_form(session, payloads.termination())


def _sealed_form(session: Session, form: bytes, publish: tuple[bytes, ...] = ()) -> tuple[Reply, ...]:
    try:
        return (Reply(Kind.ENCRYPTED, seal(session, form, publish=publish)[1]),)
    except Exhausted:
        return ()


def _broken(session: Session, condition: Condition, stanza: Element) -> Outcome:
    """The session cannot go on. The letter ends it with an encrypted form, deployed peers know a plain one only."""
    last = (
        (Reply(Kind.NEGOTIATION, payloads.termination()),)
        if session.profile is Profile.DEPLOYED
        else sealed_termination(session)
    )
    replies = (*_error(condition, stanza), *last)
    return Outcome(Event.BROKEN, None, replies, condition=condition.value)


def _error(condition: Condition, stanza: Element) -> tuple[Reply, ...]:
    """The error that answers a stanza; none for those that RFC 6120 lets nobody answer with one."""
    answerable = stanza.name == MESSAGE or (stanza.name == IQ and stanza.attribute("type") in ("get", "set"))
    return (Reply(Kind.ERROR, error_payload(condition)),) if answerable else ()


def on_encrypted_while_closing(state: Conversation, arrival: Arrival) -> Outcome:
    """Content that was on its way when we ended the session, or the acknowledgement."""
    closing = state.closing
    assert closing is not None
    try:
        after, content = _opened_late(closing, arrival.stanza)
    except Repeated:
        return Outcome(Event.REPEATED, state)
    except (UnauthenticStanza, MalformedStanza, UnusableStanza):
        return Outcome(Event.ENDED, None)
    if _ending_among(content) is not None:
        return Outcome(Event.ENDED, None, content=tuple(e for e in content if e.namespace != names.NEGOTIATION))
    return Outcome(Event.CONTENT, Conversation(state.thread, closing=after), content=content)


def _opened_late(closing: Closing, stanza: Element) -> tuple[Closing, tuple[Element, ...]]:
    """What came in a session that we have ended; we shall send nothing in it, whatever keys it brings."""
    inbound = Inbound(closing.receiving, closing.accepted, closing.rekeying, closing.suite)
    found: list[tuple[Element, ...]] = [(), ()]
    for place, c in enumerate(encrypted_parts(stanza)):
        if c is not None:
            one = opened(inbound, c)
            inbound, found[place] = one.inbound, one.content
    require_fitting(stanza.name, *found)
    return Closing(inbound.receiving, inbound.accepted, inbound.rekeying, inbound.suite), found[0] or found[1]


def on_encrypted_unknown(_state: Conversation, arrival: Arrival) -> Outcome:
    """The peer believes in a session that we do not have: tell it, in the letter's way and in the deployed one.

    A presence or an iq names no thread, so that no termination can be said to belong to it.
    """
    named = arrival.stanza.name == MESSAGE
    replies = _error(Condition.NOT_ACCEPTABLE, arrival.stanza)
    replies += (Reply(Kind.NEGOTIATION, payloads.termination()),) if named else ()
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
