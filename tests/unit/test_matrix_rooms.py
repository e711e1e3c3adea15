"""Rooms that are replaced, closed, left and entered again, and sessions that end with them: the enclave's side."""

from dataclasses import replace
from typing import cast

import pytest

from adapters.matrix import inside_rooms, names
from adapters.matrix.inside_rooms import SEEK_AGAIN_MS, SUCCESSOR_PATIENCE_MS
from adapters.matrix.inside_state import Outbound, Room
from bridge.wire.values import Address
from crypto.enclave.statecodec import decoded, encoded
from tests.unit.fake_step import Carried
from tests.unit.matrix_world import ALICE, BOB, CAROL, Machine, World, pair

OLD, NEW = "!Room:one.example", "!" + "aB3-_" * 8 + "xyz"
"""The second one as rooms are named since version 12."""


def room_of(machine: Machine) -> Room:
    """The room with the contact."""
    return cast(Room, machine.step.records.get(f"room/{machine.step.account.contacts[0].address}", Room))


def session_of(machine: Machine) -> str:
    """The id of the outbound session."""
    return cast(Outbound, machine.step.records.get(f"out/{BOB}", Outbound)).session_id


def rooms_sent_to(world: World) -> list[str]:
    """Where Alice's messages went, in order."""
    return [cast(Address, carried.values["room"]).v for carried in world.sent(ALICE, names.ROOM_SEND)]


def talking() -> tuple[World, Machine, Machine]:
    """A pair that has exchanged a message."""
    world, alice, bob = pair()
    alice.sends("hello", "m0")
    world.settle()
    return world, alice, bob


def waits(machine: Machine, ms: int) -> None:
    """Time passes for the line."""
    machine.step.now += ms
    machine.wakes("line")


def replaced(world: World, alice: Machine) -> None:
    """The room gets a tombstone."""
    alice.arrives(names.ROOM, {**world.room_state(BOB), "replaced": True})


def moved(world: World) -> None:
    """All are in the new room."""
    world.room_id = NEW
    world.tell_room()


def test_what_waits_for_a_replaced_room_goes_into_the_one_that_takes_its_place() -> None:
    world, alice, bob = talking()
    replaced(world, alice)
    alice.sends("one", "m1")
    alice.sends("two", "m2")
    world.settle()
    assert rooms_sent_to(world) == [OLD]
    assert not world.sent(ALICE, names.ROOM_OBTAIN)
    moved(world)
    world.settle()
    assert rooms_sent_to(world) == [OLD, NEW, NEW]
    assert bob.texts() == ["hello", "one", "two"]
    assert room_of(alice).earlier == (OLD,)


def test_when_no_room_takes_its_place_another_is_asked_for() -> None:
    world, alice, _ = talking()
    replaced(world, alice)
    alice.sends("one", "m1")
    world.settle()
    waits(alice, SUCCESSOR_PATIENCE_MS - 1)
    world.settle()
    assert not world.sent(ALICE, names.ROOM_OBTAIN)
    world.room_id = NEW
    waits(alice, 1)
    world.settle()
    assert [carried.values["avoid"] for carried in world.sent(ALICE, names.ROOM_OBTAIN)] == [Address(v=OLD)]
    assert rooms_sent_to(world) == [OLD, NEW]


def test_what_came_late_into_the_old_room_is_taken_and_what_comes_into_others_is_not() -> None:
    world, alice, bob = talking()
    replaced(world, alice)
    moved(world)
    world.settle()
    world.room_id = OLD
    bob.step.records.put(f"room/{ALICE}", replace(room_of(bob), room_id=OLD))
    bob.step.records.delete(f"out/{ALICE}")
    bob.sends("late")
    world.settle()
    assert alice.texts() == ["late"]
    world.show({**world.timeline[-1], "event_id": "$again"}, "!other:one.example")
    assert alice.texts() == ["late"]
    assert "event-other-room" in alice.step.codes()


