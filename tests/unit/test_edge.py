"""The edge: arrivals in, requests out in order, outcomes back, whatever the network does."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from adapters.loopback.outside import LoopbackOutside
from adapters.outside_api import AccountRoutes, Edge, Outcome, OutsideHalf
from bridge.audit import Event
from bridge.edge import Edges, NetworkEdge
from bridge.lanes import LANE_WINDOW, LOADED, back_off_s
from bridge.ledger.errors import LedgerFull
from bridge.ledger.sqlite import SqliteLedger
from bridge.outcomes import ArrivalRefused, checked
from bridge.wire.link import Carry
from bridge.wire.values import MAX_BODY
from tests.unit.ledger_parts import carry, stepped

WITHIN_S = 10.0
Carrier = Callable[[Carry], Outcome]


class Half:
    """An outside half that does with each request what the test says."""

    def __init__(self, network: str = "loopback", *, pipelined: bool = False) -> None:
        self.network = network
        self.pipelined = pipelined
        self.quiet: frozenset[str] = frozenset()
        self.carried: list[str] = []
        self.under_way = 0
        self.most_under_way = 0
        self.answer: Carrier = lambda request: Outcome()
        self.hold: asyncio.Event | None = None
        self.fails_to_connect = 0
        self.edge: Edge | None = None
        self.closed = False
        self.maps: list[Sequence[AccountRoutes]] = []

    async def connect(self, edge: Edge, routes: Sequence[AccountRoutes]) -> None:
        if self.fails_to_connect:
            self.fails_to_connect -= 1
            raise OSError("no route")
        self.edge = edge
        self.maps.append(routes)

    async def remap(self, routes: Sequence[AccountRoutes]) -> None:
        self.maps.append(routes)

    async def carry(self, account: str, request: Carry) -> Outcome:
        self.carried.append(request.key)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            if self.hold is not None:
                await self.hold.wait()
            return self.answer(request)
        finally:
            self.under_way -= 1

    async def close(self) -> None:
        self.closed = True


class Bench:
    """Edges on a fresh ledger."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ledger = SqliteLedger(path)
        self.woken: list[str] = []
        self.health: list[tuple[str, str | None, str]] = []
        self.step = 0
        self.edges = self.fresh()

    def fresh(self) -> Edges:
        return Edges(self.ledger, self.woken.extend, lambda *told: self.health.append(told[:3]))

    async def commit(self, *carries: Carry, account: str = "alice", release: bool = True) -> None:
        self.step += 1
        applied = await self.ledger.commit_steps([stepped(0, self.step, account=account, carries=carries)])
        if release:
            self.edges.release(applied.released)

    def answers(self, account: str = "alice") -> list[tuple[str | None, str]]:
        return [(e.key, e.code) for e in self.ledger.read_inbox(account, 0, 10_000) if e.source == "answer"]

    def edge(self, network: str = "loopback") -> NetworkEdge:
        return self.edges._networks[network]

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(WITHIN_S):
            while not condition():  # noqa: ASYNC110 - the parts under test need not know of being watched
                await asyncio.sleep(0.002)


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    monkeypatch.setattr("bridge.lanes.FIRST_RETRY_S", 0.01)
    monkeypatch.setattr("bridge.edge.STORAGE_RETRY_S", 0.01)
    monkeypatch.setattr("bridge.lanes.STORAGE_RETRY_S", 0.01)
    made = Bench(tmp_path / "ledger.db")
    yield made
    await made.edges.close()
    await made.ledger.close()


def keys(prefix: str, count: int) -> list[str]:
    return [f"{prefix}{n}" for n in range(count)]


@pytest.mark.parametrize("pipelined", [False, True])
async def test_a_lane_is_carried_in_order_and_every_request_is_answered_once(bench: Bench, pipelined: bool) -> None:
    half = Half(pipelined=pipelined)
    bench.edges.open([half], [])
    wanted = keys("k", 500)
    for start in range(0, 500, 50):
        await bench.commit(*[carry(key) for key in wanted[start : start + 50]])
    await bench.until(lambda: bench.edges.idle)
    assert half.carried == wanted
    assert bench.answers() == [(key, "ok") for key in wanted]
    assert bench.ledger.lanes() == []


async def test_without_pipelining_one_request_of_a_lane_is_under_way_and_lanes_do_not_wait_for_each_other(
    bench: Bench,
) -> None:
    half = Half()
    half.hold = asyncio.Event()
    bench.edges.open([half], [])
    await bench.commit(*[carry(f"a{n}", lane="a") for n in range(3)], *[carry(f"b{n}", lane="b") for n in range(3)])
    await bench.until(lambda: len(half.carried) == 2)
    await asyncio.sleep(0.05)
    assert sorted(half.carried) == ["a0", "b0"]
    half.hold.set()
    await bench.until(lambda: bench.edges.idle)
    assert half.most_under_way == 2
    assert [key for key in half.carried if key[0] == "a"] == keys("a", 3)


