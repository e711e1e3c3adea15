"""An enclave without cryptography, for tests and measurements of the gateway's side of the link."""

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass, field

from bridge.wire.codec import FROM_ENCLAVE, TO_ENCLAVE
from bridge.wire.framing import Deframer
from bridge.wire.link import (
    Carry,
    Committed,
    Evict,
    Hello,
    Input,
    Ready,
    Remember,
    Restore,
    Restored,
    SealedRecord,
    Stepped,
    Trace,
)
from bridge.wire.values import Address, Sealed, Values

ToEnclave = Hello | Restore | Evict | Input | Committed
FromEnclave = Ready | Restored | Stepped
Respond = Callable[["FakeEnclave", Input], list[FromEnclave]]


def forward(enclave: "FakeEnclave", entry: Input) -> list[FromEnclave]:
    """A stanza is sent on to the loopback network; what comes back from there and answers are noted."""
    enclave.steps[entry.account] += 1
    step = enclave.steps[entry.account]
    carries: tuple[Carry, ...] = ()
    traces: tuple[Trace, ...] = ()
    if entry.source == "arrival" and entry.name == "stanza":
        values: Values = {"to": Address(v="bob@example.org"), "body": Sealed(v=entry.body)}
        carries = (
            Carry(
                key=f"k{entry.position}",
                network="loopback",
                request="echo",
                lane="lane",
                values=values,
                trace=entry.position,
            ),
        )
        traces = (Trace(position=entry.position, stage="opened"), Trace(position=entry.position, stage="sealed"))
    remembers = (Remember(name="root", version=step, sealed=b"step %d" % step),)
    return [
        Stepped(
            position=entry.position,
            account=entry.account,
            step=step,
            carries=carries,
            remembers=remembers,
            traces=traces,
        )
    ]


@dataclass
class FakeEnclave:
    """One life of an enclave; run `serve` with its end of the link."""

    respond: Respond = forward
    unacceptable: frozenset[str] = frozenset()
    steps: dict[str, int] = field(default_factory=dict)
    inputs: list[Input] = field(default_factory=list)
    committed: dict[str, int] = field(default_factory=dict)
    restores: list[Restore] = field(default_factory=list)
    evicted: list[str] = field(default_factory=list)
    paused: asyncio.Event | None = None
    """Handle nothing before this is set."""

    def take(self, frame: ToEnclave) -> list[FromEnclave]:
        """The answers to a frame."""
        if isinstance(frame, Hello):
            return [Ready(version=1)]
        if isinstance(frame, Restore):
            return self._restore(frame)
        if isinstance(frame, Input):
            assert frame.account in self.steps, "an input came before its account's state"
            self.inputs.append(frame)
            return self.respond(self, frame)
        if isinstance(frame, Committed):
            self.committed[frame.account] = frame.step
        elif isinstance(frame, Evict):
            self.evicted.append(frame.account)
            del self.steps[frame.account]
        return []

    def _restore(self, frame: Restore) -> list[FromEnclave]:
        assert frame.account not in self.steps
        self.restores.append(frame)
        if not frame.last:
            return []
        if frame.account in self.unacceptable:
            return [Restored(account=frame.account, code="edited")]
        records: list[SealedRecord] = [r for f in self.restores if f.account == frame.account for r in f.records]
        self.steps[frame.account] = max((r.version for r in records), default=0)
        return [Restored(account=frame.account, code="ok")]

    async def serve(self, sock: socket.socket) -> None:
        """Serve until the link ends."""
        sock.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=sock)
        deframer = Deframer()
        try:
            while data := await reader.read(1 << 18):
                for payload in deframer.feed(data):
                    if self.paused is not None:
                        await self.paused.wait()
                    for answer in self.take(TO_ENCLAVE.decode(payload)):
                        writer.write(FROM_ENCLAVE.encode(answer))
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()
