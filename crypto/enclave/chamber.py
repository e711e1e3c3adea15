"""The chamber: all accounts in memory, and what each permitted request does. No I/O: frames in, frames out."""

import hmac
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field

from adapters.inside_api import (
    AccountPolicy,
    ContactDevice,
    ContactPolicy,
    Identified,
    KeyTrusting,
    LegStatus,
    PeerIdentity,
    Proof,
    Shown,
    Verifying,
)
from bridge.wire import control, link
from bridge.wire.link import Restored, SealedRecord, Stepped
from crypto.enclave.account import Account
from crypto.enclave.register import Register
from crypto.enclave.run import HalfStep, Halves
from crypto.enclave.seal import Sealer, Unsealable
from crypto.enclave.statecodec import Undecodable
from crypto.enclave.vault import Edited, Vault, cost
from crypto.host import Host
from crypto.message import Assurance

MAX_RESTORED = 256 << 20
"""Octets of sealed records taken for one account, as `vault.cost` counts them; more than `vault.MAX_STATE`."""
MAX_ARRIVING = 2 * MAX_RESTORED
"""The same for all accounts that are being handed in at one time."""
MAX_UNCOMMITTED = 1024
"""Steps of an account that may have left without a word that they are committed; an honest gateway has 256 under way.

It bounds how far a gateway that never says so could roll an account back."""


class Misuse(Exception):
    """The gateway asked for what it may ask for only in another order. The link ends."""

    def __init__(self) -> None:
        super().__init__("a request does not follow from those before it")


def policy_of(account: control.AccountMap) -> AccountPolicy:
    """The account's policy as the halves see it: of two options of one name the contact's holds."""
    shared = _options(account.options)
    return AccountPolicy(
        id=account.id,
        near_network=account.near_network,
        near_address=account.near_address,
        far_addresses={far.network: far.address for far in account.far_addresses},
        contacts=tuple(
            ContactPolicy(c.id, c.network, c.address, c.alias, Assurance(c.require), {**shared, **_options(c.options)})
            for c in account.contacts
        ),
        options=shared,
    )


def _options(options: Sequence[control.Option]) -> dict[str, str]:
    return {option.name: option.value for option in options}


def _compared(account: Account, decision: control.TrustDecision) -> bool:
    """Whether the session or the identity that stands now is the one whose string the operator compared."""
    if decision.decision == "distrust":
        return True
    leg = _leg(account, decision)
    if leg is None or (leg.sas is None and leg.identity is None):
        return True  # the half has nothing to compare
    shown, compared = (leg.sas, decision.sas) if leg.identity is None else (leg.identity.key, decision.key)
    return shown is None or (compared is not None and hmac.compare_digest(shown, compared))


def _decided(step: HalfStep, contact: ContactPolicy, decision: control.TrustDecision) -> str:
    half: object = step.half
    if decision.device_key is None:
        return step.half.trust(step, contact, decision.decision)
    if not isinstance(half, KeyTrusting):
        return "unknown-decision"
    return half.trust_key(step, contact, decision.decision, decision.device_key)


def _leg(account: Account, decision: control.TrustDecision) -> LegStatus | None:
    at = (decision.contact, decision.network)
    return next((leg for leg in account.status() if (leg.contact, leg.network) == at), None)


def _told(identity: PeerIdentity | None) -> control.PeerIdentity | None:
    return None if identity is None else control.PeerIdentity.model_validate(asdict(identity))


def _device(device: ContactDevice | None) -> control.ContactDevice | None:
    return None if device is None else control.ContactDevice.model_validate(asdict(device))


def _proof(proof: Proof | None) -> control.Proof | None:
    return None if proof is None else control.Proof.model_validate(asdict(proof))


def undecryptable(leg: LegStatus) -> dict[str, int]:
    """How many events wait for a key now, in all and by reason, as counters."""
    name = "undecryptable-now"
    if leg.undecryptable is None:
        return {}
    return {name: sum(leg.undecryptable.values())} | {f"{name}-{why}": n for why, n in leg.undecryptable.items()}


@dataclass(slots=True)
class _Arriving:
    records: list[SealedRecord] = field(default_factory=list)
    octets: int = 0
    refused: str | None = None


