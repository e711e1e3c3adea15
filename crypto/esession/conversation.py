"""One conversation: everything under one thread with one peer, from the request to the end.

A `Conversation` is what to remember between stanzas; `receive`, `send` and `end` return an `Outcome` that says what to
remember now, what to send, and what has happened. What the peer may do in which stage is `transitions.TABLE`.
"""

from dataclasses import replace

from crypto.errors import Malformed, Misuse
from crypto.esession import initiator, payloads
from crypto.esession.exchanging import sealed_termination
from crypto.esession.forms import MalformedForm
from crypto.esession.outcome import (
    Arrival,
    Closing,
    Conversation,
    Draw,
    Event,
    Kind,
    Outcome,
    Reply,
    Stage,
    declining,
)
from crypto.esession.payloads import Payload, kind_of, thread_of
from crypto.esession.profiles import Profile
from crypto.esession.refusals import Condition, Refusal, WeakCounter, error_payload
from crypto.esession.retained import Retained
from crypto.esession.session import seal
from crypto.esession.terms import Terms
from crypto.esession.transitions import TABLE
from crypto.primitives.modp import EXPONENT_DRAW
from crypto.xml import Element

__all__ = [
    "Closing",
    "Conversation",
    "Draw",
    "Event",
    "Kind",
    "Outcome",
    "Payload",
    "Reply",
    "Stage",
    "abandon",
    "confirm",
    "end",
    "initiate",
    "kind_of",
    "receive",
    "send",
    "thread_of",
]


# ---------------------------------------------------------------------------------------------------- what we do
def initiate(thread: str, terms: Terms, draw: Draw, *, profile: Profile | None = None, attempt: int = 0) -> Outcome:
    """Ask a peer for a session on a new thread. `profile`: what the peer was known to speak before, if anything."""
    nonce = draw("esession-nonce", initiator.NONCE)
    exponents = tuple(draw(f"esession-exponent-{group}", EXPONENT_DRAW) for group in terms.groups)
    offered, form = initiator.offer(terms, nonce=nonce, exponents=exponents, profile=profile, attempt=attempt)
    reply = Reply(Kind.NEGOTIATION, payloads.feature(form))
    return Outcome(Event.OFFERED, Conversation(thread, offered=offered), (reply,))


def send(conversation: Conversation, content: bytes) -> Outcome:
    """Encrypt the serialised content of a stanza. Raises Misuse when no session is active, Exhausted."""
    if conversation.session is None:
        raise Misuse("there is no active session to send in")
    session, payload = seal(conversation.session, content)
    after = Conversation(conversation.thread, answered=conversation.answered, session=session)
    return Outcome(Event.CONTENT, after, (Reply(Kind.ENCRYPTED, payload),))


def end(conversation: Conversation) -> Outcome:
    """End it from our side: decline a negotiation, terminate a session (encrypted, then plain).

    After ENDING the conversation only waits for the acknowledgement, which the deployed implementation never sends:
    forget it after a minute.
    """
    if conversation.session is None:
        replies: tuple[Reply, ...] = () if conversation.closing else (declining(conversation),)
        return Outcome(Event.ENDED, None, replies)
    last = (*sealed_termination(conversation.session), Reply(Kind.NEGOTIATION, payloads.termination()))
    closing = Closing(conversation.session.receiving, conversation.session.accepted)
    return Outcome(Event.ENDING, Conversation(conversation.thread, closing=closing), last)


def abandon(conversation: Conversation) -> Outcome:
    """End it without using any sending key: for a state that may be older than what was sent."""
    if conversation.session is None and conversation.closing is None:
        return end(conversation)
    return Outcome(Event.ENDED, None, (Reply(Kind.NEGOTIATION, payloads.termination()),))


def confirm(conversation: Conversation, retained: Retained) -> tuple[Conversation, Retained]:
    """The user compared the SAS: this session, and those that will continue it, count as verified."""
    session = conversation.session
    if session is None:
        raise Misuse("there is no active session to verify")
    agreed = replace(session.agreed, verified=True)
    verified = replace(conversation, session=replace(session, agreed=agreed))
    return verified, retained.verified(agreed.secret_identity)


# ---------------------------------------------------------------------------------------------------- what comes
def receive(
    conversation: Conversation | None, stanza: Element, *, terms: Terms, retained: Retained, draw: Draw
) -> Outcome:
    """Take a `<message/>` stanza of the thread. `conversation`: what is remembered for it, None for nothing.

    Nothing that a peer sends raises. A stanza that is not ours (`kind_of` is None) is ignored.
    """
    payload = kind_of(stanza)
    if payload is None:
        return Outcome(Event.IGNORED, conversation)
    thread = (thread_of(stanza) or "") if conversation is None else conversation.thread
    arrival = Arrival(stanza, payload, thread, terms, retained, draw)
    stage = Stage.NONE if conversation is None else conversation.stage
    handler = TABLE[stage].get(payload)
    state = conversation or Conversation(thread)
    if handler is None:
        return Outcome(Event.IGNORED, conversation)
    try:
        return handler(state, arrival)
    except (Refusal, Malformed) as refusal:
        return _refused(state, refusal)


def _refused(state: Conversation, refusal: Refusal | Malformed) -> Outcome:
    """The negotiation is over: the error stanza of the XEPs, and the form that the deployed implementation needs."""
    retry = None
    if isinstance(refusal, WeakCounter) and state.offered is not None and state.offered.attempt == 0:
        retry = Profile.DEPLOYED
    condition = refusal.condition if isinstance(refusal, Refusal) else Condition.NOT_ACCEPTABLE
    fields = refusal.fields if isinstance(refusal, Refusal | MalformedForm) else ()
    error = Reply(Kind.ERROR, error_payload(condition, fields))
    return Outcome(Event.FAILED, None, (error, declining(state)), retry=retry, condition=condition.value)
