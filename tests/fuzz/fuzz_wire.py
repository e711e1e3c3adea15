"""Fuzz target: everything that may arrive on one of the six channels."""

import contextlib
import sys

from bridge.wire import codec
from bridge.wire.framing import Deframer, FrameError
from bridge.wire.permit import Channel, Violation, Warden

DIRECTIONS = (
    (codec.TO_ENCLAVE, Channel.ENCLAVE_FROM_GATEWAY),
    (codec.FROM_ENCLAVE, Channel.GATEWAY_FROM_ENCLAVE),
    (codec.TO_ENCLAVE_CONTROL, Channel.ENCLAVE_FROM_SUPERVISOR),
    (codec.FROM_ENCLAVE_CONTROL, Channel.SUPERVISOR_FROM_ENCLAVE),
    (codec.TO_GATEWAY_CONTROL, Channel.GATEWAY_FROM_SUPERVISOR),
    (codec.FROM_GATEWAY_CONTROL, Channel.SUPERVISOR_FROM_GATEWAY),
)


def target(data: bytes) -> None:
    """Only the declared refusals may come of it, whatever the octets are."""
    for direction, channel in DIRECTIONS:
        with contextlib.suppress(codec.MalformedFrame):
            direction.decode(data)
        warden = Warden(channel)
        with contextlib.suppress(FrameError, codec.MalformedFrame, Violation):
            for payload in Deframer().feed(data):
                warden.admit(direction.decode(payload))


def main() -> None:
    """Run under atheris."""
    import atheris

    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