async def test_a_pipelined_lane_has_so_many_under_way_and_not_more(bench: Bench) -> None:
    half = Half(pipelined=True)
    half.hold = asyncio.Event()
    bench.edges.open([half], [])
    await bench.commit(*[carry(key) for key in keys("k", 3 * LOADED)])
    await bench.until(lambda: len(half.carried) == LANE_WINDOW)
    await asyncio.sleep(0.05)
    assert len(half.carried) == LANE_WINDOW
    half.hold.set()
    await bench.until(lambda: bench.edges.idle)
    assert half.carried == keys("k", 3 * LOADED)


@pytest.mark.parametrize("pipelined", [False, True])
async def test_a_request_that_may_succeed_later_is_tried_again_before_those_behind_it(
    bench: Bench, pipelined: bool
) -> None:
    half = Half(pipelined=pipelined)
    fails = {"k2": 3}

    def answer(request: Carry) -> Outcome:
        if fails.get(request.key, 0):
            fails[request.key] -= 1
            return Outcome("busy", retry=True, retry_after_s=0.01)
        return Outcome()

    half.answer = answer
    bench.edges.open([half], [])
    await bench.commit(*[carry(key) for key in keys("k", 6)])
    await bench.until(lambda: bench.edges.idle)
    assert sorted(bench.answers()) == [(key, "ok") for key in keys("k", 6)]
    if not pipelined:
        assert half.carried == ["k0", "k1", "k2", "k2", "k2", "k2", "k3", "k4", "k5"]
    assert bench.edges.counters.all()["carry-retry"] == 3


async def test_a_stream_that_breaks_is_taken_up_at_the_first_request_without_outcome(bench: Bench) -> None:
    half = Half(pipelined=True)
    broken = True
    half.answer = lambda request: Outcome("no-stream", retry=True) if broken and request.key > "k2" else Outcome()
    half.hold = asyncio.Event()
    bench.edges.open([half], [])
    await bench.commit(*[carry(key) for key in keys("k", 9)])
    await bench.until(lambda: len(half.carried) == 9)
    half.hold.set()
    await bench.until(lambda: len(bench.answers()) == 3)
    half.carried.clear()
    broken = False
    await bench.until(lambda: bench.edges.idle)
    assert half.carried == keys("k", 9)[3:]


async def test_a_final_failure_is_an_answer_and_the_lane_goes_on(bench: Bench) -> None:
    half = Half()
    half.answer = lambda request: Outcome("forbidden" if request.key == "k0" else "ok", b"body")
    bench.edges.open([half], [])
    await bench.commit(carry("k0"), carry("k1"))
    await bench.until(lambda: bench.edges.idle)
    assert bench.answers() == [("k0", "forbidden"), ("k1", "ok")]
    assert bench.woken.count("alice") >= 1


async def test_what_was_looked_up_and_is_not_there_is_an_answer_and_no_failure(bench: Bench) -> None:
    half = Half()
    half.answer = lambda request: Outcome("not-found", expected=request.key == "k0")
    bench.edges.open([half], [])
    with capture_logs() as lines:
        await bench.commit(carry("k0"), carry("k1"))
        await bench.until(lambda: bench.edges.idle)
    assert bench.answers() == [("k0", "not-found"), ("k1", "not-found")]
    assert [line["log_level"] for line in lines if line["event"] == Event.CARRY_FAILED] == ["debug", "warning"]
    assert bench.edges.counters.all()["carry-failed"] == 1


async def test_an_adapter_that_raises_does_not_lose_the_request(bench: Bench) -> None:
    half = Half()
    raised = 0

    def answer(request: Carry) -> Outcome:
        nonlocal raised
        raised += 1
        if raised < 3:
            raise RuntimeError(request.key)
        return Outcome()

    half.answer = answer
    bench.edges.open([half], [])
    await bench.commit(carry("k0"))
    await bench.until(lambda: bench.edges.idle)
    assert bench.answers() == [("k0", "ok")]


async def test_what_was_not_answered_is_carried_after_a_restart_in_order(bench: Bench) -> None:
    half = Half(pipelined=True)
    half.hold = asyncio.Event()
    bench.edges.open([half], [])
    await bench.commit(*[carry(key) for key in keys("k", 100)])
    await bench.until(lambda: len(half.carried) > 10)
    await bench.edges.close()
    again = Half(pipelined=True)
    bench.edges = bench.fresh()
    bench.edges.open([again], [])
    await bench.commit(carry("late"))
    await bench.until(lambda: bench.edges.idle)
    assert again.carried == [*keys("k", 100), "late"]
    assert bench.answers() == [(key, "ok") for key in [*keys("k", 100), "late"]]


