"""An account in memory, and the step function: `step(state, input) -> effects`, all or nothing."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from adapters.inside_api import AccountPolicy, Identified, LegStatus, OwnIdentity
from bridge.wire.link import Input, Report, Stepped
from crypto.enclave.run import HalfStep, Halves, Run
from crypto.enclave.vault import MAX_CHANGES, MAX_STATE, Scope, Vault
from crypto.host import Host

_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
Order = Callable[[HalfStep], None]


def refusal_code(error: BaseException) -> str:
    """A code for an error that nobody expected: its class, never its text."""
    return f"raised-{_WORD.sub('-', type(error).__name__).lower()}".replace("_", "-")[:48]


@dataclass(slots=True)
class Account:
    """One account: the unit of ordering, of sealing, of commit."""

    policy: AccountPolicy
    slot: int
    vault: Vault
    halves: Halves
    host: Host
    began: int = 0
    """Number of the step that it was brought in with."""
    counters: dict[str, int] = field(default_factory=dict)

    def networks(self) -> tuple[str, ...]:
        """The near network and those of the contacts and of the user's own far addresses."""
        far = {contact.network for contact in self.policy.contacts} | set(self.policy.far_addresses)
        return (self.policy.near_network, *sorted(far))

    def take(self, entry: Input) -> Stepped:
        """The step that an inbox entry causes. An error leaves the old state and refuses the entry."""
        if entry.network not in self.networks():
            return self._refused(entry.position, "unknown-network")

        def dispatch(step: HalfStep) -> None:
            match entry.source:
                case "arrival":
                    step.half.arrived(step, entry)
                case "answer":
                    step.half.answered(step, entry)
                case "wake":
                    step.half.woken(step, entry.name)

        return self.order(entry.network, dispatch, position=entry.position, most=MAX_STATE)

    def start(self, *, resumed: bool) -> Stepped:
        """The step with which every half begins, far networks first."""

        # Sending keys of a network that is off the map now are retired with the others: it may come back.
        others = () if resumed else tuple(sorted(self.halves.keys() - set(self.networks())))

        def begin(step: HalfStep) -> None:
            step.run.held = []
            for network in (*others, *reversed(self.networks())):
                part = step.run.half_step(network)
                if network not in others or any(True for _ in part.records.names("")):
                    part.half.started(part, resumed=resumed)
            step.run.begun()

        return self.order(self.policy.near_network, begin)

    def order(self, network: str, order: Order, *, position: int = 0, most: int | None = None) -> Stepped:
        """Carry out an order as one step of one half. `most`: what the account's state may grow to."""
        run = Run(self.policy, self.vault, self.halves, self.host, position, self.host.now_ms())
        code: str | None = None
        try:
            order(run.half_step(network))
            remembers = tuple(self.vault.commit(room=MAX_CHANGES - run.effects.octets(), most=most))
        except BaseException as error:  # the old state stands, also when a library panicked: that is no Exception
            code = refusal_code(error)
        if code is not None:
            self.vault.revert()
            return self._refused(position, code)
        effects = run.effects
        self._count(effects.reports)
        return Stepped(
            position=position,
            account=self.policy.id,
            step=self.vault.step,
            carries=tuple(effects.carries),
            remembers=remembers,
            wakes=tuple(effects.wakes.values()),
            reports=tuple(effects.reports),
            traces=tuple(effects.traces),
        )

    def _refused(self, position: int, code: str) -> Stepped:
        report = Report(code=code)
        self._count([report])
        return Stepped(position=position, account=self.policy.id, step=self.vault.step, reports=(report,), refused=code)

    def _count(self, reports: list[Report]) -> None:
        for report in reports:
            self.counters[report.code] = self.counters.get(report.code, 0) + report.count

    def status(self) -> list[LegStatus]:
        """How the account's legs stand."""
        return [
            leg
            for network in self.networks()
            for leg in self.halves[network].status(Scope(self.vault, f"{network}/"), self.policy)
        ]

    def identities(self) -> list[OwnIdentity]:
        """The account's own identities, on networks that have such."""
        return [
            half.own_identity(Scope(self.vault, f"{network}/"), self.policy)
            for network, half in self._halves()
            if network in self.policy.far_addresses and isinstance(half, Identified)
        ]

    def _halves(self) -> list[tuple[str, object]]:
        return [(network, self.halves[network]) for network in self.networks()]
