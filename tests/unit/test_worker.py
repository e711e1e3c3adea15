"""The worker: from the inbox through the enclave into the ledger, over several lives of the enclave."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest

from bridge.audit import Counters
from bridge.ledger.errors import LedgerFull
from bridge.ledger.model import Applied, Held
from bridge.ledger.sqlite import Inspector, SqliteLedger
from bridge.wire.framing import frame
from bridge.wire.link import Input, Ready, Remember, Stepped, WakeAt
from bridge.worker import KILLS_ENCLAVE, Worker
from tests.unit.fake_enclave import FakeEnclave, FromEnclave, forward
from tests.unit.ledger_parts import stepped

WITHIN_S = 10.0


class Bench:
    """A worker on a fresh ledger, and enclaves that are attached to it."""

    def __init__(self, ledger: SqliteLedger, path: Path) -> None:
        self.ledger = ledger
        self.path = path
        self.released: list[Held] = []
        self.health: list[str] = []
        self.worker = Worker(
            ledger,
            release=self.released.extend,
            health=lambda state, _: self.health.append(state),
            counters=Counters(),
            max_present=3,
        )
        self.tasks = [asyncio.create_task(self.worker.run())]

    def attach(self, enclave: FakeEnclave) -> "asyncio.Task[None]":
        ours, theirs = socket.socketpair()
        self.worker.attach(ours)
        task = asyncio.create_task(enclave.serve(theirs))
        self.tasks.append(task)
        return task

    async def arrive(self, *bodies: bytes, account: str = "alice") -> list[int]:
        positions = await self.ledger.append_arrivals(account, "xmpp", [("stanza", body) for body in bodies])
        self.worker.wake([account])
        return positions

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(WITHIN_S):
            while not condition():  # noqa: ASYNC110 - the parts under test need not know of being watched
                await asyncio.sleep(0.005)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    ledger = SqliteLedger(tmp_path / "ledger.db")
    made = Bench(ledger, tmp_path / "ledger.db")
    made.worker.serve(["alice"])
    yield made
    for task in made.tasks:
        task.cancel()
    await asyncio.gather(*made.tasks, return_exceptions=True)
    await ledger.close()


def bodies(enclave: FakeEnclave) -> list[bytes]:
    return [entry.body for entry in enclave.inputs]


async def test_inputs_go_through_the_enclave_in_order_and_their_carries_come_out_in_order(bench: Bench) -> None:
    enclave = FakeEnclave()
    bench.attach(enclave)
    sent = [b"%d" % n for n in range(1000)]
    for start in range(0, 1000, 100):
        await bench.arrive(*sent[start : start + 100])
    await bench.until(lambda: len(bench.released) == 1000 and bench.worker.idle)
    assert bodies(enclave) == sent
    assert [held.carry.trace for held in bench.released] == [entry.position for entry in enclave.inputs]
    assert [held.id for held in bench.released] == sorted(held.id for held in bench.released)
    await bench.until(lambda: enclave.committed == {"alice": 1000})


async def test_inputs_that_waited_before_the_start_are_handed_over(bench: Bench) -> None:
    await bench.arrive(b"one", b"two")
    enclave = FakeEnclave()
    bench.attach(enclave)
    await bench.until(lambda: bodies(enclave) == [b"one", b"two"])


async def test_state_is_brought_in_before_the_first_input_in_frames_of_bounded_size(bench: Bench) -> None:
    large = tuple(Remember(name=f"r{n}", version=1, sealed=bytes([n]) * (1 << 20)) for n in range(9))
    small = tuple(Remember(name=f"s{n}", version=1, sealed=b"s") for n in range(100))
    await bench.ledger.commit_steps([stepped(0, 1, remembers=(*large, *small))])
    await bench.arrive(b"one")
    enclave = FakeEnclave()
    bench.attach(enclave)
    await bench.until(lambda: bodies(enclave) == [b"one"])
    sizes = [sum(len(record.sealed) for record in restore.records) for restore in enclave.restores]
    assert max(sizes) <= 3 << 20
    assert [restore.last for restore in enclave.restores] == [False] * (len(sizes) - 1) + [True]
    assert len({record.name for restore in enclave.restores for record in restore.records}) == 109


async def test_an_enclave_that_dies_loses_and_repeats_nothing(bench: Bench) -> None:
    sent = [b"%d" % n for n in range(300)]
    await bench.arrive(*sent)
    consumed: list[int] = []
    for life in range(200):

        def dying(enclave: FakeEnclave, entry: Input, life: int = life) -> list[FromEnclave]:
            if len(enclave.inputs) > 1 + (life * 7) % 11:
                raise ConnectionError
            return forward(enclave, entry)

        with contextlib.suppress(ConnectionError):
            await asyncio.wait_for(bench.attach(FakeEnclave(respond=dying)), WITHIN_S)
            break
    else:
        bench.attach(FakeEnclave())
    bench.attach(FakeEnclave())
    await bench.until(lambda: bench.worker.idle)
    consumed = [held.carry.trace or 0 for held in bench.released]
    assert len(consumed) == 300
    assert consumed == sorted(set(consumed))


async def test_a_new_enclave_gets_what_the_old_one_did_not_answer(bench: Bench) -> None:
    silent = FakeEnclave(respond=lambda enclave, entry: [])
    bench.attach(silent)
    await bench.arrive(b"one", b"two")
    await bench.until(lambda: len(silent.inputs) == 2)
    enclave = FakeEnclave()
    bench.attach(enclave)  # while the old link is still open
    await bench.until(lambda: bodies(enclave) == [b"one", b"two"] and bench.worker.idle)


@pytest.mark.parametrize(
    "answer",
    [
        lambda enclave, entry: forward(enclave, entry.model_copy(update={"position": entry.position + 1})),
        lambda enclave, entry: [*forward(enclave, entry), *forward(enclave, entry)],
        lambda enclave, entry: [Ready(version=1)],
        lambda enclave, entry: [stepped(entry.position, 1, remembers=(Remember(name="r", version=1, sealed=b""),) * 2)],
        lambda enclave, entry: [stepped(entry.position, 1, account="bob")],
    ],
)
async def test_an_answer_out_of_turn_ends_the_link_and_nothing_of_it_is_kept(
    bench: Bench, answer: Callable[[FakeEnclave, Input], list[FromEnclave]]
) -> None:
    (position,) = await bench.arrive(b"one")
    await asyncio.wait_for(bench.attach(FakeEnclave(respond=answer)), WITHIN_S)
    bench.attach(FakeEnclave())
    await bench.until(lambda: bench.worker.idle)
    assert len([held for held in bench.released if held.carry.trace == position]) == 1


async def test_octets_that_are_no_permitted_frame_end_the_link(bench: Bench) -> None:
    await bench.arrive(b"one")
    for garbage in (frame(b"{}"), b"\xff\xff\xff\xff", frame(b'{"t": "restored", "account": "alice", "code": "ok"}')):
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        bench.worker.attach(ours)
        reader, writer = await asyncio.open_connection(sock=theirs)
        writer.write(garbage)
        with contextlib.suppress(ConnectionError):
            await asyncio.wait_for(reader.read(), WITHIN_S)
        writer.close()
    enclave = FakeEnclave()
    bench.attach(enclave)
    await bench.until(lambda: bodies(enclave) == [b"one"])


async def test_steps_that_no_input_caused_are_committed(bench: Bench) -> None:
    unsolicited: list[Stepped] = []

    def respond(enclave: FakeEnclave, entry: Input) -> list[FromEnclave]:
        answers = forward(enclave, entry)
        enclave.steps[entry.account] += 1
        unsolicited.append(stepped(0, enclave.steps[entry.account]))
        return [*answers, unsolicited[-1], stepped(0, enclave.steps[entry.account], refused="raised-key-error")]

    enclave = FakeEnclave(respond=respond)
    bench.attach(enclave)
    await bench.arrive(b"one", b"two")
    await bench.until(lambda: enclave.committed == {"alice": 4})
    assert bench.worker.idle


async def test_a_refused_input_is_parked_and_the_next_goes_on(bench: Bench) -> None:
    def respond(enclave: FakeEnclave, entry: Input) -> list[FromEnclave]:
        if entry.body == b"odd":
            return [stepped(entry.position, enclave.steps[entry.account], refused="raised-value-error")]
        return forward(enclave, entry)

    bench.attach(FakeEnclave(respond=respond))
    _, odd, _ = await bench.arrive(b"one", b"odd", b"two")
    await bench.until(lambda: len(bench.released) == 2 and bench.worker.idle)
    inspector = Inspector(bench.path)
    assert [(row.position, row.refusal) for row in inspector.parked()] == [(odd, "raised-value-error")]
    inspector.close()


async def test_an_input_that_kills_every_enclave_is_parked_and_stops_nobody_for_good(bench: Bench) -> None:
    bench.worker.serve(["alice", "bob"])
    (bad,) = await bench.arrive(b"poison")
    await bench.arrive(*[b"%d" % n for n in range(20)], account="bob")

    def respond(enclave: FakeEnclave, entry: Input) -> list[FromEnclave]:
        if entry.body == b"poison":
            raise ConnectionError
        return forward(enclave, entry)

    for _ in range(12):
        task = bench.attach(FakeEnclave(respond=respond))
        await bench.until(lambda task=task: task.done() or bench.worker.idle)  # type: ignore[misc]
        if bench.worker.idle:
            break
    await bench.arrive(b"after")
    await bench.until(lambda: len(bench.released) == 21 and bench.worker.idle)
    inspector = Inspector(bench.path)
    assert [(row.position, row.refusal) for row in inspector.parked()] == [(bad, KILLS_ENCLAVE)]
    inspector.close()


async def test_an_account_whose_state_is_not_accepted_waits_and_the_others_go_on(bench: Bench) -> None:
    bench.worker.serve(["alice", "bob"])
    enclave = FakeEnclave(unacceptable=frozenset({"alice"}))
    bench.attach(enclave)
    await bench.arrive(b"waits")
    await bench.arrive(b"goes", account="bob")
    await bench.until(lambda: bodies(enclave) == [b"goes"] and bench.worker.idle)
    assert bench.ledger.waiting == 1
    assert bench.health == ["state-refused"]
    better = FakeEnclave()
    bench.attach(better)
    await bench.until(lambda: bodies(better) == [b"waits"])


async def test_only_so_many_accounts_are_kept_in_the_enclave(bench: Bench) -> None:
    enclave = FakeEnclave()
    bench.attach(enclave)
    names = [f"user{n}" for n in range(8)]
    for _ in range(2):
        for name in names:
            await bench.arrive(b"hello", account=name)
            await bench.until(lambda: bench.worker.idle)
    assert len(enclave.inputs) == 16
    assert len(enclave.steps) <= 3
    assert len(enclave.evicted) >= 13
    assert {name: enclave.committed[name] for name in names} == dict.fromkeys(names, 2)


async def test_no_more_than_the_window_is_under_way(bench: Bench) -> None:
    paused = asyncio.Event()
    enclave = FakeEnclave(paused=paused)
    bench.attach(enclave)
    await bench.arrive(*[b"x" * (1 << 18)] * 64)
    await asyncio.sleep(0.2)
    session = bench.worker._session
    paused.set()
    await bench.until(lambda: session is not None and session.flows.in_flight > 0)
    most = 0
    async with asyncio.timeout(WITHIN_S):
        while not bench.worker.idle:
            assert session is not None
            most = max(most, session.flows.in_flight)
            await asyncio.sleep(0)
    assert most == 16  # of 256 KiB each
    assert len(enclave.inputs) == 64


async def test_a_time_that_was_asked_for_comes_as_an_input(bench: Bench) -> None:
    def respond(enclave: FakeEnclave, entry: Input) -> list[FromEnclave]:
        (answer,) = forward(enclave, entry)
        assert isinstance(answer, Stepped)
        if entry.source == "arrival":
            answer = answer.model_copy(update={"wakes": (WakeAt(network="xmpp", name="nudge", at_ms=1),)})
        return [answer]

    enclave = FakeEnclave(respond=respond)
    bench.attach(enclave)
    await bench.arrive(b"one")
    await bench.until(lambda: len(enclave.inputs) == 2 and bench.worker.idle)
    assert [(entry.source, entry.name) for entry in enclave.inputs] == [("arrival", "stanza"), ("wake", "nudge")]


async def test_a_wake_that_the_enclave_refuses_comes_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.ledger.writes.REFUSED_WAKE_MS", 50)

    def respond(enclave: FakeEnclave, entry: Input) -> list[FromEnclave]:
        if entry.source == "wake" and len(enclave.inputs) < 4:
            return [Stepped(position=entry.position, account=entry.account, step=0, refused="raised-odd")]
        (answer,) = forward(enclave, entry)
        assert isinstance(answer, Stepped)
        if entry.source == "arrival":
            answer = answer.model_copy(update={"wakes": (WakeAt(network="xmpp", name="nudge", at_ms=1),)})
        return [answer]

    enclave = FakeEnclave(respond=respond)
    bench.attach(enclave)
    await bench.arrive(b"one")
    await bench.until(lambda: len(enclave.inputs) == 4 and bench.worker.idle)
    assert [entry.source for entry in enclave.inputs] == ["arrival", "wake", "wake", "wake"]


async def test_when_the_disk_is_full_nothing_goes_out_and_the_worker_goes_on_when_there_is_room(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.worker.STORAGE_RETRY_S", (0.01,))
    full = True
    commit, count = bench.ledger.commit_steps, bench.ledger.count

    async def commit_steps(steps: Sequence[Stepped]) -> Applied:
        if full:
            raise LedgerFull
        return await commit(steps)

    async def counting(code: str, number: int = 1) -> None:
        if full:
            raise LedgerFull
        await count(code, number)

    monkeypatch.setattr(bench.ledger, "commit_steps", commit_steps)
    monkeypatch.setattr(bench.ledger, "count", counting)
    await bench.arrive(b"one")
    await asyncio.wait_for(bench.attach(FakeEnclave()), WITHIN_S)
    assert bench.released == []
    enclave = FakeEnclave()
    bench.attach(enclave)
    await asyncio.sleep(0.1)
    assert enclave.inputs == []
    full = False
    await bench.until(lambda: len(bench.released) == 1)
    assert bench.health == ["storage-full", "storage-up"]


async def test_an_enclave_that_does_not_answer_is_reported_and_given_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.session.STUCK_AFTER_S", 0.05)
    await bench.arrive(b"one")
    await asyncio.wait_for(bench.attach(FakeEnclave(respond=lambda enclave, entry: [])), WITHIN_S)
    await bench.until(lambda: bench.health == ["stuck"])


async def test_an_enclave_that_never_gets_ready_is_given_up(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.session.READY_WITHIN_S", 0.05)
    bench.attach(FakeEnclave(paused=asyncio.Event()))
    await bench.until(lambda: bench.health == ["stuck"])


async def test_an_account_taken_off_the_map_and_put_back_is_brought_in_again(bench: Bench) -> None:
    enclave = FakeEnclave()
    bench.attach(enclave)
    await bench.arrive(b"one")
    await bench.until(lambda: bodies(enclave) == [b"one"] and bench.worker.idle)
    bench.worker.serve([])
    enclave.steps.clear()
    enclave.restores.clear()
    await bench.arrive(b"two")
    await bench.until(lambda: bench.worker.idle)
    assert bodies(enclave) == [b"one"]
    bench.worker.serve(["alice"])
    await bench.until(lambda: bodies(enclave) == [b"one", b"two"] and bench.worker.idle)