async def test_a_request_read_from_the_ledger_before_it_is_released_is_carried_once(bench: Bench) -> None:
    half = Half(pipelined=True)
    half.hold = asyncio.Event()
    await bench.commit(*[carry(key) for key in keys("k", 3)], release=False)
    applied = bench.ledger.read_lane(bench.ledger.lanes()[0], 0, 10)
    bench.edges.open([half], [])
    await bench.until(lambda: len(half.carried) == 3)
    bench.edges.release(applied)  # its commit is told only now
    half.hold.set()
    await bench.until(lambda: bench.edges.idle)
    assert half.carried == keys("k", 3)


async def test_a_wait_that_the_network_asked_for_outlives_a_restart_and_ends_when_the_connection_is_up(
    bench: Bench,
) -> None:
    half = Half()
    half.answer = lambda request: Outcome("slow-down", retry=True, retry_after_s=600)
    bench.edges.open([half], [])
    await bench.commit(carry("k0"))
    await bench.until(lambda: bench.ledger.read_lane(bench.ledger.lanes()[0], 0, 1)[0].attempts == 1)
    await bench.edges.close()
    again = Half()
    bench.edges = bench.fresh()
    bench.edges.open([again], [])
    await asyncio.sleep(0.1)
    assert again.carried == []
    bench.edge().health(None, "up", "connected")
    await bench.until(lambda: bench.edges.idle)
    assert again.carried == ["k0"]


@pytest.mark.parametrize("pipelined", [False, True])
async def test_what_waits_for_another_try_rests_and_what_is_under_way_does_not(bench: Bench, pipelined: bool) -> None:
    half = Half(pipelined=pipelined)
    half.hold = asyncio.Event()
    half.answer = lambda request: Outcome("busy", retry=True, retry_after_s=600)
    bench.edges.open([half], [])
    await bench.until(lambda: bench.edges.resting)
    await bench.commit(carry("k0"), carry("k1"))
    await bench.until(lambda: half.under_way > 0)
    assert not bench.edges.resting
    half.hold.set()
    await bench.until(lambda: bench.edges.resting)
    assert (half.under_way, bench.edges.idle) == (0, False)
    half.hold.clear()
    bench.edge().health(None, "up", "connected")  # tried at once
    await bench.until(lambda: half.under_way > 0)
    assert not bench.edges.resting


async def test_a_request_to_a_network_that_nobody_serves_is_answered(bench: Bench) -> None:
    await bench.commit(carry("old", network="gone"), release=False)
    bench.edges.open([Half()], [])
    await bench.commit(carry("new", network="gone"))
    await bench.until(lambda: len(bench.answers()) == 2)
    assert bench.answers() == [("old", "no-network"), ("new", "no-network")]


