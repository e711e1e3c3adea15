"""The gateway's post: what it takes to start a gateway and to bring it to work."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable
from time import monotonic
from typing import Final

from adapters.registry import BUILTIN
from bridge.audit import Event, log
from bridge.channel import ChannelEnded, ControlChannel
from bridge.config.handover import gateway_serve, route_maps
from bridge.config.networks import NEAR_NETWORK
from bridge.keeping import Fatal, State
from bridge.spawn import ENCLAVE, GATEWAY, Child
from bridge.wire import gateway_control
from bridge.wire.codec import FROM_GATEWAY_CONTROL, TO_GATEWAY_CONTROL
from bridge.wire.permit import Channel

ANSWER_WITHIN_S: Final = 5.0
REFUSALS_WITHIN_S: Final = 5.0
"""How long a first gateway's refusals are retried: the one of a supervisor that was killed may be ending still."""
EXIT_GATEWAY: Final = 1

ToGateway = (
    gateway_control.GatewayServe
    | gateway_control.LinkFollows
    | gateway_control.GatewayRemap
    | gateway_control.Drain
    | gateway_control.ReleaseParked
    | gateway_control.AskGateway
)
FromGateway = (
    gateway_control.Serving
    | gateway_control.Refusing
    | gateway_control.Health
    | gateway_control.Drained
    | gateway_control.GatewayStatus
    | gateway_control.Released
)

_log = log("supervisor")


def _printable(sentence: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in sentence)


class GatewayPost:
    """The gateway's."""

    role = GATEWAY

    def __init__(self, state: State, got_ready: Callable[[], None]) -> None:
        self.restarts = 0
        self.ready = False
        self.child: Child | None = None
        self.health: dict[tuple[str, str | None], gateway_control.Health] = {}
        self._state = state
        self._got_ready = got_ready
        self._channel: ControlChannel[ToGateway, FromGateway] | None = None
        self._link: tuple[socket.socket, asyncio.Future[Child]] | None = None
        self._refused = ""
        self._served_once = False
        self._began_s = monotonic()
        self._drained = asyncio.Event()

    # -------------------------------------------------- the keeper's
    async def begin(self) -> Child:
        """Start a gateway, tell it what to serve, and give it the enclave link that waits for it."""
        ours, theirs = socket.socketpair()
        self._refused = ""
        self.health.clear()
        self._drained.clear()
        arguments = ["--control-fd", str(theirs.fileno()), "--parent", str(os.getpid())]
        self.child = child = Child(GATEWAY, arguments, [theirs])
        side = Channel.SUPERVISOR_FROM_GATEWAY
        channel = ControlChannel[ToGateway, FromGateway](
            ours, TO_GATEWAY_CONTROL, FROM_GATEWAY_CONTROL, side=side, heard=self._hear, broken=self.kill
        )
        _log.info(Event.STARTED, process=GATEWAY, pid=child.pid)
        with contextlib.suppress(ChannelEnded):
            loaded = self._state()[0]
            await channel.send(gateway_serve(loaded))
            self._channel = channel
            if (now := self._state()[0]) is not loaded:  # the operator changed the map meanwhile
                await self.remap(gateway_control.GatewayRemap(accounts=route_maps(now.config, now.secrets)))
            await self._pass_link()
        return child

    async def ended(self, child: Child, status: int) -> bool:
        """Forget it. Raises Fatal when the first gateway refuses to serve, and goes on refusing."""
        self.ready = False
        if self._channel is not None:
            if self._channel.violated:
                _log.error(Event.CHANNEL_VIOLATED, process=GATEWAY)
            self._channel.close()
            self._channel = None
        if self._refused and not self._served_once and monotonic() - self._began_s > REFUSALS_WITHIN_S:
            raise Fatal(EXIT_GATEWAY)
        return False

    def _hear(self, word: FromGateway) -> None:
        match word:
            case gateway_control.Serving():
                self.ready = self._served_once = True
                self._got_ready()
            case gateway_control.Refusing():
                self._refused = _printable(word.detail)
                _log.error(Event.GATEWAY_REFUSED, detail=self._refused)
            case gateway_control.Health():
                self._note(word)
            case gateway_control.Drained():
                self._drained.set()
            case _:
                pass

    def _note(self, word: gateway_control.Health) -> None:
        """Keep the last word on a connection: only on those there are, for the gateway may be anybody's."""
        config = self._state()[0].config
        known = word.account is None or word.account in config.accounts
        if known and word.network in {NEAR_NETWORK, ENCLAVE, *BUILTIN, *config.adapters}:
            self.health[word.network, word.account] = word

    # -------------------------------------------------- the enclave link
    async def attach(self, link: socket.socket) -> asyncio.Future[Child]:
        """Give the gateway its end of a new enclave link, now or when there is a gateway: it is the result."""
        self._drop_link()
        taker: asyncio.Future[Child] = asyncio.get_running_loop().create_future()
        self._link = (link, taker)
        await self._pass_link()
        return taker

    async def _pass_link(self) -> None:
        if self._channel is None or self.child is None or self._link is None:
            return
        (link, taker), self._link = self._link, None
        taker.set_result(self.child)
        with contextlib.suppress(ChannelEnded), link:
            # Closed here in any case: the enclave must see the end of the link when the gateway ends.
            await self._channel.send(gateway_control.LinkFollows(), link.fileno())

    def _drop_link(self) -> None:
        if self._link is not None:
            link, taker = self._link
            link.close()
            taker.cancel()

    # -------------------------------------------------- the operator's
    async def remap(self, order: gateway_control.GatewayRemap) -> None:
        """Pass a new map on. A gateway that is not there gets it when it starts."""
        if self._channel is not None:
            with contextlib.suppress(ChannelEnded):
                await self._channel.send(order)

    async def status(self) -> gateway_control.GatewayStatus | None:
        """How it stands; None when it does not say."""
        if self._channel is not None and self.ready:
            with contextlib.suppress(ChannelEnded):
                answer = await self._channel.ask(lambda nonce: gateway_control.AskGateway(nonce=nonce), ANSWER_WITHIN_S)
                return answer if isinstance(answer, gateway_control.GatewayStatus) else None
        return None

    async def release(self, positions: tuple[int, ...]) -> int | None:
        """Have parked inputs tried again; returns how many there were, None when it does not say."""
        if self._channel is not None and self.ready:
            with contextlib.suppress(ChannelEnded):
                answer = await self._channel.ask(
                    lambda nonce: gateway_control.ReleaseParked(nonce=nonce, positions=positions), ANSWER_WITHIN_S
                )
                return answer.count if isinstance(answer, gateway_control.Released) else None
        return None

    # -------------------------------------------------- the end
    async def drain(self, within_s: float) -> None:
        """Have it finish what is there; returns when it has, has ended, or the time is over."""
        if self._channel is None or self.child is None or not self.ready:
            return
        with contextlib.suppress(ChannelEnded):
            await self._channel.send(gateway_control.Drain(within_ms=int(within_s * 1000)))
            drained = asyncio.create_task(self._drained.wait())
            waiting: list[asyncio.Future[int] | asyncio.Task[bool]] = [drained, self.child.ended]
            await asyncio.wait(waiting, timeout=within_s + 2.0, return_when=asyncio.FIRST_COMPLETED)
            drained.cancel()

    async def end(self, within_s: float) -> None:
        """Have it end."""
        if self.child is not None:
            if not self.ready:
                self.child.signal(signal.SIGTERM)
            await self.child.end(within_s)

    def kill(self) -> None:
        """End it at once."""
        if self.child is not None:
            self.child.signal(signal.SIGKILL)
