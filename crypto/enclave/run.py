"""One step of one account: gathers its effects, and routes between the two halves that take part in it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from adapters.inside_api import (
    AccountPolicy,
    AnyValue,
    Commanding,
    ContactPolicy,
    Filing,
    Identified,
    InsideHalf,
    KeyTrusting,
    LegStatus,
    Noticing,
    OwnIdentity,
    Shown,
    Verifying,
)
from bridge.wire.link import Carry, Report, Trace, WakeAt
from bridge.wire.values import CONTROL, Value
from crypto.commands import Answer, Order
from crypto.content import Part
from crypto.enclave.vault import Scope, Vault
from crypto.host import Host
from crypto.message import Message, Signal
from crypto.transfers.model import FILES_OFF

Halves = Mapping[str, InsideHalf]
"""The loaded inside halves, by network."""

STAGES = frozenset({"opened", "permitted", "sealed", "acknowledged", "parked", "refused"})


_ASIDE = 96
"""Octets counted for a request, a value, a report beside what it holds."""


class Egress(Exception):
    """A half tried to send out what its declared requests do not permit."""

    def __init__(self) -> None:
        super().__init__("a request does not have its declared shape")


class Misrouted(Exception):
    """A half named a contact that its account does not have."""

    def __init__(self) -> None:
        super().__init__("the contact is not on the account's map")


@dataclass(slots=True)
class Effects:
    """What a step wants done, in order."""

    carries: list[Carry] = field(default_factory=list)
    wakes: dict[tuple[str, str], WakeAt] = field(default_factory=dict)
    reports: list[Report] = field(default_factory=list)
    traces: list[Trace] = field(default_factory=list)

    def octets(self) -> int:
        """About how much room they take in a frame, never less, in octets before base64."""
        values = sum(_room(value) for carry in self.carries for value in carry.values.values())
        rest = len(self.carries) + len(self.wakes) + len(self.reports) + len(self.traces)
        return values + _ASIDE * rest


def _room(value: Value) -> int:
    content = value.v
    if isinstance(content, int):
        return _ASIDE
    return _ASIDE + (len(content) if isinstance(content, bytes) else 4 * len(content))


@dataclass(slots=True)
class Run:
    """What all halves share during one step."""

    account: AccountPolicy
    vault: Vault
    halves: Halves
    host: Host
    position: int
    now_ms: int
    effects: Effects = field(default_factory=Effects)
    held: list[Callable[[], None]] | None = None
    """While the halves begin: what they have for each other. None of them may send before all have retired keys."""

    def across(self, act: Callable[[], None]) -> None:
        """Hand something to another half, now or when all have begun."""
        if self.held is None:
            act()
        else:
            self.held.append(act)

    def begun(self) -> None:
        """All halves have begun: hand over what was held, in order."""
        held, self.held = self.held or [], None
        for act in held:
            act()

    def half_step(self, network: str) -> "HalfStep":
        """The step as the half of that network sees it."""
        return HalfStep(self, self.halves[network], Scope(self.vault, f"{network}/"))

    def contact(self, contact_id: str) -> ContactPolicy:
        """The contact of that id. Raises Misrouted."""
        contact = self.account.contact_by_id(contact_id)
        if contact is None:
            raise Misrouted
        return contact

    def other(self, network: str, contact: ContactPolicy) -> str:
        """The network on the other side of a contact."""
        return contact.network if network == self.account.near_network else self.account.near_network


@dataclass(frozen=True, slots=True)
class HalfStep:
    """adapters.inside_api.Step for one half."""

    run: Run
    half: InsideHalf
    records: Scope

    @property
    def account(self) -> AccountPolicy:
        """The account's map."""
        return self.run.account

    @property
    def position(self) -> int:
        """Inbox row of the step's input, 0 when an order of the operator's caused it."""
        return self.run.position

    def now_ms(self) -> int:
        """See adapters.inside_api.Step."""
        return self.run.now_ms

    def draw(self, name: str, size: int) -> bytes:
        """See adapters.inside_api.Step."""
        return self.run.host.draw(name, size)

    def carry(
        self,
        request: str,
        values: Mapping[str, AnyValue],
        *,
        lane: str,
        key: str | None = None,
        trace: int | None = None,
    ) -> str:
        """See adapters.inside_api.Step. Raises Egress for what the half did not declare."""
        shape = self.half.requests.get(request)
        if shape is None or not shape.fits(values):
            raise Egress
        chosen = key if key is not None else self.draw("carry-key", 16).hex()
        fields: dict[str, Value] = dict(values)
        self.run.effects.carries.append(
            Carry(key=chosen, network=self.half.network, request=request, lane=lane, values=fields, trace=trace)
        )
        return chosen

    def wake_at(self, name: str, at_ms: int) -> None:
        """See adapters.inside_api.Step."""
        network = self.half.network
        self.run.effects.wakes[network, name] = WakeAt(network=network, name=name, at_ms=at_ms)

    def report(self, code: str, contact: str | None = None) -> None:
        """See adapters.inside_api.Step."""
        self.run.effects.reports.append(Report(code=code, contact=contact))

    def trace(self, position: int, stage: str, code: str | None = None) -> None:
        """See adapters.inside_api.Step."""
        if position:
            told = {"position": position, "stage": stage, "code": code}
            self.run.effects.traces.append(Trace.model_validate(told))

    # ------------------------------------------------------------------ routing
    def deliver(self, contact: str, message: Message) -> None:
        """Hand an opened message on, if the far leg is as good as the operator requires."""
        self.run.across(lambda: self._deliver(contact, message))

    def _deliver(self, contact: str, message: Message) -> None:
        policy = self.run.contact(contact)
        network = self.run.other(self.half.network, policy)
        self.trace(message.position, "opened")
        across = self.run.half_step(network)
        if not self._permitted(policy):
            self.report("far-leg-too-weak", contact)
            self._refuse(policy, message, "far-leg-too-weak")
            return
        taker: object = across.half
        if message.attachment is not None and not isinstance(taker, Filing):
            self._refuse(policy, message, FILES_OFF)
            return
        self.trace(message.position, "permitted")
        across.half.to_network(across, policy, message)

    def _permitted(self, contact: ContactPolicy) -> bool:
        far = self.run.half_step(contact.network)
        return far.half.assurance(far.records, contact).meets(contact.require)

    def _refuse(self, contact: ContactPolicy, message: Message, code: str) -> None:
        self.trace(message.position, "refused", code)
        self.half.refused(self, contact, message.id, code)

    def signal(self, contact: str, signal: Signal) -> None:
        """Pass on what is true for a moment, under the same rule as messages."""
        self.run.across(lambda: self._signal(contact, signal))

    def _signal(self, contact: str, signal: Signal) -> None:
        policy = self.run.contact(contact)
        if self._permitted(policy):
            across = self.run.half_step(self.run.other(self.half.network, policy))
            across.half.signalled(across, policy, signal)

    def pull(self, contact: str, message_id: str, offset: int) -> None:
        """Ask the half that delivered a file's message for a part. One that has no files says so at once."""
        self.run.across(lambda: self._pull(contact, message_id, offset))

    def _pull(self, contact: str, message_id: str, offset: int) -> None:
        policy = self.run.contact(contact)
        across = self.run.half_step(self.run.other(self.half.network, policy))
        half: object = across.half
        if isinstance(half, Filing):
            half.file_wanted(across, policy, message_id, offset)
        else:
            self._take_part(policy, message_id, Part(offset, code="no-file"))

    def part(self, contact: str, message_id: str, part: Part) -> None:
        """Hand a part of a file to the half that asked for it, under the same rule as messages."""
        self.run.across(lambda: self._part(contact, message_id, part))

    def _part(self, contact: str, message_id: str, part: Part) -> None:
        policy = self.run.contact(contact)
        if not self._permitted(policy):
            part = Part(part.offset, code="far-leg-too-weak")
        across = self.run.half_step(self.run.other(self.half.network, policy))
        across._take_part(policy, message_id, part)

    def _take_part(self, contact: ContactPolicy, message_id: str, part: Part) -> None:
        half: object = self.half
        if isinstance(half, Filing):
            half.file_part(self, contact, message_id, part)

    def notify(self, contact: str, code: str) -> None:
        """Have the near half tell the user. Of a near half without words for that, only the count stays."""
        self.report(f"told-{code}"[:48], contact)
        self.run.across(lambda: self._notify(contact, code))

    def _notify(self, contact: str, code: str) -> None:
        policy = self.run.contact(contact)
        near = self.run.half_step(self.run.account.near_network)
        half: object = near.half
        if isinstance(half, Noticing):
            half.noticed(near, policy, code)

    # ------------------------------------------------------------------ towards the half of the gateway itself
    def moved(self, contact: str) -> None:
        """The half by which the user drives a verification is told of it."""
        self.run.across(lambda: self._moved(contact))

    def _moved(self, contact: str) -> None:
        policy, control = self.run.contact(contact), self._control()
        if control is not None:
            control[0].verification_moved(control[1], policy)

    def command(self, contact: str, order: Order) -> Answer | None:
        """One stage of a command to the gateway itself."""
        policy, control = self.run.contact(contact), self._control()
        if control is None or policy.network != CONTROL or self.half.network != self.account.near_network:
            return None
        return control[0].commanded(control[1], policy, order)

    def commands(self) -> Mapping[str, str]:
        """The commands that there are."""
        control = self._control()
        return control[0].commands if control is not None else {}

    def _control(self) -> "tuple[Commanding, HalfStep] | None":
        half: object = self.run.halves.get(CONTROL)
        known = any(contact.network == CONTROL for contact in self.account.contacts)
        return (half, self.run.half_step(CONTROL)) if known and isinstance(half, Commanding) else None

    # ------------------------------------------------------------------ for that half: adapters.inside_api.Steering
    def drive(self, contact: ContactPolicy, action: str, compared: str | None = None) -> tuple[str, Shown]:
        """The user's part in a verification. Raises Misrouted for any other half."""
        self._require_control()
        far = self.run.half_step(contact.network)
        half: object = far.half
        if not isinstance(half, Verifying):
            return "unknown-contact", Shown("none")
        return half.verification(far, contact, action, compared, by="user")

    def trust_key(self, decision: str, key: str) -> str:
        """The user's decision about a key of their own. Raises Misrouted for any other half."""
        self._require_control()
        near = self.run.half_step(self.account.near_network)
        half: object = near.half
        gateway = next((contact for contact in self.account.contacts if contact.network == CONTROL), None)
        if not isinstance(half, KeyTrusting) or gateway is None:
            return "unknown-decision"
        return half.trust_key(near, gateway, decision, key, by="user")

    def legs(self) -> list[LegStatus]:
        """How the account's legs stand."""
        self._require_control()
        networks = dict.fromkeys((self.account.near_network, *(c.network for c in self.account.contacts)))
        parts = [self.run.half_step(network) for network in networks]
        return [leg for part in parts for leg in part.half.status(part.records, self.account)]

    def own_identities(self) -> list[OwnIdentity]:
        """The account's own identities."""
        self._require_control()
        found: list[OwnIdentity] = []
        for network in self.account.far_addresses:
            part = self.run.half_step(network)
            half: object = part.half
            if isinstance(half, Identified):
                found.append(half.own_identity(part.records, self.account))
        return found

    def _require_control(self) -> None:
        if self.half.network != CONTROL:
            raise Misrouted

    def delivered(self, contact: str, message_id: str) -> None:
        """The half on the other side may tell the sender."""
        self.run.across(lambda: self._delivered(contact, message_id))

    def _delivered(self, contact: str, message_id: str) -> None:
        policy = self.run.contact(contact)
        across = self.run.half_step(self.run.other(self.half.network, policy))
        across.half.acknowledged(across, policy, message_id)

    def failed(self, contact: str, message_id: str, code: str) -> None:
        """The half on the other side must tell the sender."""
        self.run.across(lambda: self._failed(contact, message_id, code))

    def _failed(self, contact: str, message_id: str, code: str) -> None:
        policy = self.run.contact(contact)
        self.report(code, contact)
        across = self.run.half_step(self.run.other(self.half.network, policy))
        across.half.refused(across, policy, message_id, code)