@dataclass(slots=True)
class Chamber:
    """The state of the enclave process."""

    halves: Halves
    host: Host
    register: Register
    sealing_key: bytes = field(repr=False)
    maps: dict[str, control.AccountMap] = field(default_factory=dict)
    accounts: dict[str, Account] = field(default_factory=dict)
    arriving: dict[str, _Arriving] = field(default_factory=dict)

    # ------------------------------------------------------------------ from the gateway
    def from_gateway(
        self, request: link.Hello | link.Restore | link.Evict | link.Input | link.Committed
    ) -> Sequence[link.Ready | link.Restored | link.Stepped]:
        """The frames that answer a request. Raises Misuse."""
        match request:
            case link.Input():
                return [self._take(request)]
            case link.Committed():
                self._committed(request)
                return []
            case link.Restore():
                return self._restore(request)
            case link.Evict():
                self.accounts.pop(request.account, None)
                return []
            case link.Hello():
                if request.version != link.PROTOCOL_VERSION:
                    raise Misuse
                return [link.Ready(version=link.PROTOCOL_VERSION)]

    def _take(self, entry: link.Input) -> Stepped:
        account = self.accounts.get(entry.account)
        if account is None:
            if entry.account in self.maps:
                raise Misuse  # its state must come first
            return Stepped(position=entry.position, account=entry.account, step=0, refused="unknown-account")
        if account.vault.step - max(account.began, self.register.committed(account.slot)) > MAX_UNCOMMITTED:
            raise Misuse  # it keeps a way open to roll back what it was given
        return self._emitted(account, account.take(entry))

    def _emitted(self, account: Account, stepped: Stepped) -> Stepped:
        # In the register before it is in a frame: a restart in between must not resume.
        if stepped.remembers:
            self.register.emit(account.slot, stepped.step)
        return stepped

    def _committed(self, told: link.Committed) -> None:
        account = self.accounts.get(told.account)
        if account is not None:
            self.register.commit(account.slot, told.step)

    def _restore(self, request: link.Restore) -> list[Restored | Stepped]:
        if request.account in self.accounts:
            raise Misuse
        arriving = self.arriving.get(request.account) or _Arriving()
        if request.account not in self.maps:
            arriving.refused = "unknown-account"
        elif arriving.refused is None:
            arriving.records.extend(request.records)
            arriving.octets += sum(cost(record.sealed) for record in request.records)
        if arriving.octets > MAX_RESTORED:
            arriving = _Arriving(refused="too-large")  # this account stays out, the others go on
        if not request.last:
            if request.account in self.maps:
                self.arriving[request.account] = arriving
            if sum(other.octets for other in self.arriving.values()) > MAX_ARRIVING:
                raise Misuse
            return []
        self.arriving.pop(request.account, None)
        if arriving.refused is not None:
            return [Restored(account=request.account, code=arriving.refused)]
        return self._open(request.account, arriving.records)

    def _open(self, account_id: str, records: list[SealedRecord]) -> list[Restored | Stepped]:
        mapped = self.maps.get(account_id)
        if mapped is None:
            return [Restored(account=account_id, code="unknown-account")]
        code = "ok"
        try:
            vault = Vault.restored(Sealer(account_id, self.sealing_key, self.host.draw), records)
        except Unsealable:
            code = "unsealable"
        except (Edited, Undecodable):
            code = "edited"
        if code == "ok" and vault.step < self.register.committed(mapped.slot):
            code = "rolled-back"
        if code != "ok":
            return [Restored(account=account_id, code=code)]
        emitted = self.register.emitted(mapped.slot)
        held, resumed = vault.step, vault.step == emitted
        # Numbers of steps that were emitted and lost are never given again.
        vault.step = max(vault.step, emitted)
        account = Account(policy_of(mapped), mapped.slot, vault, self.halves, self.host, vault.step)
        started = account.start(resumed=resumed)
        if started.refused is not None:
            # Nothing was retired: no key of this state may be used.
            return [Restored(account=account_id, code="start-failed")]
        self.accounts[account_id] = account
        # It has just shown that it holds this step: nothing older is taken any more.
        self.register.emit(mapped.slot, vault.step)
        self.register.commit(mapped.slot, held)
        return [Restored(account=account_id, code="ok"), started]

    # ------------------------------------------------------------------ from the supervisor
    def remap(self, maps: Sequence[control.AccountMap]) -> list[Stepped]:
        """Take a new map; loaded accounts whose map changed begin anew under it."""
        before, self.maps = self.maps, {account.id: account for account in maps}
        for gone in self.accounts.keys() - self.maps.keys():
            del self.accounts[gone]
        steps = []
        for account in self.accounts.values():
            mapped = self.maps[account.policy.id]
            if mapped != before.get(mapped.id):
                account.policy, account.slot = policy_of(mapped), mapped.slot
                steps.append(self._emitted(account, account.start(resumed=True)))
        return steps

    def decide(self, decision: control.TrustDecision) -> tuple[str, list[Stepped]]:
        """Carry out a trust decision: a code for the operator, and the step it caused."""
        account = self.accounts.get(decision.account)
        contact = account.policy.contact_by_id(decision.contact) if account else None
        if account is None or contact is None:
            return "unknown-account" if account is None else "unknown-contact", []
        if decision.network not in account.networks():
            return "unknown-network", []
        if decision.device_key is None and not _compared(account, decision):
            return "other-session", []
        codes: list[str] = []

        def order(step: HalfStep) -> None:
            codes.append(_decided(step, contact, decision))

        stepped = self._emitted(account, account.order(decision.network, order))
        return stepped.refused or codes[0], [stepped]

    def show_recovery_key(self, order: control.ShowRecoveryKey) -> tuple[str, str | None, list[Stepped]]:
        """The recovery key of an account's own identity, with a code and the step that marks it as shown."""
        shown: list[tuple[str, str | None]] = []

        def act(half: Identified, step: HalfStep) -> None:
            shown.append(half.recovery_key(step))

        code, steps = self._identified(order.account, order.network, act)
        return (code, None, steps) if code != "ok" else (*shown[0], steps)

    def recover(self, order: control.Recover) -> tuple[str, list[Stepped]]:
        """Join the identity that an account has already: a code, and the step it caused."""
        codes: list[str] = []

        def act(half: Identified, step: HalfStep) -> None:
            codes.append(half.recover(step, order.secret))

        code, steps = self._identified(order.account, order.network, act)
        return (code if code != "ok" else codes[0]), steps

    def _identified(
        self, account_id: str, network: str, act: Callable[[Identified, HalfStep], None]
    ) -> tuple[str, list[Stepped]]:
        """One step of a half whose network has identities; a code other than `ok` when there is none."""
        account = self.accounts.get(account_id)
        if account is None:
            return "unknown-account", []
        half: object = self.halves.get(network)
        if network not in account.policy.far_addresses or not isinstance(half, Identified):
            return "unknown-network", []
        stepped = self._emitted(account, account.order(network, lambda step: act(half, step)))
        return stepped.refused or "ok", [stepped]

    def verify(self, order: control.Verify) -> tuple[control.VerificationTold, list[Stepped]]:
        """The operator's part in the verification of a contact: how it stands then, and the step it caused."""
        account = self.accounts.get(order.account)
        contact = account.policy.contact_by_id(order.contact) if account else None
        half: object = self.halves.get(order.network)
        if account is None or contact is None or contact.network != order.network or not isinstance(half, Verifying):
            code = "unknown-account" if account is None else "unknown-contact"
            return control.VerificationTold(nonce=order.nonce, code=code, state="none", way="none"), []
        told: list[tuple[str, Shown]] = []

        def act(step: HalfStep) -> None:
            told.append(half.verification(step, contact, order.action, order.compared))

        stepped = self._emitted(account, account.order(order.network, act))
        code, shown = (stepped.refused, Shown("none")) if stepped.refused is not None else told[0]
        values = {**asdict(shown), "cancelled": shown.code, "nonce": order.nonce, "code": code}
        values |= {"mark": shown.mark or None, "scan": shown.scan.hex() or None}
        del values["words"]  # the command has them
        return control.VerificationTold.model_validate(values), [stepped]

    def status(self, nonce: int) -> control.Status:
        """How all loaded legs stand."""
        totals: dict[str, int] = {}
        for account in self.accounts.values():
            for code, count in account.counters.items():
                totals[code] = totals.get(code, 0) + count
        legs = [(account, leg) for account in self.accounts.values() for leg in account.status()]
        for _, leg in legs:
            for code, count in undecryptable(leg).items():
                totals[code] = totals.get(code, 0) + count
        return control.Status(
            nonce=nonce,
            legs=tuple(
                control.Leg(
                    account=account.policy.id,
                    contact=leg.contact,
                    network=leg.network,
                    assurance=leg.assurance.value,
                    state=leg.state,
                    verified=leg.verified,
                    sas=leg.sas,
                    sas_bound=leg.sas_bound,
                    peer=leg.peer,
                    waiting=leg.waiting,
                    identity=_told(leg.identity),
                    proof=_proof(leg.proof),
                    device=_device(leg.device),
                )
                for account, leg in legs
            ),
            counters=tuple(control.Counter(code=code, count=count) for code, count in sorted(totals.items())),
            unloaded=tuple(sorted(self.maps.keys() - self.accounts.keys())),
            identities=tuple(
                control.OwnIdentity.model_validate({**asdict(own), "account": account.policy.id})
                for account in self.accounts.values()
                for own in account.identities()
            ),
        )
