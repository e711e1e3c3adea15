"""What is known between the messages of a negotiation."""

from dataclasses import dataclass, field

from crypto.esession.identities import PublicIdentity
from crypto.esession.keys import Encapsulated
from crypto.esession.policy import Agreement
from crypto.esession.profiles import Profile
from crypto.esession.retained import Retained, RetainedSecret
from crypto.esession.session import Session


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A Diffie-Hellman key of one group: x with e, or y with d, as they are sent and hashed."""

    group: int | str
    exponent: bytes = field(repr=False)
    public: bytes


@dataclass(frozen=True, slots=True)
class KemPair:
    """A key of a key encapsulation mechanism."""

    name: str
    secret: bytes = field(repr=False)
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
    kems: tuple[KemPair, ...] = ()
    three_message: bool = False
    content: bytes | None = field(default=None, repr=False)
    """What to send, encrypted, beside the last message of a 3-message negotiation."""
    once: bool = False
    """Whether the session ends with that."""


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
    """He: SHA-256 of the initiator's public value, 32 octets; in a 3-message negotiation the value itself."""
    pair: KeyPair
    counter: bytes
    """C_A, 16 octets."""
    agreement: Agreement
    encapsulated: Encapsulated | None = None
    shared: bytes | None = field(default=None, repr=False)
    """K, where the initiator's public value is known already (3 messages)."""
    blocks: int = 0
    """Blocks of key stream that our identity has used already (3 messages)."""


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
    """K of the Diffie-Hellman exchange, as long as the hash."""
    counter: bytes
    """C_A as it was chosen, 16 octets."""
    initiator_mac: bytes
    """M_A, as long as the hash."""
    secrets: Retained = field(repr=False)
    """The secrets whose hashes were sent."""
    profile: Profile
    attempt: int
    agreement: Agreement
    pair: KeyPair | None = None
    """x and e, from which later keys are made."""
    blocks: int = 2
    """Blocks of key stream that our identity has used."""


@dataclass(frozen=True, slots=True)
class Established:
    """A session, and the secret that it leaves for the next one."""

    session: Session
    secret: RetainedSecret | None
    """None after 3 messages: they neither use nor leave retained secrets."""
    peer: PublicIdentity | None = None
    """The public key that the peer proved to hold."""
    certificates: tuple[bytes, ...] = field(default=(), repr=False)
    """What it showed beside its key: X.509, DER, unread."""
