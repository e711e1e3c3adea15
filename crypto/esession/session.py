"""An active session: what is remembered between stanzas (XEP-0200).

`sealing.seal` and `opening.open_stanza` work on it and return the session as it is afterwards; when they raise, nothing
has changed. Its forward secrecy is in `rekeying`.
"""

from dataclasses import dataclass, field

from crypto.esession import names
from crypto.esession.faults import BadStanza, Exhausted, MalformedStanza, Repeated, UnauthenticStanza, UnusableStanza
from crypto.esession.keys import Role
from crypto.esession.profiles import TRAITS, Profile
from crypto.esession.rekeying_state import Rekeying
from crypto.esession.retained import Chain
from crypto.esession.sas import without_leading_zeros
from crypto.esession.suite import Suite

__all__ = [
    "MAX_BLOCKS",
    "MAX_CONTENT",
    "Agreed",
    "BadStanza",
    "Exhausted",
    "MalformedStanza",
    "ReceivingDirection",
    "Rekeying",
    "Repeated",
    "SendingDirection",
    "Session",
    "UnauthenticStanza",
    "UnusableStanza",
]

MAX_CONTENT = 1 << 20
"""Octets of the largest content of a stanza."""
MAX_BLOCKS = 1 << 32
"""Blocks under one key (XEP-0200, "Maximum Key Life")."""


@dataclass(frozen=True, slots=True)
class Agreed:
    """What stays the same as long as the session lasts."""

    role: Role
    profile: Profile
    sas: str
    chain: Chain
    verified: bool
    """Whether a user compared the SAS of this session or of one that it continues."""
    logging: str
    disclosure: str
    request_mark: bytes
    """Eight octets that tell the request of this session from another."""
    secret_identity: bytes
    """Which retained secret this session leaves."""
    replaced_identity: bytes | None
    """Which one it replaces, once a stanza of the peer's has been verified."""
    suite: Suite = field(default_factory=Suite)
    """The algorithms."""
    stanzas: tuple[str, ...] = ("message",)
    """The kinds of stanzas that may be encrypted: `message`, `presence`, `iq`."""
    rekey_freq: int = names.REKEY_FREQUENCY
    """The least number of stanzas between two `<key/>` of one end."""
    hybrid: bool = False
    """Whether a post-quantum secret went into the keys."""
    peer_fingerprint: bytes | None = None
    """The fingerprint of the public key that the peer proved to have; None: it showed none."""
    three_message: bool = False
    """Whether it was negotiated in 3 messages: there is no string to compare and no retained secret then."""
    password: bool = False
    """Whether a password (the other shared secret) went into the keys."""
    sas_bound: bool = False
    """Whether the string is made of values that were all fixed before the responder answered (docs/decisions/0089)."""


@dataclass(frozen=True, slots=True)
class SendingDirection:
    """Keys and counter for what we send. Never to be used again from an older state."""

    cipher_key: bytes = field(repr=False)
    mac_key: bytes = field(repr=False)
    counter: bytes
    """16 octets: the counter of the next stanza."""
    blocks: int = 0
    """Under this key."""


@dataclass(frozen=True, slots=True)
class ReceivingDirection:
    """Keys and counter for what the peer sends."""

    cipher_key: bytes = field(repr=False)
    mac_key: bytes = field(repr=False)
    counter: bytes
    """16 octets: the counter of the next stanza."""
    first_block: int
    runs_on: bool
    used: int = 0
    """Octets of the block before `counter` whose key stream is used up; 0 when the next stanza begins a block."""
    blocks: int = 0
    """Under this key."""


@dataclass(frozen=True, slots=True)
class Session:
    """An active session."""

    agreed: Agreed
    sending: SendingDirection
    receiving: ReceivingDirection
    accepted: bytes = b""
    """Beginnings of the MACs of the last 64 stanzas accepted, eight octets each."""
    confirmed: bool = False
    """Whether a stanza of the peer's was verified: until then it may not have a session at all."""
    rekeying: Rekeying | None = None
    """What new keys are made from; None when the two ends do not re-key."""

    @property
    def proved(self) -> bool:
        """Whether the peer has shown that it holds these keys, and so the secrets that `chain` and `verified` speak of.

        As responder we count a retained secret as shared when its hash comes, which anybody may repeat, and know
        better with the first stanza only. Nobody else can read what is sent before.
        """
        return self.confirmed or self.agreed.role is Role.INITIATOR

    @property
    def role(self) -> Role:
        """Which end we are."""
        return self.agreed.role

    @property
    def profile(self) -> Profile:
        """How the peer reads the specifications."""
        return self.agreed.profile

    @property
    def sas(self) -> str:
        """The short authentication string, five characters."""
        return self.agreed.sas

    @property
    def sas_shown(self) -> str:
        """The short authentication string as the peer's client shows it."""
        return without_leading_zeros(self.sas) if TRAITS[self.profile].short_sas else self.sas

    @property
    def chain(self) -> Chain:
        """How the session is linked to earlier ones."""
        return self.agreed.chain

    @property
    def verified(self) -> bool:
        """Whether a user compared the SAS of this session or of one that it continues."""
        return self.agreed.verified

    @property
    def weak_string(self) -> bool:
        """Whether its string is one that somebody between can make the same at both ends (docs/decisions/0089)."""
        return bool(self.sas) and not self.agreed.sas_bound

    @property
    def logging(self) -> str:
        """What was agreed about logs: `may` or `mustnot`."""
        return self.agreed.logging

    @property
    def disclosure(self) -> str:
        """What was agreed about disclosure: `never`, `disabled` or `enabled`."""
        return self.agreed.disclosure
