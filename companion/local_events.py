"""What the client of the local stream did, as `LocalStream` tells it."""

from dataclasses import dataclass, field


class StartTls:
    """The client will now begin TLS; nothing that came with its wish may be kept."""


@dataclass(frozen=True, slots=True)
class Authenticated:
    """The client knows the local password. `language`: xml:lang of its stream."""

    language: str


class Refused:
    """An attempt to log in failed."""


class OfferWanted:
    """The client's stream inside the login began: call `offer`."""


@dataclass(frozen=True, slots=True)
class BindWanted:
    """The client wants this resource, or any: call `bound`."""

    resource: str | None


@dataclass(frozen=True, slots=True)
class ResumeWanted:
    """The client wants to go on with an earlier session: call `resumed` or `not_resumed`."""

    previous: str
    handled: int


@dataclass(frozen=True, slots=True)
class EnableWanted:
    """The client wants stream management: call `enabled`."""

    resume: bool


@dataclass(frozen=True, slots=True)
class Arrived:
    """A stanza of the bound client."""

    octets: bytes = field(repr=False)
    mark: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AckWanted:
    """The client asks how much was handled."""


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The client has handled so many."""

    handled: int


@dataclass(frozen=True, slots=True)
class Hint:
    """Something for the server that is no stanza: client state indication (XEP-0352)."""

    octets: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Closed:
    """The stream is over, `orderly` or after an error; nothing more is read. The last octets are to be sent."""

    orderly: bool


Event = (
    StartTls
    | Authenticated
    | Refused
    | OfferWanted
    | BindWanted
    | ResumeWanted
    | EnableWanted
    | Arrived
    | AckWanted
    | Acknowledged
    | Hint
    | Closed
)
