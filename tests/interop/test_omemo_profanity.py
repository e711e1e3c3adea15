"""Profanity, as Debian has it, with OMEMO through the gateway to Matrix and back, over Prosody and ejabberd."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from rig.profanity_omemo import OmemoProfanity
from rig.scene import Scene
from rig.synapse import Synapse
from rig.xmpp import XmppServer
from tests.interop.omemo_clients import Clients
from tests.interop.omemo_scene import (
    bob_has,
    connections,
    kill,
    locked,
    opened,
    profanity_has,
    server_of,
    user_has,
    wait_connected,
    wait_written,
    written_to,
)

pytestmark = [pytest.mark.interop, pytest.mark.timeout(240)]


@pytest.fixture(scope="module", params=["prosody", "ejabberd"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[XmppServer]:
    """Both kinds, one after the other."""
    with server_of(request.param, tmp_path_factory.mktemp(request.param)) as running:
        yield running


@pytest_asyncio.fixture
async def scene(
    request: pytest.FixtureRequest, short_path: Path, server: XmppServer, synapse: Synapse, unique: Callable[[str], str]
) -> AsyncIterator[Scene]:
    """A gateway, and Bob. The parameter is the trust policy."""
    async with opened(short_path, server, synapse, unique("p"), trust=getattr(request, "param", None)) as made:
        yield made


@pytest_asyncio.fixture
async def clients(scene: Scene) -> AsyncIterator[Clients]:
    """Alice's clients."""
    made = Clients(scene.folder)
    yield made
    await made.stop()


async def test_two_hundred_each_way_with_a_restart_in_the_middle(scene: Scene, clients: Clients) -> None:
    profanity = await clients.profanity(scene.alice_account)
    await locked(scene, profanity)
    from_alice, from_bob = ([f"{who} says {number:03d}" for number in range(200)] for who in ("alice", "bob"))
    await profanity.write(from_alice[0])
    room = await scene.room(timeout_s=90)
    await scene.bob.send(room, from_bob[0])
    for number in range(1, 200):
        if number == 100:
            await _restart(scene, room, from_bob[number])
            await profanity.write(from_alice[number])
            continue
        await asyncio.gather(scene.bob.send(room, from_bob[number]), profanity.write(from_alice[number]))
    await bob_has(scene, from_alice)
    await profanity_has(profanity, from_bob)
    assert all(message.encrypted for message in profanity.messages())
    assert " says " not in profanity.wire()


async def _restart(scene: Scene, room: str, meanwhile: str) -> None:
    """Stop the gateway and its enclave and start them; Bob writes meanwhile, Alice waits."""
    await scene.bob.wait_messages(100)
    before = connections(scene)
    await asyncio.to_thread(scene.lockgate.stop)
    await scene.bob.send(room, meanwhile)
    await scene.lockgate.begin()
    await wait_connected(scene, before)


async def test_beside_another_device_each_reads_everything_once_and_a_removed_one_nothing(
    scene: Scene, clients: Clients
) -> None:
    """Bob and the first device have a session when Profanity comes."""
    contact, account = scene.alice.contact, scene.alice_account
    user = await clients.user(account, "user").start()
    await user.subscribe(contact)
    room = await scene.bob.create_direct_room(scene.alice_matrix.user_id)
    await scene.bob.send(room, "to the first")
    await user_has(user, ["to the first"])
    profanity = await clients.profanity(account)
    await user.wait_for(
        lambda e: e.get("event") == "list" and e["of"] == account.jid and profanity.device in e["ids"],
        what="Profanity's device",
    )
    await profanity.lock(contact)
    await profanity.write("from profanity")
    await bob_has(scene, ["from profanity"])
    await user_has(user, ["to the first", "from profanity"])
    await user.send(contact, "from the first")
    await bob_has(scene, ["from profanity", "from the first"])
    await scene.bob.send(room, "to both")
    await user_has(user, ["to the first", "from profanity", "to both"])
    await profanity_has(profanity, ["from profanity", "from the first", "to both"])
    assert "to the first" not in profanity.chat_log()
    assert [message.via for message in user.messages if message.body == "from profanity"] == ["carbon"]

    await profanity.stop()
    await user.remove_device(profanity.device)
    await user.wait_for(
        lambda e: e.get("event") == "list" and e["of"] == account.jid and e["ids"] == [user.device],
        what="the shorter list",
    )
    before = written_to(scene, profanity.device)
    assert before > 0
    await scene.bob.send(room, "to one")
    await user_has(user, ["to the first", "from profanity", "to both", "to one"])
    assert written_to(scene, profanity.device) == before


