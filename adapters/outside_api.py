"""What the gateway process asks of the outside half of an adapter, and what it offers it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from bridge.wire.link import Carry


@dataclass(frozen=True, slots=True)
class Route:
    """One contact as the gateway knows it: addresses only."""

    contact: str
    network: str
    address: str
    alias: str


@dataclass(frozen=True, slots=True)
class AccountRoutes:
    """One account as the gateway knows it, with the credentials for its own networks."""

    account: str
    near_address: str
    far_addresses: Mapping[str, str]
    contacts: tuple[Route, ...]
    credentials: Mapping[str, Mapping[str, str]] = field(repr=False, default_factory=dict)
    """By network; for Matrix `{"password": ...}`, `{"token": ..., "device": ...}` or `{"session": PATH}`."""


class Repeated(Carry):
    """A request that may have been carried out already: the ledger held it when the gateway process began, and the
    process before ended without having stored an outcome.
    """


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a request.

    `code` is `ok` or names the failure. With `retry` the edge repeats the request (same key, same lane order)
    after `retry_after_s` or its own back-off; without, the outcome is final and goes to the enclave as an
    `answer`. `body` is the raw response. `expected`: a code other than `ok` is no failure, it answers what was asked
    (what was looked up is not there); it is neither counted nor logged as one.
    """

    code: str = "ok"
    body: bytes = field(default=b"", repr=False)
    retry: bool = False
    retry_after_s: float | None = None
    expected: bool = False


class Edge(Protocol):
    """What an outside half is given by the gateway process."""

    async def arrived(
        self,
        account: str,
        name: str,
        body: bytes,
        *,
        mark: tuple[str, str] | None = None,
    ) -> None:
        """Put something that came from the network into the inbox. Returns once it is durable.

        `mark` (name, value) is stored in the same transaction (for example a sync token): acknowledge the
        source only after this returned.
        """

    async def arrived_batch(
        self, account: str, entries: Sequence[tuple[str, bytes]], *, mark: tuple[str, str] | None = None
    ) -> None:
        """The same for several entries and one mark, in one transaction, in order."""

    async def mark(self, account: str, name: str) -> str | None:
        """The stored mark of that name, None when there is none."""

    async def set_mark(self, account: str, name: str, value: str) -> None:
        """Store a mark on its own (a device id, an access token's file name); durable on return."""

    def health(self, account: str | None, state: str, detail: str) -> None:
        """Tell the operator how the connection stands: a word (`up`, `down`, `refused`) and a constant sentence."""


class OutsideHalf(Protocol):
    """The half of an adapter that lives in the gateway process: connections and transport, ciphertext only."""

    network: str
    pipelined: bool
    """Whether `carry` may be called for the next entry of a lane before the last one's outcome is known
    (the transport itself keeps the order, as one XMPP stream does)."""

    quiet: frozenset[str]
    """Requests whose success means nothing to the inside half: only their failure is answered."""

    async def connect(self, edge: Edge, routes: Sequence[AccountRoutes]) -> None:
        """Connect, log in, and begin to hand arrivals to the edge. Reconnects by itself until closed."""

    async def remap(self, routes: Sequence[AccountRoutes]) -> None:
        """The operator changed the contact map."""

    async def carry(self, account: str, request: Carry) -> Outcome:
        """Carry one request out, which may be a `Repeated`. Raises nothing for troubles of the network: they are
        outcomes.
        """

    async def close(self) -> None:
        """Disconnect in an orderly way."""
