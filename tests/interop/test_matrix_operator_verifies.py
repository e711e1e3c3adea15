"""`lockgate matrix verify` on a terminal, with the whole gateway and a client that shows emoji."""

import asyncio
import contextlib
import os
import pty
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from rig.lockgate import SCRIPT
from rig.prosody import Prosody
from rig.scene import Scene
from rig.services import quiet_environment
from rig.synapse import Synapse

pytestmark = [pytest.mark.interop, pytest.mark.timeout(240)]


@pytest_asyncio.fixture
async def scene(
    short_path: Path, prosody: Prosody, synapse: Synapse, unique: Callable[[str], str]
) -> AsyncIterator[Scene]:
    """Accounts and a gateway that is not started yet; ended after the test."""
    made = Scene(short_path, prosody, synapse, suffix=unique("v"))
    try:
        yield made
    finally:
        await made.close()


@dataclass
class Terminal:
    """A command of Lockgate that believes to be on a terminal."""

    process: subprocess.Popen[bytes]
    master: int
    printed: str = ""

    async def until(self, text: str, timeout_s: float = 60.0) -> str:
        """All that was printed, once this was."""
        async with asyncio.timeout(timeout_s):
            while text not in self.printed:
                await asyncio.sleep(0.05)
                with contextlib.suppress(BlockingIOError, OSError):
                    self.printed += os.read(self.master, 1 << 16).decode(errors="replace")
        return self.printed

    def type(self, text: str) -> None:
        """Answer."""
        os.write(self.master, text.encode() + b"\n")


@contextlib.contextmanager
def terminal(scene: Scene, *words: str) -> Iterator[Terminal]:
    """Run a command."""
    master, slave = pty.openpty()
    os.set_blocking(master, False)
    command = [str(SCRIPT), *words, "-c", str(scene.lockgate.config)]
    environment = {**quiet_environment(), "PYTHONIOENCODING": "utf-8", "COLUMNS": "200"}
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment)
    os.close(slave)
    try:
        yield Terminal(process, master)
    finally:
        process.kill()
        process.wait(10)
        os.close(master)


async def test_the_operator_and_bob_compare_and_the_leg_is_verified(scene: Scene) -> None:
    await scene.open()
    await scene.alice.send("hello")
    await scene.bob.wait_messages(1, timeout_s=90)
    bob = scene.bob
    with terminal(scene, "matrix", "verify", "alice", "bob") as screen:
        await bob.wait_for(lambda event: event.get("event") == "verification_request", timeout_s=60, what="the request")
        await bob.ask("verify_accept")
        sas = await bob.wait_for(lambda event: event.get("event") == "sas", timeout_s=60, what="the emoji")
        printed = await screen.until("[y/n]")
        for place, (picture, name) in enumerate(sas["emoji"], start=1):
            assert f"{place}. {picture}  {name}" in printed
        screen.type("y")
        await bob.ask("verify_match")
        await screen.until("alice/bob is verified.")
        assert screen.process.wait(30) == 0
    await bob.wait_for(lambda event: event.get("event") == "verified", timeout_s=30, what="the end")
    leg = await asyncio.to_thread(scene.lockgate.leg, "matrix")
    assert leg["identity"]["state"] == "verified"
    await scene.alice.send("verified")
    seen = await bob.wait_messages(2, timeout_s=60)
    assert [(message.body, message.shield) for message in seen] == [("hello", "none"), ("verified", "none")]
