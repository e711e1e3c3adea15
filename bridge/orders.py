"""The gateway's end of its control channel: orders in (some with a descriptor), reports out."""

import asyncio
import os
import socket
from collections import deque
from typing import Final

from bridge.wire.codec import FROM_GATEWAY_CONTROL, TO_GATEWAY_CONTROL, MalformedFrame
from bridge.wire.framing import Deframer, FrameError
from bridge.wire.gateway_control import (
    AskGateway,
    Drain,
    Drained,
    GatewayRemap,
    GatewayServe,
    GatewayStatus,
    Health,
    LinkFollows,
    Refusing,
    Released,
    ReleaseParked,
    Serving,
)
from bridge.wire.permit import Channel, Violation, Warden

Order = GatewayServe | GatewayRemap | Drain | ReleaseParked | AskGateway
Report = Serving | Refusing | Health | Drained | GatewayStatus | Released
_READ: Final = 1 << 16
_DESCRIPTORS: Final = 4


class Orders:
    """Reads with `recvmsg`, since a new enclave link comes as a descriptor beside the octets."""

    def __init__(self, sock: socket.socket) -> None:
        """Take over a connected stream socket; call inside the running loop."""
        sock.setblocking(False)
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._deframer = Deframer()
        self._warden = Warden(Channel.GATEWAY_FROM_SUPERVISOR)
        self._announced = 0
        self._orders: asyncio.Queue[Order | socket.socket | None] = asyncio.Queue()
        self._out: deque[bytes] = deque()
        self._sent = asyncio.Event()
        self._sent.set()
        self._loop.add_reader(sock, self._readable)

    async def next(self) -> Order | socket.socket | None:
        """The next order; a socket is a new enclave link; None means that the supervisor is gone."""
        return await self._orders.get()

    def tell(self, report: Report) -> None:
        """Send a report, after those before it."""
        self._out.append(FROM_GATEWAY_CONTROL.encode(report))
        if self._sent.is_set():
            self._sent.clear()
            self._loop.add_writer(self._sock, self._writable)

    async def told(self) -> None:
        """Return when all reports are handed to the kernel, or cannot be."""
        await self._sent.wait()

    def close(self) -> None:
        """Read and write no more."""
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        self._sent.set()
        self._sock.close()

    # -------------------------------------------------- reading
    def _readable(self) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._sock, _READ, _DESCRIPTORS)
        except BlockingIOError:
            return
        except OSError:
            data, descriptors = b"", []
        if not data:
            self._gone()
            return
        # A read ends behind the octet that a descriptor came with: that octet is its last.
        octets = data[:-1] if descriptors else data
        try:
            for payload in self._deframer.feed(octets):
                self._admit(payload)
        except (FrameError, MalformedFrame, Violation):
            self._gone()
        for descriptor in descriptors:
            self._link(descriptor)

    def _admit(self, payload: bytes) -> None:
        order = TO_GATEWAY_CONTROL.decode(payload)
        self._warden.admit(order)
        if isinstance(order, LinkFollows):
            self._announced += 1
        else:
            self._orders.put_nowait(order)

    def _link(self, descriptor: int) -> None:
        if self._announced == 0:
            os.close(descriptor)
            self._gone()
            return
        self._announced -= 1
        os.set_inheritable(descriptor, False)
        self._orders.put_nowait(socket.socket(fileno=descriptor))

    def _gone(self) -> None:
        self._loop.remove_reader(self._sock)
        self._orders.put_nowait(None)

    # -------------------------------------------------- writing
    def _writable(self) -> None:
        try:
            while self._out:
                sent = self._sock.send(self._out[0])
                if sent < len(self._out[0]):
                    self._out[0] = self._out[0][sent:]
                    return
                self._out.popleft()
        except BlockingIOError:
            return
        except OSError:
            self._out.clear()
        self._loop.remove_writer(self._sock)
        self._sent.set()
