"""What a conversation is between stanzas, and what comes of each: the types of `crypto.esession.conversation`."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from crypto.esession import names, payloads
from crypto.esession.forms import FormKind, MalformedForm
from crypto.esession.identification import Judge, anyone
from crypto.esession.identities import PublicIdentity
from crypto.esession.payloads import Payload
from crypto.esession.profiles import Profile, other
from crypto.esession.rekeying_state import Rekeying
from crypto.esession.retained import Retained
from crypto.esession.session import ReceivingDirection, Session
from crypto.esession.states import Answered, Offered, Proved
from crypto.esession.suite import Suite
from crypto.esession.terms import Terms
from crypto.xml import Element

Draw = Callable[[str, int], bytes]
"""Gives so many octets of randomness for a named purpose."""


class Event(StrEnum):
    """What has happened."""

    OFFERED = "offered"
    ANSWERED = "answered"
    PROVED = "proved"
    ESTABLISHED = "established"
    CONTENT = "content"
    CONTENT_ONCE = "content-once"
    """The content of a stanza that was sealed, sent and ended alone: there is no session."""
    ONCE_SENT = "once-sent"
    """Ours was sent, to the holder of `identity`: there is no session."""
    REPEATED = "repeated"
    ENDING = "ending"
    ENDED = "ended"
    ENDED_UNAUTHENTICATED = "ended-unauthenticated"
    DECLINED = "declined"
    FAILED = "failed"
    BROKEN = "broken"
    LOST = "lost"
    UNKNOWN = "unknown"
    IGNORED = "ignored"


class Kind(StrEnum):
    """How a reply is to be sent."""

    NEGOTIATION = "negotiation"
    """In a `<message/>` without type."""
    ENCRYPTED = "encrypted"
    """In a `<message type='chat'/>`."""
    ERROR = "error"
    """In a `<message type='error'/>`."""


class Stage(StrEnum):
    """Where a conversation stands."""

    NONE = "none"
    OFFERED = "offered"
    ANSWERED = "answered"
    PROVED = "proved"
    ACTIVE = "active"
    CLOSING = "closing"


@dataclass(frozen=True, slots=True)
class Reply:
    """Something to send in the thread of the conversation: the children of `<message/>`, serialised."""

    kind: Kind
    payload: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Closing:
    """We have ended the session; what the peer sent before it knows can still be read."""

    receiving: ReceivingDirection
    accepted: bytes
    rekeying: Rekeying | None = None
    suite: Suite = field(default_factory=Suite)


@dataclass(frozen=True, slots=True)
class Conversation:
    """What is remembered under one thread. During a renegotiation by the peer, `answered` stands beside `session`."""

    thread: str
    offered: Offered | None = None
    answered: Answered | None = None
    proved: Proved | None = None
    session: Session | None = None
    closing: Closing | None = None

    @property
    def without_negotiation(self) -> "Conversation | None":
        """Only the session that stands beside a negotiation, None when there is none."""
        return Conversation(self.thread, session=self.session) if self.session else None

    @property
    def active(self) -> bool:
        """Whether there is a session to send in."""
        return self.session is not None

    @property
    def stage(self) -> Stage:
        """Where the conversation stands."""
        held = ((self.offered, Stage.OFFERED), (self.answered, Stage.ANSWERED), (self.proved, Stage.PROVED))
        pending = next((stage for state, stage in held if state is not None), None)
        if pending is not None:
            return pending
        return Stage.ACTIVE if self.session is not None else Stage.CLOSING


@dataclass(frozen=True, slots=True)
class Outcome:
    """What to remember, what to send, what has happened."""

    event: Event
    conversation: Conversation | None
    """The conversation from now on; None: it is over, forget it."""
    replies: tuple[Reply, ...] = ()
    """To be sent, all of them, in order."""
    content: tuple[Element, ...] = field(default=(), repr=False)
    """What an encrypted stanza held."""
    retained: Retained | None = field(default=None, repr=False)
    """When not None: the secrets to keep for the peer's bare JID from now on."""
    retry: Profile | None = None
    """After FAILED: begin again on a new thread with this profile and `attempt=1`."""
    condition: str | None = None
    """The condition of the error stanza that was received, or is among the replies."""
    refused_fields: tuple[str, ...] = ()
    """After FAILED: the fields that the error stanza names, the peer's or ours."""
    identity: PublicIdentity | None = None
    """With ESTABLISHED, ONCE_SENT and CONTENT_ONCE: the public key that the peer proved to hold; or None.

    Whose key it is, `vouching` and the caller's records must tell.
    """
    certificates: tuple[bytes, ...] = field(default=(), repr=False)
    """What the peer showed beside it: X.509, DER, unread."""
    within_error: tuple[Element, ...] = field(default=(), repr=False)
    """What was encrypted inside its `<error/>`; the condition beside it is authenticated by nothing."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A stanza with what is needed to answer it."""

    stanza: Element
    payload: Payload
    thread: str
    terms: Terms
    retained: Retained
    draw: Draw
    judge: Judge = anyone

    @property
    def form(self) -> Element:
        """The `<x/>` of a negotiation message."""
        found = payloads.negotiation_form(self.stanza)
        if found is None:
            raise MalformedForm
        return found


def declining(state: Conversation) -> Reply:
    """The form that declines a negotiation in whatever stage it is."""
    known = state.proved.profile if state.proved else None
    kind = FormKind.RESULT if known is Profile.LETTER else FormKind.SUBMIT
    return Reply(Kind.NEGOTIATION, payloads.decline(kind))


def failed_at_proof(state: Conversation, condition: str | None) -> Outcome:
    """The peer did not take our proof: it may read the specifications otherwise. One more attempt.

    None when it chose what only readers of the letter have: nobody may make us fall back by forging an error.
    """
    assert state.proved is not None
    proved = state.proved
    plain = (proved.agreement.suite.cipher, proved.agreement.suite.hash) == (names.PLAIN_CIPHER, names.PLAIN_HASH)
    retry = other(proved.profile) if proved.attempt == 0 and plain else None
    return Outcome(Event.FAILED, None, retry=retry, condition=condition)
