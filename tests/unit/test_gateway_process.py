"""The gateway as a process, driven over its control channel as the supervisor does."""

import asyncio
import contextlib
import os
import signal
import socket
import sqlite3
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TypeVar

import pytest

from bridge.ledger.sqlite import Inspector, SqliteLedger
from bridge.wire import control, gateway_control
from bridge.wire.codec import FROM_GATEWAY_CONTROL, TO_GATEWAY_CONTROL
from bridge.wire.framing import Deframer
from bridge.wire.link import Input, Stepped
from tests.unit.fake_enclave import FakeEnclave, FromEnclave, forward
from tests.unit.ledger_parts import carry, stepped

WITHIN_S = 20.0
Word = (
    gateway_control.Serving
    | gateway_control.Refusing
    | gateway_control.Health
    | gateway_control.Drained
    | gateway_control.GatewayStatus
    | gateway_control.Released
)
Order = (
    gateway_control.GatewayServe
    | gateway_control.LinkFollows
    | gateway_control.GatewayRemap
    | gateway_control.Drain
    | gateway_control.ReleaseParked
    | gateway_control.AskGateway
)
Kind = TypeVar("Kind", bound=Word)


def account(name: str) -> gateway_control.AccountRouteMap:
    return gateway_control.AccountRouteMap(
        account=name, near_address=f"{name}@example.org", far_addresses=(), contacts=(), credentials=()
    )


def serve(ledger: Path, *names: str, networks: tuple[str, ...] = ("loopback",)) -> gateway_control.GatewayServe:
    return gateway_control.GatewayServe(
        accounts=tuple(account(name) for name in names),
        networks=tuple(gateway_control.NetworkSettings(network=network, settings=()) for network in networks),
        ledger_path=str(ledger),
        log_level="info",
        log_format="json",
    )


