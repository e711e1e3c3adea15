"""What the enclave asks of the inside half of an adapter, and what it offers it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

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
from crypto.commands import Answer, Order
from crypto.content import Part
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

    def pull(self, contact: str, message_id: str, offset: int) -> None:
        """Ask the half that delivered a message with a file for the part of it that begins at `offset`.

        Parts are asked for one after the other, from 0; 0 again begins anew. Each is answered by `Filing.file_part`.
        """

    def part(self, contact: str, message_id: str, part: Part) -> None:
        """The part that was asked for, or a code why there is none: hand it to the half that asked."""

    def notify(self, contact: str, code: str) -> None:
        """Have the user told something about the leg to a contact: a code, for which the near half has the words."""

    def command(self, contact: str, order: Order) -> Answer | None:
        """One stage of a command to the gateway itself, and its answer; None: there is no such command."""

    def commands(self) -> Mapping[str, str]:
        """The commands that there are, with their names for people."""

    def moved(self, contact: str) -> None:
        """The verification of a contact has come further: the half by which the user drives it, if any, is told."""

    def delivered(self, contact: str, message_id: str) -> None:
        """The far network has a message that `to_network` was given: its sender may be told."""

    def failed(self, contact: str, message_id: str, code: str) -> None:
        """It will not be delivered, and why: its sender must be told."""


@dataclass(frozen=True, slots=True)
class Proof:
    """Why an identity or a session is believed."""

    how: str
    """`emoji`, `numbers`, `code` (scanned), `key` (compared), `string` (of a session); `approved`, `first-use`."""
    by: str
    """`operator`, `user`; `nobody`: it was the first that was seen."""
    at_ms: int
    """Milliseconds since 1970."""


@dataclass(frozen=True, slots=True)
class PeerIdentity:
    """The identity of a contact on a network that has such: a key that vouches for the contact's devices."""

    state: str
    """`none`, `pinned`, `verified`; `changed`: another one is shown; `gone`: none is shown any more."""
    key: str | None = None
    """The key a decision would be about, unpadded base64: the pinned one, or the one shown in its place."""
    served: tuple[str, ...] = ()
    """Ids of the contact's devices that are given keys."""
    withheld: tuple[str, ...] = ()
    """Ids of those that are not."""
    rotated_ms: int = 0
    """When the keys in use were made, milliseconds since 1970; 0: there are none."""


@dataclass(frozen=True, slots=True)
class OwnIdentity:
    """The account's own identity on such a network."""

    network: str
    state: str
    """`none` so far; `preparing`; `ours`; `elsewhere`: another client made it; `replaced`: ours was."""
    key: str | None = None
    """The key that vouches for the others, unpadded base64, as others see it."""
    recovery_key: str = "none"
    """`none`, `to-show`, `shown`."""
    problem: str | None = None
    """Why the last attempt to publish it failed, a code."""
    recovered: str | None = None
    """What came of the last order to recover it, a code."""
    backup: str = "none"
    """Where message keys are backed up: `none`, `active`, or why they are not, a code."""


@dataclass(frozen=True, slots=True)
class UserDevice:
    """A device of the user's on the near network, where every device has an identity key of its own (OMEMO)."""

    id: int
    state: str
    """`undecided`, `blind` (trusted because nothing else is known), `verified`, `distrusted`; `changed`: it shows
    another key than it had, and nobody has decided; `unknown`: it has shown none."""
    key: str = ""
    """The key that a decision would be about: 64 hexadecimal digits; empty: none is known."""
    active: bool = True
    by: str = "nobody"
    """Who decided: `operator`, `user`, or `device`: another device of the user's that is verified itself."""
    voucher: int = 0
    """The id of that device."""


@dataclass(frozen=True, slots=True)
class ContactDevice:
    """The device that stands for a contact there, and those of the user: these stand with one contact of an account."""

    id: int
    key: str
    """Its identity key: 64 hexadecimal digits."""
    devices: tuple[UserDevice, ...] = ()


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
    sas_bound: bool = False
    """Whether somebody between has one guess at it; False: tries it out in seconds, so comparing it proves little."""
    peer: str | None = None
    """Address of the peer's device or resource."""
    waiting: int = 0
    """Messages held for this leg."""
    undecryptable: Mapping[str, int] | None = field(default=None, hash=False)
    """How many of those wait for a key, by reason, a code; None where none can."""
    identity: PeerIdentity | None = None
    """Where the network has identities."""
    proof: Proof | None = None
    """Why the identity or the session is believed, where that is known."""
    device: ContactDevice | None = None
    """Where the contact has a device of its own on this network."""


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
        """Carry out a decision of the operator's (`verify`, `approve`, `distrust`); returns a code (`ok`, ...).

        `verify-weak-string`: as `verify`, by an operator who was told what the string is worth (`LegStatus.sas_bound`).
        """