async def test_what_was_written_while_it_was_away_comes_once_and_in_order(scene: Scene, clients: Clients) -> None:
    profanity = await clients.profanity(scene.alice_account)
    contact = await locked(scene, profanity)
    await profanity.write("alice begins")
    room = await scene.room(timeout_s=90)
    await profanity.offline()
    texts = [f"bob says {number}" for number in range(5)]
    for text in texts:
        await scene.bob.send(room, text)
    await wait_written(scene, b"<payload>", len(texts))
    await profanity.online()
    await profanity_has(profanity, texts)
    await profanity.command(f"/msg {contact}")
    await profanity.write("alice answers")
    await bob_has(scene, ["alice begins", "alice answers"])


# ---------------------------------------------------------------- trust
@pytest.mark.parametrize("scene", ["verified-only"], indirect=True)
async def test_with_verified_only_nothing_is_sent_before_the_operator_compared(scene: Scene, clients: Clients) -> None:
    profanity = await clients.profanity(scene.alice_account)
    contact = await locked(scene, profanity)
    await profanity.write("too early")
    await profanity.wait_for("Your device is not verified")
    room = await scene.bob.create_direct_room(scene.alice_matrix.user_id)
    await scene.bob.send(room, "bob waits")
    await profanity.wait_chat("none of your OMEMO devices is verified")
    assert written_to(scene, profanity.device) == 0

    await _compare(scene, profanity.device, await profanity.own_fingerprint())
    assert (await profanity.wait_message(contact, "bob waits")).encrypted
    await profanity.write("in time")
    await bob_has(scene, ["in time"])
    await _second_device(scene, clients, profanity, room)
    await profanity_has(profanity, ["bob waits", "in time", "to the verified one", "to both"])


async def test_a_device_that_is_added_after_a_verification_is_announced_and_gets_nothing(
    scene: Scene, clients: Clients
) -> None:
    profanity = await clients.profanity(scene.alice_account)
    contact = await locked(scene, profanity)
    await profanity.write("believed")
    await bob_has(scene, ["believed"])
    await _compare(scene, profanity.device, await profanity.own_fingerprint())
    await profanity.command(f"/msg {contact}")
    await _second_device(scene, clients, profanity, await scene.room())
    await profanity_has(profanity, ["believed", "to the verified one", "to both"])


_ANNOUNCED = "A device that is not verified was added to your account"


async def _compare(scene: Scene, device: int, fingerprint: str) -> None:
    """The operator has the 64 digits that the client shows of itself; those of another device are turned down."""
    wrong = fingerprint[:-1] + ("0" if fingerprint[-1] != "0" else "1")
    words = ("trust", "verify", "alice", "bob", "--device", str(device), "--key")
    assert (await asyncio.to_thread(scene.lockgate.tell, *words, wrong)).status != 0
    said = await asyncio.to_thread(scene.lockgate.tell, *words, fingerprint)
    assert said.status == 0, said.output


