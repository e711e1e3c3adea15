"""One conversation: everything under one thread with one peer, from the request to the end.

A `Conversation` is what to remember between stanzas; `receive`, `send` and `end` return an `Outcome` that says what to
remember now, what to send, and what has happened. What the peer may do in which stage is `transitions.TABLE`.
"""

from dataclasses import replace

from crypto.errors import Malformed, Misuse
from crypto.esession import initiator, payloads
from crypto.esession.forms import MalformedForm
from crypto.esession.identification import Judge, anyone
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
from crypto.esession.sending import end, refresh, refresh_due_ms, send, send_error
from crypto.esession.session import MAX_CONTENT
from crypto.esession.suite import kem
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
    "refresh",
    "refresh_due_ms",
    "send",
    "send_error",
    "thread_of",
]


# ---------------------------------------------------------------------------------------------------- what we do
def initiate(
    thread: str,
    terms: Terms,
    draw: Draw,
    *,
    profile: Profile | None = None,
    attempt: int = 0,
    three_message: bool | None = None,
    content: bytes | None = None,
    once: bytes | None = None,
) -> Outcome:
    """Ask a peer for a session on a new thread. `profile`: what the peer was known to speak before, if anything.

    `three_message`: None means as `terms.shield` says. `content` and `once` (3 messages only) are the content of a
    stanza to be sent, encrypted, in the last message; with `once` there is no session then (object encryption). They go
    to whoever proves to hold a key that the `judge` of `receive` accepts.
    """
    three = (terms.shield == "initiator" if three_message is None else three_message) or once is not None
    if (content is not None and not three) or (content is not None and once is not None):
        raise Misuse("content is sent beside the last of 3 messages only, and only one")
    if any(given is not None and not 0 < len(given) <= MAX_CONTENT for given in (content, once)):
        raise Misuse("a stanza's content must be between 1 octet and 1 MiB")
    offered, form = initiator.offer(
        terms,
        nonce=draw("esession-nonce", initiator.NONCE),
        exponents=tuple(draw(f"esession-exponent-{group}", EXPONENT_DRAW) for group in terms.groups),
        kem_seeds=tuple(draw(f"esession-{name}", kem(name).seed_octets) for name in terms.kems),
        profile=profile,
        attempt=attempt,
        three_message=three,
    )
    offered = replace(offered, content=content if once is None else once, once=once is not None)
    reply = Reply(Kind.NEGOTIATION, payloads.feature(form))
    return Outcome(Event.OFFERED, Conversation(thread, offered=offered), (reply,))


def abandon(conversation: Conversation) -> Outcome:
    """End it without using any sending key: for a state that may be older than what was sent."""
    if conversation.session is None and conversation.closing is None:
        return end(conversation)
    return Outcome(Event.ENDED, None, (Reply(Kind.NEGOTIATION, payloads.termination()),))


def confirm(conversation: Conversation, retained: Retained) -> tuple[Conversation, Retained]:
    """The user compared the SAS: this session, and those that will continue it, count as verified."""
    session = conversation.session
    if session is None or not session.sas:
        raise Misuse("there is no active session with a string to compare")
    agreed = replace(session.agreed, verified=True)
    verified = replace(conversation, session=replace(session, agreed=agreed))
    return verified, retained.verified(agreed.secret_identity)


# ---------------------------------------------------------------------------------------------------- what comes
def receive(
    conversation: Conversation | None,
    stanza: Element,
    *,
    terms: Terms,
    retained: Retained,
    draw: Draw,
    judge: Judge = anyone,
) -> Outcome:
    """Take a `<message/>` stanza of the thread. `conversation`: what is remembered for it, None for nothing.

    Nothing that a peer sends raises. A stanza that is not ours (`kind_of` is None) is ignored. `judge` is given the
    public key that the peer has proved to hold, before anything is sent to it or established with it.
    """
    payload = kind_of(stanza)
    if payload is None:
        return Outcome(Event.IGNORED, conversation)
    thread = (thread_of(stanza) or "") if conversation is None else conversation.thread
    arrival = Arrival(stanza, payload, thread, terms, retained, draw, judge)
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
    replies = (error, declining(state))
    return Outcome(Event.FAILED, None, replies, retry=retry, condition=condition.value, refused_fields=fields)
