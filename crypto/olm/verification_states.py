"""A verification: its states, what happens to it, and the codes by which it ends (crypto.olm.verification)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from crypto.olm.errors import OlmError
from crypto.olm.sas import Ends, Party, Sas
from crypto.olm.verification_messages import Accept, Cancel, Done, Key, Mac, Reciprocate, Send, Start

USER, TIMEOUT, UNKNOWN_METHOD = "m.user", "m.timeout", "m.unknown_method"
UNEXPECTED, KEY_MISMATCH, INVALID = "m.unexpected_message", "m.key_mismatch", "m.invalid_message"
MISMATCHED_COMMITMENT, MISMATCHED_SAS, ACCEPTED = "m.mismatched_commitment", "m.mismatched_sas", "m.accepted"
UNKNOWN_TRANSACTION = "m.unknown_transaction"
REASONS: Mapping[str, str] = MappingProxyType(
    {
        USER: "The user cancelled the verification.",
        TIMEOUT: "The verification took too long.",
        UNKNOWN_METHOD: "There is no common method.",
        UNEXPECTED: "The message was not expected now.",
        KEY_MISMATCH: "The keys are not those that were expected.",
        INVALID: "The message is malformed.",
        MISMATCHED_COMMITMENT: "The key is not the one that was promised.",
        MISMATCHED_SAS: "The emoji did not match.",
        ACCEPTED: "Another device accepted the verification.",
        UNKNOWN_TRANSACTION: "There is no such verification.",
    }
)


class Refused(OlmError):
    """The conversation cannot go on; `cancel` is the code that its other end is told."""

    code = "verification-refused"
    sentence = "The verification cannot go on."

    def __init__(self, cancel: str) -> None:
        super().__init__()
        self.cancel = cancel


# ---------------------------------------------------------------- states
@dataclass(frozen=True, slots=True)
class Flow:
    """One conversation: its ends, and whether it is held in a room."""

    ends: Ends
    in_room: bool


@dataclass(frozen=True, slots=True)
class Requested:
    """We asked; which of their devices answers is not known yet. The id is empty until the room gave one."""

    transaction_id: str
    in_room: bool
    us: Party


@dataclass(frozen=True, slots=True)
class Asked:
    """They asked; the person here has not answered."""

    flow: Flow
    methods: tuple[str, ...] = ()
    """What their client can do."""


@dataclass(frozen=True, slots=True)
class Proposed:
    """They began without asking (deprecated in the specification); the person here has not answered."""

    flow: Flow
    start: Start


@dataclass(frozen=True, slots=True)
class Prepared:
    """Both are ready; either may start."""

    flow: Flow
    code: bytes = field(default=b"", repr=False)
    """The secret of the code that we show; empty: none is shown."""


@dataclass(frozen=True, slots=True)
class Started:
    """We started, and await their commitment. `start`: the content that we sent."""

    flow: Flow
    start: bytes


@dataclass(frozen=True, slots=True)
class Committed:
    """They started and we promised a key; theirs is awaited, ours not yet told."""

    flow: Flow
    strings: tuple[str, ...]
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Revealed:
    """Our key is told; the one that they promised is awaited."""

    flow: Flow
    start: bytes
    strings: tuple[str, ...]
    commitment: str
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Comparing:
    """The people compare. `mac`: what came already, since the other one was faster."""

    flow: Flow
    strings: tuple[str, ...]
    sas: Sas
    shared: bytes = field(repr=False)
    mac: Mac | None = None


@dataclass(frozen=True, slots=True)
class Scanned:
    """Somebody scanned our code, and their client found it right. The person here has to say that it was they."""

    flow: Flow


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The person here said that the strings match; the other one's word is awaited."""

    flow: Flow
    sas: Sas
    shared: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Verified:
    """Their keys are proved. They may yet tell that they are done."""

    flow: Flow


@dataclass(frozen=True, slots=True)
class Finished:
    """Both ends are done."""

    flow: Flow


@dataclass(frozen=True, slots=True)
class Cancelled:
    """It came to nothing. `by_us`: it was this end that broke it off."""

    code: str
    by_us: bool


State = (
    Requested
    | Asked
    | Proposed
    | Prepared
    | Started
    | Committed
    | Revealed
    | Comparing
    | Scanned
    | Confirmed
    | Verified
    | Finished
    | Cancelled
)
STATES: Mapping[str, type[State]] = MappingProxyType(
    {
        kind.__name__.lower(): kind
        for kind in (
            Requested,
            Asked,
            Proposed,
            Prepared,
            Started,
            Committed,
            Revealed,
            Comparing,
            Scanned,
            Confirmed,
            Verified,
            Finished,
            Cancelled,
        )
    }
)


# ---------------------------------------------------------------- events beside the peer's messages
@dataclass(frozen=True, slots=True)
class Answered:
    """One of their devices accepted our request: it is the other end from now on."""

    them: Party
    methods: tuple[str, ...]
    code: bytes = field(default=b"", repr=False)
    """Drawn for the code that we show, if we offered one; else empty."""


@dataclass(frozen=True, slots=True)
class Joined:
    """The person here accepts. `secret`: 32 octets drawn for this conversation. `code` as in `Answered`."""

    secret: bytes = field(repr=False)
    code: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Begun:
    """It is our turn to start."""


@dataclass(frozen=True, slots=True)
class Began:
    """They start. `secret` as in `Joined`."""

    start: Start
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Promised:
    """They accept our start. `secret` as in `Joined`."""

    accept: Accept
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Matched:
    """The person here says that both see the same."""


@dataclass(frozen=True, slots=True)
class Differed:
    """The person here says that they do not."""


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """Broken off at this end."""

    code: str = USER


Event = (
    Answered
    | Joined
    | Begun
    | Began
    | Reciprocate
    | Promised
    | Key
    | Matched
    | Differed
    | Mac
    | Done
    | Cancel
    | Withdrawn
)
Outcome = tuple[State, tuple[Send, ...]]