async def _second_device(scene: Scene, clients: Clients, profanity: OmemoProfanity, room: str) -> None:
    """It is announced to the first, and reads nothing and says nothing until it is verified."""
    announced = profanity.chat_log().count(_ANNOUNCED)
    user = await clients.user(scene.alice_account, "user").start()
    await scene.bob.send(room, "to the verified one")
    await profanity.wait_chat("to the verified one")
    await profanity.wait_chat(_ANNOUNCED, announced + 1)
    await user.send(scene.alice.contact, "from a stranger")
    refused = await user.wait_for(lambda e: e.get("event") == "refused", what="the refusal")
    assert "not verified" in refused["text"]
    assert written_to(scene, user.device) == 0
    await _compare(scene, user.device, user.fingerprint)
    await scene.bob.send(room, "to both")
    await user.wait_for(lambda e: e.get("body") == "to both", what="what is for both")
    await profanity.wait_chat("to both")
    assert "from a stranger" not in [message.body for message in scene.bob.messages]
    assert "to the verified one" not in user.bodies


# ---------------------------------------------------------------- crashes
async def test_the_first_message_after_every_restart_is_read_and_nothing_else_is_shown(
    scene: Scene, server: XmppServer, clients: Clients
) -> None:
    profanity = await clients.profanity(scene.alice_account)
    contact = await locked(scene, profanity)
    from_alice, from_bob = ["alice begins"], ["bob begins"]
    await profanity.write(from_alice[0])
    room = await scene.room(timeout_s=90)
    await scene.bob.send(room, from_bob[0])
    await profanity.wait_chat(from_bob[0])
    for name, happens in _CRASHES.items():
        await scene.bob.wait_messages(len(from_alice))
        before, logins = connections(scene), profanity.logins()
        await happens(scene, server, profanity)
        from_bob.append(f"bob after {name}")
        await scene.bob.send(room, from_bob[-1])
        if name in ("gateway", "everything", "server"):
            await wait_connected(scene, before)
        if name == "server":
            await profanity.wait_login(logins)
            assert profanity.locked(contact)
        from_alice.append(f"alice after {name}")
        await profanity.write(from_alice[-1])
        await profanity.wait_chat(from_bob[-1], timeout_s=60)
    await bob_has(scene, from_alice)
    await profanity_has(profanity, from_bob)


async def _client(scene: Scene, _server: XmppServer, profanity: OmemoProfanity) -> None:
    profanity.kill()
    await profanity.online()
    await profanity.lock(scene.alice.contact)
    await profanity.command("/reconnect 1")


async def _server(_scene: Scene, server: XmppServer, _profanity: OmemoProfanity) -> None:
    await asyncio.to_thread(server.stop)
    await server.begin()


async def _everything(scene: Scene, _server: XmppServer, _profanity: OmemoProfanity) -> None:
    scene.lockgate.kill()
    await scene.lockgate.begin()


async def _enclave(scene: Scene, _server: XmppServer, _profanity: OmemoProfanity) -> None:
    kill(scene, "enclave")


async def _gateway(scene: Scene, _server: XmppServer, _profanity: OmemoProfanity) -> None:
    kill(scene, "gateway")


_CRASHES = {
    "client": _client,
    "enclave": _enclave,
    "gateway": _gateway,
    "everything": _everything,
    "server": _server,
}


async def test_what_is_written_again_after_a_crash_shows_no_sentence_beside_it(scene: Scene, clients: Clients) -> None:
    """The server has the message, and the gateway ends before it knows."""
    profanity = await clients.profanity(scene.alice_account)
    await locked(scene, profanity)
    await profanity.write("alice begins")
    room = await scene.room(timeout_s=90)
    await scene.bob.send(room, "bob begins")
    await profanity.wait_chat("bob begins")
    scene.xmpp_tap.hold_answers(True)
    await scene.bob.send(room, "bob says it once")
    await profanity.wait_chat("bob says it once")
    kill(scene, "gateway")
    scene.xmpp_tap.hold_answers(False)
    async with asyncio.timeout(60):
        while _readable(profanity) < 3:  # noqa: ASYNC110 - a log tells nobody
            await asyncio.sleep(0.05)
    await profanity.write("alice goes on")
    await profanity_has(profanity, ["bob begins", "bob says it once"])
    await bob_has(scene, ["alice begins", "alice goes on"])


def _readable(profanity: OmemoProfanity) -> int:
    """How often it has received something to read."""
    return sum(" RECV: <message " in line and "<payload>" in line for line in profanity.wire().splitlines())
