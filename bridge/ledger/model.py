"""What a ledger holds and does, whatever keeps it: SQLite here, another store later behind the same protocol."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from bridge.ledger.errors import LedgerError
from bridge.wire.link import Carry, Input, SealedRecord, Stepped


@dataclass(frozen=True, slots=True)
class Held:
    """A request in the outbox, with its number (ever increasing), the tries so far and the time of the next."""

    id: int
    account: str
    carry: Carry = field(repr=False)
    attempts: int = 0
    next_at_ms: int = 0


@dataclass(frozen=True, slots=True)
class Finished:
    """A request that was carried out or failed for good, with its outcome."""

    held: Held
    code: str
    body: bytes = field(repr=False)
    told: bool = True
    """Whether the enclave is told: the success of some requests means nothing to it."""


@dataclass(frozen=True, slots=True)
class Lane:
    """Entries of one lane are carried in order."""

    network: str
    account: str
    lane: str


@dataclass(frozen=True, slots=True)
class Applied:
    """What a commit of steps brought about: requests to carry out, and each account's last step number."""

    released: tuple[Held, ...] = field(repr=False)
    steps: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Parked:
    """An inbox entry that the enclave did not take, for the operator. The body stays where it is."""

    position: int
    account: str
    source: str
    network: str
    name: str
    refusal: str
    received_at_ms: int
    size: int


@dataclass(frozen=True, slots=True)
class TraceRow:
    """A stage that a message reached."""

    position: int
    account: str
    stage: str
    code: str | None
    at_ms: int


@dataclass(frozen=True, slots=True)
class Depths:
    """How much is waiting."""

    inbox: int
    parked: int
    outbox: int


class Ledger(Protocol):
    """One transactional store, ciphertext only. What a method returned from is durable.

    LedgerFull: nothing was stored, try again later. LedgerBroken: stop, open anew. The state of one account is
    written by one worker at a time.
    """

    @property
    def waiting(self) -> int:
        """Number of inbox entries that wait for the enclave."""

    async def failed(self) -> LedgerError:
        """Returns only when the ledger is beyond use, and why: the process should end and open it anew."""

    async def append_arrivals(
        self,
        account: str,
        network: str,
        entries: Sequence[tuple[str, bytes]],
        *,
        mark: tuple[str, str] | None = None,
    ) -> list[int]:
        """Add arrivals (name, body) to the inbox, in order, and set a mark, all at once; returns their positions."""

    async def commit_steps(self, steps: Sequence[Stepped]) -> Applied:
        """Consume the inputs, apply the remembers, append the carries, timers, traces and counters: all or none.

        StepRefused: an input that is not waiting, a version or step number that does not increase.
        """

    async def finish_carries(self, finished: Sequence[Finished]) -> int:
        """Replace requests in the outbox by their answers in the inbox, in this order; returns how many there were.

        One that is not in the outbox any more is passed over: it was answered before.
        """

    async def note_attempt(self, held: Held, attempts: int, next_at_ms: int) -> None:
        """Remember that a request was tried and when to try it again."""

    async def fire_timers(self, now_ms: int) -> frozenset[str]:
        """Turn timers that are due into inbox entries; returns the accounts concerned."""

    async def park(self, position: int, code: str) -> None:
        """Set an input aside without the enclave having answered it. StepRefused when it is not waiting."""

    async def release_parked(self, position: int) -> str | None:
        """Let a parked input wait again, behind all others, with its trace; returns its account, None when there is
        no such input."""

    async def set_mark(self, account: str, network: str, name: str, value: str) -> None:
        """Store a mark on its own."""

    async def count(self, code: str, count: int = 1) -> None:
        """Add to a counter."""

    async def maintain(self) -> None:
        """Drop old traces, give free pages back, leave nothing that was replaced in any file (0105)."""

    async def close(self) -> None:
        """Finish what was asked for, then close."""

    # -------------------------------------------------- reading: what is durable, never what is under way
    def read_inbox(self, account: str, after: int, limit: int) -> list[Input]:
        """Waiting inputs of the account behind a position, in order."""

    def read_lane(self, lane: Lane, after: int, limit: int) -> list[Held]:
        """Requests of a lane behind a number, in order."""

    def read_records(self, account: str) -> AsyncIterator[SealedRecord]:
        """All sealed records of the account."""

    def newest_request(self) -> int:
        """The highest number that a request in the outbox has, 0 when there is none."""

    def lanes(self) -> list[Lane]:
        """Lanes that hold requests."""

    def waiting_accounts(self) -> list[str]:
        """Accounts with waiting inputs."""

    def known_accounts(self) -> list[str]:
        """Accounts that have sealed state."""

    def next_timer(self) -> int | None:
        """Time of the earliest timer in milliseconds since 1970."""

    def mark(self, account: str, network: str, name: str) -> str | None:
        """A mark's value, None when there is none."""

    def depths(self) -> Depths:
        """How much is waiting."""

    def counters(self) -> dict[str, int]:
        """All counters."""