@dataclass(frozen=True, slots=True)
class Shown:
    """How the verification of a contact stands: for the person who takes part in it at our end."""

    state: str
    """`none`, `requested`, `asked`, ..., `comparing`, `confirmed`, `verified`, `finished`, `cancelled`."""
    way: str = "none"
    """`room` or `to-device`."""
    emoji: tuple[int, ...] = field(default=(), repr=False)
    """Seven numbers below 64; none when the other end shows numbers only."""
    words: tuple[str, ...] = field(default=(), repr=False)
    """The emoji and their names."""
    decimal: tuple[int, ...] = field(default=(), repr=False)
    code: str = "ok"
    """Why it was cancelled."""
    by_us: bool = False
    mark: str = field(default="", repr=False)
    """What a decision about it carries, so that it holds for no other; empty: there is nothing to decide."""
    scan: bytes = field(default=b"", repr=False)
    """What the other end may scan: octets of a QR code."""


@runtime_checkable
class Verifying(Protocol):
    """A half whose contacts can be verified by comparing a short string."""

    def verification(
        self, step: Step, contact: ContactPolicy, action: str, compared: str | None, by: str = "operator"
    ) -> tuple[str, Shown]:
        """Carry out `begin`, `begin-to-device`, `begin-code` (one to scan), `show`, `match`, `differ` or `cancel`.

        Returns a code, and how it stands then. `compared`: for `match` and `differ`, the `mark` of what was shown
        (of emoji and numbers: the three numbers, separated by spaces). `by`: who decides (`Proof`).
        """


@runtime_checkable
class Filing(Protocol):
    """A half that gives and takes files, in parts; only one part of a file is in the enclave at any time."""

    def file_wanted(self, step: Step, contact: ContactPolicy, message_id: str, offset: int) -> None:
        """The other half wants the part at `offset` of the file of a message this half delivered.

        Must end, now or in a later step, in `Step.part`. A half that lost its place (the enclave was restarted) says
        so by the code `begin-again`.
        """

    def file_part(self, step: Step, contact: ContactPolicy, message_id: str, part: Part) -> None:
        """A part that this half asked for."""


@runtime_checkable
class KeyTrusting(Protocol):
    """A half that decides by the identity keys of the user's devices."""

    def trust_key(self, step: Step, contact: ContactPolicy, decision: str, key: str, by: str = "operator") -> str:
        """`verify` or `distrust` a key of one of the user's devices (hexadecimal digits); returns a code."""


class Steering(Step, Protocol):
    """What the half of the gateway itself is offered besides: it acts for the user."""

    def drive(self, contact: ContactPolicy, action: str, compared: str | None = None) -> tuple[str, Shown]:
        """The user's part in the verification of a contact (`Verifying`); `unknown-contact` where there is none."""

    def trust_key(self, decision: str, key: str) -> str:
        """The user's decision about the key of one of their own devices (`KeyTrusting`); returns a code."""

    def legs(self) -> Sequence[LegStatus]:
        """How the account's legs stand."""

    def own_identities(self) -> Sequence[OwnIdentity]:
        """The account's own identities."""


@runtime_checkable
class Commanding(Protocol):
    """The half of the gateway itself."""

    commands: Mapping[str, str]

    def commanded(self, step: Steering, contact: ContactPolicy, order: Order) -> Answer | None:
        """One stage of a command; None: there is no such command. `contact`: the gateway's own."""

    def verification_moved(self, step: Steering, contact: ContactPolicy) -> None:
        """A verification has come further: if the user drives it, they are told."""


@runtime_checkable
class Noticing(Protocol):
    """A near half that has words for what a far half wants the user to know (`Step.notify`)."""

    def noticed(self, step: Step, contact: ContactPolicy, code: str) -> None:
        """Tell the user about the leg to the contact. A code without words is told as one."""


@runtime_checkable
class Identified(Protocol):
    """A half whose network gives the account an identity of its own, with a recovery key."""

    def own_identity(self, records: Records, account: AccountPolicy) -> OwnIdentity:
        """How the account's identity stands."""

    def recovery_key(self, step: Step) -> tuple[str, str | None]:
        """A code, and with `ok` the recovery key, which is shown this once. A secret of the operator's."""

    def recover(self, step: Step, secret: str) -> str:
        """Join the identity that the account has, with its recovery key or passphrase; returns a code.

        `started`: what comes of it will stand in `own_identity`.
        """
