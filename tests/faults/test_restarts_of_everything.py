"""Gateway, enclave and homeserver are restarted at random under traffic, while devices of Bob's come and go."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from rig.bob.client import Bob
from rig.prosody import Prosody
from rig.scene import Scene
from rig.synapse import Synapse

pytestmark = [pytest.mark.interop, pytest.mark.timeout(900)]

MESSAGES = int(os.environ.get("LOCKGATE_MESSAGES", "500"))
BACKLOG = 60
DRAIN_S = 240.0
SYNAPSE_RESTARTS = 3
"""Each costs several seconds; the other two processes are killed in between as often as the traffic lasts."""


@pytest_asyncio.fixture
async def scene(
    short_path: Path, tmp_path: Path, prosody: Prosody, unique: Callable[[str], str]
) -> AsyncIterator[Scene]:
    """A gateway and a homeserver of its own."""
    with Synapse(tmp_path / "synapse") as synapse:
        made = Scene(short_path, prosody, synapse, suffix=unique("r"))
        try:
            yield await made.open()
        finally:
            await made.close()


class Conversation:
    """Both write numbered texts, as many as they are to; what could not be handed over is tried again."""

    def __init__(self, scene: Scene, room: str, count: int) -> None:
        self.scene, self.room, self.count = scene, room, count
        self.from_alice = ["from Alice 0"]
        self.from_bob = ["from Bob 0"]

    async def run(self) -> None:
        """Return when all is written."""
        await asyncio.gather(self._alice(), self._bob())

    async def _alice(self) -> None:
        while len(self.from_alice) < self.count:
            if len(self.from_alice) - len(self.scene.bob.messages) < BACKLOG:
                self.from_alice.append(f"from Alice {len(self.from_alice)}")
                await self.scene.alice.send(self.from_alice[-1])
            await asyncio.sleep(0.02)

    async def _bob(self) -> None:
        while len(self.from_bob) < self.count:
            if len(self.from_bob) - len(self.scene.alice.messages) < BACKLOG:
                await self._bob_writes(f"from Bob {len(self.from_bob)}")
            await asyncio.sleep(0.02)

    async def _bob_writes(self, text: str) -> None:
        """The same transaction until the homeserver has it: it may be away."""
        await self.scene.bob.ask(
            "send_surely", room=self.room, body=text, txn=text.replace(" ", "-"), timeout_s=DRAIN_S
        )
        self.from_bob.append(text)

    @property
    def written(self) -> int:
        """How many messages so far, both ways."""
        return len(self.from_alice) + len(self.from_bob)


async def test_five_hundred_messages_each_way_survive_restarts_of_gateway_enclave_and_homeserver(
    scene: Scene, tmp_path: Path
) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    try:
        await _written_under_restarts(scene, random.Random(seed), tmp_path)
    except BaseException:
        print(f"logs and ledger: {scene.keep_logs('restarts')}")
        raise


async def _written_under_restarts(scene: Scene, dice: random.Random, folder: Path) -> None:
    await scene.alice.send("from Alice 0")
    room = await scene.room(timeout_s=90)
    await scene.bob.wait_messages(1)
    await scene.bob.send(room, "from Bob 0")
    await scene.alice.wait_messages(1)
    talk = Conversation(scene, room, MESSAGES)
    writing = asyncio.create_task(talk.run())
    restarts = 0
    recovery_key = str((await scene.bob.ask("make_secret_storage"))["recovery_key"])
    second: SecondDevice | None = None
    try:
        while not writing.done():
            await _pause(dice, writing)
            share = talk.written / (2 * MESSAGES)
            if restarts < SYNAPSE_RESTARTS and share > (restarts + 1) / (SYNAPSE_RESTARTS + 1):
                restarts += 1
                await _restart(scene.synapse, kill=dice.random() < 0.5)
            elif second is None and share > 0.3:
                second = await SecondDevice.of(scene, folder, recovery_key)
            elif second is not None and not second.out and share > 0.6 and second.read():
                await second.log_out()
            else:
                _kill_child(scene, dice.choice(["gateway", "enclave"]))
        await writing
        await _drained(scene, talk)
    finally:
        writing.cancel()
        if second is not None:
            await second.client.stop()
    assert restarts == SYNAPSE_RESTARTS
    assert second is not None
    assert second.out
    read = second.read()
    assert read == talk.from_alice[talk.from_alice.index(read[0]) :][: len(read)]


async def _pause(dice: random.Random, writing: "asyncio.Task[None]") -> None:
    await asyncio.wait([writing], timeout=dice.uniform(1.0, 6.0))


async def _restart(synapse: Synapse, *, kill: bool) -> None:
    await asyncio.to_thread(synapse.kill if kill else synapse.stop)
    await synapse.begin()


def _kill_child(scene: Scene, role: str) -> None:
    child = scene.lockgate.child(role)
    if child is not None:
        child.send_signal(signal.SIGKILL)


class SecondDevice:
    """Bob's other client, signed by his identity: from the time it is known it can read, until it is logged out."""

    def __init__(self, client: Bob) -> None:
        self.client = client
        self.out = False

    @classmethod
    async def of(cls, scene: Scene, folder: Path, recovery_key: str) -> "SecondDevice":
        """Logged in, and signed with what the recovery key opens."""
        client = Bob(folder / "second", "second")
        await client.start()
        await client.login(scene.bob_account, strict=True, cross_sign=False)
        await client.ask("recover_identity", recovery_key=recovery_key)
        return cls(client)

    def read(self) -> list[str]:
        """What it could read, in order."""
        return [message.body for message in self.client.messages]

    async def log_out(self) -> None:
        """It is gone for good."""
        self.out = True
        await self.client.ask("logout")
        await self.client.stop()


async def _drained(scene: Scene, talk: Conversation) -> None:
    """All arrived once, in order, and nothing on the way could not be decrypted."""
    await asyncio.gather(
        scene.bob.wait_messages(MESSAGES, timeout_s=DRAIN_S), scene.alice.wait_messages(MESSAGES, timeout_s=DRAIN_S)
    )
    assert await scene.alice.flushed(timeout_s=DRAIN_S) == 0
    await asyncio.sleep(3)  # a double that comes late is a double, too
    assert [message.body for message in scene.bob.messages] == talk.from_alice
    assert [message.body for message in scene.alice.messages] == talk.from_bob
    assert scene.alice.ids("failed") == []
    assert scene.bob.undecryptable == []
    assert {message.shield for message in scene.bob.messages} == {"none"}
