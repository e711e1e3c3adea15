"""The supervisor's end of a control channel: orders out, permitted words in, and the word that it ended."""

import asyncio
import contextlib
import itertools
import socket
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

from bridge.wire.codec import Codec, MalformedFrame
from bridge.wire.framing import Deframer, FrameError
from bridge.wire.permit import Channel, Violation, Warden
from bridge.wire.values import Strict

Order = TypeVar("Order", bound=Strict)
Word = TypeVar("Word", bound=Strict)

READ: Final = 64 << 10
SEND_WITHIN_S: Final = 10.0


class ChannelEnded(Exception):
    """The other process does not read, does not answer, or is gone."""

    def __init__(self) -> None:
        super().__init__("the control channel has ended")


class ControlChannel(Generic[Order, Word]):
    """One control channel. `violated` says that it ended because of what came over it."""

    def __init__(
        self,
        sock: socket.socket,
        orders: Codec[Any],
        words: Codec[Any],
        *,
        side: Channel,
        heard: Callable[[Word], None],
        broken: Callable[[], None],
    ) -> None:
        """Owns `sock` from now on. `heard` is called with every word that is not an answer to `ask`, `broken` when
        the other process violates the channel or does not read what it is sent."""
        sock.setblocking(False)
        self.violated = False
        self._sock = sock
        self._orders = orders
        self._words = words
        self._heard = heard
        self._broken = broken
        self._warden = Warden(side)
        self._deframer = Deframer()
        self._sending = asyncio.Lock()
        self._nonces = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Word]] = {}
        self._reader = asyncio.create_task(self._read())

    async def send(self, order: Order, descriptor: int | None = None) -> None:
        """Send an order, and with it a descriptor as ancillary data of one more octet. Raises ChannelEnded."""
        data = self._orders.encode(order)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(SEND_WITHIN_S), self._sending:
                await loop.sock_sendall(self._sock, data)
                if descriptor is not None:
                    await self._send_descriptor(descriptor)
            return
        except TimeoutError:
            self._broken()
            self.close()
        except OSError:
            self.close()
        raise ChannelEnded

    async def ask(self, question: Callable[[int], Order], within_s: float) -> Word:
        """Send the question made from a fresh nonce; returns its answer. Raises ChannelEnded."""
        nonce = next(self._nonces)
        answer: asyncio.Future[Word] = asyncio.get_running_loop().create_future()
        self._asked[nonce] = answer
        try:
            await self.send(question(nonce))
            return await asyncio.wait_for(answer, within_s)
        except (TimeoutError, asyncio.CancelledError):
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
        finally:
            del self._asked[nonce]
        raise ChannelEnded

    def close(self) -> None:
        """End the channel; whoever waits for an answer gets ChannelEnded. The reader frees the descriptor."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        for answer in self._asked.values():
            answer.cancel()

    async def _send_descriptor(self, descriptor: int) -> None:
        while True:
            with contextlib.suppress(BlockingIOError):
                socket.send_fds(self._sock, [b"\0"], [descriptor])
                return
            await asyncio.sleep(0.01)

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while data := await loop.sock_recv(self._sock, READ):
                for payload in self._deframer.feed(data):
                    self._take(self._words.decode(payload))
        except (MalformedFrame, FrameError, Violation):
            self.violated = True
            self._broken()
        except OSError:
            pass
        finally:
            self.close()
            async with self._sending:  # the loop must not watch a descriptor that is closed
                self._sock.close()

    def _take(self, word: Word) -> None:
        self._warden.admit(word)
        nonce = getattr(word, "nonce", None)
        if nonce is None:
            self._heard(word)
        elif (answer := self._asked.get(nonce)) is not None and not answer.done():
            answer.set_result(word)
