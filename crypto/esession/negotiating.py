"""What is done with the messages of a negotiation, and with errors. Refusals are raised."""

from dataclasses import replace

from crypto.esession import initiator, payloads, responder
from crypto.esession.exchanging import on_encrypted
from crypto.esession.faults import MalformedStanza, UnauthenticStanza, UnusableStanza
from crypto.esession.forms import kept_form
from crypto.esession.opening import open_stanza
from crypto.esession.outcome import Arrival, Conversation, Event, Kind, Outcome, Reply, declining, failed_at_proof
from crypto.esession.refusals import Condition, Unproved, error_payload
from crypto.esession.retained import SENT_HASHES
from crypto.esession.sealing import seal
from crypto.esession.session import Session
from crypto.esession.states import Answered, Established, Offered
from crypto.primitives.ciphers import sha256
from crypto.primitives.modp import EXPONENT_DRAW
from crypto.xml import Element


def on_request(state: Conversation, arrival: Arrival) -> Outcome:
    """A request: answer it. One that is answered already, or that made the session, came twice."""
    mark = kept_form(arrival.form)
    if state.answered is not None and state.answered.request == mark:
        return Outcome(Event.IGNORED, state)
    if state.session is not None and state.session.agreed.request_mark == sha256(mark)[:8]:
        return Outcome(Event.IGNORED, state)
    draw = arrival.draw
    answered, form = responder.answer(
        arrival.form,
        arrival.terms,
        nonce=draw("esession-nonce", initiator.NONCE),
        exponent=draw("esession-exponent", EXPONENT_DRAW),
        counter=draw("esession-counter", 16),
    )
    after = Conversation(state.thread, answered=answered, session=state.session)
    return Outcome(Event.ANSWERED, after, (Reply(Kind.NEGOTIATION, payloads.feature(form)),))


def on_response(state: Conversation, arrival: Arrival) -> Outcome:
    """The responder's answer: prove our part."""
    offered = state.offered
    assert offered is not None
    if offered.three_message:
        return _on_last_response(state, offered, arrival)
    missing = max(2, SENT_HASHES - len(arrival.retained.secrets))
    hashes = arrival.draw("esession-hashes", missing * initiator.hash_octets(offered, arrival.form))
    proved, form = initiator.prove(offered, arrival.form, arrival.retained, hashes=hashes, own=arrival.terms)
    after = Conversation(state.thread, proved=proved)
    return Outcome(Event.PROVED, after, (Reply(Kind.NEGOTIATION, payloads.feature(form)),))


def _on_last_response(state: Conversation, offered: Offered, arrival: Arrival) -> Outcome:
    """The second of 3 messages: verify the responder's proof, and send ours with the content that waits for it."""
    made, form = initiator.conclude(offered, arrival.form, arrival.terms, arrival.retained, judge=arrival.judge)
    payload, session = payloads.feature(form), made.session
    if offered.content is not None:
        session, c = seal(session, offered.content)
        payload += c
    replies = (Reply(Kind.NEGOTIATION, payload),)
    if offered.once:
        return Outcome(Event.ONCE_SENT, None, replies, identity=made.peer, certificates=made.certificates)
    return _established(state, arrival, replace(made, session=session), replies)


def on_completion(state: Conversation, arrival: Arrival) -> Outcome:
    """The initiator's proof: verify it and prove ours."""
    answered = state.answered
    assert answered is not None
    if answered.agreement.three_message:
        return _on_last_completion(state, answered, arrival)
    confirmation = arrival.draw("esession-confirmation", answered.agreement.suite.hash_octets)
    made, form = responder.verify(
        answered,
        arrival.form,
        arrival.retained,
        confirmation=confirmation,
        own=arrival.terms,
        judge=arrival.judge,
    )
    return _established(state, arrival, made, (Reply(Kind.NEGOTIATION, payloads.init(form)),))


