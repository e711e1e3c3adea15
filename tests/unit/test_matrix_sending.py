"""Sending: what has to be there first, who is given keys and who is not, rotation, refusals."""

import json
from dataclasses import replace
from typing import cast

import pytest
from vodozemac import GroupSession

from adapters.matrix import inside_rooms, names
from adapters.matrix.inside_state import HOUR_MS, Outbound
from bridge.wire.values import Address, Public
from crypto.enclave.statecodec import decoded, encoded
from tests.unit.fake_step import Carried
from tests.unit.matrix_world import ALICE, BOB, CAROL, Machine, World, pair


def session_id(machine: Machine, contact: str = BOB) -> str:
    """The id of the machine's outbound session."""
    out = machine.step.records.get(f"out/{contact}", Outbound)
    assert out is not None
    return out.session_id


def recipients(carried: Carried) -> set[tuple[str, str]]:
    """Users and devices of a to-device request."""
    messages = json.loads(cast(Public, carried.values["body"]).v)["messages"]
    return {(user, device) for user, devices in messages.items() for device in devices}


def test_messages_wait_for_room_devices_and_sessions_and_arrive_in_order() -> None:
    world, alice, bob = pair()
    for number in range(5):
        alice.sends(f"text {number}", f"m{number}")
    assert not world.timeline
    world.settle()
    assert bob.texts() == [f"text {number}" for number in range(5)]
    assert alice.step.done == [("bob", f"m{number}") for number in range(5)]
    assert not alice.step.failures


def test_nothing_is_sent_before_our_own_keys_are_published() -> None:
    world = World()
    bob = world.join(BOB, "B", ALICE)
    world.log.clear()
    world.held = {names.KEYS_UPLOAD}
    alice = world.join(ALICE, "A", BOB)
    alice.sends("early")
    world.tell_room()
    world.settle()
    assert world.log == []
    world.held = set()
    world.settle()
    assert bob.texts() == ["early"]


def test_a_ready_message_is_one_request_and_rewrites_two_records() -> None:
    world, alice, _ = pair()
    alice.sends("first")
    world.settle()
    alice.sends("second")
    carried = alice.step.take()
    assert [one.request for one in carried] == [names.ROOM_SEND]
    assert alice.step.records.written == {f"out-session/{BOB}", f"sent/{carried[0].key}"}
    assert (carried[0].trace, "sealed", None) in alice.step.traces
    alice.answered(carried[0], {"event_id": "$x"})
    assert alice.step.records.written == {f"sent/{carried[0].key}", f"known/{BOB}"}


def test_every_record_survives_the_codec_of_the_enclave() -> None:
    world, alice, bob = pair()
    alice.sends("one")
    bob.sends("two")
    world.held = {names.ROOM_SEND, names.KEYS_QUERY}
    world.settle()
    for machine in (alice, bob):
        for value in machine.step.records.held.values():
            data = encoded(value, b"k" * 32)
            again = decoded(data, type(value), b"k" * 32)
            assert type(again) is type(value)
            if not hasattr(value, "pickle"):
                assert again == value


def test_a_session_key_goes_to_devices_of_the_contact_and_of_the_user_and_to_no_one_else() -> None:
    world, alice, _ = pair()
    world.join(BOB, "BOB2", ALICE)
    world.join(ALICE, "ALICE2", BOB)
    world.join(CAROL, "CAROLDEV", ALICE)
    alice.sends("text")
    world.settle()
    given = set().union(*(recipients(carried) for carried in world.sent(ALICE, names.SEND_TO_DEVICE)))
    assert given == {(BOB, "BOBDEV"), (BOB, "BOB2"), (ALICE, "ALICE2")}


def test_a_room_with_another_member_is_refused_and_told() -> None:
    world, alice, _ = pair()
    world.join(CAROL, "CAROLDEV", ALICE)
    alice.sends("before")
    world.settle()
    world.members[CAROL] = "join"
    world.tell_room()
    alice.sends("after", "late")
    world.settle()
    assert alice.step.failures == [("bob", "late", "room-not-private")]
    assert ("room-not-private", "bob") in alice.step.reports
    assert len(world.timeline) == 1


@pytest.mark.parametrize("encryption", [None, {"algorithm": "m.olm.v1"}, {}, {"algorithm": 7}])
def test_a_room_without_encryption_is_refused(encryption: dict[str, object] | None) -> None:
    world, alice, _ = pair()
    world.encryption = encryption
    world.tell_room()
    alice.sends("secret", "m")
    world.settle()
    assert alice.step.failures == [("bob", "m", "room-not-encrypted")]
    assert not world.timeline


