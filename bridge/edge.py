"""Runs the outside halves: arrivals into the inbox, requests out of the outbox, outcomes back as answers."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence

from adapters.outside_api import AccountRoutes, OutsideHalf
from bridge.audit import Counters, Event, log
from bridge.lanes import Lanes, back_off_s
from bridge.ledger.errors import LedgerError, LedgerFull
from bridge.ledger.model import Finished, Held, Ledger
from bridge.outcomes import ArrivalRefused, require_arrival

MAX_WAITING = 10_000
"""Inbox entries from which on arrivals wait; their sources keep them, since they are not acknowledged."""
STORAGE_RETRY_S = 2.0
CLOSE_WITHIN_S = 5.0

_log = log("edge")

HealthSink = Callable[[str, str | None, str, str], None]


class Gate:
    """Where arrivals wait: while the inbox is too long, and for ever once the gateway drains."""

    def __init__(self, ledger: Ledger, limit: int = MAX_WAITING) -> None:
        self._ledger = ledger
        self._limit = limit
        self._changed = asyncio.Event()
        self._closed = False

    async def passed(self) -> None:
        """Return when an arrival may be taken."""
        while self._closed or self._ledger.waiting >= self._limit:
            self._changed.clear()
            await self._changed.wait()

    def moved(self) -> None:
        """The inbox became shorter."""
        if not self._changed.is_set():
            self._changed.set()

    def close(self) -> None:
        """Let nothing pass any more."""
        self._closed = True


class NetworkEdge:
    """One network: its outside half, and what that half is given (`adapters.outside_api.Edge`)."""

    def __init__(
        self,
        half: OutsideHalf,
        ledger: Ledger,
        gate: Gate,
        *,
        woken: Callable[[Sequence[str]], None],
        health: HealthSink,
        counters: Counters,
    ) -> None:
        self.half = half
        self.lanes = Lanes(half, ledger, lambda account: woken([account]), counters)
        self._ledger = ledger
        self._gate = gate
        self._woken = woken
        self._health = health
        self._counters = counters
        self._connecting: asyncio.Task[None] | None = None
        self._connected = False
        self._routes: Sequence[AccountRoutes] = ()

    # -------------------------------------------------- adapters.outside_api.Edge
    async def arrived(self, account: str, name: str, body: bytes, *, mark: tuple[str, str] | None = None) -> None:
        """See `Edge`. Raises ArrivalRefused when it does not fit the inbox (`too-large`, ...)."""
        await self.arrived_batch(account, [(name, body)], mark=mark)

    async def arrived_batch(
        self, account: str, entries: Sequence[tuple[str, bytes]], *, mark: tuple[str, str] | None = None
    ) -> None:
        """See `Edge`. Raises ArrivalRefused when one does not fit the inbox; nothing of the batch is stored then."""
        try:
            for name, body in entries:
                require_arrival(account, name, body)
        except ArrivalRefused as error:
            self._counters.add(f"arrival-{error.code}")
            _log.warning(Event.ARRIVAL_REFUSED, network=self.half.network, code=error.code)
            raise
        while True:
            await self._gate.passed()
            with contextlib.suppress(LedgerFull):
                await self._ledger.append_arrivals(account, self.half.network, entries, mark=mark)
                break
            await asyncio.sleep(STORAGE_RETRY_S)
        if entries:
            self._woken([account])

    async def mark(self, account: str, name: str) -> str | None:
        """See `Edge`."""
        return self._ledger.mark(account, self.half.network, name)

    async def set_mark(self, account: str, name: str, value: str) -> None:
        """See `Edge`."""
        while True:
            with contextlib.suppress(LedgerFull):
                await self._ledger.set_mark(account, self.half.network, name, value)
                return
            await asyncio.sleep(STORAGE_RETRY_S)

    def health(self, account: str | None, state: str, detail: str) -> None:
        """See `Edge`."""
        if state == "up":
            self.lanes.hurry(account)
        self._health(self.half.network, account, state, detail)

    # -------------------------------------------------- the gateway's side
    def connect(self, routes: Sequence[AccountRoutes]) -> None:
        """Start connecting; requests are carried from the time the half has started."""
        self._routes = routes
        self._connecting = asyncio.create_task(self._connect())

    async def _connect(self) -> None:
        attempts = 0
        while True:
            try:
                await self.half.connect(self, self._routes)
            except Exception as error:  # an adapter that cannot start must not take the others with it
                attempts += 1
                _log.error(Event.ADAPTER_FAILED, network=self.half.network, error=type(error).__name__)
                self.health(None, "down", "The connection could not be started; it is tried again.")
                with contextlib.suppress(Exception):
                    await self.half.close()
                await asyncio.sleep(back_off_s(attempts, 0.0))
                continue
            break
        self._connected = True
        self.lanes.start()

    async def remap(self, routes: Sequence[AccountRoutes]) -> None:
        """The operator changed the map."""
        self._routes = routes
        if self._connected:
            await self.half.remap(routes)

    async def close(self) -> None:
        """Stop carrying, then disconnect."""
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        await self.lanes.close()
        with contextlib.suppress(Exception):
            await asyncio.wait_for(self.half.close(), CLOSE_WITHIN_S)


class Edges:
    """All networks of the gateway."""

    def __init__(self, ledger: Ledger, woken: Callable[[Sequence[str]], None], health: HealthSink) -> None:
        self.counters = Counters()
        self.gate = Gate(ledger)
        self._ledger = ledger
        self._woken = woken
        self._health = health
        self._networks: dict[str, NetworkEdge] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def idle(self) -> bool:
        """Whether all that was released is carried out and answered."""
        return all(edge.lanes.idle for edge in self._networks.values())

    @property
    def resting(self) -> bool:
        """Whether all that was released is carried out and answered, or waits for another try."""
        return all(edge.lanes.resting for edge in self._networks.values())

    def open(self, halves: Sequence[OutsideHalf], routes: Sequence[AccountRoutes]) -> None:
        """Take the outbox up where it was left, and connect."""
        for half in halves:
            self._networks[half.network] = NetworkEdge(
                half,
                self._ledger,
                self.gate,
                woken=self._woken,
                health=self._health,
                counters=self.counters,
            )
        for lane in self._ledger.lanes():
            edge = self._networks.get(lane.network)
            if edge is not None:
                edge.lanes.resume([lane])
            else:
                for held in self._ledger.read_lane(lane, 0, 1 << 30):
                    self._refuse(held)
        for edge in self._networks.values():
            edge.connect(routes)

    def release(self, carries: Sequence[Held]) -> None:
        """These requests were committed: carry them out."""
        self.gate.moved()
        for held in carries:
            edge = self._networks.get(held.carry.network)
            if edge is None:
                self._refuse(held)
            else:
                edge.lanes.add(held)

    def _refuse(self, held: Held) -> None:
        """No half serves the network (any more): the enclave is told, so that a sender can be."""
        task = asyncio.create_task(self._answer_no_network(held))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer_no_network(self, held: Held) -> None:
        with contextlib.suppress(LedgerError):  # it stays in the outbox, and is answered after the next start
            await self._ledger.finish_carries([Finished(held, "no-network", b"")])
            self._woken([held.account])

    async def remap(self, routes: Sequence[AccountRoutes]) -> None:
        """The operator changed the map."""
        for edge in self._networks.values():
            await edge.remap(routes)

    async def close(self) -> None:
        """Disconnect everything."""
        self.gate.close()
        await asyncio.gather(*(edge.close() for edge in self._networks.values()), return_exceptions=True)