class Gateway:
    """A running gateway process and our end of its control channel."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.words: list[Word] = []
        self._deframer = Deframer()
        self._enclaves: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        self.sock, theirs = socket.socketpair()
        self.sock.setblocking(False)
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "bridge.gateway",
                "--control-fd",
                str(theirs.fileno()),
                "--parent",
                str(os.getpid()),
                pass_fds=[theirs.fileno()],
                stderr=log,
            )
        theirs.close()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        with contextlib.suppress(OSError):
            while data := await asyncio.get_running_loop().sock_recv(self.sock, 1 << 16):
                self.words += [FROM_GATEWAY_CONTROL.decode(payload) for payload in self._deframer.feed(data)]

    async def order(self, order: Order) -> None:
        await asyncio.get_running_loop().sock_sendall(self.sock, TO_GATEWAY_CONTROL.encode(order))

    async def attach(self, enclave: FakeEnclave) -> "asyncio.Task[None]":
        ours, theirs = socket.socketpair()
        await self.order(gateway_control.LinkFollows())
        socket.send_fds(self.sock, [b"\0"], [theirs.fileno()])
        theirs.close()
        self._enclaves.append(asyncio.create_task(enclave.serve(ours)))
        return self._enclaves[-1]

    async def word(self, kind: type[Kind], number: int = 1) -> Kind:
        async with asyncio.timeout(WITHIN_S):
            while len(found := [word for word in self.words if isinstance(word, kind)]) < number:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        return found[-1]

    async def ended(self) -> int:
        return await asyncio.wait_for(self.process.wait(), WITHIN_S)

    async def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()
        for task in (self._reading, *self._enclaves):
            task.cancel()
        self.sock.close()


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    made = Gateway(tmp_path / "log")
    await made.start()
    yield made
    await made.close()


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger" / "ledger.db"


async def put(path: Path, *bodies: bytes) -> None:
    """Arrivals that an earlier gateway left in the inbox."""
    opened = SqliteLedger(path)
    await opened.append_arrivals("alice", "xmpp", [("stanza", body) for body in bodies])
    await opened.close()


def left(path: Path) -> tuple[int, int]:
    with contextlib.closing(sqlite3.connect(path)) as db:
        row = db.execute("SELECT (SELECT count(*) FROM inbox), (SELECT count(*) FROM outbox)").fetchone()
    return int(row[0]), int(row[1])


async def test_it_serves_carries_and_drains(gateway: Gateway, ledger: Path, tmp_path: Path) -> None:
    await put(ledger, *[b"%d" % n for n in range(50)])
    await gateway.order(serve(ledger, "alice"))
    await gateway.word(gateway_control.Serving)
    health = await gateway.word(gateway_control.Health)
    assert (health.network, health.account, health.state) == ("loopback", None, "up")
    enclave = FakeEnclave()
    await gateway.attach(enclave)
    await gateway.order(gateway_control.AskGateway(nonce=7))
    assert (await gateway.word(gateway_control.GatewayStatus)).nonce == 7
    await gateway.order(gateway_control.Drain(within_ms=400))
    drained = await gateway.word(gateway_control.Drained)
    assert await gateway.ended() == 0
    # What the loopback network brings back while the gateway drains is not taken in: its requests stay.
    inbox, outbox = left(ledger)
    assert drained.left == inbox + outbox
    assert [entry.body for entry in enclave.inputs if entry.name == "stanza"] == [b"%d" % n for n in range(50)]
    assert b'"event": "gateway.drained"' in (tmp_path / "log").read_bytes()


async def test_an_idle_gateway_drains_at_once(gateway: Gateway, ledger: Path) -> None:
    await gateway.order(serve(ledger, "alice"))
    await gateway.attach(FakeEnclave())
    await gateway.word(gateway_control.Serving)
    began = asyncio.get_running_loop().time()
    await gateway.order(gateway_control.Drain(within_ms=60_000))
    assert (await gateway.word(gateway_control.Drained)).left == 0
    assert await gateway.ended() == 0
    assert asyncio.get_running_loop().time() - began < 10


async def test_a_gateway_does_not_wait_for_what_waits_for_another_try(gateway: Gateway, ledger: Path) -> None:
    opened = SqliteLedger(ledger)
    applied = await opened.commit_steps([stepped(0, 1, carries=(carry("k0"), carry("k1")))])
    await opened.note_attempt(applied.released[0], 3, time.time_ns() // 1_000_000 + 600_000)
    await opened.close()
    await gateway.order(serve(ledger, "alice"))
    await gateway.attach(FakeEnclave())
    await gateway.word(gateway_control.Serving)
    began = asyncio.get_running_loop().time()
    await gateway.order(gateway_control.Drain(within_ms=60_000))
    assert (await gateway.word(gateway_control.Drained)).left == 2
    assert await gateway.ended() == 0
    assert asyncio.get_running_loop().time() - began < 10


async def test_a_sigterm_of_its_own_drains_it_too(gateway: Gateway, ledger: Path) -> None:
    await gateway.order(serve(ledger, "alice"))
    await gateway.word(gateway_control.Serving)
    gateway.process.send_signal(signal.SIGTERM)
    assert (await gateway.word(gateway_control.Drained)).left == 0
    assert await gateway.ended() == 0


async def test_everything_that_waits_comes_back_as_an_answer(gateway: Gateway, ledger: Path) -> None:
    await put(ledger, b"one", b"two")
    await gateway.order(serve(ledger, "alice"))
    enclave = FakeEnclave()
    await gateway.attach(enclave)
    async with asyncio.timeout(WITHIN_S):
        while len(enclave.inputs) < 6:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    told = [(entry.source, entry.name) for entry in enclave.inputs]
    assert sorted(told) == sorted([("arrival", "stanza"), ("arrival", "echoed"), ("answer", "echo")] * 2)


async def test_a_new_enclave_takes_over_in_the_same_process(gateway: Gateway, ledger: Path) -> None:
    await put(ledger, b"one", b"two", b"three")
    await gateway.order(serve(ledger, "alice"))

    def dies(enclave: FakeEnclave, entry: Input) -> list[FromEnclave]:
        if entry.body == b"two":
            raise ConnectionError
        return forward(enclave, entry)

    await asyncio.wait_for(await gateway.attach(FakeEnclave(respond=dies)), WITHIN_S)
    second = FakeEnclave()
    await gateway.attach(second)
    async with asyncio.timeout(WITHIN_S):
        while b"three" not in [entry.body for entry in second.inputs]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert [entry.body for entry in second.inputs if entry.name == "stanza"] == [b"two", b"three"]


async def test_it_ends_when_the_supervisor_is_gone(gateway: Gateway, ledger: Path) -> None:
    await gateway.order(serve(ledger, "alice"))
    await gateway.word(gateway_control.Serving)
    gateway.sock.shutdown(socket.SHUT_RDWR)
    assert await gateway.ended() == 0


@pytest.mark.parametrize("junk", [b"\0\0\0\2{}", b"\xff\xff\xff\xff"])
async def test_orders_that_are_none_end_it(gateway: Gateway, ledger: Path, junk: bytes) -> None:
    await gateway.order(serve(ledger, "alice"))
    await gateway.word(gateway_control.Serving)
    await asyncio.get_running_loop().sock_sendall(gateway.sock, junk)
    assert await gateway.ended() == 0


async def test_it_refuses_a_ledger_that_is_anothers_and_says_so(gateway: Gateway, ledger: Path) -> None:
    other = SqliteLedger(ledger)
    await gateway.order(serve(ledger, "alice"))
    assert (await gateway.word(gateway_control.Refusing)).detail.startswith("Another gateway is using this ledger")
    assert await gateway.ended() == 1
    await other.close()


async def test_it_refuses_a_network_it_has_no_adapter_for(gateway: Gateway, ledger: Path) -> None:
    await gateway.order(serve(ledger, "alice", networks=("carrier-pigeon",)))
    assert "carrier-pigeon" in (await gateway.word(gateway_control.Refusing)).detail
    assert await gateway.ended() == 1


async def test_a_new_map_brings_a_new_account_in(gateway: Gateway, ledger: Path) -> None:
    await gateway.order(serve(ledger, "alice"))
    enclave = FakeEnclave()
    await gateway.attach(enclave)
    await gateway.order(gateway_control.GatewayRemap(accounts=(account("alice"), account("bob"))))
    async with asyncio.timeout(WITHIN_S):
        while set(enclave.steps) != {"alice", "bob"}:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_status_tells_what_waits_and_what_was_counted(gateway: Gateway, ledger: Path) -> None:
    opened = SqliteLedger(ledger)
    (position, _) = await opened.append_arrivals("alice", "xmpp", [("stanza", b"1"), ("stanza", b"2")])
    await opened.commit_steps([stepped(position, 1, refused="raised-value-error")])
    await opened.commit_steps([stepped(0, 1, carries=(carry("k", network="gone"),))])
    await opened.count("seen", 3)
    await opened.close()
    await gateway.order(serve(ledger, "alice"))
    await gateway.order(gateway_control.AskGateway(nonce=1))
    status = await gateway.word(gateway_control.GatewayStatus)
    assert status.parked == 1
    assert status.inbox + status.outbox == 2
    assert control.Counter(code="seen", count=3) in status.counters


async def test_a_parked_input_is_tried_again_on_the_operators_order(gateway: Gateway, ledger: Path) -> None:
    await put(ledger, b"odd", b"even")
    await gateway.order(serve(ledger, "alice"))
    refusing = True

    def once(enclave: FakeEnclave, entry: Input) -> list[FromEnclave]:
        if refusing and entry.body == b"odd":
            return [Stepped(position=entry.position, account=entry.account, step=0, refused="raised-value-error")]
        return forward(enclave, entry)

    enclave = FakeEnclave(respond=once)
    await gateway.attach(enclave)
    async with asyncio.timeout(WITHIN_S):
        while not (parked := Inspector(ledger).parked()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    refusing = False
    await gateway.order(gateway_control.ReleaseParked(nonce=3, positions=(parked[0].position, 999)))
    assert await gateway.word(gateway_control.Released) == gateway_control.Released(nonce=3, count=1)
    async with asyncio.timeout(WITHIN_S):
        while [entry.body for entry in enclave.inputs].count(b"odd") < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await gateway.order(gateway_control.Drain(within_ms=400))
    assert await gateway.ended() == 0
    assert Inspector(ledger).parked() == []


async def test_nothing_of_the_inside_is_loaded_and_bodies_are_not_logged(
    gateway: Gateway, ledger: Path, tmp_path: Path
) -> None:
    await put(ledger, b"ZEBRA")
    await gateway.order(serve(ledger, "alice"))

    def odd(enclave: FakeEnclave, entry: Input) -> list[FromEnclave]:
        return [Stepped(position=entry.position, account=entry.account, step=0, refused="raised-value-error")]

    await gateway.attach(FakeEnclave(respond=odd))
    async with asyncio.timeout(WITHIN_S):
        while not (inspector := Inspector(ledger)).parked():
            inspector.close()
            await asyncio.sleep(0.01)
    inspector.close()
    async with asyncio.timeout(WITHIN_S):  # it is told after it was committed
        while b'"code": "raised-value-error"' not in (log := (tmp_path / "log").read_bytes()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert b"ZEBRA" not in log
