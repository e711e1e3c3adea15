"""The gateway process: networks and ledger outside, one link to the enclave. `python -m bridge.gateway`."""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from adapters.outside_api import OutsideHalf
from adapters.registry import Unloadable, trouble
from bridge.audit import Event, log, set_up
from bridge.edge import Edges
from bridge.hardening import die_with_parent, shed_privileges, undumpable
from bridge.import_guard import stand_guard
from bridge.ledger.errors import LedgerError
from bridge.ledger.model import Ledger
from bridge.ledger.sqlite import SqliteLedger
from bridge.orders import Orders
from bridge.routes import account_routes, outside_halves
from bridge.wire import control, gateway_control
from bridge.worker import Worker

DRAIN_WITHIN_MS = 10_000
MAINTAIN_EVERY_S = 60.0
IDLE_POLL_S = 0.02
TELL_WITHIN_S = 2.0
ENCLAVE = "enclave"

_log = log("gateway")


class Gateway:
    """Everything of one gateway that serves: made when the first order came, ended by `drain` or `stop`."""

    def __init__(self, orders: Orders, ledger: Ledger) -> None:
        self.ledger = ledger
        self._orders = orders
        self._health: dict[tuple[str, str | None], gateway_control.Health] = {}
        self.edges = Edges(ledger, woken=self._wake, health=self._on_health)
        self.worker = Worker(
            ledger,
            release=self.edges.release,
            health=lambda state, detail: self._on_health(ENCLAVE, None, state, detail),
            counters=self.edges.counters,
        )

    def open(self, serve: gateway_control.GatewayServe, halves: Sequence[OutsideHalf]) -> None:
        """Start the outside halves."""
        self.worker.serve(account.account for account in serve.accounts)
        self.edges.open(halves, account_routes(serve.accounts))

    def _wake(self, accounts: Sequence[str]) -> None:
        self.worker.wake(accounts)

    async def run(self) -> None:
        """Work until cancelled. Raises LedgerError when the ledger is beyond use."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.worker.run())
            group.create_task(self._maintain())
            group.create_task(self._watch_ledger())

    async def _maintain(self) -> None:
        while True:
            with contextlib.suppress(LedgerError):  # one beyond use is noticed elsewhere
                await self.ledger.maintain()
            await asyncio.sleep(MAINTAIN_EVERY_S)

    async def _watch_ledger(self) -> None:
        raise await self.ledger.failed()

    def _on_health(self, network: str, account: str | None, state: str, detail: str) -> None:
        word = gateway_control.Health(network=network, account=account, state=state, detail=detail[:1024])
        if self._health.get((network, account)) != word:
            self._health[network, account] = word
            _log.info(Event.HEALTH, network=network, account=account, state=state, detail=detail)
            self._orders.tell(word)

    async def remap(self, accounts: Sequence[gateway_control.AccountRouteMap]) -> None:
        """The operator changed the map."""
        self.worker.serve(account.account for account in accounts)
        await self.edges.remap(account_routes(accounts))
        _log.info(Event.REMAPPED, count=len(accounts))

    async def release(self, positions: Sequence[int]) -> int:
        """Let parked inputs be tried again; returns how many there were."""
        count = 0
        for position in positions:
            account = await self.ledger.release_parked(position)
            if account is not None:
                count += 1
                self._wake([account])
        _log.info(Event.RELEASED, count=count)
        return count

    def status(self, nonce: int) -> gateway_control.GatewayStatus:
        """How the connections stand and how much waits."""
        depths = self.ledger.depths()
        counts = self.ledger.counters()
        for code, count in self.edges.counters.all().items():
            counts[code] = counts.get(code, 0) + count
        return gateway_control.GatewayStatus(
            nonce=nonce,
            inbox=depths.inbox,
            outbox=depths.outbox,
            parked=depths.parked,
            counters=tuple(control.Counter(code=code, count=count) for code, count in sorted(counts.items())),
            health=tuple(self._health.values()),
        )

    async def _finished(self) -> None:
        # Looked at from outside, so that none of the parts has to know when all of them are done.
        while not (self.worker.idle and self.edges.resting):  # noqa: ASYNC110
            await asyncio.sleep(IDLE_POLL_S)

    async def drain(self, within_ms: int) -> int:
        """Take nothing more in, finish what is there within the bound; returns how much is left in the ledger."""
        _log.info(Event.DRAINING)
        self.edges.gate.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._finished(), within_ms / 1000)
        await self.edges.close()
        depths = self.ledger.depths()
        _log.info(Event.DRAINED, inbox=depths.inbox, outbox=depths.outbox)
        return depths.inbox + depths.outbox


class Process:
    """The life of the process: first order, serving, the end. `run` returns the exit status."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._ending = asyncio.Event()
        self._within_ms: int | None = None
        self._remapping: asyncio.Task[None] | None = None
        self._releasing: asyncio.Task[None] | None = None

    async def run(self) -> int:
        """Serve until told to end."""
        first = await self._orders.next()
        if not isinstance(first, gateway_control.GatewayServe):
            return 1
        set_up(first.log_level, first.log_format)
        detail = ""
        try:
            halves = outside_halves(first.networks)
            ledger = SqliteLedger(Path(first.ledger_path))
        except (LedgerError, Unloadable) as error:
            detail = str(error)
        if detail:
            return await self._refuse(detail)
        _log.info(Event.LEDGER_OPENED, path=first.ledger_path)
        gateway = Gateway(self._orders, ledger)
        return await self._serve(gateway, first, halves)

    async def _refuse(self, detail: str) -> int:
        _log.error(Event.REFUSING, detail=detail)
        self._orders.tell(gateway_control.Refusing(detail=detail[:1024]))
        await self._told()
        return 1

    async def _told(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._orders.told(), TELL_WITHIN_S)

    async def _serve(self, gateway: Gateway, first: gateway_control.GatewayServe, halves: Sequence[OutsideHalf]) -> int:
        running = asyncio.create_task(gateway.run())
        gateway.open(first, halves)
        self._orders.tell(gateway_control.Serving())
        _log.info(Event.SERVING, count=len(first.accounts))
        following = asyncio.create_task(self._follow(gateway))
        ending = asyncio.create_task(self._ending.wait())
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._drain_within, DRAIN_WITHIN_MS)
        await asyncio.wait([running, following, ending], return_when=asyncio.FIRST_COMPLETED)
        if not running.done() and not following.done():
            await self._drain(gateway, [running, following])
        following.cancel()
        ending.cancel()
        if running.done():
            return await self._failed(gateway, running)
        running.cancel()
        await asyncio.wait([running])
        await gateway.ledger.close()
        await self._told()
        return 0

    async def _drain(self, gateway: Gateway, unless: "Sequence[asyncio.Task[None]]") -> None:
        draining = asyncio.create_task(gateway.drain(self._within_ms or 0))
        await asyncio.wait([draining, *unless], return_when=asyncio.FIRST_COMPLETED)
        if draining.done():
            self._orders.tell(gateway_control.Drained(left=draining.result()))
        draining.cancel()

    def _drain_within(self, within_ms: int) -> None:
        if self._within_ms is None:
            self._within_ms = within_ms
            self._ending.set()

    async def _failed(self, gateway: Gateway, running: "asyncio.Task[None]") -> int:
        error: BaseException | None = running.exception()
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        known = isinstance(error, LedgerError)
        _log.error(Event.LEDGER_FAILED, error=type(error).__name__, detail=str(error) if known else "")
        await gateway.edges.close()
        return await self._refuse(str(error) if known else "The gateway failed; see its log.")

    async def _release(self, gateway: Gateway, order: gateway_control.ReleaseParked) -> None:
        with contextlib.suppress(LedgerError):  # no answer says that it did not happen
            self._orders.tell(gateway_control.Released(nonce=order.nonce, count=await gateway.release(order.positions)))

    async def _follow(self, gateway: Gateway) -> None:
        """Follow orders until the supervisor is gone. The order to drain is followed elsewhere, meanwhile."""
        while True:
            order = await self._orders.next()
            if isinstance(order, socket.socket):
                gateway.worker.attach(order)
            elif isinstance(order, gateway_control.GatewayRemap):
                self._remapping = asyncio.create_task(gateway.remap(order.accounts))
            elif isinstance(order, gateway_control.ReleaseParked):
                self._releasing = asyncio.create_task(self._release(gateway, order))
            elif isinstance(order, gateway_control.AskGateway):
                self._orders.tell(gateway.status(order.nonce))
            elif isinstance(order, gateway_control.Drain):
                self._drain_within(order.within_ms)
            else:
                _log.warning(Event.SUPERVISOR_GONE)
                return


async def serve(control_fd: int) -> int:
    """Serve over a control channel; returns the exit status."""
    orders = Orders(socket.socket(fileno=control_fd))
    try:
        return await Process(orders).run()
    finally:
        orders.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of the process."""
    parser = argparse.ArgumentParser(prog="lockgate-gateway", description="Started by `lockgate run`.")
    parser.add_argument("--control-fd", type=int, default=-1)
    parser.add_argument("--parent", type=int, default=os.getppid())
    parser.add_argument("--try-adapter", metavar="NETWORK=MODULE:CLASS", help="tell as JSON whether it can be loaded")
    options = parser.parse_args(arguments)
    die_with_parent(options.parent)
    undumpable()
    shed_privileges()
    stand_guard()
    if options.try_adapter:
        sys.stdout.write(json.dumps({"trouble": trouble(options.try_adapter, lambda found: found)}) + "\n")
        return 0
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for the supervisor
    os.umask(0o077)
    set_up("info", "console")
    os.set_inheritable(options.control_fd, False)
    return asyncio.run(serve(options.control_fd))


if __name__ == "__main__":
    sys.exit(main())