def test_encryption_that_is_taken_back_stops_sending_at_once() -> None:
    world, alice, _ = pair()
    alice.sends("one")
    world.settle()
    world.encryption = None
    world.tell_room()
    alice.sends("two", "m2")
    world.settle()
    assert alice.step.failures == [("bob", "m2", "room-not-encrypted")]
    assert len(world.timeline) == 1


def test_a_contact_that_left_gets_a_new_room() -> None:
    world, alice, bob = pair()
    world.members[BOB] = "leave"
    world.tell_room()
    world.room_id, world.members[BOB] = "!New:one.example", "invite"
    alice.sends("text")
    world.settle()
    assert len(world.sent(ALICE, names.ROOM_SEND)) == 0  # who is only invited cannot know our keys yet
    world.members[BOB] = "join"
    world.tell_room()
    alice.step.now += inside_rooms.JOIN_PAUSE_MS
    alice.wakes("line")
    world.settle()
    request = world.sent(ALICE, names.ROOM_OBTAIN)[-1]
    assert request.values["avoid"] == Address(v="!Room:one.example")
    assert cast(Address, world.sent(ALICE, names.ROOM_SEND)[-1].values["room"]).v == "!New:one.example"
    assert not alice.step.failures
    assert bob.texts() == ["text"]


def test_messages_wait_until_the_contact_has_joined_and_had_time_to_learn_our_keys() -> None:
    world, alice, _ = pair()
    world.members[BOB] = "invite"
    world.tell_room()
    alice.sends("text")
    world.settle()
    assert world.timeline == []
    assert alice.half.status(alice.step.records, alice.step.account)[0].state == "invited"
    world.members[BOB] = "join"
    world.tell_room()
    world.settle()
    assert world.timeline == []
    assert alice.step.wakes["line"] == alice.step.now + inside_rooms.JOIN_PAUSE_MS
    alice.step.now = alice.step.wakes["line"]
    alice.wakes("line")
    world.settle()
    assert len(world.timeline) == 1


def test_a_room_that_nobody_comes_to_ends_in_a_failure_not_in_a_loop() -> None:
    world, alice, _ = pair()
    world.members[BOB] = "leave"
    world.tell_room()
    alice.sends("text", "m")
    world.settle()
    assert alice.step.failures == [("bob", "m", "contact-left")]
    assert len(world.sent(ALICE, names.ROOM_OBTAIN)) == 1


# ---------------------------------------------------------------- rotation
def test_the_session_is_rotated_after_as_many_messages_as_the_room_says() -> None:
    world, alice, bob = pair()
    world.encryption = {"algorithm": "m.megolm.v1.aes-sha2", "rotation_period_msgs": 3}
    world.tell_room()
    for number in range(7):
        alice.sends(f"t{number}")
        world.settle()
    ids = [event["content"]["session_id"] for event in world.timeline]
    assert [ids.count(one) for one in dict.fromkeys(ids)] == [3, 3, 1]
    assert bob.texts() == [f"t{number}" for number in range(7)]


def test_a_line_longer_than_a_session_may_last_is_spread_over_several() -> None:
    world, alice, bob = pair()
    world.encryption = {"algorithm": "m.megolm.v1.aes-sha2", "rotation_period_msgs": 3}
    world.tell_room()
    for number in range(8):
        alice.sends(f"t{number}")
    world.settle()
    assert bob.texts() == [f"t{number}" for number in range(8)]
    assert len({event["content"]["session_id"] for event in world.timeline}) == 3


def test_the_session_is_rotated_after_a_week_or_what_the_room_says() -> None:
    world, alice, _ = pair()
    alice.sends("one")
    world.settle()
    first = session_id(alice)
    alice.step.now += 7 * 24 * HOUR_MS
    alice.sends("two")
    world.settle()
    second = session_id(alice)
    assert first != second
    world.encryption = {"algorithm": "m.megolm.v1.aes-sha2", "rotation_period_ms": 2 * HOUR_MS}
    world.tell_room()
    alice.step.now += 2 * HOUR_MS
    alice.sends("three")
    world.settle()
    assert session_id(alice) != second


@pytest.mark.parametrize("absurd", [0, -5, True, "7", 1.5, None, 1 << 70])
def test_absurd_rotation_settings_are_bounded(absurd: object) -> None:
    world, alice, bob = pair()
    world.encryption = {
        "algorithm": "m.megolm.v1.aes-sha2",
        "rotation_period_msgs": absurd,
        "rotation_period_ms": absurd,
    }
    world.tell_room()
    alice.sends("text")
    world.settle()
    assert bob.texts() == ["text"]


