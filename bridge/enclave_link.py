"""The gateway's end of the enclave link: frames out, permitted frames in, and the word that it is lost."""

import asyncio
import socket
from collections.abc import Callable, Iterable

from bridge.wire.codec import FROM_ENCLAVE, TO_ENCLAVE, MalformedFrame
from bridge.wire.framing import Deframer, FrameError
from bridge.wire.link import Committed, Evict, Hello, Input, Ready, Restore, Restored, Stepped
from bridge.wire.permit import Channel, Violation, Warden

ToEnclave = Hello | Restore | Evict | Input | Committed
FromEnclave = Ready | Restored | Stepped


class EnclaveLink(asyncio.Protocol):
    """One link. `lost` is set once, whoever ended it; `reason` then says why (a word for logs and counters)."""

    def __init__(self, received: Callable[[FromEnclave], None]) -> None:
        self.lost = asyncio.Event()
        self.reason = ""
        self._received = received
        self._deframer = Deframer()
        self._warden = Warden(Channel.GATEWAY_FROM_ENCLAVE)
        self._transport: asyncio.Transport | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    @classmethod
    async def over(cls, sock: socket.socket, received: Callable[[FromEnclave], None]) -> "EnclaveLink":
        """A link over a connected stream socket, which it owns from now on."""
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        _, link = await loop.create_connection(lambda: cls(received), sock=sock)
        return link

    def send(self, frames: Iterable[ToEnclave]) -> None:
        """Write frames, in one go; nothing happens when the link is lost. Raises FrameError for one over the cap."""
        data = b"".join([TO_ENCLAVE.encode(frame) for frame in frames])
        if self._transport is not None and not self.lost.is_set():
            self._transport.write(data)

    async def writable(self) -> None:
        """Return when the far end has room again, or the link is lost."""
        await self._writable.wait()

    def close(self, reason: str) -> None:
        """End the link: the enclave sees the end of its input and exits."""
        self._end(reason)
        if self._transport is not None:
            self._transport.abort()

    def _end(self, reason: str) -> None:
        if not self.lost.is_set():
            self.reason = reason
            self.lost.set()
        self._writable.set()

    # -------------------------------------------------- asyncio.Protocol
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The transport is there."""
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(high=4 << 20)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Cut, decode and admit; anything else than what is permitted ends the link."""
        violation = ""
        try:
            for payload in self._deframer.feed(data):
                frame = FROM_ENCLAVE.decode(payload)
                self._warden.admit(frame)
                if not self.lost.is_set():
                    self._received(frame)
        except (FrameError, MalformedFrame, Violation):
            violation = "enclave-violation"
        if violation:
            self.close(violation)

    def connection_lost(self, exc: Exception | None) -> None:
        """The enclave is gone, or we closed."""
        self._end("enclave-gone")

    def pause_writing(self) -> None:
        """The far end is behind."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """The far end caught up."""
        self._writable.set()
