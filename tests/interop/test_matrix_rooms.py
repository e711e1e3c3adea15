"""Rooms that are replaced, left and entered again, of any version, with matrix-js-sdk on a real Synapse."""

import sqlite3
from collections.abc import Callable

import pytest

from adapters.matrix.inside_state import Outbound, Room
from rig.bob.client import Bob
from rig.synapse import Synapse
from tests.conftest import BobFactory
from tests.interop.matrix_gateway import MatrixGateway, opened, talking, until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(180)]


def room_of(gateway: MatrixGateway, bob: Bob) -> Room:
    """What the gateway's inside half knows of the room."""
    room = gateway.step.records.get(f"room/{bob.user_id}", Room)
    assert room is not None
    return room


def session_of(gateway: MatrixGateway, bob: Bob) -> str:
    """The id of its outbound session."""
    out = gateway.step.records.get(f"out/{bob.user_id}", Outbound)
    assert out is not None
    return out.session_id


async def test_a_room_of_version_12_is_entered_and_both_write_in_it(
    synapse: Synapse, unique: Callable[[str], str], gateways: list[MatrixGateway], bob_factory: BobFactory
) -> None:
    alice, account = synapse.account(unique("alice")), synapse.account(unique("bob"))
    one = await opened(gateways, synapse, alice, account)
    await until(lambda: "since" in one.marks)
    bob = await bob_factory(account)
    room = (await bob.ask("create_dm", user=alice.user_id, version="12"))["room"]
    assert ":" not in room
    await bob.send(room, "in twelve")
    await until(lambda: one.texts == ["in twelve"])
    one.send("answer", "a1")
    seen = await bob.wait_messages(1)
    assert (seen[0].room, seen[0].body) == (room, "answer")
    assert not one.step.failures


async def test_an_upgraded_room_is_followed_and_nothing_is_lost_or_doubled(
    synapse: Synapse, unique: Callable[[str], str], gateways: list[MatrixGateway], bob_factory: BobFactory
) -> None:
    one, bob, before = await talking(synapse, unique, gateways, bob_factory)
    await bob.send(before, "b0")
    for number in range(1, 10):
        one.send(f"a{number}", f"a{number}")
    after = (await bob.ask("upgrade_room", room=before, version="12"))["room"]
    for number in range(10, 20):
        one.send(f"a{number}", f"a{number}")
    await until(lambda: room_of(one, bob).room_id == after)
    for number in range(1, 10):
        await bob.send(after, f"b{number}")
    for number in range(20, 25):
        one.send(f"a{number}", f"a{number}")
    await bob.wait_messages(25)
    await until(lambda: len(one.texts) == 10)
    assert [message.body for message in bob.messages] == ["hello", *(f"a{number}" for number in range(1, 25))]
    assert bob.messages[-1].room == after
    assert one.texts == [f"b{number}" for number in range(10)]
    assert not bob.undecryptable
    assert not one.step.failures
    assert before in room_of(one, bob).earlier


async def test_what_is_written_late_into_the_room_that_was_replaced_is_still_taken(
    synapse: Synapse, unique: Callable[[str], str], gateways: list[MatrixGateway], bob_factory: BobFactory
) -> None:
    one, bob, before = await talking(synapse, unique, gateways, bob_factory)
    after = (await bob.ask("upgrade_room", room=before, version="11"))["room"]
    await until(lambda: room_of(one, bob).room_id == after)
    event = {"events_default": 0, "users_default": 100}
    await bob.ask("set_state", room=before, type="m.room.power_levels", content=event)
    await bob.send(before, "late")
    await bob.send(after, "new")
    await until(lambda: len(one.texts) == 2)
    assert sorted(one.texts) == ["late", "new"]


