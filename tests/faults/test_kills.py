"""Each process is killed fifty times at random instants under traffic: nothing lost, doubled or reordered."""

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from rig.prosody import Prosody
from rig.scene import Scene
from rig.synapse import Synapse

pytestmark = [pytest.mark.interop, pytest.mark.timeout(600)]

KILLS = int(os.environ.get("LOCKGATE_KILLS", "50"))
SOAK_KILLS = int(os.environ.get("LOCKGATE_SOAK_KILLS", "500"))
BACKLOG = 30
"""Messages one side may have on the way: the traffic goes on, but what is left at the end is bounded."""
DRAIN_S = 120.0
FLOW = 6


class Traffic:
    """Both sides send numbered texts until told to stop."""

    def __init__(self, scene: Scene, room: str) -> None:
        self.scene, self.room = scene, room
        self.from_alice: list[str] = []
        self.from_bob: list[str] = []
        self._stopped = asyncio.Event()
        self._tasks = [asyncio.create_task(self._alice()), asyncio.create_task(self._bob())]

    async def _alice(self) -> None:
        while not self._stopped.is_set():
            if len(self.from_alice) - len(self.scene.bob.messages) < BACKLOG:
                self.from_alice.append(f"from Alice {len(self.from_alice)}")
                await self.scene.alice.send(self.from_alice[-1])
            await asyncio.sleep(0.05)

    async def _bob(self) -> None:
        while not self._stopped.is_set():
            if len(self.from_bob) - len(self.scene.alice.messages) < BACKLOG:
                self.from_bob.append(f"from Bob {len(self.from_bob)}")
                await self.scene.bob.send(self.room, self.from_bob[-1])
            await asyncio.sleep(0.05)

    @property
    def seen(self) -> int:
        """How many messages have arrived, both directions."""
        return len(self.scene.bob.messages) + len(self.scene.alice.messages)

    @property
    def on_the_way(self) -> int:
        """How many have not arrived yet, both directions."""
        return len(self.from_alice) + len(self.from_bob) - self.seen

    async def flow(self) -> None:
        """Return when some more have arrived."""
        wanted, deadline = self.seen + FLOW, time.monotonic() + 20
        while self.seen < wanted:
            assert time.monotonic() < deadline, f"nothing arrives any more: {self.scene.lockgate.log_end()}"
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """Send no more; returns when what is being sent has been handed over."""
        self._stopped.set()
        await asyncio.gather(*self._tasks)


@pytest_asyncio.fixture
async def scene(
    short_path: Path, prosody: Prosody, synapse: Synapse, unique: Callable[[str], str]
) -> AsyncIterator[Scene]:
    """A gateway of its own, with a first message each way already through."""
    made = Scene(short_path, prosody, synapse, suffix=unique("k"))
    try:
        yield await made.open()
    finally:
        await made.close()


async def _first_messages(scene: Scene) -> Traffic:
    await scene.alice.send("from Alice 0")
    room = await scene.room(timeout_s=90)
    await scene.bob.wait_messages(1)
    await scene.bob.send(room, "from Bob 0")
    await scene.alice.wait_messages(1)
    traffic = Traffic(scene, room)
    traffic.from_alice.append("from Alice 0")
    traffic.from_bob.append("from Bob 0")
    return traffic


async def _random_instant(dice: random.Random, traffic: Traffic) -> None:
    """Some time into flowing traffic, or very soon: then processes that are just starting are hit, too."""
    if dice.random() < 0.4:
        await traffic.flow()
        await asyncio.sleep(dice.uniform(0.0, 0.3))
    else:
        await asyncio.sleep(dice.uniform(0.0, 1.0))


async def _kill_child(scene: Scene, role: str) -> None:
    deadline = time.monotonic() + 40
    while (child := scene.lockgate.child(role)) is None:
        assert time.monotonic() < deadline, f"{role} was not started again: {scene.lockgate.log_end()}"
        await asyncio.sleep(0.02)
    try:
        child.send_signal(signal.SIGKILL)
    except psutil.NoSuchProcess:
        return await _kill_child(scene, role)


async def _kill_supervisor(scene: Scene) -> None:
    scene.lockgate.kill()
    scene.lockgate.launch()


@pytest.mark.parametrize("role", ["gateway", "enclave", "supervisor"])
async def test_fifty_kills_lose_double_and_reorder_nothing(scene: Scene, role: str) -> None:
    await _kills(scene, role, KILLS)


@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.parametrize("role", ["gateway", "enclave", "supervisor"])
async def test_hundreds_of_kills_lose_double_and_reorder_nothing(scene: Scene, role: str) -> None:
    await _kills(scene, role, SOAK_KILLS)


async def _kills(scene: Scene, role: str, kills: int) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    try:
        await _kill_under_traffic(scene, role, dice, kills)
    except BaseException:
        print(f"logs and ledger: {scene.keep_logs(f'kills-{role}')}")
        raise


async def _kill_under_traffic(scene: Scene, role: str, dice: random.Random, kills: int) -> None:
    traffic = await _first_messages(scene)
    under_traffic = 0
    for _ in range(kills):
        await _random_instant(dice, traffic)
        under_traffic += traffic.on_the_way > 0
        await (_kill_supervisor(scene) if role == "supervisor" else _kill_child(scene, role))
    await traffic.stop()
    await _drained(scene, traffic)
    await asyncio.sleep(3)  # a double that comes late is a double, too
    assert [message.body for message in scene.bob.messages] == traffic.from_alice
    assert [message.body for message in scene.alice.messages] == traffic.from_bob
    assert scene.alice.ids("failed") == []
    assert under_traffic > kills * 0.8
    assert traffic.seen > kills


async def _drained(scene: Scene, traffic: Traffic) -> None:
    try:
        await asyncio.gather(
            scene.bob.wait_messages(len(traffic.from_alice), timeout_s=DRAIN_S),
            scene.alice.wait_messages(len(traffic.from_bob), timeout_s=DRAIN_S),
        )
    except Exception as error:
        missing_at_bob = [t for t in traffic.from_alice if t not in {m.body for m in scene.bob.messages}]
        missing_at_alice = [t for t in traffic.from_bob if t not in {m.body for m in scene.alice.messages}]
        raise AssertionError(f"Bob misses {missing_at_bob}; Alice misses {missing_at_alice}; {error}") from error
    assert await scene.alice.flushed(timeout_s=DRAIN_S) == 0
