"""Frames <-> models, one closed union per channel and direction.

pydantic keeps rejected input in its errors and in the exception context. The codec raises its own coded error
after it has left the `except` block, so that neither a traceback nor a log of it can hold what was sent.
"""

import contextlib
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from bridge.wire import control, gateway_control, link
from bridge.wire.framing import frame
from bridge.wire.values import Strict

M = TypeVar("M", bound=Strict)


class MalformedFrame(Exception):
    """The payload is not one of the models that may come this way."""

    def __init__(self) -> None:
        super().__init__("a frame did not have the form that this channel permits")


class Codec(Generic[M]):
    """One direction of one channel."""

    def __init__(self, union: Any) -> None:
        self._adapter: TypeAdapter[M] = TypeAdapter(union)

    def encode(self, model: M) -> bytes:
        """The framed model. Raises FrameError when it is over the cap."""
        return frame(self._adapter.dump_json(model, exclude_defaults=False))

    def decode(self, payload: bytes) -> M:
        """The model in a payload. Raises MalformedFrame, without a trace of the payload."""
        model: M | None = None
        with contextlib.suppress(ValidationError, ValueError, RecursionError):
            model = self._adapter.validate_json(payload)
        if model is None:
            raise MalformedFrame
        return model


TO_ENCLAVE: Codec[link.Hello | link.Restore | link.Evict | link.Input | link.Committed] = Codec(link.ToEnclave)
FROM_ENCLAVE: Codec[link.Ready | link.Restored | link.Stepped] = Codec(link.FromEnclave)
TO_ENCLAVE_CONTROL: Codec[
    control.EnclaveConfigure
    | control.EnclaveRemap
    | control.AskStatus
    | control.TrustDecision
    | control.ShowRecoveryKey
    | control.Recover
    | control.Verify
] = Codec(control.ToEnclaveControl)
FROM_ENCLAVE_CONTROL: Codec[
    control.Locked
    | control.Configured
    | control.Status
    | control.Decided
    | control.RecoveryKeyShown
    | control.VerificationTold
] = Codec(control.FromEnclaveControl)
TO_GATEWAY_CONTROL: Codec[
    gateway_control.GatewayServe
    | gateway_control.LinkFollows
    | gateway_control.GatewayRemap
    | gateway_control.Drain
    | gateway_control.ReleaseParked
    | gateway_control.AskGateway
] = Codec(gateway_control.ToGatewayControl)
FROM_GATEWAY_CONTROL: Codec[
    gateway_control.Serving
    | gateway_control.Refusing
    | gateway_control.Health
    | gateway_control.Drained
    | gateway_control.GatewayStatus
    | gateway_control.Released
] = Codec(gateway_control.FromGatewayControl)
