"""What the enclave asks of the inside half of an adapter, and what it offers it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from bridge.wire.link import Input
from bridge.wire.values import (
    Address,
    Code,
    Number,
    Opaque,
    Public,
    RequestShape,
    Sealed,
)
from crypto.message import Assurance, Message, Signal
from crypto.records import Records

AnyValue = Sealed | Public | Number | Opaque | Code | Address


@dataclass(frozen=True, slots=True)
class ContactPolicy:
    """One row of the operator's contact map. It reached the enclave over the control channel."""

    id: str
    network: str
    """The far network's adapter."""
    address: str
    """The contact's address on the far network, for example `@bob:matrix.org`."""
    alias: str
    """The contact's address on the near network, for example `bob@matrix.example.org`."""
    require: Assurance
    options: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)
    """Settings of the near network's sessions, flat texts: the account's, and the contact's own before those."""


@dataclass(frozen=True, slots=True)
class AccountPolicy:
    """One account of the operator's map."""

    id: str
    near_network: str
    near_address: str
    """The user's bare JID."""
    far_addresses: Mapping[str, str]
    """The user's own address on each far network: `{"matrix": "@alice:example.org"}`."""
    contacts: tuple[ContactPolicy, ...]
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The account's settings of the near network's sessions; a contact's are its own."""

    def contact_by_alias(self, alias: str) -> ContactPolicy | None:
        """The contact that appears under this near address."""
        return next((c for c in self.contacts if c.alias == alias), None)

    def contact_by_address(self, network: str, address: str) -> ContactPolicy | None:
        """The contact that has this far address."""
        return next((c for c in self.contacts if (c.network, c.address) == (network, address)), None)

    def contact_by_id(self, contact: str) -> ContactPolicy | None:
        """The contact of this id."""
        return next((c for c in self.contacts if c.id == contact), None)


class Step(Protocol):
    """One step of one account, as an inside half sees it. All effects vanish if the step raises."""

    @property
    def account(self) -> AccountPolicy:
        """The account's map."""

    @property
    def records(self) -> Records:
        """The half's own records."""

    @property
    def position(self) -> int:
        """Inbox row of the step's input, 0 when an order of the operator's caused it."""

    def now_ms(self) -> int:
        """Milliseconds since 1970; the same throughout the step."""

    def draw(self, name: str, size: int) -> bytes:
        """Randomness for a named purpose."""

    def carry(
        self,
        request: str,
        values: Mapping[str, AnyValue],
        *,
        lane: str,
        key: str | None = None,
        trace: int | None = None,
    ) -> str:
        """Send a request of this half's network out; returns its idempotency key (drawn when not given)."""

    def wake_at(self, name: str, at_ms: int) -> None:
        """Ask for `wake(name)` at that time; replaces an earlier time for the same name."""

    def report(self, code: str, contact: str | None = None) -> None:
        """Count something."""

    def trace(self, position: int, stage: str, code: str | None = None) -> None:
        """Note the stage that the message of that inbox position has reached."""

    # -------------------------------------------------- towards the other half, through the router
    def deliver(self, contact: str, message: Message) -> None:
        """A message was opened: hand it to the half on the other side. Policy is the router's."""

    def signal(self, contact: str, signal: Signal) -> None:
        """Typing or presence of the contact, or of the user: hand it to the half on the other side."""

    def delivered(self, contact: str, message_id: str) -> None:
        """The far network has a message that `to_network` was given: its sender may be told."""

    def failed(self, contact: str, message_id: str, code: str) -> None:
        """It will not be delivered, and why: its sender must be told."""


@dataclass(frozen=True, slots=True)
class LegStatus:
    """How one leg to one contact stands, for the operator. Carries no secret."""

    contact: str
    network: str
    assurance: Assurance
    state: str
    """A word: `none`, `negotiating`, `active`, ..."""
    verified: bool = False
    sas: str | None = None
    """Short authentication string, where the protocol has one and a session is active."""
    peer: str | None = None
    """Address of the peer's device or resource."""
    waiting: int = 0
    """Messages held for this leg."""


class InsideHalf(Protocol):
    """The half of an adapter that lives in the enclave: encryption and its decisions, as functions of a step."""

    network: str
    requests: Mapping[str, RequestShape]
    """Every request this half may send out, with its shape: the enclave checks each against it."""

    def started(self, step: Step, *, resumed: bool) -> None:
        """The account's state was brought in, or its map changed.

        `resumed` False: the state may be older than what was sent (the enclave was restarted, the ledger lost
        its last steps): keys of sending ratchets must not be used again, start new ones.
        """

    def arrived(self, step: Step, arrival: Input) -> None:
        """Something came from the network. `arrival.name` and `arrival.body` are hostile."""

    def answered(self, step: Step, answer: Input) -> None:
        """A request was carried out, or failed for good (`answer.code`). Hostile as well."""

    def woken(self, step: Step, name: str) -> None:
        """A time that was asked for has come (or is claimed to have: check `now_ms`)."""

    def to_network(self, step: Step, contact: ContactPolicy, message: Message) -> None:
        """Send a message to the contact. Must end, now or in a later step, in `delivered` or `failed`."""

    def signalled(self, step: Step, contact: ContactPolicy, signal: Signal) -> None:
        """Typing or presence from the other side. A half that has no use for it, or nobody to show it to, drops it."""

    def acknowledged(self, step: Step, contact: ContactPolicy, message_id: str) -> None:
        """A message this half delivered has reached the other network: tell its sender."""

    def refused(self, step: Step, contact: ContactPolicy, message_id: str, code: str) -> None:
        """A message this half delivered will not reach the other network: tell its sender why."""

    def assurance(self, records: Records, contact: ContactPolicy) -> Assurance:
        """What this half's leg gives, or would give before anything is sent."""

    def status(self, records: Records, account: AccountPolicy) -> Sequence[LegStatus]:
        """How the legs stand."""

    def trust(self, step: Step, contact: ContactPolicy, decision: str) -> str:
        """Carry out a trust decision of the operator's (`verify`, `distrust`); returns a code (`ok`, ...)."""
