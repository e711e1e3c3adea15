"""What a conversation is between stanzas, and what comes of each: the types of `crypto.esession.conversation`."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from crypto.esession import payloads
from crypto.esession.forms import FormKind, MalformedForm
from crypto.esession.payloads import Payload
from crypto.esession.profiles import Profile, other
from crypto.esession.retained import Retained
from crypto.esession.session import ReceivingDirection, Session
from crypto.esession.states import Answered, Offered, Proved
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


@dataclass(frozen=True, slots=True)
class Arrival:
    """A stanza with what is needed to answer it."""

    stanza: Element
    payload: Payload
    thread: str
    terms: Terms
    retained: Retained
    draw: Draw

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
    """The peer did not take our proof: it may read the specifications otherwise. One more attempt."""
    assert state.proved is not None
    retry = other(state.proved.profile) if state.proved.attempt == 0 else None
    return Outcome(Event.FAILED, None, retry=retry, condition=condition)
