"""What the gateway costs its homeserver, limits that the server sets, and a database that was put back."""

import asyncio
import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from adapters.matrix.outside import MatrixOutside
from adapters.matrix.transport import Homeserver, Reply
from rig.synapse import Synapse
from tests.conftest import BobFactory
from tests.interop.matrix_gateway import MatrixGateway, opened, until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(240)]
LIMIT = {"per_second": 2, "burst_count": 3}


@dataclass
class Asked:
    """The requests that were made of a homeserver, with the status and size of their answers."""

    requests: list[tuple[float, str, int, int]] = field(default_factory=list)

    def of(self, part: str) -> list[tuple[float, str, int, int]]:
        """Those whose method and path contain this."""
        return [one for one in self.requests if part in one[1]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """All requests of gateways in this process."""
    found = Asked()
    real = Homeserver.request

    async def request(self: Homeserver, method: str, path: str, body: bytes | None = None, **more: Any) -> Reply:
        reply = await real(self, method, path, body, **more)
        found.requests.append((time.monotonic(), f"{method} {path}", reply.status, len(reply.body)))
        return reply

    monkeypatch.setattr(Homeserver, "request", request)
    return found


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Synapse]:
    """A homeserver that limits what one user may ask for."""
    with Synapse(
        tmp_path_factory.mktemp("strict"), settings={"rc_message": LIMIT, "rc_room_creation": LIMIT}
    ) as server:
        yield server


async def test_messages_beyond_the_limit_wait_as_long_as_the_server_says_and_keep_their_order(
    strict: Synapse, unique: Callable[[str], str], gateways: list[MatrixGateway], asked: Asked
) -> None:
    alice = strict.account(unique("alice"))
    others = [strict.account(unique(f"bob{number}x")) for number in range(3)]
    contacts = tuple(other.user_id for other in others)
    one = MatrixGateway(alice.user_id, contacts, strict.url, {"password": alice.password})
    two = [MatrixGateway(other.user_id, (alice.user_id,), strict.url, {"password": other.password}) for other in others]
    gateways += [one, *two]
    for gateway in gateways:
        await gateway.start()
    await until(lambda: all("since" in gateway.marks for gateway in gateways))
    for number in range(6):
        for contact in range(3):
            one.send(f"text {number}", f"m{contact}-{number}", contact=contact)
    await until(lambda: all(len(gateway.texts) == 6 for gateway in two), 120)
    for gateway in two:
        assert gateway.texts == [f"text {number}" for number in range(6)]
    assert not one.step.failures
    sends = asked.of("/send/m.room.encrypted/")
    refused = [one for one in sends if one[2] == 429]
    assert refused, "the server limits nothing"
    assert len(refused) <= len(sends) - len(refused), "more is refused than gets through"


async def test_what_a_put_back_database_hides_from_the_sync_is_found(
    strict: Synapse, unique: Callable[[str], str], gateways: list[MatrixGateway]
) -> None:
    alice, bob = strict.account(unique("alice")), strict.account(unique("bob"))
    one = MatrixGateway(alice.user_id, (bob.user_id,), strict.url, {"password": alice.password})
    two = MatrixGateway(bob.user_id, (alice.user_id,), strict.url, {"password": bob.password})
    gateways += [one, two]
    await one.start()
    await two.start()
    await until(lambda: "since" in two.marks and "since" in one.marks)
    two.send("before", "b0")
    await until(lambda: one.texts == ["before"], 60)
    strict.stop()
    kept = strict.database.with_suffix(".kept")
    shutil.copy(strict.database, kept)
    await strict.begin()
    for number in range(5):
        two.send(f"forgotten {number}", f"f{number}")
    await until(lambda: len(one.texts) == 6, 60)
    await one.stop()
    strict.stop()
    for path in strict.folder.glob("homeserver.db*"):
        if path != kept:
            path.unlink()
    shutil.copy(kept, strict.database)
    await strict.begin()
    for number in range(3):  # the server gives these the places of those it forgot
        two.send(f"after {number}", f"n{number}")
    await until(lambda: len(two.step.done) == 9, 60)
    one.outside = MatrixOutside({"homeserver": strict.url})
    await one.start(resumed=False)
    await until(lambda: len(one.texts) == 9, 60)
    assert one.texts[6:] == ["after 0", "after 1", "after 2"]


async def test_messages_in_rooms_of_others_cost_nothing(
    synapse: Synapse,
    unique: Callable[[str], str],
    gateways: list[MatrixGateway],
    bob_factory: BobFactory,
    asked: Asked,
) -> None:
    alice, account, other = (synapse.account(unique(name)) for name in ("alice", "bob", "carol"))
    tokens = {user.user_id: synapse.login(user) for user in (alice, other)}
    rooms = []
    for _ in range(8):
        made = {"preset": "private_chat", "invite": [alice.user_id]}
        room = synapse.call("POST", "/_matrix/client/v3/createRoom", made, tokens[other.user_id])["room_id"]
        synapse.call("POST", f"/_matrix/client/v3/join/{room}", {}, tokens[alice.user_id])
        rooms.append(room)
    one = await opened(gateways, synapse, alice, account)
    bob = await bob_factory(account)
    one.send("hello", "a0")
    await bob.wait_messages(1)
    room = await bob.joined_room(inviter=alice.user_id)
    await until(lambda: one.outside._accounts[one.step.account.id]._poll is not None)
    await bob.send(room, "settled")
    await until(lambda: one.texts == ["settled"])
    asked.requests.clear()
    for number in range(5):
        for unrelated in rooms:
            text = {"msgtype": "m.text", "body": "x" * 2_000}
            path = f"/_matrix/client/v3/rooms/{unrelated}/send/m.room.message/t{number}"
            await asyncio.to_thread(synapse.call, "PUT", path, text, tokens[other.user_id])
    await bob.send(room, "of the contact")
    await until(lambda: one.texts[-1] == "of the contact")
    syncs = asked.of("GET /sync")
    assert len(syncs) <= 4, "messages in other rooms end the wait"
    assert sum(size for _, _, _, size in syncs) < 2_000 * len(rooms)
    assert not [name for name, body in one.arrivals if name == "event" and json.loads(body)["room_id"] in rooms]


async def test_a_room_that_the_user_enters_with_another_client_is_found(
    synapse: Synapse, unique: Callable[[str], str], gateways: list[MatrixGateway], bob_factory: BobFactory
) -> None:
    alice, account = synapse.account(unique("alice")), synapse.account(unique("bob"))
    one = await opened(gateways, synapse, alice, account)
    await until(lambda: "since" in one.marks)
    bob = await bob_factory(account)
    encryption = {"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}
    wanted = {"preset": "private_chat", "invite": [account.user_id], "initial_state": [encryption]}
    room = synapse.call("POST", "/_matrix/client/v3/createRoom", wanted, one.marks["token"])["room_id"]
    await bob.joined_room(inviter=alice.user_id)
    await bob.send(room, "found")
    await until(lambda: one.texts == ["found"])
