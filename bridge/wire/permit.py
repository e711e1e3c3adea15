"""The permit table: which request may come on which channel in which phase. Anything else ends the channel."""

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType

from bridge.wire import control, gateway_control, link
from bridge.wire.values import Strict


class Channel(Enum):
    """A channel, named by who reads it and whom it comes from."""

    ENCLAVE_FROM_GATEWAY = "enclave reads the link"
    GATEWAY_FROM_ENCLAVE = "gateway reads the link"
    ENCLAVE_FROM_SUPERVISOR = "enclave reads its control channel"
    SUPERVISOR_FROM_ENCLAVE = "supervisor reads the enclave's control channel"
    GATEWAY_FROM_SUPERVISOR = "gateway reads its control channel"
    SUPERVISOR_FROM_GATEWAY = "supervisor reads the gateway's control channel"


class Phase(Enum):
    """How far a channel has come."""

    FRESH = "nothing was said yet"
    LOCKED = "the enclave reported its lockdown"
    OPEN = "the opening is done"
    CLOSING = "the last word was said"


class Violation(Exception):
    """A request that is not permitted now. The reader closes the channel."""

    def __init__(self, channel: Channel, phase: Phase, request: str) -> None:
        super().__init__("a request came on a channel that does not permit it now")
        self.channel = channel
        self.phase = phase
        self.request = request


Permits = Mapping[type[Strict], Phase]
"""The permitted requests, each with the phase that follows it."""


def _stay(phase: Phase, *requests: type[Strict]) -> dict[type[Strict], Phase]:
    return dict.fromkeys(requests, phase)


PERMITTED: Mapping[tuple[Channel, Phase], Permits] = MappingProxyType(
    {
        (Channel.ENCLAVE_FROM_GATEWAY, Phase.FRESH): {link.Hello: Phase.OPEN},
        (Channel.ENCLAVE_FROM_GATEWAY, Phase.OPEN): _stay(
            Phase.OPEN, link.Restore, link.Evict, link.Input, link.Committed
        ),
        (Channel.GATEWAY_FROM_ENCLAVE, Phase.FRESH): {link.Ready: Phase.OPEN},
        (Channel.GATEWAY_FROM_ENCLAVE, Phase.OPEN): _stay(Phase.OPEN, link.Restored, link.Stepped),
        (Channel.ENCLAVE_FROM_SUPERVISOR, Phase.FRESH): {control.EnclaveConfigure: Phase.OPEN},
        (Channel.ENCLAVE_FROM_SUPERVISOR, Phase.OPEN): _stay(
            Phase.OPEN,
            control.EnclaveRemap,
            control.AskStatus,
            control.TrustDecision,
            control.ShowRecoveryKey,
            control.Recover,
            control.Verify,
        ),
        (Channel.SUPERVISOR_FROM_ENCLAVE, Phase.FRESH): {control.Locked: Phase.LOCKED},
        (Channel.SUPERVISOR_FROM_ENCLAVE, Phase.LOCKED): {control.Configured: Phase.OPEN},
        (Channel.SUPERVISOR_FROM_ENCLAVE, Phase.OPEN): _stay(
            Phase.OPEN,
            control.Configured,
            control.Status,
            control.Decided,
            control.RecoveryKeyShown,
            control.VerificationTold,
        ),
        (Channel.GATEWAY_FROM_SUPERVISOR, Phase.FRESH): {gateway_control.GatewayServe: Phase.OPEN},
        (Channel.GATEWAY_FROM_SUPERVISOR, Phase.OPEN): {
            **_stay(
                Phase.OPEN,
                gateway_control.LinkFollows,
                gateway_control.GatewayRemap,
                gateway_control.ReleaseParked,
                gateway_control.AskGateway,
            ),
            gateway_control.Drain: Phase.CLOSING,
        },
        (Channel.GATEWAY_FROM_SUPERVISOR, Phase.CLOSING): _stay(
            Phase.CLOSING, gateway_control.LinkFollows, gateway_control.AskGateway
        ),
        (Channel.SUPERVISOR_FROM_GATEWAY, Phase.FRESH): {
            gateway_control.Serving: Phase.OPEN,
            gateway_control.Health: Phase.FRESH,
            gateway_control.GatewayStatus: Phase.FRESH,
            gateway_control.Refusing: Phase.CLOSING,
            gateway_control.Drained: Phase.CLOSING,
        },
        (Channel.SUPERVISOR_FROM_GATEWAY, Phase.OPEN): {
            **_stay(Phase.OPEN, gateway_control.Health, gateway_control.GatewayStatus, gateway_control.Released),
            gateway_control.Refusing: Phase.CLOSING,
            gateway_control.Drained: Phase.CLOSING,
        },
        (Channel.SUPERVISOR_FROM_GATEWAY, Phase.CLOSING): _stay(
            Phase.CLOSING, gateway_control.Health, gateway_control.GatewayStatus, gateway_control.Released
        ),
    }
)


class Warden:
    """Keeps the phase of one channel and admits what is permitted in it."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.phase = Phase.FRESH

    def admit(self, request: Strict) -> None:
        """Move on to the phase that follows the request. Raises Violation when it is not permitted now."""
        following = PERMITTED.get((self.channel, self.phase), {}).get(type(request))
        if following is None:
            raise Violation(self.channel, self.phase, type(request).__name__)
        self.phase = following
