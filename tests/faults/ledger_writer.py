"""A whole gateway in one process, for killing: numbers come in, go through an enclave, and are written to a file.

`python -m tests.faults.ledger_writer LEDGER OUTPUT LAST`: the source sends the numbers behind its mark; the far
network appends each request it is asked to carry to OUTPUT. Ends by itself when LAST was carried and answered.
"""

import asyncio
import os
import random
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from adapters.outside_api import AccountRoutes, Edge, Outcome
from bridge.audit import set_up
from bridge.edge import Edges
from bridge.ledger.sqlite import SqliteLedger
from bridge.wire.link import Carry
from bridge.wire.values import Sealed
from bridge.worker import Worker
from tests.unit.fake_enclave import FakeEnclave


class Numbers:
    """Source and destination in one: what it hands in as a stanza it is later asked to carry."""

    network = "loopback"
    pipelined = True
    quiet = frozenset[str]()

    def __init__(self, output: Path, last: int) -> None:
        self._output = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._last = last
        self._source: asyncio.Task[None] | None = None

    async def connect(self, edge: Edge, routes: Sequence[AccountRoutes]) -> None:
        self._source = asyncio.create_task(self._send(edge))

    async def _send(self, edge: Edge) -> None:
        sent = int(await edge.mark("alice", "since") or 0)
        while sent < self._last:
            upto = min(self._last, sent + random.randint(1, 20))
            entries = [("stanza", b"%d" % number) for number in range(sent + 1, upto + 1)]
            await edge.arrived_batch("alice", entries, mark=("since", str(upto)))
            sent = upto

    async def remap(self, routes: Sequence[AccountRoutes]) -> None:
        pass

    async def carry(self, account: str, request: Carry) -> Outcome:
        body = request.values["body"]
        assert isinstance(body, Sealed)
        os.write(self._output, b"%s %s\n" % (request.key.encode(), body.v))
        await asyncio.sleep(0)
        return Outcome()

    async def close(self) -> None:
        assert self._source is not None
        await self._source


async def main(ledger_path: str, output: str, last: int) -> None:
    set_up("error", "json")
    ledger = SqliteLedger(Path(ledger_path))
    woken: list[Worker] = []

    def wake(accounts: Sequence[str]) -> None:
        for each in woken:
            each.wake(accounts)

    edges = Edges(ledger, wake, lambda *told: None)
    worker = Worker(ledger, release=edges.release, health=lambda *told: None, counters=edges.counters)
    woken.append(worker)
    worker.serve(["alice"])
    running = asyncio.create_task(worker.run())
    ours, theirs = socket.socketpair()
    worker.attach(ours)
    enclave = asyncio.create_task(FakeEnclave().serve(theirs))
    half = Numbers(Path(output), last)
    edges.open([half], [])
    while not (ledger.mark("alice", "loopback", "since") == str(last) and worker.idle and edges.idle):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    await edges.close()
    for task in (running, enclave):
        task.cancel()
    await asyncio.gather(running, enclave, return_exceptions=True)
    await ledger.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