def test_a_device_that_is_logged_out_cannot_read_on() -> None:
    world, alice, _ = pair()
    second = world.join(BOB, "BOB2", ALICE)
    second.arrives(names.ROOM, world.room_state(ALICE))
    alice.sends("both")
    world.settle()
    before = session_id(alice)
    world.leave(BOB, "BOB2")
    alice.sends("one only")
    world.settle()
    assert session_id(alice) != before
    second.arrives(names.EVENT, {"room_id": world.room_id, "event": world.timeline[-1]})
    assert second.texts() == ["both"]


def test_a_new_device_is_given_the_session_from_then_on() -> None:
    world, alice, _ = pair()
    alice.sends("before")
    world.settle()
    first = session_id(alice)
    second = world.join(BOB, "BOB2", ALICE)
    second.arrives(names.ROOM, world.room_state(ALICE))
    alice.sends("after")
    world.settle()
    assert session_id(alice) == first
    assert "device-new" in alice.step.codes()
    second.arrives(names.EVENT, {"room_id": world.room_id, "event": world.timeline[0]})
    assert second.texts() == ["after"]


def test_a_message_waits_while_a_changed_device_list_is_fetched() -> None:
    world, alice, _ = pair()
    alice.sends("one")
    world.settle()
    world.held = {names.KEYS_QUERY}
    world.changed(BOB)
    alice.sends("two")
    world.settle()
    assert len(world.timeline) == 1
    world.held = set()
    world.settle()
    assert len(world.timeline) == 2


def test_a_list_that_changes_while_it_is_fetched_is_fetched_again() -> None:
    world, alice, _ = pair()
    alice.sends("one")
    world.settle()
    world.log.clear()
    world.held = {names.KEYS_QUERY}
    world.changed(BOB)
    world.settle()
    world.changed(BOB)
    alice.sends("two")
    world.held = set()
    world.settle()
    queries = [carried.values["user"] for carried in world.sent(ALICE, names.KEYS_QUERY)]
    assert queries == [Address(v=BOB), Address(v=BOB)]
    requests = [carried.request for user, carried in world.log if user == ALICE]
    assert requests[-1] == names.ROOM_SEND


# ---------------------------------------------------------------- after a roll-back
def test_after_a_start_that_does_not_resume_no_sending_key_is_used_again() -> None:
    world, alice, bob = pair()
    alice.sends("one")
    bob.sends("back")
    world.settle()
    index_of = session_id(alice)
    olm_before = {name for name in alice.step.records.held if name.startswith("olm-session/")}
    alice.starts(resumed=False)
    alice.sends("two")
    world.settle()
    assert session_id(alice) != index_of
    assert len({name for name in alice.step.records.held if name.startswith("olm-session/")}) == len(olm_before) + 1
    assert bob.texts() == ["one", "two"]
    bob.sends("again")
    world.settle()
    assert alice.texts() == ["back", "again"]


def test_a_start_that_resumes_goes_on_with_the_session() -> None:
    world, alice, bob = pair()
    alice.sends("one")
    world.settle()
    before = session_id(alice)
    alice.starts(resumed=True)
    alice.sends("two")
    world.settle()
    assert session_id(alice) == before
    session = alice.step.records.get(f"out-session/{BOB}", GroupSession)
    assert session is not None
    assert session.message_index == 2
    assert bob.texts() == ["one", "two"]


# ---------------------------------------------------------------- failures
def test_a_message_that_the_server_refuses_for_good_fails_with_its_code() -> None:
    world, alice, _ = pair()
    alice.sends("one")
    world.settle()
    world.failing = {names.ROOM_SEND: "rejected"}
    alice.sends("two", "m2")
    world.settle()
    assert alice.step.failures == [("bob", "m2", "rejected")]


@pytest.mark.parametrize(
    ("request_name", "code"),
    [(names.SEND_TO_DEVICE, "rejected"), (names.ROOM_OBTAIN, "far-forbidden")],
)
def test_a_preparation_that_fails_for_good_fails_the_messages(request_name: str, code: str) -> None:
    world = World()
    alice = world.join(ALICE, "A", BOB)
    world.join(BOB, "B", ALICE)
    world.failing = {request_name: code}
    alice.sends("text", "m")
    world.settle()
    assert alice.step.failures == [("bob", "m", code)]
    world.failing = {}
    alice.sends("again", "n")
    world.settle()
    assert alice.step.done == [("bob", "n")]


