"""(b) Messages through gateway, ledger and enclave, as `lockgate run` starts them, against stubs on loopback."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from rig.lockgate import Lockgate, Tenant
from rig.prosody import Component, XmppAccount
from rig.synapse import MatrixAccount
from tests.bench.enclave_alone import WINDOW, Rate
from tests.bench.enclave_process import cpu_seconds
from tests.bench.ends import AliceEnd, body_text
from tests.bench.stub_component import StubComponentServer
from tests.bench.stub_homeserver import StubHomeserver
from tests.unit.matrix_world import ALICE, BOB, World

COMPONENT = "gate.example"
PATIENCE_S = 120.0


class WholePath:
    """The processes of `lockgate run` between two stubs."""

    def __init__(self, folder: Path) -> None:
        self.lockgate = Lockgate(folder)
        self.alice = AliceEnd()
        self.world = World()
        self.homeserver = StubHomeserver(self.world)
        self.bob = self.world.join(BOB, "BOBDEV", ALICE)
        self.server = StubComponentServer(COMPONENT, self.alice.jid, self._heard)

    def _heard(self, octets: bytes) -> None:
        opening = octets.index(b">") + 1
        payload = octets[opening : octets.rindex(b"</message>")]
        thread = payload.partition(b"<thread>")[2].partition(b"</thread>")[0].decode()
        if thread != self.alice.thread and not self.alice.active:
            self.alice.thread = thread
        for answer in self.alice.hears(_without_thread(payload)):
            self.server.send(answer)

    async def start(self) -> None:
        """Start everything, and exchange a first message each way."""
        await self.homeserver.start()
        await self.server.start()
        component = Component(jid=COMPONENT, host="127.0.0.1", port=self.server.port, secret="bench")
        url = f"http://127.0.0.1:{self.homeserver.port}"
        xmpp = XmppAccount(self.alice.jid.partition("/")[0], "unused", "127.0.0.1", 1, Path("unused"))
        tenant = Tenant("alice", xmpp, MatrixAccount(ALICE, "unused", url), {"bob": BOB})
        self.lockgate.configure(component, url, [tenant])
        await self.lockgate.begin()
        await self.until(lambda: self.server.greeted)
        for stanza in self.alice.start():
            self.server.send(stanza)
        await self.until(lambda: self.alice.active)
        self.server.send(self.alice.says("first"))
        await self.until(lambda: self.alice.receipts == 1)
        self.world.tell_room()
        self.bob.sends("first")
        self.world.settle()
        await self.until(lambda: self.alice.opened == ["first"])

    async def stop(self) -> None:
        """End the processes."""
        await asyncio.to_thread(self.lockgate.stop)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for what the ends see."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition():  # noqa: ASYNC110 - the ends are driven by the same loop
                await asyncio.sleep(0.002)

    def pids(self) -> list[int]:
        """Supervisor, gateway, enclave."""
        children = [self.lockgate.child("gateway"), self.lockgate.child("enclave")]
        return [self.lockgate.pid, *(child.pid for child in children if child is not None)]

    def cpu(self) -> dict[int, float]:
        """CPU time of each of the processes."""
        return {pid: cpu_seconds(pid) for pid in self.pids()}

    async def to_matrix(self, count: int) -> Rate:
        """Alice writes, a window of 64 unacknowledged."""
        sent = self.alice.receipts
        goal = sent + count
        wall, cpu = time.perf_counter(), sum(self.cpu().values())
        number = 0
        while self.alice.receipts < goal:
            while number < count and sent + number - self.alice.receipts < WINDOW:
                self.server.send(self.alice.says(body_text(number)))
                number += 1
            await asyncio.sleep(0.001)
            if time.perf_counter() - wall > PATIENCE_S:
                raise TimeoutError
        return Rate(count, time.perf_counter() - wall, sum(self.cpu().values()) - cpu)

    async def to_xmpp(self, count: int) -> Rate:
        """Bob writes a burst."""
        before = len(self.alice.opened)
        wall, cpu = time.perf_counter(), sum(self.cpu().values())
        for number in range(count):
            self.bob.sends(body_text(number))
            if number % 25 == 0:
                self.world.settle()
                await asyncio.sleep(0)
        self.world.settle()
        await self.until(lambda: len(self.alice.opened) == before + count)
        return Rate(count, time.perf_counter() - wall, sum(self.cpu().values()) - cpu)

    async def idle(self, seconds: float) -> tuple[float, float]:
        """When nothing happens: the share of one CPU of all processes, and requests to the homeserver in an hour.

        A poll counts as often as it would be asked in an hour, everything else as often as it was.
        """
        await asyncio.sleep(2.0)
        cpu, before = sum(self.cpu().values()), len(self.homeserver.asked)
        await asyncio.sleep(seconds)
        others = sum(path != "sync" for path, _ in self.homeserver.asked[before:])
        poll_s = next(wait_s for path, wait_s in reversed(self.homeserver.asked) if path == "sync")
        share = (sum(self.cpu().values()) - cpu) / seconds
        return share, 3600 / max(poll_s, 0.001) + others * 3600 / seconds


def _without_thread(payload: bytes) -> bytes:
    head, _, rest = payload.partition(b"<thread>")
    return head + rest.partition(b"</thread>")[2]