@pytest.mark.parametrize(
    "fault",
    [
        {"encryption": None},
        {"members": {ALICE: "join", BOB: "join", CAROL: "invite"}},
        {"members": {ALICE: "join", BOB: "leave"}},
        {"members": {ALICE: "invite", BOB: "join"}},
        {"history_visibility": "world_readable"},
        {"replaced": True},
    ],
)
def test_a_replacement_that_is_unfit_is_not_gone_into(fault: dict[str, object]) -> None:
    world, alice, _ = talking()
    replaced(world, alice)
    alice.arrives(names.ROOM, {**world.room_state(BOB), "room_id": NEW, **fault})
    alice.sends("one", "m1")
    world.settle()
    assert room_of(alice).room_id == OLD
    assert rooms_sent_to(world) == [OLD]
    assert not alice.step.failures


def closed_with_three_under_way() -> tuple[World, Machine, Machine, list[Carried]]:
    """Three messages are carried when the room is closed."""
    world, alice, bob = talking()
    for number in range(1, 4):
        alice.sends(f"text {number}", f"m{number}")
    return world, alice, bob, alice.step.take()


def test_messages_that_a_room_does_not_take_go_into_the_next_one_before_newer_ones() -> None:
    world, alice, bob, under_way = closed_with_three_under_way()
    alice.answered(under_way[0], b"", names.FORBIDDEN)
    alice.sends("text 4", "m4")
    moved(world)
    assert not alice.step.carries or alice.step.carries[0].request != names.ROOM_SEND
    for carried in under_way[1:]:
        alice.answered(carried, b"", names.FORBIDDEN)
    world.settle()
    assert bob.texts() == ["hello", "text 1", "text 2", "text 3", "text 4"]
    assert [message for _, message in alice.step.done] == ["m0", "m1", "m2", "m3", "m4"]
    assert not alice.step.failures


def test_a_message_that_no_room_takes_fails_and_no_more_rooms_are_made() -> None:
    world, alice, _, under_way = closed_with_three_under_way()
    world.failing = {names.ROOM_SEND: names.FORBIDDEN}
    for carried in under_way:
        alice.answered(carried, b"", names.FORBIDDEN)
    waits(alice, SUCCESSOR_PATIENCE_MS)
    world.room_id = NEW
    world.settle()
    assert alice.step.failures == [("bob", f"m{number}", names.FORBIDDEN) for number in range(1, 4)]
    assert len(world.sent(ALICE, names.ROOM_OBTAIN)) == 1


def test_nothing_is_carried_again_when_the_contact_is_off_the_map() -> None:
    world, alice, _, under_way = closed_with_three_under_way()
    alice.answered(under_way[0], b"", names.FORBIDDEN)
    alice.step.account = replace(alice.step.account, contacts=())
    alice.starts(resumed=True)
    for carried in under_way[1:]:
        alice.answered(carried, b"", names.FORBIDDEN)
    world.settle()
    assert not list(alice.step.records.names("back/"))
    assert not list(alice.step.records.names("out-session/"))


def test_every_record_of_a_returned_message_survives_the_codec_of_the_enclave() -> None:
    _, alice, _, under_way = closed_with_three_under_way()
    alice.answered(under_way[0], b"", names.FORBIDDEN)
    for name in ("back/", "sent/", "room/", "out/"):
        for found in alice.step.records.names(name):
            value = alice.step.records.held[found]
            assert decoded(encoded(value, b"k" * 32), type(value), b"k" * 32) == value


def test_a_room_that_we_left_is_left_and_when_we_are_back_it_is_used_again() -> None:
    world, alice, bob = talking()
    before = session_of(alice)
    world.members[ALICE] = "leave"
    world.tell_room()
    assert room_of(alice).problem == names.ROOM_LEFT
    world.members[ALICE] = "join"
    world.tell_room()
    alice.sends("back", "m1")
    world.settle()
    assert bob.texts() == ["hello", "back"]
    assert session_of(alice) != before


def test_who_never_comes_is_not_invited_again_and_again() -> None:
    world, alice, _ = talking()
    world.members[BOB] = "leave"
    world.tell_room()
    world.room_id, world.members[BOB] = NEW, "invite"
    alice.sends("one", "m1")
    world.settle()
    world.members[BOB] = "leave"  # turned down
    world.tell_room()
    world.settle()
    assert alice.step.failures == [("bob", "m1", names.CONTACT_LEFT)]
    assert len(world.sent(ALICE, names.ROOM_OBTAIN)) == 1
    alice.step.now += SEEK_AGAIN_MS
    world.room_id, world.members[BOB] = "!third", "join"
    alice.sends("two", "m2")
    world.settle()
    waits(alice, inside_rooms.JOIN_PAUSE_MS)
    world.settle()
    assert alice.step.done[-1] == ("bob", "m2")


