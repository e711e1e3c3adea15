"""What is done with the messages of a negotiation, and with errors. Refusals are raised."""

from dataclasses import replace

from crypto.esession import initiator, payloads, responder
from crypto.esession.exchanging import on_encrypted
from crypto.esession.forms import kept_form
from crypto.esession.outcome import Arrival, Conversation, Event, Kind, Outcome, Reply, declining, failed_at_proof
from crypto.esession.refusals import Condition, error_payload
from crypto.esession.retained import HASH, SENT_HASHES
from crypto.esession.states import Established
from crypto.primitives.ciphers import sha256
from crypto.primitives.modp import EXPONENT_DRAW


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
    assert state.offered is not None
    missing = max(2, SENT_HASHES - len(arrival.retained.secrets))
    hashes = arrival.draw("esession-hashes", missing * HASH)
    proved, form = initiator.prove(state.offered, arrival.form, arrival.retained, hashes=hashes)
    after = Conversation(state.thread, proved=proved)
    return Outcome(Event.PROVED, after, (Reply(Kind.NEGOTIATION, payloads.feature(form)),))


def on_completion(state: Conversation, arrival: Arrival) -> Outcome:
    """The initiator's proof: verify it and prove ours."""
    assert state.answered is not None
    confirmation = arrival.draw("esession-confirmation", HASH)
    made, form = responder.verify(state.answered, arrival.form, arrival.retained, confirmation=confirmation)
    return _established(state, arrival, made, (Reply(Kind.NEGOTIATION, payloads.init(form)),))


def on_init(state: Conversation, arrival: Arrival) -> Outcome:
    """The responder's proof, perhaps with encrypted content beside it."""
    assert state.proved is not None
    made = initiator.complete(state.proved, arrival.form)
    outcome = _established(state, arrival, made, ())
    if payloads.encrypted(arrival.stanza) is None:
        return outcome
    assert outcome.conversation is not None
    kept = outcome.retained or arrival.retained
    more = on_encrypted(outcome.conversation, replace(arrival, retained=kept))  # content beside the last message
    event = Event.ESTABLISHED if more.event is Event.CONTENT else more.event
    return replace(more, event=event, retained=more.retained or kept)


def _established(state: Conversation, arrival: Arrival, made: Established, replies: tuple[Reply, ...]) -> Outcome:
    retained = arrival.retained.added(made.secret, replacing=made.session.agreed.replaced_identity)
    return Outcome(Event.ESTABLISHED, Conversation(state.thread, session=made.session), replies, retained=retained)


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