async def test_a_message_that_waits_when_we_are_put_out_goes_into_a_new_room_once(
    synapse: Synapse, unique: Callable[[str], str], gateways: list[MatrixGateway], bob_factory: BobFactory
) -> None:
    alice, account = synapse.account(unique("alice")), synapse.account(unique("bob"))
    one = await opened(gateways, synapse, alice, account)
    await until(lambda: "since" in one.marks)
    bob = await bob_factory(account)
    before = (await bob.ask("create_dm", user=one.user, preset="private_chat"))["room"]
    await bob.send(before, "hello")
    await until(lambda: one.texts == ["hello"])
    one.send("hello", "a0")
    await bob.wait_messages(1)
    await bob.send(before, "last words")
    await bob.ask("kick", room=before, user=one.user)
    for number in range(3):
        one.send(f"after {number}", f"k{number}")
    await until(lambda: len(bob.messages) == 4, 60)
    assert one.texts == ["hello", "last words"]
    assert [message.body for message in bob.messages[1:]] == ["after 0", "after 1", "after 2"]
    assert {message.room for message in bob.messages[1:]} == {room_of(one, bob).room_id} != {before}
    assert not one.step.failures
    assert [message for _, message in one.step.done] == ["a0", "k0", "k1", "k2"]


async def test_a_room_that_another_client_of_ours_left_is_entered_again_when_we_are_invited(
    synapse: Synapse, unique: Callable[[str], str], gateways: list[MatrixGateway], bob_factory: BobFactory
) -> None:
    one, bob, room = await talking(synapse, unique, gateways, bob_factory)
    before = session_of(one, bob)
    synapse.call("POST", f"/_matrix/client/v3/rooms/{room}/leave", {}, one.marks["token"])
    await until(lambda: room_of(one, bob).problem == "room-left")
    await bob.ask("invite", room=room, user=one.user)
    await until(lambda: room_of(one, bob).problem is None)
    await bob.send(room, "welcome back")
    await until(lambda: one.texts == ["welcome back"])
    one.send("here again", "a1")
    seen = await bob.wait_messages(2)
    assert (seen[1].room, seen[1].body) == (room, "here again")
    assert session_of(one, bob) != before


async def test_the_session_is_rotated_when_the_rooms_history_becomes_visible_to_others(
    synapse: Synapse, unique: Callable[[str], str], gateways: list[MatrixGateway], bob_factory: BobFactory
) -> None:
    one, bob, room = await talking(synapse, unique, gateways, bob_factory)
    state = room_of(one, bob)
    assert state.visibility == "joined"  # nothing of before goes with an invitation
    before = session_of(one, bob)
    content = {"history_visibility": "shared"}
    await bob.ask("set_state", room=room, type="m.room.history_visibility", content=content)
    await until(lambda: room_of(one, bob).visibility == "shared")
    one.send("seen by whom", "a1")
    await bob.wait_messages(2)
    assert session_of(one, bob) != before


async def test_a_tombstone_that_leads_to_a_room_of_others_is_not_followed(
    synapse: Synapse, unique: Callable[[str], str], gateways: list[MatrixGateway], bob_factory: BobFactory
) -> None:
    one, bob, before = await talking(synapse, unique, gateways, bob_factory)
    carol = synapse.account(unique("carol"))
    token = synapse.login(carol)
    trap = synapse.call(
        "POST", "/_matrix/client/v3/createRoom", {"preset": "public_chat", "invite": [bob.user_id]}, token
    )["room_id"]
    content = {"body": "moved", "replacement_room": trap}
    await bob.ask("set_state", room=before, type="m.room.tombstone", content=content)
    await until(lambda: room_of(one, bob).problem == "room-replaced")
    one.send("where to", "a1")
    await until(lambda: "line" in one._timers)
    one.step.now += 60_000
    one._wake("line", one.step.now)
    seen = await bob.wait_messages(2)
    assert seen[1].room not in (before, trap)
    assert one.user not in _members(synapse, trap)


def _members(synapse: Synapse, room: str) -> set[str]:
    with sqlite3.connect(f"file:{synapse.database}?mode=ro", uri=True) as database:
        rows = database.execute(
            "SELECT m.user_id FROM current_state_events c JOIN room_memberships m USING (event_id) "
            "WHERE c.room_id = ? AND m.membership = 'join'",
            (room,),
        ).fetchall()
    return {str(user) for (user,) in rows}
