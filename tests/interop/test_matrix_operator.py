"""Matrix identities as the operator and the users meet them: the whole gateway, its commands, a real Synapse."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from adapters.xmpp.sentences import NOTICES
from rig.prosody import Prosody
from rig.scene import Scene
from rig.synapse import Synapse
from tests.conftest import BobFactory

pytestmark = [pytest.mark.interop, pytest.mark.timeout(240)]


@pytest.fixture
def scene_made(short_path: Path, prosody: Prosody, synapse: Synapse, unique: Callable[[str], str]) -> Scene:
    """Accounts and a gateway that is not started yet."""
    return Scene(short_path, prosody, synapse, suffix=unique("o"))


@pytest_asyncio.fixture
async def scene(scene_made: Scene) -> AsyncIterator[Scene]:
    """The same, ended after the test."""
    try:
        yield scene_made
    finally:
        await scene_made.close()


async def tell(scene: Scene, *words: str) -> str:
    """A command of Lockgate that succeeds; returns what it printed."""
    ended = await asyncio.to_thread(scene.lockgate.tell, *words)
    assert ended.status == 0, ended.output
    return ended.output


async def identity(scene: Scene) -> dict[str, Any]:
    """How the account's own identity stands."""
    return dict(json.loads(await tell(scene, "matrix", "identity", "alice", "--json")))


async def until_own(scene: Scene, name: str, value: str, timeout_s: float = 60.0) -> None:
    """Return once the account's own identity stands so."""
    async with asyncio.timeout(timeout_s):
        while (await identity(scene))[name] != value:  # noqa: ASYNC110 - the command has to be asked
            await asyncio.sleep(0.5)


async def until_state(scene: Scene, network: str, state: str, timeout_s: float = 60.0) -> dict[str, Any]:
    """The leg, once it stands so."""
    async with asyncio.timeout(timeout_s):
        while True:
            leg = await asyncio.to_thread(scene.lockgate.leg, network)
            if leg["state"] == state:
                return leg
            await asyncio.sleep(0.5)


async def test_a_reset_identity_stops_messages_until_the_operator_approves_its_key(
    scene: Scene, bob_factory: BobFactory
) -> None:
    await scene.open()
    await scene.alice.send("before")
    await scene.bob.wait_messages(1, timeout_s=90)
    second = await bob_factory(scene.bob_account, strict=True)  # it has no recovery key: it resets the identity
    leg = await until_state(scene, "matrix", "identity-changed")
    await scene.alice.send("held")
    sentence = NOTICES["contact-identity-changed"].split("'")[1].partition(".")[0]  # without what XML escapes
    async with asyncio.timeout(30):
        while sum(sentence in stanza.xml for stanza in scene.alice.trace()) != 1:  # noqa: ASYNC110 - a file grows
            await asyncio.sleep(0.2)
    wrong = await asyncio.to_thread(scene.lockgate.tell, "trust", "approve", "alice", "bob", "--key", "A" * 43)
    assert wrong.status == 1
    assert "held" not in [message.body for message in second.messages]
    await tell(scene, "trust", "approve", "alice", "bob", "--key", leg["identity"]["key"])
    await second.wait_until(
        lambda: "held" in [message.body for message in second.messages], timeout_s=60, what="what was held"
    )
    assert sum(sentence in stanza.xml for stanza in scene.alice.trace()) == 1


async def test_the_operator_joins_the_identity_that_element_made_and_no_shield_is_shown(
    scene: Scene, bob_factory: BobFactory
) -> None:
    element = await bob_factory(scene.alice_matrix)
    written = str((await element.ask("make_secret_storage"))["recovery_key"])
    await scene.open()
    await until_own(scene, "state", "elsewhere")
    assert "lockgate matrix recover alice" in await tell(scene, "check")
    file = scene.lockgate.secret("recovery", written)
    await tell(scene, "matrix", "recover", "alice", "--key-file", str(scene.lockgate.folder / file))
    await until_own(scene, "state", "ours")
    await scene.alice.send("from Alice")
    (seen,) = await scene.bob.wait_messages(1, timeout_s=90)
    assert (seen.body, seen.shield) == ("from Alice", "none")
    assert not scene.bob.undecryptable
    await until_own(scene, "backup", "active")
    async with asyncio.timeout(30):
        while (await element.ask("backup_count"))["count"] == 0:  # noqa: ASYNC110 - the server has to be asked
            await asyncio.sleep(0.2)
    counters = json.loads(await tell(scene, "status", "--json"))["counters"]
    assert counters["undecryptable-now"] == 0
    assert not [code for code in counters if code.startswith("raised-")]


async def test_the_recovery_key_is_shown_once_and_written_nowhere(scene: Scene) -> None:
    await scene.open()
    await until_own(scene, "recovery_key", "to-show")
    key = (await tell(scene, "matrix", "recovery-key", "alice")).strip()
    assert len(key.split()) == 12
    again = await asyncio.to_thread(scene.lockgate.tell, "matrix", "recovery-key", "alice")
    assert (again.status, key in again.output) == (1, False)
    assert (await identity(scene))["recovery_key"] == "shown"
    for path in [path for path in scene.lockgate.folder.rglob("*") if path.is_file()]:
        content = path.read_bytes()
        assert key.encode() not in content
        assert key.replace(" ", "").encode() not in content
