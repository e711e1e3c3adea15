"""The enclave's only I/O: it waits on two descriptors, reads frames, and writes what the chamber answers."""

import os
import select
from collections.abc import Sequence

from bridge.wire import control, link
from bridge.wire.codec import (
    FROM_ENCLAVE,
    FROM_ENCLAVE_CONTROL,
    TO_ENCLAVE,
    TO_ENCLAVE_CONTROL,
    MalformedFrame,
)
from bridge.wire.framing import Deframer, FrameError
from bridge.wire.permit import Channel, Violation, Warden
from crypto.enclave.chamber import Chamber, Misuse
from crypto.enclave.register import Register
from crypto.enclave.run import Halves
from crypto.host import Host

READ = 256 << 10
CHANNEL_ENDED = (MalformedFrame, FrameError, Violation, Misuse, BrokenPipeError, ConnectionResetError)


class Ended(Exception):
    """The other end of a channel is gone."""


Word = (
    control.Locked
    | control.Configured
    | control.Status
    | control.Decided
    | control.RecoveryKeyShown
    | control.VerificationTold
)
Order = (
    control.EnclaveRemap
    | control.AskStatus
    | control.TrustDecision
    | control.ShowRecoveryKey
    | control.Recover
    | control.Verify
)


class Pipe:
    """One channel: a descriptor with its deframer and warden."""

    def __init__(self, descriptor: int, channel: Channel) -> None:
        self.descriptor = descriptor
        self.warden = Warden(channel)
        self._frames = Deframer()

    def read(self) -> list[bytes]:
        """The payloads that are whole after one read. Raises Ended, FrameError."""
        data = os.read(self.descriptor, READ)
        if not data:
            raise Ended
        return self._frames.feed(data)

    def write(self, data: bytes | bytearray) -> None:
        """Write everything; waits when the reader is slow."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self.descriptor, rest) :]


class Loop:
    """Serves the two channels until one of them ends or is violated."""

    def __init__(self, link_fd: int, control_fd: int, register: Register, halves: Halves, host: Host) -> None:
        self._link = Pipe(link_fd, Channel.ENCLAVE_FROM_GATEWAY)
        self._control = Pipe(control_fd, Channel.ENCLAVE_FROM_SUPERVISOR)
        self._register = register
        self._halves = halves
        self._host = host
        self._chamber: Chamber | None = None

    def say(self, word: Word) -> None:
        """Tell the supervisor."""
        self._control.write(FROM_ENCLAVE_CONTROL.encode(word))

    def serve(self) -> int:
        """Run until a channel ends (status 0) or is violated (status 4)."""
        poll = select.poll()
        poll.register(self._control.descriptor, select.POLLIN)
        try:
            while True:
                ready = {descriptor for descriptor, _ in poll.poll()}
                if self._control.descriptor in ready:
                    self._read_control()
                    if self._chamber is not None:
                        # Nothing of the gateway's is read before the map is known.
                        poll.register(self._link.descriptor, select.POLLIN)
                if self._link.descriptor in ready and self._chamber is not None:
                    self._read_link(self._chamber)
        except Ended:
            return 0
        except CHANNEL_ENDED:
            return 4

    def _read_control(self) -> None:
        for payload in self._control.read():
            order = TO_ENCLAVE_CONTROL.decode(payload)
            self._control.warden.admit(order)
            match order:
                case control.EnclaveConfigure():
                    self._chamber = Chamber(
                        self._halves,
                        self._host,
                        self._register,
                        order.sealing_key,
                        {account.id: account for account in order.accounts},
                    )
                    self.say(control.Configured())
                case _ if self._chamber is not None:
                    self._obey(self._chamber, order)

    def _obey(self, chamber: Chamber, order: Order) -> None:
        match order:
            case control.EnclaveRemap():
                self._emit(chamber.remap(order.accounts))
                self.say(control.Configured())
            case control.AskStatus():
                self.say(chamber.status(order.nonce))
            case control.TrustDecision():
                code, steps = chamber.decide(order)
                self._emit(steps)
                self.say(control.Decided(nonce=order.nonce, code=code))
            case control.ShowRecoveryKey():
                code, key, steps = chamber.show_recovery_key(order)
                self._emit(steps)
                self.say(control.RecoveryKeyShown(nonce=order.nonce, code=code, key=key))
            case control.Recover():
                code, steps = chamber.recover(order)
                self._emit(steps)
                self.say(control.Decided(nonce=order.nonce, code=code))
            case control.Verify():
                told, steps = chamber.verify(order)
                self._emit(steps)
                self.say(told)

    def _read_link(self, chamber: Chamber) -> None:
        for payload in self._link.read():
            request = TO_ENCLAVE.decode(payload)
            self._link.warden.admit(request)
            self._emit(chamber.from_gateway(request))

    def _emit(self, answers: Sequence[link.Ready | link.Restored | link.Stepped]) -> None:
        for answer in answers:
            self._link.write(FROM_ENCLAVE.encode(answer))
