"""OMEMO from ordinary clients, unmodified, through the gateway to Matrix and back, over Prosody and ejabberd.

Bob's client shuts out devices that their owner did not sign. What the XMPP server and the gateway see is kept by taps.
"""

import asyncio
import re
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from rig.ejabberd import Ejabberd
from rig.omemo_user import OmemoUser
from rig.profanity_omemo import OmemoProfanity
from rig.prosody import Prosody
from rig.scene import Scene
from rig.synapse import Synapse
from rig.xmpp import XmppServer
from tests.interop.omemo_clients import Clients

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

_DEVICE = re.compile(r"^alice\s+bob\s+\d+\s+(?P<key>[0-9a-f ]{71})", re.MULTILINE)


@pytest.fixture(scope="module", params=["prosody", "ejabberd"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[XmppServer]:
    """A server with few components: Profanity asks each of them what it is when it logs in."""
    folder = tmp_path_factory.mktemp(request.param)
    made = Prosody(folder, components=8) if request.param == "prosody" else Ejabberd(folder, components=8, shaped=False)
    with made as running:
        yield running


async def _published(scene: Scene) -> None:
    """Until Bob has a device at Alice's end."""
    async with asyncio.timeout(60):
        while not await _shown_key(scene):  # noqa: ASYNC110 - a command tells nobody when its answer changes
            await asyncio.sleep(0.1)


async def _shown_key(scene: Scene) -> str | None:
    """The key of Bob's device, as the operator is shown it."""
    found = _DEVICE.search((await asyncio.to_thread(scene.lockgate.tell, "trust", "show")).output)
    return found["key"].replace(" ", "") if found else None


@pytest_asyncio.fixture
async def scene(
    short_path: Path, server: XmppServer, synapse: Synapse, unique: Callable[[str], str]
) -> AsyncIterator[Scene]:
    """A gateway with OMEMO on, and Bob; Alice has no client of ours."""
    made = Scene(short_path, server, synapse, suffix=unique("o"))
    made.omemo = {"use": "on"}
    try:
        await made.prepare()
        await made.lockgate.begin()
        await made.log_in_bob()
        await _published(made)
        yield made
    finally:
        await made.close()


@pytest_asyncio.fixture
async def clients(scene: Scene) -> AsyncIterator[Clients]:
    """Alice's clients."""
    made = Clients(scene.folder)
    yield made
    await made.stop()


async def _bob_has(scene: Scene, wanted: list[str], timeout_s: float = 90.0) -> None:
    await scene.bob.wait_messages(len(wanted), timeout_s=timeout_s)
    assert [message.body for message in scene.bob.messages] == wanted
    assert all(message.encrypted and message.shield == "none" for message in scene.bob.messages)


async def _alice_has(user: OmemoUser, wanted: list[str], timeout_s: float = 90.0) -> None:
    await user.wait_messages(len(wanted), timeout_s=timeout_s)
    assert user.bodies == wanted
    assert user.told("undecryptable") == []
    assert user.told("plain") == []


async def _encrypted(scene: Scene, count: int, timeout_s: float = 60.0) -> None:
    """Until the gateway has written so many encrypted stanzas to the XMPP server."""
    async with asyncio.timeout(timeout_s):
        while _written(scene, b"<encrypted ") < count:  # noqa: ASYNC110 - a tap tells nobody
            await asyncio.sleep(0.1)


def _written(scene: Scene, what: bytes) -> int:
    return sum(capture.to_server.count(what) for capture in scene.xmpp_tap.captures)


async def _read(user: OmemoUser, text: str) -> None:
    await user.wait_for(lambda e: e.get("body") == text, timeout_s=60, what=repr(text))


async def _locked(scene: Scene, profanity: OmemoProfanity) -> str:
    """The contact is added, and the lock is on; the contact's address."""
    contact = scene.alice.contact
    await profanity.befriend(contact)
    await profanity.lock(contact)
    return contact


async def test_profanity_talks_to_matrix_with_the_lock_on(scene: Scene, clients: Clients) -> None:
    profanity = await clients.profanity(scene.alice_account)
    contact = await _locked(scene, profanity)
    from_alice = [f"alice says {number:02d}" for number in range(10)]
    from_bob = [f"bob says {number:02d}" for number in range(10)]
    await profanity.command(from_alice[0])
    room = await scene.room(timeout_s=90)
    await scene.bob.send(room, from_bob[0])
    await profanity.wait_message(contact, from_bob[0])
    for number in range(1, 10):
        await profanity.command(from_alice[number])
        await scene.bob.send(room, from_bob[number])
    await _bob_has(scene, from_alice)
    await profanity.wait_message(contact, from_bob[-1])
    assert all(message.encrypted for message in profanity.messages())
    log = profanity.chat_log()
    assert [log.count(text) for text in from_bob] == [1] * len(from_bob)
    assert sorted(from_bob, key=log.index) == from_bob

    assert [one.value for one in await profanity.fingerprints(contact)] == [await _shown_key(scene)]
    assert " says " not in profanity.wire()
    for tap in (scene.xmpp_tap, scene.matrix_tap):
        assert tap.octets > 0
        assert not tap.saw(b" says ")
    ledger = b"".join(path.read_bytes() for path in scene.lockgate.folder.glob("ledger.db*"))
    assert b" says " not in ledger


@pytest.mark.parametrize("namespaces", [("axolotl",), ("omemo:2",)], ids=["axolotl", "omemo-2"])
async def test_bob_writes_first_while_alice_is_away_and_she_reads_it_once(
    scene: Scene, clients: Clients, namespaces: tuple[str, ...]
) -> None:
    user = await clients.user(scene.alice_account, "user", *namespaces).start()
    await user.stop()
    room = await scene.bob.create_direct_room(scene.alice_matrix.user_id)
    texts = [f"bob says {number}" for number in range(3)]
    for text in texts:
        await scene.bob.send(room, text)
    await _encrypted(scene, len(texts))
    await user.start()
    await _alice_has(user, texts)
    assert {message.namespace for message in user.messages} == set(namespaces)
    await user.send(scene.alice.contact, "alice answers")
    await _bob_has(scene, ["alice answers"])


async def test_each_of_alices_devices_reads_and_a_removed_one_gets_nothing(scene: Scene, clients: Clients) -> None:
    contact = scene.alice.contact
    both = await clients.user(scene.alice_account, "both", "omemo:2", "axolotl").start()
    await both.subscribe(contact)
    await both.send(contact, "from the first")
    room = await scene.room(timeout_s=90)
    await _bob_has(scene, ["from the first"])
    old = await clients.user(scene.alice_account, "old").start()
    await old.wait_for(lambda e: e.get("event") == "list" and e["of"] == contact, what="the contact's list")
    await old.send(contact, "from the second")
    await _bob_has(scene, ["from the first", "from the second"])
    await scene.bob.send(room, "to both")
    for user, form in ((both, "omemo:2"), (old, "axolotl")):
        await _read(user, "to both")
        assert [m.namespace for m in user.messages if m.body == "to both"] == [form]
    copies = [m.body for m in both.messages if m.sender.startswith(scene.alice_account.jid)]
    assert copies == ["from the second"]

    await old.kill()
    await both.remove_device(old.device)
    await both.wait_for(
        lambda e: e.get("event") == "list" and e["namespace"] == "axolotl" and e["ids"] == [both.device],
        what="the shorter list",
    )
    written = _written(scene, b'rid="%d"' % old.device)
    assert written > 0
    await scene.bob.send(room, "to one")
    await _read(both, "to one")
    assert _written(scene, b'rid="%d"' % old.device) == written


@pytest.mark.parametrize(("server", "form"), [("prosody", "omemo:2"), ("ejabberd", "axolotl")], indirect=["server"])
async def test_two_hundred_each_way_while_every_process_is_killed_once(
    scene: Scene, clients: Clients, form: str
) -> None:
    """What Alice sends while no gateway is connected comes back as an error, as with any component: she waits."""
    contact, user = scene.alice.contact, await clients.user(scene.alice_account, "user", form).start()
    from_alice, from_bob = ([f"{who} says {number:03d}" for number in range(200)] for who in ("alice", "bob"))
    await user.send(contact, from_alice[0])
    room = await scene.room(timeout_s=90)
    await scene.bob.send(room, from_bob[0])
    await _alice_has(user, from_bob[:1])
    for number in range(1, 200):
        await scene.bob.send(room, from_bob[number])
        if number in _KILLS:
            await scene.bob.wait_messages(number, timeout_s=60)
            await _KILLS[number](scene, user)
        await user.send(contact, from_alice[number])
    await _bob_has(scene, from_alice)
    await _alice_has(user, from_bob)


async def _kill_enclave(scene: Scene, _user: OmemoUser) -> None:
    _kill(scene, "enclave")


async def _kill_gateway(scene: Scene, _user: OmemoUser) -> None:
    before = _connections(scene)
    _kill(scene, "gateway")
    await _connected(scene, before)


async def _kill_all(scene: Scene, _user: OmemoUser) -> None:
    before = _connections(scene)
    scene.lockgate.kill()
    await scene.lockgate.begin()
    await _connected(scene, before)


async def _kill_client(_scene: Scene, user: OmemoUser) -> None:
    await user.kill()
    await user.start(timeout_s=60)


_KILLS = {40: _kill_enclave, 80: _kill_gateway, 120: _kill_all, 160: _kill_client}


def _kill(scene: Scene, role: str) -> None:
    child = scene.lockgate.child(role)
    assert child is not None
    child.send_signal(signal.SIGKILL)


async def _connected(scene: Scene, before: int) -> None:
    async with asyncio.timeout(60):
        while _connections(scene) == before:  # noqa: ASYNC110 - a log tells nobody
            await asyncio.sleep(0.1)


def _connections(scene: Scene) -> int:
    return scene.lockgate.log.read_text().count("Connected to the XMPP server as a component.")
