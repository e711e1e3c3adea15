"""A code that `lockgate matrix verify --qr` shows is read off the terminal and scanned by matrix-js-sdk."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from rig.bob.client import Bob
from rig.prosody import Prosody
from rig.scene import Scene
from rig.synapse import Synapse
from tests.interop.test_matrix_operator_verifies import Terminal, terminal
from tests.unit.codes_read import scanned

pytestmark = [pytest.mark.interop, pytest.mark.timeout(240)]
READY = 3
"""VerificationPhase.Ready of matrix-js-sdk."""
_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


@pytest_asyncio.fixture
async def scene(
    short_path: Path, prosody: Prosody, synapse: Synapse, unique: Callable[[str], str]
) -> AsyncIterator[Scene]:
    """Accounts and a gateway that is not started yet; ended after the test."""
    made = Scene(short_path, prosody, synapse, suffix=unique("q"))
    try:
        yield made
    finally:
        await made.close()


async def code_on(screen: Terminal) -> bytes:
    """What the terminal shows, as a camera would read it."""
    printed = await screen.until("scans this code")
    lines = _ESCAPES.sub("", printed).splitlines()
    return scanned([line for line in lines if line and set(line) <= set("█▀▄ ")])


async def requested(bob: Bob) -> None:
    """Bob is asked, and accepts."""
    await bob.wait_for(lambda event: event.get("event") == "verification_request", timeout_s=60, what="the request")
    await bob.ask("verify_accept")


@pytest.mark.parametrize("asked_by", ["us", "bob"])
async def test_bob_scans_the_code_and_both_are_verified(scene: Scene, asked_by: str) -> None:
    await scene.open()
    await scene.alice.send("hello")
    await scene.bob.wait_messages(1, timeout_s=90)
    bob, us = scene.bob, scene.alice_matrix.user_id
    if asked_by == "bob":
        await bob.ask("verify_ask", user=us, room=await scene.room())
        await asyncio.to_thread(_until_asked, scene)
    with terminal(scene, "matrix", "verify", "alice", "bob", "--qr") as screen:
        if asked_by == "us":
            await requested(bob)
        ready = {"event": "verification", "phase": READY}
        await bob.wait_for(lambda event: ready.items() <= event.items(), timeout_s=30, what="both to be ready")
        await bob.ask("verify_scan", code=(await code_on(screen)).hex())
        await screen.until("[y/n]")
        leg = await asyncio.to_thread(scene.lockgate.leg, "matrix")
        assert leg["identity"]["state"] == "pinned"  # nobody here has said yet that it was Bob who scanned
        screen.type("y")
        await screen.until("alice/bob is verified.")
        assert screen.process.wait(30) == 0
    await bob.wait_for(lambda event: event.get("event") == "verified", timeout_s=30, what="the end")
    async with asyncio.timeout(20):
        while (await bob.ask("identity", user=us))["verified"] is not True:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
    leg = await asyncio.to_thread(scene.lockgate.leg, "matrix")
    assert (leg["identity"]["state"], leg["proof"]["how"], leg["proof"]["by"]) == ("verified", "code", "operator")


def _until_asked(scene: Scene) -> None:
    """Until the gateway has heard of Bob's request."""
    while "verification-asked" not in scene.lockgate.tell("status", "--json").output:
        pass