# ---------------------------------------------------------------- sessions
@pytest.mark.parametrize(
    "change",
    [
        {"history_visibility": "shared"},
        {"encryption": {"algorithm": "m.megolm.v1.aes-sha2", "rotation_period_msgs": 50}},
        {"encryption": {"algorithm": "m.megolm.v1.aes-sha2", "rotation_period_ms": 7_200_000}},
    ],
)
def test_a_session_is_not_used_under_other_settings_of_the_room(change: dict[str, object]) -> None:
    world, alice, bob = talking()
    before = session_of(alice)
    world.tell_room()
    alice.sends("the same", "m1")
    world.settle()
    assert session_of(alice) == before
    alice.arrives(names.ROOM, {**world.room_state(BOB), **change})
    alice.sends("others", "m2")
    world.settle()
    assert session_of(alice) != before
    assert bob.texts() == ["hello", "the same", "others"]


@pytest.mark.parametrize("interlude", [{CAROL: "join"}, {BOB: "leave"}])
def test_a_session_is_not_used_any_more_after_somebody_came_or_went(interlude: dict[str, str]) -> None:
    world, alice, _ = talking()
    before, members = session_of(alice), dict(world.members)
    world.members.update(interlude)
    world.tell_room()
    world.members = members
    world.tell_room()
    waits(alice, inside_rooms.JOIN_PAUSE_MS)
    alice.sends("again", "m1")
    world.settle()
    waits(alice, inside_rooms.JOIN_PAUSE_MS)
    world.settle()
    assert alice.step.done[-1] == ("bob", "m1")
    assert session_of(alice) != before


def test_a_session_is_not_used_under_another_word_of_the_operators() -> None:
    world, alice, _ = talking()
    before = session_of(alice)
    contact = alice.step.account.contacts[0]
    stricter = replace(contact, options={"trust": "any-device"})
    alice.step.account = replace(alice.step.account, contacts=(stricter,))
    alice.starts(resumed=True)
    alice.sends("again", "m1")
    world.settle()
    assert session_of(alice) != before


def test_a_session_is_kept_over_a_clean_restart_and_not_over_an_unclean_one() -> None:
    world, alice, bob = talking()
    before = session_of(alice)
    alice.starts(resumed=True)
    alice.sends("clean", "m1")
    world.settle()
    assert session_of(alice) == before
    alice.starts(resumed=False)
    alice.sends("unclean", "m2")
    world.settle()
    assert session_of(alice) != before
    assert bob.texts() == ["hello", "clean", "unclean"]


def test_an_event_that_comes_again_after_a_restart_is_not_delivered_again() -> None:
    world, _, bob = talking()
    bob.starts(resumed=False)
    world.show(world.timeline[0])
    world.show({**world.timeline[0], "event_id": "$forged"})
    assert bob.texts() == ["hello"]
    assert {"event-repeated", "event-replayed"} <= set(bob.step.codes())


# ---------------------------------------------------------------- history
def test_that_messages_were_left_out_is_counted_each_time_and_told_once_in_a_while() -> None:
    world, alice, _ = talking()
    for _ in range(3):
        alice.arrives(names.LEFT_OUT, {"contact": BOB, "room_id": world.room_id})
    assert alice.step.notices == [("bob", names.TOLD_LEFT_OUT)]
    assert alice.step.codes().count(names.TOLD_LEFT_OUT) == 3
    alice.step.now += 60_000
    alice.arrives(names.LEFT_OUT, {"contact": BOB, "room_id": world.room_id})
    assert alice.step.notices == [("bob", names.TOLD_LEFT_OUT)] * 2


def test_nobody_is_told_of_gaps_in_rooms_of_others() -> None:
    world, alice, _ = talking()
    alice.arrives(names.LEFT_OUT, {"contact": CAROL, "room_id": world.room_id})
    alice.arrives(names.LEFT_OUT, {"contact": BOB, "room_id": "!other"})
    alice.arrives(names.LEFT_OUT, b"{}")
    assert alice.step.notices == []
    assert alice.step.codes()[-3:] == ["left-out-stranger", "left-out-stranger", "left-out-malformed"]
