"""A marker and every session key are looked for where nobody may have them, after a hundred messages each way."""

import asyncio
import base64
import os
import re
import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from rig.prosody import Prosody
from rig.scene import Scene
from rig.search import Find, in_files, in_memory, in_octets
from rig.synapse import Synapse

pytestmark = [
    pytest.mark.boundary,
    pytest.mark.interop,
    pytest.mark.timeout(300),
    pytest.mark.skipif(os.geteuid() != 0, reason="reading the memory of other processes needs root"),
]

MESSAGES = 100
_OLD = re.compile(r"<(?:\w+:)?old\b[^>]*>([A-Za-z0-9+/=]+)<")


@pytest_asyncio.fixture
async def scene(
    short_path: Path, prosody: Prosody, synapse: Synapse, unique: Callable[[str], str]
) -> AsyncIterator[Scene]:
    """A gateway of its own; Alice's client writes down the keys of its sessions."""
    made = Scene(short_path, prosody, synapse, suffix=unique("c"), keep_keys=True)
    try:
        yield await made.open()
    finally:
        await made.close()


async def _converse(scene: Scene, marker: str) -> None:
    await scene.alice.send(f"{marker} from Alice 0")
    room = await scene.room(timeout_s=90)
    await scene.bob.wait_messages(1)
    for number in range(1, MESSAGES):
        await scene.alice.send(f"{marker} from Alice {number}")
    for number in range(MESSAGES):
        await scene.bob.send(room, f"from Bob {number} {marker}")
    await asyncio.gather(scene.bob.wait_messages(MESSAGES), scene.alice.wait_messages(MESSAGES))
    assert await scene.alice.flushed() == 0


def _in_process(scene: Scene, role: str, needles: list[bytes]) -> list[Find]:
    if role == "supervisor":
        return in_memory(needles, scene.lockgate.pid, role)
    child = scene.lockgate.child(role)
    assert child is not None
    return in_memory(needles, child.pid, role)


def _outside(scene: Scene, needles: list[bytes]) -> list[Find]:
    found = _in_process(scene, "supervisor", needles) + _in_process(scene, "gateway", needles)
    for folder in (scene.lockgate.folder, scene.xmpp.folder, scene.synapse.folder):
        found += in_files(needles, folder)
    found += in_octets(needles, "Alice's stanzas", scene.alice.trace_file.read_bytes())
    for place, tap in (("the XMPP connection", scene.xmpp_tap), ("the Matrix connections", scene.matrix_tap)):
        assert tap.octets > 100 * MESSAGES
        for capture in tap.captures:
            found += in_octets(needles, place, capture.to_server) + in_octets(needles, place, capture.to_client)
    return found


def _unpublished(scene: Scene) -> list[bytes]:
    """The keys so far, without the MAC keys that were published because nothing depends on them any more."""
    published = {base64.b64decode(old) for one in scene.alice.trace() for old in _OLD.findall(one.xml)}
    made = scene.alice.keys()
    return [key for key in made if key not in published]


def _outside_but_published(scene: Scene, needles: list[bytes]) -> list[Find]:
    """What is found of them, and of the keys that were unpublished before the search as well as after it: one that is
    published while it is looked for is no find.
    """
    for _ in range(10):
        keys = _unpublished(scene)
        found = _outside(scene, [*needles, *keys])
        if not set(keys) - set(_unpublished(scene)):
            return found
    pytest.fail("keys went on being published")


async def test_marker_and_keys_are_nowhere_outside_and_the_keys_of_an_ended_session_nowhere_at_all(
    scene: Scene,
) -> None:
    marker = f"canary{secrets.token_hex(10)}"
    await _converse(scene, marker)
    session_keys, megolm = _unpublished(scene), await scene.bob.megolm_secrets()
    assert len(session_keys) >= 6
    assert len(megolm) >= 8
    # What the searches find nothing of is there where it may be: they can see it.
    assert in_memory([marker.encode()], scene.alice.pid, "Alice's client")
    assert _in_process(scene, "enclave", session_keys)
    assert _in_process(scene, "enclave", megolm)

    assert _outside_but_published(scene, [marker.encode(), *megolm]) == []

    await scene.alice.end()
    await _ended(scene)
    session_keys = _unpublished(scene)  # the last ones of the peer's went with the end
    assert _in_process(scene, "enclave", session_keys) == []
    assert _outside_but_published(scene, []) == []


async def _ended(scene: Scene) -> None:
    for _ in range(100):
        if (await asyncio.to_thread(scene.lockgate.leg, "xmpp"))["state"] == "none":
            break
        await asyncio.sleep(0.1)
    else:
        pytest.fail("the gateway still has a session")
    await asyncio.sleep(1)