def test_a_contact_without_encryption_keys_is_told_as_such() -> None:
    world = World()
    alice = world.join(ALICE, "A", BOB)
    alice.sends("text", "m")
    world.settle()
    assert alice.step.failures == [("bob", "m", "no-devices")]


def test_a_device_list_that_cannot_be_told_is_asked_for_with_growing_pauses_and_then_given_up() -> None:
    world = World(failing={names.KEYS_QUERY: "unavailable"})
    alice = world.join(ALICE, "A", BOB)
    bob = world.join(BOB, "B", ALICE)
    alice.sends("text", "m")
    world.settle()
    for _ in range(10):
        if alice.step.failures:
            break
        alice.step.now = alice.step.wakes["query"]
        alice.wakes("query")
        world.settle()
    assert alice.step.failures == [("bob", "m", "devices-unknown")]
    world.failing = {}
    bob.step.now += HOUR_MS
    bob.wakes("query")
    alice.step.now += HOUR_MS
    alice.sends("later", "n")
    world.settle()
    assert alice.step.done == [("bob", "n")]


def test_a_body_that_fits_no_event_fails_at_once_and_uses_no_key() -> None:
    world, alice, bob = pair()
    alice.sends("x" * 60_000, "large")
    alice.sends("small", "small")
    world.settle()
    assert alice.step.failures == [("bob", "large", "too-large")]
    assert bob.texts() == ["small"]


def test_a_line_that_is_full_refuses_the_next_message_only() -> None:
    world, alice, bob = pair()
    world.held = {names.KEYS_CLAIM}
    for number in range(1_001):
        alice.sends("x", f"m{number}")
    assert alice.step.failures == [("bob", "m1000", "queue-full")]
    assert alice.step.traces[-1][1:] == ("refused", "queue-full")
    world.held = set()
    world.settle()
    assert len(bob.texts()) == 1_000


def test_the_answer_for_a_contact_that_was_taken_off_the_map_is_taken_quietly() -> None:
    world, alice, _ = pair()
    world.held = {names.ROOM_SEND}
    alice.sends("text")
    world.settle()
    alice.step.account = type(alice.step.account)("alice", "xmpp", "me@here", {"matrix": ALICE}, ())
    world.held = set()
    world.settle()
    assert alice.step.done == []
    assert "contact-removed" in alice.step.codes()


def test_a_refused_message_is_explained_to_the_contact_inside_the_encryption() -> None:
    world, alice, bob = pair()
    bob.sends("to the other side")
    world.settle()
    message_id = alice.step.deliveries[0][1].id
    contact = alice.step.account.contacts[0]
    alice.step.commit(lambda: alice.half.refused(alice.step, contact, message_id, "policy-violation"))
    world.settle()
    assert bob.step.deliveries[0][1].kind == "notice"
    assert "policy" in bob.texts()[0]
    assert alice.step.done == []
    assert alice.step.failures == []


def test_what_waits_for_a_contact_that_was_taken_off_the_map_is_dropped() -> None:
    world, alice, _ = pair()
    world.held = {names.KEYS_QUERY, names.ROOM_OBTAIN}
    world.changed(BOB)
    alice.sends("text")
    world.settle()
    alice.step.account = type(alice.step.account)("alice", "xmpp", "me@here", {"matrix": ALICE}, ())
    alice.starts(resumed=True)
    assert not [name for name in alice.step.records.held if name.startswith(("line/", "queue/"))]
    assert "contact-removed" in alice.step.codes()


def test_what_waits_for_a_contact_whose_address_changed_is_refused_to_its_sender() -> None:
    world, alice, _ = pair()
    world.held = {names.KEYS_QUERY, names.ROOM_OBTAIN}
    world.changed(BOB)
    alice.sends("text", "m1")
    world.settle()
    moved = replace(alice.step.account.contacts[0], address="@bob:elsewhere.example")
    alice.step.account = replace(alice.step.account, contacts=(moved,))
    alice.starts(resumed=True)
    assert alice.step.failures == [("bob", "m1", "contact-changed")]
    assert not [name for name in alice.step.records.held if name.startswith(("line/", "queue/"))]


def test_the_status_names_what_holds_a_leg_up() -> None:
    world, alice, _ = pair()
    assert alice.half.status(alice.step.records, alice.step.account)[0].state == "none"
    world.held = {names.KEYS_CLAIM}
    alice.sends("text")
    world.settle()
    row = alice.half.status(alice.step.records, alice.step.account)[0]
    assert (row.state, row.waiting, row.peer) == ("preparing", 1, world.room_id)
    world.held = set()
    world.settle()
    assert alice.half.status(alice.step.records, alice.step.account)[0].state == "active"
