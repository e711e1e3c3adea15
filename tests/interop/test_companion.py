"""Profanity, unmodified, through `lockgate companion`, a real XMPP server and the gateway to Matrix, and back."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from rig.alice import Alice
from rig.companion import Client
from rig.companion_process import CompanionProcess
from rig.ejabberd import Ejabberd
from rig.profanity import Profanity
from rig.prosody import Prosody
from rig.scene import Scene
from rig.synapse import Synapse
from rig.xmpp import XmppServer

pytestmark = [pytest.mark.interop, pytest.mark.timeout(240)]
MESSAGES = 20
BETTER = "alice says it better."


@pytest.fixture(scope="module", params=["prosody", "ejabberd"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[XmppServer]:
    """A server with few components: Profanity asks each of them what it is when it logs in."""
    folder = tmp_path_factory.mktemp(request.param)
    with Prosody(folder, components=4) if request.param == "prosody" else Ejabberd(folder, components=4) as running:
        yield running


@pytest_asyncio.fixture
async def scene(
    short_path: Path, server: XmppServer, synapse: Synapse, unique: Callable[[str], str]
) -> AsyncIterator[Scene]:
    """A gateway and Bob; Alice has no client of ours."""
    made = Scene(short_path, server, synapse, suffix=unique("p"))
    try:
        await made.prepare()
        await made.lockgate.begin()
        await made.log_in_bob()
        yield made
    finally:
        await made.close()


@pytest_asyncio.fixture
async def companion(scene: Scene) -> AsyncIterator[CompanionProcess]:
    """The companion of Alice's account."""
    running = CompanionProcess(scene.folder / "companion", scene.alice_account)
    await running.begin()
    yield running
    await asyncio.to_thread(running.stop)


@pytest_asyncio.fixture
async def profanity(scene: Scene, companion: CompanionProcess) -> AsyncIterator[Profanity]:
    """Alice's client, logged in to the companion."""
    client = Profanity(scene.folder / "profanity")
    account = companion.account
    await client.start(account.jid, account.password, account.host, account.port)
    await client.logged_in()
    yield client
    await client.stop()


async def _bob_has(scene: Scene, wanted: list[str], timeout_s: float = 60.0) -> None:
    await scene.bob.wait_messages(len(wanted), timeout_s=timeout_s)
    assert [message.body for message in scene.bob.messages][: len(wanted)] == wanted


async def _alice_has(profanity: Profanity, wanted: list[str], timeout_s: float = 30.0) -> None:
    for _ in range(int(timeout_s * 10)):
        log = profanity.chat_log()
        if all(text in log for text in wanted):
            break
        await asyncio.sleep(0.1)
    log = profanity.chat_log()
    assert [log.count(text) for text in wanted] == [1] * len(wanted), log[-2000:] + profanity.shown()


async def test_twenty_messages_each_way_through_a_killed_enclave_and_one_string_on_both_sides(
    scene: Scene, companion: CompanionProcess, profanity: Profanity
) -> None:
    contact = scene.alice.contact
    from_alice = [f"alice says {number:02d}." for number in range(MESSAGES)]
    from_bob = [f"bob says {number:02d}." for number in range(MESSAGES)]
    await profanity.say(contact, from_alice[0])
    room = await scene.room(timeout_s=90)
    await _bob_has(scene, from_alice[:1])
    await scene.bob.send(room, from_bob[0])
    await _alice_has(profanity, from_bob[:1])

    leg = await asyncio.to_thread(scene.lockgate.leg, "xmpp")
    assert leg["state"] == "active"
    await profanity.command("/msg lockgate.local status")
    await profanity.wait_for(leg["sas"])

    enclave = companion.enclave()
    assert enclave is not None
    await profanity.command(f"/msg {contact}")
    for number in range(1, MESSAGES):
        if number == MESSAGES // 2:
            enclave.send_signal(signal.SIGKILL)
        await profanity.command(from_alice[number])
        await scene.bob.send(room, from_bob[number])
    await _bob_has(scene, from_alice)
    await _alice_has(profanity, from_bob)

    await profanity.command("/correction on")
    await profanity.command(f"/correct {BETTER}")
    edit = await scene.bob.wait_for(
        lambda e: (e.get("relation") or {}).get("rel_type") == "m.replace", timeout_s=60, what="the new wording"
    )
    assert edit["content"]["m.new_content"]["body"] == BETTER
    assert edit["relation"]["event_id"] == scene.bob.messages[MESSAGES - 1].event_id

    await profanity.command(f"/msg lockgate.local verify bob {leg['sas']}")
    await profanity.wait_for("bob: verified")
    for capture in scene.xmpp_tap.captures:
        passed = bytes(capture.to_server) + bytes(capture.to_client)
        assert not any(text.encode() in passed for text in [*from_alice, *from_bob, BETTER])


async def test_a_companion_that_is_killed_loses_nothing_that_was_sent_to_its_user(
    server: XmppServer, short_path: Path, unique: Callable[[str], str]
) -> None:
    name = unique("killed")
    own, other = server.account(f"{name}a"), server.account(f"{name}b")
    running = CompanionProcess(short_path / "companion", own)
    peer = Alice(short_path / "peer", other, own.jid, "peer")
    texts = [f"text {number:02d}" for number in range(MESSAGES)]
    await running.begin()
    client = await Client(running.account).login()
    await peer.start()
    try:
        for number, text in enumerate(texts):
            await peer.send(text)
            if number == MESSAGES // 2:
                await client.heard(3)
                running.kill()
        await client.logout()
        await running.begin()
        second = await Client(running.account).login()
        assert await peer.flushed(timeout_s=90) == 0
        await asyncio.sleep(1)
        shown = [text for text in client.bodies + second.bodies if text in texts]
        assert sorted(set(shown)) == texts
        assert [text for text in second.bodies if text in texts] == sorted(set(second.bodies) & set(texts))
        await second.logout()
    finally:
        await peer.stop()
        await asyncio.to_thread(running.stop)


async def test_two_companions_with_ordinary_clients_encrypt_for_each_other(
    server: XmppServer, short_path: Path, unique: Callable[[str], str]
) -> None:
    """What each client announces has to become what its companion is able to, without either user's doing."""
    accounts = [server.account(unique(name)) for name in ("one", "two")]
    places = [short_path / name for name in ("one", "two")]
    running = [CompanionProcess(p / "companion", account) for p, account in zip(places, accounts, strict=True)]
    clients = [Profanity(place / "profanity") for place in places]
    names = [account.jid for account in accounts]
    try:
        for companion, client in zip(running, clients, strict=True):
            await companion.begin()
            local = companion.account
            await client.start(local.jid, local.password, local.host, local.port)
            await client.logged_in()
        for mine, other in ((0, 1), (1, 0)):
            await clients[mine].command(f"/sub request {names[other]}")
            await clients[other].wait_for("Received authorization request")
            await clients[other].command(f"/sub allow {names[mine]}")
        await clients[0].wait_for(f"{names[1]} (", timeout_s=30)
        await clients[0].say(names[1], "for two eyes only")
        await _alice_has(clients[1], ["for two eyes only"])
        await clients[1].say(names[0], "and back again")
        await _alice_has(clients[0], ["and back again"])
        for client in clients:
            await client.command("/msg lockgate.local status")
            await client.wait_for("encrypted, not verified, string")
    finally:
        for client in clients:
            await client.stop()
        for companion in running:
            await asyncio.to_thread(companion.stop)
