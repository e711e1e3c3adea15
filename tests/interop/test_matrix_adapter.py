"""Both halves of the Matrix adapter against a real Synapse, with a second gateway and with matrix-js-sdk as peers."""

from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from rig.synapse import Synapse
from tests.conftest import BobFactory
from tests.interop.matrix_gateway import MatrixGateway, until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(180)]
TEXTS = ["plain", "emoji \U0001f6a2\U0001f512", "עברית \u202emixed\u202c", "<&>\"'", "two\nlines", "x" * 20_000]


@pytest_asyncio.fixture
async def gateways() -> AsyncIterator[list[MatrixGateway]]:
    """Gateways that are stopped at the end."""
    made: list[MatrixGateway] = []
    yield made
    for gateway in made:
        await gateway.stop()


async def test_two_gateways_talk_both_ways_in_order(
    synapse: Synapse, unique: Callable[[str], str], gateways: list[MatrixGateway]
) -> None:
    alice, bob = synapse.account(unique("alice")), synapse.account(unique("bob"))
    one = MatrixGateway(alice.user_id, (bob.user_id,), synapse.url, {"password": alice.password})
    two = MatrixGateway(bob.user_id, (alice.user_id,), synapse.url, {"password": bob.password})
    gateways += [one, two]
    await one.start()
    await two.start()
    await until(lambda: "own" in one.step.records.held and "own" in two.step.records.held)
    await until(lambda: bool(two.marks.get("since")) and bool(one.marks.get("since")))
    for number, text in enumerate(TEXTS):
        one.send(text, f"a{number}")
    await until(lambda: len(two.texts) == len(TEXTS))
    assert two.texts == TEXTS
    assert [message for _, message in one.step.done] == [f"a{number}" for number in range(len(TEXTS))]
    for number in range(20):
        two.send(f"back {number}", f"b{number}")
    await until(lambda: len(one.texts) == 20)
    assert one.texts == [f"back {number}" for number in range(20)]
    assert not one.step.failures
    assert not two.step.failures


async def test_a_client_with_independent_encryption_talks_both_ways(
    synapse: Synapse, unique: Callable[[str], str], gateways: list[MatrixGateway], bob_factory: BobFactory
) -> None:
    alice, account = synapse.account(unique("alice")), synapse.account(unique("bob"))
    bob = await bob_factory(account)
    one = MatrixGateway(alice.user_id, (account.user_id,), synapse.url, {"password": alice.password})
    gateways.append(one)
    await one.start()
    for number, text in enumerate(TEXTS):
        one.send(text, f"a{number}")
    seen = await bob.wait_messages(len(TEXTS))
    assert [message.body for message in seen] == TEXTS
    assert all(message.encrypted for message in seen)
    assert not bob.undecryptable
    room = await bob.joined_room(inviter=alice.user_id)
    for text in TEXTS:
        await bob.send(room, text)
    await until(lambda: len(one.texts) == len(TEXTS))
    assert one.texts == TEXTS
    assert not one.step.failures


async def test_an_invitation_of_a_mapped_contact_is_accepted_and_the_first_messages_are_read(
    synapse: Synapse, unique: Callable[[str], str], gateways: list[MatrixGateway], bob_factory: BobFactory
) -> None:
    alice, account, other = (synapse.account(unique(name)) for name in ("alice", "bob", "mallory"))
    one = MatrixGateway(alice.user_id, (account.user_id,), synapse.url, {"password": alice.password})
    gateways.append(one)
    await one.start()
    await until(lambda: "since" in one.marks)
    bob, mallory = await bob_factory(account), await bob_factory(other)
    stranger = await mallory.create_direct_room(alice.user_id)
    room = await bob.create_direct_room(alice.user_id)
    await bob.send(room, "first")
    await bob.send(room, "second")
    await until(lambda: len(one.texts) == 2)
    assert one.texts == ["first", "second"]
    one.send("answer", "a1")
    seen = await bob.wait_messages(1)
    assert (seen[0].room, seen[0].body) == (room, "answer")
    assert stranger not in one.marks["rooms"]
