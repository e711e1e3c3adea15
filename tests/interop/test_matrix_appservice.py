"""The application service against a real Synapse, which knows nothing of it but its registration, and matrix-js-sdk."""

import asyncio
import json
import secrets
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from adapters.matrix import outside_appservice_pace
from adapters.matrix.outside import MatrixOutside
from bridge.config.appservice import Appservice, registration
from rig.bob.client import Bob
from rig.services import free_port
from rig.synapse import SERVER_NAME, MatrixAccount, Synapse
from tests.conftest import BobFactory
from tests.interop.matrix_gateway import MatrixGateway, until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(240)]


@dataclass
class Registered:
    """A homeserver at which we are registered."""

    synapse: Synapse
    port: int
    as_token: str = field(repr=False)
    hs_token: str = field(repr=False)

    def settings(self) -> dict[str, str]:
        """What the outside half is given."""
        where = {"appservice_id": "lockgate", "appservice_host": "127.0.0.1", "appservice_port": str(self.port)}
        return {"homeserver": self.synapse.url, **where, "as_token": self.as_token, "hs_token": self.hs_token}

    def gateway(self, name: str, *contacts: str) -> MatrixGateway:
        """The gateway of one ghost."""
        user = f"@xmpp_{name}:{SERVER_NAME}"
        made = MatrixGateway(user, contacts, self.synapse.url, {"as_token": self.as_token})
        made.outside = MatrixOutside(self.settings())
        return made

    def asked(self, user: str) -> int:
        """How often a user has asked for news, as the homeserver logged it."""
        ghost = urllib.parse.quote(user, safe="")
        lines = self.synapse.log.read_text("utf-8", "replace").splitlines()
        return sum("v3/sync?" in line and ghost in line for line in lines)

    def put(self, transaction: str, body: bytes, token: str | None) -> int:
        """A transaction; returns the status of the answer."""
        url = f"http://127.0.0.1:{self.port}/_matrix/app/v1/transactions/{transaction}"
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        request = urllib.request.Request(url, body, headers, method="PUT")
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registered]:
    """A Synapse of our own: registrations are read at its start."""
    folder: Path = tmp_path_factory.mktemp("synapse-appservice")
    port, as_token, hs_token = free_port(), secrets.token_hex(32), secrets.token_hex(32)
    files = {"as_token_file": "unused", "hs_token_file": "unused"}
    described = Appservice.model_validate({"users": f"@xmpp_*:{SERVER_NAME}", "listen": f"127.0.0.1:{port}", **files})
    server = Synapse(folder)
    server.register(registration(described, as_token, hs_token))
    with server as synapse:
        yield Registered(synapse, port, as_token, hs_token)


def numbered(stem: str, count: int) -> list[str]:
    """Texts that tell their order."""
    return [f"{stem} {number}" for number in range(count)]


async def test_a_ghost_that_nobody_made_talks_both_ways_with_a_strict_client(
    registered: Registered, unique: Callable[[str], str], gateways: list[MatrixGateway], bob_factory: BobFactory
) -> None:
    account = registered.synapse.account(unique("bob"))
    bob = await bob_factory(account, strict=True)
    one = registered.gateway(unique("alice"), account.user_id)
    gateways.append(one)
    await one.start()
    sent, back = numbered("to Bob", 20), numbered("to Alice", 20)
    for number, text in enumerate(sent):
        one.send(text, f"a{number}")
    seen = await bob.wait_messages(len(sent), timeout_s=90)
    assert [(message.body, message.shield) for message in seen] == [(text, "none") for text in sent]
    room = await bob.joined_room(inviter=one.user)
    for text in back:
        await bob.send(room, text)
    await until(lambda: len(one.texts) >= len(back))
    assert one.texts == back
    assert not bob.undecryptable
    assert not one.step.failures


async def greeted(one: MatrixGateway, account: MatrixAccount, bob_factory: BobFactory) -> tuple[Bob, str]:
    """Start the gateway; Bob, strict, once he has its first message, and the room that it made for that."""
    await one.start()
    bob = await bob_factory(account, strict=True)
    one.send("hello", "a0")
    await bob.wait_messages(1)
    return bob, await bob.joined_room(inviter=one.user)


class Holding(MatrixGateway):
    """A gateway that takes no events while it is told to: as one that is killed before they are durable."""

    holding = False
    held = 0

    async def arrived_batch(
        self, account: str, entries: Sequence[tuple[str, bytes]], *, mark: tuple[str, str] | None = None
    ) -> None:
        """See Edge."""
        if self.holding and any(name == "event" for name, _ in entries):
            self.held += 1
            await asyncio.Event().wait()
        await MatrixGateway.arrived_batch(self, account, entries, mark=mark)


