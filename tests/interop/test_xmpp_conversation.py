"""Alice's own client, a real Prosody, and both halves of the XMPP adapter with nothing between them but a queue."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio

from adapters.inside_api import AccountPolicy, ContactPolicy
from adapters.outside_api import AccountRoutes, Route
from adapters.xmpp.inside import XmppInside
from adapters.xmpp.outside import XmppOutside
from bridge.wire.link import Carry
from crypto.message import Assurance, Message
from rig.alice import Alice
from rig.prosody import Prosody
from tests.unit.fake_step import MemoryRecords, MemoryStep

pytestmark = [pytest.mark.interop, pytest.mark.timeout(180)]

TEXTS = ["hello", "🦊 <&>\"'", "שלום عالم", "two\nlines", "x" * 20_000]


@dataclass
class Joined:
    """The edge, the ledger and the enclave in one: arrivals become steps, carries go out in order."""

    outside: XmppOutside
    inside: XmppInside
    step: MemoryStep
    bob: ContactPolicy
    acknowledging: bool = True
    states: list[str] = field(default_factory=list)
    settled: int = 0
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)

    async def arrived(self, account: str, name: str, body: bytes, *, mark: tuple[str, str] | None = None) -> None:
        self.act(lambda: self.inside.arrived(self.step, self.step.input("arrival", name, body, network="xmpp")))

    async def arrived_batch(
        self, account: str, entries: Sequence[tuple[str, bytes]], *, mark: tuple[str, str] | None = None
    ) -> None:
        for name, body in entries:
            await self.arrived(account, name, body)

    async def mark(self, account: str, name: str) -> str | None:
        return None

    async def set_mark(self, account: str, name: str, value: str) -> None:
        return None

    def health(self, account: str | None, state: str, detail: str) -> None:
        self.states.append(state)

    def act(self, do: Callable[[], None]) -> None:
        """One step, and what follows from it."""
        self.step.now = time.time_ns() // 1_000_000
        self.step.commit(do)
        for carried in self.step.take():
            carry = Carry(
                key=carried.key, network="xmpp", request=carried.request, lane=carried.lane, values=dict(carried.values)
            )
            self._spawn(carry)
        fresh, self.settled = self.step.deliveries[self.settled :], len(self.step.deliveries)
        for _contact, message in fresh if self.acknowledging else ():
            self.act(lambda id_=message.id: self.inside.acknowledged(self.step, self.bob, id_))  # type: ignore[misc]
        if (at := self.step.wakes.pop("tick", None)) is not None:
            delay_s = max(0.0, at / 1000 - time.time())
            asyncio.get_running_loop().call_later(delay_s, self.act, lambda: self.inside.woken(self.step, "tick"))

    def message(self, body: str, id_: str) -> None:
        self.act(lambda: self.inside.to_network(self.step, self.bob, Message(id_, body)))

    def _spawn(self, carry: Carry) -> None:
        async def carried() -> None:
            while (await self.outside.carry("alice", carry)).retry:  # noqa: ASYNC110 - as the edge does
                await asyncio.sleep(0.2)

        task = asyncio.create_task(carried())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


@dataclass
class Scene:
    alice: Alice
    joined: Joined


@pytest_asyncio.fixture
async def scene(prosody: Prosody, unique: Callable[[str], str], tmp_path: Path) -> AsyncIterator[Scene]:
    component, account = prosody.component(), prosody.account(unique("alice"))
    alias = f"bob@{component.jid}"
    bob = ContactPolicy("bob", "matrix", "@bob:example.org", alias, Assurance.END_TO_END)
    inside = XmppInside()
    step = MemoryStep(AccountPolicy("alice", "xmpp", account.jid, {}, (bob,)), MemoryRecords(), half=inside)
    outside = XmppOutside(
        jid=component.jid, host=component.host, port=component.port, secret=component.secret, settle_s=1.0
    )
    joined = Joined(outside, inside, step, bob)
    routes = AccountRoutes("alice", account.jid, {}, (Route("bob", "matrix", bob.address, alias),))
    await outside.connect(joined, [routes])
    alice = Alice(tmp_path, account, alias)
    await alice.start()
    yield Scene(alice, joined)
    await alice.stop()
    await outside.close()


async def until(true: Callable[[], object], what: str, timeout_s: float = 40.0) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            while not true():  # noqa: ASYNC110 - what is waited for happens in other processes
                await asyncio.sleep(0.05)
    except TimeoutError:
        pytest.fail(f"did not happen in {timeout_s} s: {what}")


async def test_texts_of_all_kinds_arrive_once_in_order_and_intact_both_ways(scene: Scene) -> None:
    for number, text in enumerate(TEXTS):
        await scene.alice.send(text)
        scene.joined.message(text, f"${number}")
    heard = await scene.alice.wait_messages(len(TEXTS))
    assert [one.body for one in heard] == TEXTS
    assert await scene.alice.flushed(timeout_s=30) == 0
    assert [message.body for _, message in scene.joined.step.deliveries] == TEXTS
    await until(lambda: len(scene.joined.step.done) == len(TEXTS), "all receipts")
    session = await scene.alice.session()
    leg = scene.joined.inside.status(scene.joined.step.records, scene.joined.step.account)[0]
    assert (leg.state, leg.sas, leg.waiting) == ("active", session["sas"], 0)


async def test_bob_may_write_first(scene: Scene) -> None:
    scene.joined.message("good morning", "$1")
    heard = await scene.alice.wait_messages(1)
    assert heard[0].body == "good morning"
    await until(lambda: scene.joined.step.done == [("bob", "$1")], "the receipt")


async def test_a_client_that_was_killed_gets_what_waits_in_a_new_session(scene: Scene) -> None:
    scene.joined.message("one", "$1")
    await scene.alice.wait_messages(1)
    await scene.alice.stop()
    scene.joined.message("two", "$2")
    scene.joined.message("three", "$3")
    await scene.alice.start()
    heard = await scene.alice.wait_messages(3)
    assert [one.body for one in heard] == ["one", "two", "three"]


async def test_an_enclave_that_may_be_old_begins_new_sessions_and_loses_nothing(scene: Scene) -> None:
    await scene.alice.send("before")
    await until(lambda: scene.joined.step.deliveries, "the first message")
    scene.joined.act(lambda: scene.joined.inside.started(scene.joined.step, resumed=False))
    await scene.alice.send("after")
    scene.joined.message("from Bob", "$1")
    await scene.alice.wait_messages(1)
    assert await scene.alice.flushed(timeout_s=30) == 0
    assert [message.body for _, message in scene.joined.step.deliveries] == ["before", "after"]


async def test_a_refusal_reaches_alice_with_its_reason(scene: Scene) -> None:
    scene.joined.acknowledging = False
    id_ = await scene.alice.send("hello")
    await until(lambda: scene.joined.step.deliveries, "the message")
    scene.joined.act(
        lambda: scene.joined.inside.refused(scene.joined.step, scene.joined.bob, id_, "room-not-encrypted")
    )
    await until(lambda: id_ in scene.alice.ids("failed"), "the failure")
