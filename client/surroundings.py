"""What a contact's machine is given from outside: the time, dice, the stream, limits."""

from dataclasses import dataclass, field
from typing import Protocol

from client.delivery import DeliveryTimes
from client.events import Happening
from client.pace import Allowance
from client.queries import ANSWERS
from client.stanzas import Stanza
from crypto.esession.rekeying_state import RekeyPolicy
from crypto.esession.terms import Terms


class Surroundings(Protocol):
    """What a contact's machine is given."""

    def now(self) -> float:
        """Seconds of a monotonic clock."""

    def draw(self, name: str, size: int) -> bytes:
        """`size` octets of randomness for a named purpose."""

    def new_id(self, purpose: str) -> str:
        """An id nobody can guess, for a stanza or a thread."""

    def date_s(self) -> float:
        """Seconds since 1970."""

    def own_jid(self) -> str:
        """Our own bare JID."""

    def transmit(self, stanza: Stanza) -> None:
        """Put a stanza on the stream, behind all earlier ones."""

    def probe(self, peer: str) -> None:
        """Find out whether the full JID `peer` can be reached; if so `Contact.reachable` is called, now or later."""

    def notify(self, happening: Happening) -> None:
        """Tell the program."""


@dataclass(frozen=True, slots=True)
class ContactSettings:
    """Times (seconds), limits and terms."""

    terms: Terms = field(default_factory=lambda: Terms(disclosure=("never", "enabled")))
    delivery: DeliveryTimes = field(default_factory=DeliveryTimes)
    rekey: RekeyPolicy = field(default_factory=RekeyPolicy)
    """When new keys are made within a session."""
    answers: frozenset[str] = ANSWERS
    """Which questions of the contact are answered inside sessions: `info` (features), `ping`, `time`, `version`, `last`
    (how long ago the user wrote to this contact)."""
    software: str = "Lockgate"
    """What the answer to `version` says."""
    negotiation_s: float = 6.0
    """How long a negotiation may take; doubles with each that failed."""
    negotiation_most_s: float = 30.0
    pause_s: float = 0.5
    """Pause after a negotiation that failed; doubles."""
    pause_most_s: float = 60.0
    bare_after_s: float | None = 10.0
    """When no resource has appeared by then, ask the bare JID; None: never."""
    older_s: float = 60.0
    """How long a session that was replaced still decrypts."""
    ending_s: float = 3.0
    """How long to wait for the acknowledgement of a termination."""
    starts: Allowance = field(default_factory=lambda: Allowance.full(20, 1.0))
    """How often sessions may be started."""
    requests: Allowance = field(default_factory=lambda: Allowance.full(20, 1.0))
    """How often requests of the other side are answered; each costs modular exponentiations."""
    errors: Allowance = field(default_factory=lambda: Allowance.full(10, 1.0))
    """How often stanzas that fit nowhere are answered."""