async def test_an_adapter_that_cannot_connect_is_tried_again_and_said_to_be_down(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = Half()
    half.fails_to_connect = 2
    bench.edges.open([half], [])
    await bench.commit(carry("k0"))
    await bench.until(lambda: bench.edges.idle)
    assert bench.health == [("loopback", None, "down")] * 2


async def test_the_operators_new_map_reaches_the_halves(bench: Bench) -> None:
    half = Half()
    routes = [AccountRoutes("alice", "alice@example.org", {}, ())]
    bench.edges.open([half], [])
    await bench.until(lambda: len(half.maps) == 1)
    await bench.edges.remap(routes)
    assert half.maps == [[], routes]


async def test_arrivals_are_durable_with_their_mark_when_the_edge_returns(bench: Bench) -> None:
    bench.edges.open([Half()], [])
    edge = bench.edge()
    await edge.arrived_batch("alice", [("event", b"1"), ("event", b"2")], mark=("since", "s1"))
    await edge.arrived("alice", "event", b"3", mark=("since", "s2"))
    await edge.set_mark("alice", "device", "D")
    assert [e.body for e in bench.ledger.read_inbox("alice", 0, 10)] == [b"1", b"2", b"3"]
    assert (await edge.mark("alice", "since"), await edge.mark("alice", "device")) == ("s2", "D")
    assert await edge.mark("bob", "since") is None
    assert bench.woken == ["alice", "alice"]


@pytest.mark.parametrize(
    ("account", "name", "body", "code"),
    [
        ("alice", "event", b"x" * (MAX_BODY + 1), "too-large"),
        ("alice", "Not a Name", b"", "bad-name"),
        ("alice", "name\n", b"", "bad-name"),
        ("Alice!", "event", b"", "bad-account"),
    ],
)
async def test_an_arrival_that_does_not_fit_is_refused_counted_and_not_stored(
    bench: Bench, account: str, name: str, body: bytes, code: str
) -> None:
    bench.edges.open([Half()], [])
    with pytest.raises(ArrivalRefused) as refused:
        await bench.edge().arrived_batch(account, [("event", b"good"), (name, body)], mark=("since", "s1"))
    assert refused.value.code == code
    assert bench.ledger.waiting == 0
    assert await bench.edge().mark("alice", "since") is None
    assert bench.edges.counters.all() == {f"arrival-{code}": 1}


async def test_arrivals_wait_while_the_inbox_is_too_long(bench: Bench) -> None:
    bench.edges.gate._limit = 3
    bench.edges.open([Half()], [])
    for n in range(3):
        await bench.edge().arrived("alice", "event", b"%d" % n)
    waits = asyncio.create_task(bench.edge().arrived("alice", "event", b"3"))
    await asyncio.sleep(0.05)
    assert not waits.done()
    (first, *_) = bench.ledger.read_inbox("alice", 0, 1)
    applied = await bench.ledger.commit_steps([stepped(first.position, 1)])
    bench.edges.release(applied.released)
    await asyncio.wait_for(waits, WITHIN_S)


async def test_arrivals_wait_while_the_disk_is_full(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.edges.open([Half()], [])
    append = bench.ledger.append_arrivals
    tries = 0

    async def append_arrivals(*args: object, **named: object) -> list[int]:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise LedgerFull
        return await append(*args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(bench.ledger, "append_arrivals", append_arrivals)
    await bench.edge().arrived("alice", "event", b"1")
    assert bench.ledger.waiting == 1


async def test_an_outcome_is_not_lost_while_the_disk_is_full(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    half = Half()
    finish = bench.ledger.finish_carries
    tries = 0

    async def finish_carries(finished: Sequence[object]) -> int:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise LedgerFull
        return await finish(finished)  # type: ignore[arg-type]

    monkeypatch.setattr(bench.ledger, "finish_carries", finish_carries)
    bench.edges.open([half], [])
    await bench.commit(carry("k0"))
    await bench.until(lambda: bench.edges.idle)
    assert half.carried == ["k0"]
    assert bench.answers() == [("k0", "ok")]


async def test_a_closed_gate_lets_nothing_pass(bench: Bench) -> None:
    bench.edges.open([Half()], [])
    bench.edges.gate.close()
    waits = asyncio.create_task(bench.edge().arrived("alice", "event", b"1"))
    await asyncio.sleep(0.02)
    bench.edges.gate.moved()
    await asyncio.sleep(0.02)
    assert not waits.done()
    waits.cancel()
    assert bench.ledger.waiting == 0


async def test_closing_disconnects_every_half(bench: Bench) -> None:
    halves = [Half(), Half("xmpp", pipelined=True)]
    bench.edges.open(halves, [])
    await bench.until(lambda: all(half.edge is not None for half in halves))
    await bench.edges.close()
    assert [half.closed for half in halves] == [True, True]


async def test_the_loopback_network_brings_back_what_was_sent(bench: Bench) -> None:
    half: OutsideHalf = LoopbackOutside()
    bench.edges.open([half], [])
    await bench.commit(carry("k0", body=b"hello"))
    await bench.until(lambda: bench.edges.idle)
    assert [(e.source, e.name, e.body) for e in bench.ledger.read_inbox("alice", 0, 10)] == [
        ("arrival", "echoed", b"bob@example.org\0hello"),
        ("answer", "echo", b""),
    ]
    assert bench.health == [("loopback", None, "up")]


def test_an_outcome_is_made_to_fit_the_inbox() -> None:
    assert checked(Outcome("ok", b"x")) == Outcome("ok", b"x")
    assert checked(Outcome("ok", b"x" * (MAX_BODY + 1))).code == "answer-too-large"
    assert checked(Outcome("Some sentence", b"x")).code == "adapter-failed"


def test_the_back_off_grows_to_five_minutes_and_is_spread_over_half_of_it() -> None:
    waits = [back_off_s(attempts, 0.0) for attempts in range(1, 100)]
    assert waits == sorted(waits)
    assert (waits[0], waits[1], waits[-1]) == (1.0, 2.0, 300.0)
    assert back_off_s(99, 0.999) > 150


async def test_the_success_of_a_quiet_request_is_not_answered_but_its_failure_is(bench: Bench) -> None:
    half = Half()
    half.quiet = frozenset({carry("any").request})
    half.answer = lambda request: Outcome("forbidden" if request.key == "bad" else "ok")
    bench.edges.open([half], [])
    await bench.commit(carry("good"), carry("bad"))
    await bench.until(lambda: bench.edges.idle)
    assert bench.answers() == [("bad", "forbidden")]
    assert bench.ledger.waiting == 1
    assert bench.ledger.lanes() == []
