"""Both halves of the Matrix adapter against a real Synapse, with a second gateway and with matrix-js-sdk as peers."""

from collections.abc import Callable

import pytest

from adapters.matrix.inside_state import Outbound, Tracked
from adapters.matrix.outside import MatrixOutside
from rig.synapse import Synapse
from tests.conftest import BobFactory
from tests.interop.matrix_gateway import MatrixGateway, opened, until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(180)]
TEXTS = ["plain", "emoji \U0001f6a2\U0001f512", "עברית \u202emixed\u202c", "<&>\"'", "two\nlines", "x" * 20_000]


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
    one = await opened(gateways, synapse, alice, account)
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
    one = await opened(gateways, synapse, alice, account)
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


async def test_what_was_written_while_the_gateway_was_away_arrives_in_order_and_once(
    synapse: Synapse, unique: Callable[[str], str], gateways: list[MatrixGateway], bob_factory: BobFactory
) -> None:
    alice, account = synapse.account(unique("alice")), synapse.account(unique("bob"))
    one = await opened(gateways, synapse, alice, account)
    bob = await bob_factory(account)
    one.send("hello", "a0")
    room = await bob.joined_room(inviter=alice.user_id)
    await bob.wait_messages(1)
    await one.stop()
    texts = [f"while away {number}" for number in range(130)]  # more than a sync shows, more than a session lasts
    for text in texts:
        await bob.send(room, text)
    one.outside = MatrixOutside({"homeserver": synapse.url})
    await one.start(resumed=False)
    await until(lambda: len(one.texts) >= len(texts))
    one.send("back", "a1")
    await bob.wait_messages(2)
    assert one.texts == texts
    assert not bob.undecryptable
    assert not [name for name in one.step.records.held if name.startswith("parked/")]


async def test_a_new_device_of_the_contact_reads_and_a_logged_out_one_is_shut_out(
    synapse: Synapse, unique: Callable[[str], str], gateways: list[MatrixGateway], bob_factory: BobFactory
) -> None:
    alice, account = synapse.account(unique("alice")), synapse.account(unique("bob"))
    one = await opened(gateways, synapse, alice, account)
    first = await bob_factory(account)
    one.send("for the first", "a0")
    await first.wait_messages(1)
    written = (await first.ask("make_secret_storage"))["recovery_key"]
    second = await bob_factory(account, cross_sign=False)
    await until(lambda: "device-new" in one.step.codes())
    one.send("not for a device that is not signed", "a1")
    await first.wait_messages(2)
    assert (await second.ask("recover_identity", recovery_key=written))["ready"] is True
    await until(lambda: len(_vouched(one, account.user_id)) == 2)
    one.send("for both", "a2")
    await first.wait_messages(3)
    await second.wait_until(
        lambda: "for both" in [message.body for message in second.messages], timeout_s=30, what="the text"
    )
    assert "key-withheld-from" in one.step.codes()
    assert [message.body for message in second.messages] == ["for both"]
    shared = one.step.records.get(f"out/{account.user_id}", Outbound)
    await second.ask("logout")
    await until(lambda: len(_devices(one, account.user_id)) == 1)
    one.send("for the first again", "a3")
    await first.wait_messages(4)
    rotated = one.step.records.get(f"out/{account.user_id}", Outbound)
    assert shared is not None
    assert rotated is not None
    assert rotated.session_id != shared.session_id


def _vouched(gateway: MatrixGateway, user: str) -> tuple[str, ...]:
    state = gateway.step.records.get(f"user/{user}", Tracked)
    return state.vouched if state is not None else ()


def _devices(gateway: MatrixGateway, user: str) -> tuple[object, ...]:
    state = gateway.step.records.get(f"user/{user}", Tracked)
    return state.devices if state is not None else ()


async def test_an_expired_token_is_replaced_and_nothing_is_lost(
    synapse: Synapse, unique: Callable[[str], str], gateways: list[MatrixGateway], bob_factory: BobFactory
) -> None:
    alice, account = synapse.account(unique("alice")), synapse.account(unique("bob"))
    one = await opened(gateways, synapse, alice, account)
    bob = await bob_factory(account)
    one.send("before", "a0")
    await bob.wait_messages(1)
    synapse.call("POST", "/_matrix/client/v3/logout", {}, one.marks["token"])
    one.send("after", "a1")
    seen = await bob.wait_messages(2)
    assert [message.body for message in seen] == ["before", "after"]
    assert one.states.count("up") >= 2


async def test_synapse_may_be_restarted_in_the_middle(
    synapse: Synapse, unique: Callable[[str], str], gateways: list[MatrixGateway]
) -> None:
    alice, bob = synapse.account(unique("alice")), synapse.account(unique("bob"))
    one = MatrixGateway(alice.user_id, (bob.user_id,), synapse.url, {"password": alice.password})
    two = MatrixGateway(bob.user_id, (alice.user_id,), synapse.url, {"password": bob.password})
    gateways += [one, two]
    await one.start()
    await two.start()
    await until(lambda: "since" in two.marks)
    for number in range(60):
        one.send(f"text {number}", f"a{number}")
    await until(lambda: len(two.texts) > 5)
    synapse.kill()
    await synapse.begin()
    await until(lambda: len(two.texts) == 60, 60)
    assert two.texts == [f"text {number}" for number in range(60)]
    assert [message for _, message in one.step.done] == [f"a{number}" for number in range(60)]