async def test_a_ghost_that_only_listens_accepts_an_invitation_and_reads_the_first_messages(
    registered: Registered,
    unique: Callable[[str], str],
    gateways: list[MatrixGateway],
    bob_factory: BobFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outside_appservice_pace, "LINGER_S", 0.1)
    monkeypatch.setattr(outside_appservice_pace, "LINGERING_POLL_S", 1)
    account = registered.synapse.account(unique("bob"))
    one = registered.gateway(unique("alice"), account.user_id)
    gateways.append(one)
    await one.start()
    await until(lambda: "since" in one.marks and one.states.count("up") >= 2)
    bob = await bob_factory(account, strict=True)
    await asyncio.sleep(2)  # it has stopped asking by now
    asked = registered.asked(one.user)
    await asyncio.sleep(1)
    assert registered.asked(one.user) == asked
    room = await bob.create_direct_room(one.user)
    await bob.send(room, "first")
    await bob.send(room, "second")
    await until(lambda: len(one.texts) == 2)
    assert one.texts == ["first", "second"]
    one.send("answer", "a1")
    seen = await bob.wait_messages(1)
    assert (seen[0].room, seen[0].body, seen[0].shield) == (room, "answer", "none")


async def test_what_came_while_nobody_listened_is_read_in_order_although_its_keys_were_in_no_transaction(
    registered: Registered, unique: Callable[[str], str], gateways: list[MatrixGateway], bob_factory: BobFactory
) -> None:
    account = registered.synapse.account(unique("bob"))
    one = registered.gateway(unique("alice"), account.user_id)
    gateways.append(one)
    bob, room = await greeted(one, account, bob_factory)
    await one.stop()
    texts = numbered("while away", 60)
    for text in texts:
        await bob.send(room, text)
    one.outside = MatrixOutside(registered.settings())
    await one.start(resumed=False)
    await until(lambda: len(one.texts) >= len(texts))
    await bob.send(room, "and after")
    await until(lambda: len(one.texts) > len(texts))
    assert one.texts == [*texts, "and after"]
    assert not [name for name in one.step.records.held if name.startswith("parked/")]
    one.send("back", "a1")
    await bob.wait_messages(2)
    assert not bob.undecryptable


async def test_a_transaction_is_not_lost_with_a_gateway_that_ends_before_it_is_stored(
    registered: Registered, unique: Callable[[str], str], gateways: list[MatrixGateway], bob_factory: BobFactory
) -> None:
    account = registered.synapse.account(unique("bob"))
    user = f"@xmpp_{unique('alice')}:{SERVER_NAME}"
    one = Holding(user, (account.user_id,), registered.synapse.url, {"as_token": registered.as_token})
    one.outside = MatrixOutside(registered.settings())
    gateways.append(one)
    bob, room = await greeted(one, account, bob_factory)
    await bob.send(room, "stored")
    await until(lambda: one.texts == ["stored"])
    one.holding = True
    await bob.send(room, "interrupted")
    await until(lambda: one.held > 0)
    await one.stop()
    assert one.texts == ["stored"]
    one.holding = False
    one.outside = MatrixOutside(registered.settings())
    await one.start(resumed=False)
    await bob.send(room, "later")
    await until(lambda: len(one.texts) == 3)
    assert one.texts == ["stored", "interrupted", "later"]


async def test_a_repeated_transaction_has_no_effect_and_a_strangers_none_at_all(
    registered: Registered, unique: Callable[[str], str], gateways: list[MatrixGateway], bob_factory: BobFactory
) -> None:
    account = registered.synapse.account(unique("bob"))
    one = registered.gateway(unique("alice"), account.user_id)
    gateways.append(one)
    bob, room = await greeted(one, account, bob_factory)
    for text in ("one", "two"):
        await bob.send(room, text)
    await until(lambda: len(one.texts) == 2)
    body = json.dumps({"events": list(registered.synapse.events(room))}).encode()
    for _ in range(2):
        assert await asyncio.to_thread(registered.put, "7", body, registered.hs_token) == 200
    for token, status in ((None, 401), (registered.as_token, 403), (registered.hs_token[:-1], 403)):
        assert await asyncio.to_thread(registered.put, "8", body, token) == status
    await bob.send(room, "three")
    await until(lambda: "three" in one.texts)
    assert one.texts == ["one", "two", "three"]
    assert "event-repeated" not in one.step.codes()


async def test_synapse_may_be_killed_between_two_transactions(
    registered: Registered, unique: Callable[[str], str], gateways: list[MatrixGateway]
) -> None:
    account = registered.synapse.account(unique("bob"))
    one = registered.gateway(unique("alice"), account.user_id)
    two = MatrixGateway(account.user_id, (one.user,), registered.synapse.url, {"password": account.password})
    gateways += [one, two]
    await one.start()
    await two.start()
    one.send("hello", "a0")
    await until(lambda: two.texts == ["hello"])
    texts = numbered("around the end", 30)
    for number, text in enumerate(texts):
        two.send(text, f"b{number}")
    await until(lambda: len(one.texts) >= 5)
    registered.synapse.kill()
    await registered.synapse.begin()
    await until(lambda: len(one.texts) >= len(texts), timeout_s=90)
    assert one.texts == texts
    assert not [name for name in one.step.records.held if name.startswith("parked/")]