def _on_last_completion(state: Conversation, answered: Answered, arrival: Arrival) -> Outcome:
    """The last of 3 messages: a session, perhaps with content beside it; or that content alone."""
    made, once = responder.conclude(answered, arrival.form, arrival.retained, own=arrival.terms, judge=arrival.judge)
    if not once:
        return _with_content(_established(state, arrival, made, ()), arrival)
    c = payloads.encrypted(arrival.stanza)
    if c is None:
        return Outcome(Event.ENDED, state.without_negotiation, identity=made.peer)
    content = _content_once(made.session, c)
    return Outcome(
        Event.CONTENT_ONCE,
        state.without_negotiation,
        content=content,
        identity=made.peer,
        certificates=made.certificates,
    )


def _content_once(session: Session, c: Element) -> tuple[Element, ...]:
    """The content of the only stanza of a session. Raises Unproved when it does not belong to it."""
    content: tuple[Element, ...] | None
    try:
        content = open_stanza(session, c)[1]
    except (MalformedStanza, UnauthenticStanza, UnusableStanza):
        content = None
    if content is None:
        raise Unproved
    return content


def on_init(state: Conversation, arrival: Arrival) -> Outcome:
    """The responder's proof, perhaps with encrypted content beside it."""
    assert state.proved is not None
    made = initiator.complete(state.proved, arrival.form, arrival.terms, judge=arrival.judge)
    return _with_content(_established(state, arrival, made, ()), arrival)


def _with_content(outcome: Outcome, arrival: Arrival) -> Outcome:
    """With what stands encrypted beside the last message."""
    if payloads.encrypted(arrival.stanza) is None:
        return outcome
    assert outcome.conversation is not None
    kept = outcome.retained or arrival.retained
    more = on_encrypted(outcome.conversation, replace(arrival, retained=kept))
    event = Event.ESTABLISHED if more.event is Event.CONTENT else more.event
    return replace(
        more,
        event=event,
        retained=more.retained or kept,
        identity=outcome.identity,
        certificates=outcome.certificates,
    )


def _established(state: Conversation, arrival: Arrival, made: Established, replies: tuple[Reply, ...]) -> Outcome:
    retained = None
    if made.secret is not None:
        retained = arrival.retained.added(made.secret, replacing=made.session.agreed.replaced_identity)
    return Outcome(
        Event.ESTABLISHED,
        Conversation(state.thread, session=made.session),
        replies,
        retained=retained,
        identity=made.peer,
        certificates=made.certificates,
    )


def on_refused(state: Conversation, arrival: Arrival) -> Outcome:
    """An error stanza in answer to our request, which nothing authenticates: the negotiation is over.

    `refused_fields` are the fields that it names: `dhkeys` when the peer does not negotiate in 3 messages.
    """
    fields = payloads.error_fields(arrival.stanza)
    condition = payloads.error_condition(arrival.stanza)
    return Outcome(Event.FAILED, None, condition=condition, refused_fields=fields)


def on_decline(state: Conversation, _arrival: Arrival) -> Outcome:
    """The peer does not want to, or does not want to any more."""
    if state.proved is not None:
        return failed_at_proof(state, None)
    return Outcome(Event.ENDED_UNAUTHENTICATED if state.session else Event.DECLINED, None)


def on_stray(state: Conversation, _arrival: Arrival) -> Outcome:
    """The peer goes on with a negotiation that we do not know (any more)."""
    return Outcome(Event.IGNORED, None, (declining(state),))


def on_renegotiation(state: Conversation, _arrival: Arrival) -> Outcome:
    """Renegotiating or moving a session is not implemented; the session goes on as it is (XEP-0155)."""
    error = error_payload(Condition.FEATURE_NOT_IMPLEMENTED, ("renegotiate",))
    return Outcome(Event.IGNORED, state, (Reply(Kind.ERROR, error),), condition=Condition.FEATURE_NOT_IMPLEMENTED.value)
