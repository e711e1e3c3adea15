"""Automatic trust (XEP-0450) with real processes: a verified device of Alice's vouches for her next one."""

import asyncio
import re
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
import xeddsa

from rig.omemo_user import OmemoUser
from rig.prosody import Prosody
from rig.scene import Scene
from rig.synapse import Synapse
from tests.interop.omemo_clients import Clients
from tests.interop.omemo_scene import opened

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prosody]:
    """A server of this test's own."""
    with Prosody(tmp_path_factory.mktemp("prosody"), components=2) as running:
        yield running


@pytest_asyncio.fixture
async def scene(
    short_path: Path, server: Prosody, synapse: Synapse, unique: Callable[[str], str]
) -> AsyncIterator[Scene]:
    """A gateway that believes no device before it is verified, and Bob."""
    async with opened(short_path, server, synapse, unique("t"), trust="verified-only") as made:
        yield made


@pytest_asyncio.fixture
async def clients(scene: Scene) -> AsyncIterator[Clients]:
    """Alice's clients."""
    made = Clients(scene.folder)
    yield made
    await made.stop()


async def _shown(scene: Scene) -> str:
    """What the operator is shown."""
    return (await asyncio.to_thread(scene.lockgate.tell, "trust", "show")).output


async def _until_shown(scene: Scene, what: str) -> None:
    async with asyncio.timeout(60):
        while re.search(what, await _shown(scene), re.MULTILINE) is None:  # noqa: ASYNC110 - a command tells nobody
            await asyncio.sleep(0.1)


async def _refused(user: OmemoUser, contact: str, text: str) -> None:
    """The device writes, and is told that it is not verified."""
    count = len(user.told("refused"))
    await user.send(contact, text)
    await user.wait_until(lambda: len(user.told("refused")) > count, timeout_s=60, what="the refusal")


def _vouching(scene: Scene, user: OmemoUser) -> str:
    """What XEP-0450 has a device say of another one's key, in the form that bundles carry."""
    key = b64encode(xeddsa.curve25519_pub_to_ed25519_pub(bytes.fromhex(user.fingerprint), False)).decode()
    return (
        "<trust-message xmlns='urn:xmpp:tm:1' usage='urn:xmpp:atm:1' encryption='urn:xmpp:omemo:2'>"
        f"<key-owner jid='{scene.alice_account.jid}'><trust>{key}</trust></key-owner></trust-message>"
    )


async def test_a_device_that_a_verified_one_vouches_for_needs_no_operator(scene: Scene, clients: Clients) -> None:
    contact = scene.alice.contact
    await _until_shown(scene, r"^alice\s+bob\s+\d+\s+[0-9a-f ]{71}")
    first = await clients.user(scene.alice_account, "first", "omemo:2").start()
    await first.subscribe(contact)
    await _refused(first, contact, "not verified yet")
    how = ("--device", str(first.device), "--key", first.fingerprint)
    await asyncio.to_thread(scene.lockgate.tell, "trust", "verify", "alice", "bob", *how)
    await first.send(contact, "from the first")
    room = await scene.room(timeout_s=90)

    second = await clients.user(scene.alice_account, "second", "omemo:2").start()
    await second.wait_for(
        lambda e: e.get("event") == "list" and e["of"] == contact and e["namespace"] == "omemo:2", what="Bob's list"
    )
    await _refused(second, contact, "not verified either")
    await scene.bob.send(room, "to the first")
    await first.wait_for(lambda e: e.get("body") == "to the first", timeout_s=60, what="Bob's first message")
    await first.send(contact, "", beside=[_vouching(scene, second)])
    await second.wait_for(
        lambda e: e.get("event") == "plain" and "is verified too" in e["body"], timeout_s=60, what="the announcement"
    )

    await scene.bob.send(room, "to both")
    for user in (first, second):
        await user.wait_for(lambda e: e.get("body") == "to both", timeout_s=60, what="Bob's second message")
    read = [[m.body for m in user.messages if m.sender.startswith(contact)] for user in (first, second)]
    assert read == [["to the first", "to both"], ["to both"]]
    await second.send(contact, "from the second")
    await scene.bob.wait_messages(2, timeout_s=60)
    assert [message.body for message in scene.bob.messages] == ["from the first", "from the second"]
    shown = await _shown(scene)
    assert re.search(rf"^alice\s+{second.device}\s+verified\s+device {first.device}\s", shown, re.MULTILINE)
    assert re.search(rf"^alice\s+{first.device}\s+verified\s+operator\s", shown, re.MULTILINE)
    assert first.told("undecryptable") == []
