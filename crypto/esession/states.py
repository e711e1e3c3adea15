"""What is known between the four messages of a negotiation."""

from dataclasses import dataclass, field

from crypto.esession.profiles import Profile
from crypto.esession.retained import Retained, RetainedSecret
from crypto.esession.session import Session
from crypto.esession.terms import Agreement


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A Diffie-Hellman key of one group: x with e, or y with d, as multiple-precision integers."""

    group: int
    exponent: bytes = field(repr=False)
    public: bytes


@dataclass(frozen=True, slots=True)
class Offered:
    """The initiator has sent its request and awaits the response."""

    request: bytes
    """The `<x/>` as sent, serialised."""
    nonce: bytes
    pairs: tuple[KeyPair, ...]
    profile: Profile | None
    """The profile to speak; None: judge by the look of the response."""
    attempt: int
    """0, or 1 when this is the one repetition with another profile."""


@dataclass(frozen=True, slots=True)
class Answered:
    """The responder has answered a request and awaits the initiator's proof."""

    request: bytes
    """The `<x/>` as received, serialised."""
    response: bytes
    """The `<x/>` as sent, serialised."""
    peer_nonce: bytes
    nonce: bytes
    commitment: bytes
    """He: SHA-256 of the initiator's public value, 32 octets."""
    pair: KeyPair
    counter: bytes
    """C_A, 16 octets."""
    agreement: Agreement


@dataclass(frozen=True, slots=True)
class Proved:
    """The initiator has proved its part and awaits the responder's proof."""

    request: bytes
    """The `<x/>` as sent, serialised."""
    response: bytes
    """The `<x/>` as received, serialised."""
    peer_nonce: bytes
    nonce: bytes
    peer_public: bytes
    shared: bytes = field(repr=False)
    """K of the Diffie-Hellman exchange, 32 octets."""
    counter: bytes
    """C_A as it was chosen, 16 octets."""
    initiator_mac: bytes
    """M_A, 32 octets."""
    secrets: Retained = field(repr=False)
    """The secrets whose hashes were sent."""
    profile: Profile
    attempt: int
    agreement: Agreement


@dataclass(frozen=True, slots=True)
class Established:
    """A session, and the secret that it leaves for the next one."""

    session: Session
    secret: RetainedSecret
