"""Receiving: whose events are believed, replays, events without their key, content of other kinds."""

import copy
import json
from dataclasses import replace
from typing import Any, cast

import pytest
from vodozemac import GroupSession

from adapters.matrix import inside_olm, names
from adapters.matrix.inside_state import OwnState, Parked
from bridge.wire.values import Sealed
from crypto.olm.group import encrypted_event, room_key_content
from crypto.olm.pairwise import encrypted_for
from tests.unit.matrix_world import ALICE, BOB, CAROL, JSON, Machine, World, pair


def sealed_by(machine: Machine, contact: str, kind: str, content: object, room_id: str | None = None) -> JSON:
    """Content of an event that the machine's session towards the contact encrypts."""
    session = cast(GroupSession, machine.step.records.get(f"out-session/{contact}", GroupSession))
    own = cast(OwnState, machine.step.records.get("own", OwnState)).device
    return cast(JSON, json.loads(encrypted_event(session, own, room_id or "!Room:one.example", kind, content)))


def event(sender: str, content: object, event_id: str = "$made", kind: str = "m.room.encrypted") -> JSON:
    """An event of the timeline."""
    return {"type": kind, "sender": sender, "event_id": event_id, "content": content, "origin_server_ts": 1}


def talking() -> tuple[World, Machine, Machine]:
    """A pair where Bob's session has been shared with Alice."""
    world, alice, bob = pair()
    bob.sends("hello")
    world.settle()
    assert alice.texts() == ["hello"]
    return world, alice, bob


def shown(world: World, machine: Machine, made: object, room_id: str | None = None) -> None:
    """Hand an event to one machine."""
    machine.arrives(names.EVENT, {"room_id": room_id or world.room_id, "event": made})


def test_events_without_sender_key_and_device_are_normal() -> None:
    world, alice, bob = talking()
    content = sealed_by(bob, ALICE, "m.room.message", {"msgtype": "m.text", "body": "bare"})
    del content["sender_key"], content["device_id"]
    shown(world, alice, event(BOB, content))
    assert alice.texts() == ["hello", "bare"]


def test_lies_in_sender_key_and_device_change_nothing() -> None:
    world, alice, bob = talking()
    content = sealed_by(bob, ALICE, "m.room.message", {"msgtype": "m.text", "body": "x"})
    content |= {"sender_key": 7, "device_id": ["no"]}
    shown(world, alice, event(BOB, content))
    assert alice.texts() == ["hello", "x"]


def test_an_event_before_its_key_is_parked_and_opened_when_the_key_comes() -> None:
    world, alice, bob = pair()
    world.to_device_held = True
    bob.sends("one")
    bob.sends("two")
    world.settle()
    assert alice.texts() == []
    assert [stage for _, stage, _ in alice.step.traces] == ["parked", "parked"]
    assert alice.step.codes().count("parked-no-key") == 2
    positions = [position for position, _, _ in alice.step.traces]
    world.flush_to_device()
    world.settle()
    assert alice.texts() == ["one", "two"]
    assert [message.position for _, message in alice.step.deliveries] == positions
    assert not [name for name in alice.step.records.held if name.startswith("parked/")]


def test_a_withheld_key_is_noted_on_the_parked_event() -> None:
    world, alice, bob = pair()
    world.to_device_held = True
    bob.sends("one")
    world.settle()
    session = world.timeline[0]["content"]["session_id"]
    withheld = {"algorithm": "m.megolm.v1.aes-sha2", "session_id": session, "code": "m.unverified"}
    alice.arrives(names.TO_DEVICE, {"type": "m.room_key.withheld", "sender": BOB, "content": withheld})
    (name,) = alice.step.records.names("parked/")
    assert cast(Parked, alice.step.records.get(name, Parked)).reason == "withheld-unverified"
    assert ("key-withheld", "bob") in alice.step.reports


def test_the_same_event_twice_is_delivered_once() -> None:
    world, alice, _ = talking()
    shown(world, alice, world.timeline[0])
    assert alice.texts() == ["hello"]
    assert "event-repeated" in alice.step.codes()


def test_the_same_message_in_another_event_is_a_replay() -> None:
    world, alice, _ = talking()
    replayed = {**world.timeline[0], "event_id": "$another"}
    shown(world, alice, replayed)
    assert alice.texts() == ["hello"]
    assert "event-replayed" in alice.step.codes()
    assert alice.step.traces[-1] == (alice.step.position, "refused", "replayed")


def test_replays_are_noticed_far_apart() -> None:
    world, alice, bob = talking()
    for number in range(40):
        bob.sends(f"t{number}")
    world.settle()
    count = len(alice.texts())
    for old in world.timeline:
        shown(world, alice, {**old, "event_id": "$r" + old["event_id"][1:]})
    assert len(alice.texts()) == count == 41


def test_events_of_others_of_other_rooms_and_in_plain_are_refused() -> None:
    world, alice, bob = talking()
    plain = {"msgtype": "m.text", "body": "in plain"}
    shown(world, alice, event(CAROL, sealed_by(bob, ALICE, "m.room.message", plain)))
    shown(world, alice, event(BOB, sealed_by(bob, ALICE, "m.room.message", plain)), "!Other:x")
    shown(world, alice, event(BOB, plain, kind="m.room.message"))
    shown(world, alice, event(ALICE, sealed_by(bob, ALICE, "m.room.message", plain)))
    assert alice.texts() == ["hello"]
    assert alice.step.codes()[-3:] == ["event-stranger", "event-other-room", "event-not-encrypted"]


def test_a_message_written_for_another_room_is_refused() -> None:
    world, alice, bob = talking()
    text = {"msgtype": "m.text", "body": "x"}
    shown(world, alice, event(BOB, sealed_by(bob, ALICE, "m.room.message", text, "!Elsewhere:x")))
    assert alice.texts() == ["hello"]
    assert "event-wrong-party" in alice.step.codes()


def test_a_session_made_for_one_room_opens_nothing_in_another() -> None:
    world, alice, bob = talking()
    world.room_id = "!Second:two.example"
    alice.arrives(names.ROOM, world.room_state(BOB))
    text = {"msgtype": "m.text", "body": "x"}
    shown(world, alice, event(BOB, sealed_by(bob, ALICE, "m.room.message", text, world.room_id)))
    assert alice.texts() == ["hello"]
    assert "event-wrong-party" in alice.step.codes()


def test_a_second_key_under_the_same_session_id_is_taken_from_the_same_device_only_and_if_it_opens_more() -> None:
    world, alice, bob = pair()
    second = world.join(BOB, "BOB2", ALICE)
    world.to_device_held = True
    bob.sends("one")
    world.settle()
    session = cast(GroupSession, bob.step.records.get(f"out-session/{ALICE}", GroupSession))
    later = room_key_content(session, world.room_id)
    world.flush_to_device()
    world.settle()
    assert alice.texts() == ["one"]
    for sender in (second, bob):
        own = cast(OwnState, alice.step.records.get("own", OwnState)).device
        if sender is second:
            second.arrives(names.ROOM, world.room_state(ALICE))
            second.sends("open a session")
            world.settle()
            world.flush_to_device()
        olm = inside_olm.sending_session(sender.step, own.curve25519)
        mine = cast(OwnState, sender.step.records.get("own", OwnState)).device
        assert olm is not None
        content = encrypted_for(olm, mine, own, "m.room_key", later)
        alice.arrives(names.TO_DEVICE, {"type": "m.room.encrypted", "sender": BOB, "content": content})
        world.settle()
    assert alice.step.codes()[-2:] == ["room-key-conflict", "room-key-known"]


def test_one_contact_cannot_speak_by_the_session_of_another() -> None:
    world = World(members={ALICE: "join", BOB: "join", CAROL: "join"})
    alice = world.join(ALICE, "A", BOB, CAROL)
    bob = world.join(BOB, "B", ALICE)
    world.members.pop(CAROL)
    world.tell_room()
    bob.sends("mine")
    world.settle()
    alice.arrives(
        names.ROOM,
        {**world.room_state(CAROL), "members": {ALICE: "join", CAROL: "join"}},
    )
    text = {"msgtype": "m.text", "body": "as carol"}
    shown(world, alice, event(CAROL, sealed_by(bob, ALICE, "m.room.message", text)))
    assert alice.texts() == ["mine"]
    assert "parked-no-key" in alice.step.codes()


def test_a_room_key_whose_sender_lies_about_who_they_are_is_not_taken() -> None:
    """The server says the to-device event is Bob's; its Olm session is with a device that is not on Bob's list."""
    world, alice, _ = pair()
    carol = world.join(CAROL, "C", ALICE)
    carol.arrives(names.ROOM, {**world.room_state(ALICE), "members": {ALICE: "join", CAROL: "join"}})
    alice.step.account = type(alice.step.account)(
        "alice",
        "xmpp",
        "me@here",
        {"matrix": ALICE},
        (*alice.step.account.contacts,),
    )
    world.to_device_held = world.events_held = True
    carol.sends("I am bob")
    world.settle()
    for target, made in world.to_device:
        target.arrives(names.TO_DEVICE, {**made, "sender": BOB})
    world.settle()
    assert "to-device-wrong-party" in alice.step.codes()  # the plaintext names its sender
    assert not [name for name in alice.step.records.held if name.startswith("in/")]


def test_a_room_key_of_a_device_that_is_not_listed_waits_for_the_list_and_is_then_dropped() -> None:
    world, alice, bob = pair()
    hidden = world.device_keys[BOB].pop("BOBDEV")
    bob.sends("who am I")
    world.settle()
    assert alice.texts() == []
    assert "olm-unknown-device" in alice.step.codes()
    world.device_keys[BOB]["BOBDEV"] = hidden
    bob.step.records.delete(f"out/{ALICE}")
    bob.sends("known now")
    world.settle()
    assert alice.texts() == ["known now"]


def test_a_room_key_is_bound_to_the_signing_key_of_the_device() -> None:
    world, alice, bob = pair()
    own = cast(OwnState, bob.step.records.get("own", OwnState))
    other = World().join(BOB, "BOBDEV", ALICE)
    lie = cast(OwnState, other.step.records.get("own", OwnState)).device
    bob.step.records.put("own", replace(own, device=replace(own.device, ed25519=lie.ed25519, device_keys=b"null")))
    bob.sends("forged")
    world.settle()
    assert alice.texts() == []
    assert "to-device-wrong-party" in alice.step.codes() or "room-key-wrong-party" in alice.step.codes()


def test_messages_of_the_users_own_other_devices_are_not_bridged() -> None:
    world, alice, bob = pair()
    second = world.join(ALICE, "ALICE2", BOB)
    second.arrives(names.ROOM, world.room_state(BOB))
    second.sends("from my phone")
    world.settle()
    assert bob.texts() == ["from my phone"]
    assert alice.texts() == []


def test_an_earlier_room_is_still_read_and_a_new_fit_one_is_used() -> None:
    world, alice, bob = talking()
    old, world.room_id = world.room_id, "!Second:two.example"
    world.tell_room()
    bob.sends("new room")
    world.settle()
    alice.sends("answer")
    world.settle()
    assert alice.texts()[-1] == "new room"
    assert world.sent(ALICE, names.ROOM_SEND)[-1].values["room"].v == "!Second:two.example"
    world.room_id = old
    alice.arrives(names.ROOM, world.room_state(BOB))
    alice.sends("still there")
    world.settle()
    assert world.sent(ALICE, names.ROOM_SEND)[-1].values["room"].v == "!Second:two.example"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"msgtype": "m.text", "body": "t"}, "t"),
        ({"msgtype": "m.emote", "body": "waves"}, "waves"),
        (
            {"msgtype": "m.image", "body": "cat.png", "url": "mxc://x"},
            "[image, sent unencrypted, not fetched: cat.png]",
        ),
        ({"msgtype": "org.example", "body": "b"}, "[message of an unknown kind: b]"),
        ({"msgtype": 7, "body": "b"}, None),
        ({"msgtype": "m.text", "body": ["b"]}, None),
        ({"msgtype": "m.text"}, None),
    ],
)
def test_content_of_other_kinds_is_named_or_refused(content: JSON, text: str | None) -> None:
    world, alice, bob = talking()
    shown(world, alice, event(BOB, sealed_by(bob, ALICE, "m.room.message", content)))
    assert alice.texts()[1:] == ([text] if text is not None else [])
    if text is None:
        assert "event-malformed" in alice.step.codes()


def test_events_of_other_types_inside_are_counted() -> None:
    world, alice, bob = talking()
    shown(world, alice, event(BOB, sealed_by(bob, ALICE, "org.example.other", {})))
    assert alice.step.codes()[-1] == "event-unsupported"


HOSTILE: list[Any] = [
    b"",
    b"null",
    b"[]",
    b"{}",
    b'{"room_id": 1}',
    b"\xff\xfe",
    b'{"a":' * 5000,
    b'"' + b"x" * 100_000 + b'"',
    b'{"room_id":"!Room:one.example","event":null}',
    {"room_id": "!Room:one.example", "event": {"type": "m.room.encrypted"}},
    {"room_id": "!Room:one.example", "event": {"type": 1, "sender": BOB, "event_id": "$x", "content": {}}},
]
CONTENTS: list[Any] = [
    None,
    [],
    {},
    {"algorithm": "m.megolm.v1.aes-sha2"},
    {"algorithm": "m.megolm.v1.aes-sha2", "session_id": "x", "ciphertext": "y"},
    {"algorithm": "m.megolm.v1.aes-sha2", "session_id": "A" * 43, "ciphertext": {"a": 1}},
    {"algorithm": "m.megolm.v1.aes-sha2", "session_id": "A" * 43, "ciphertext": "AwgA"},
    {"algorithm": "m.olm.v1.curve25519-aes-sha2", "sender_key": "A" * 43, "ciphertext": {}},
    {"algorithm": "m.rot13", "ciphertext": "uryyb"},
]


@pytest.mark.parametrize("name", [names.EVENT, names.TO_DEVICE, names.KEYS, names.ROOM, names.DEVICE, "unheard-of"])
def test_malformed_arrivals_are_counted_and_change_nothing(name: str) -> None:
    world, alice, _ = talking()
    before = {key: value for key, value in alice.step.records.held.items() if key != "own"}
    bodies = [*HOSTILE, *(event(BOB, content) for content in CONTENTS)]
    bodies += [{"room_id": world.room_id, "event": event(BOB, content)} for content in CONTENTS]
    for body in bodies:
        alice.arrives(name, body)
    assert {key: value for key, value in alice.step.records.held.items() if key != "own"} == before
    assert alice.texts() == ["hello"]


def test_a_damaged_ciphertext_is_parked_as_undecryptable() -> None:
    world, alice, bob = talking()
    content = sealed_by(bob, ALICE, "m.room.message", {"msgtype": "m.text", "body": "x"})
    content["ciphertext"] = content["ciphertext"][:-4] + "AAAA"
    shown(world, alice, event(BOB, content))
    assert "parked-undecryptable" in alice.step.codes()
    assert alice.texts() == ["hello"]


@pytest.mark.parametrize("event_id", ["", "x", "$", "$" + "x" * 300, "$a b", "$a\n", "$é"])
def test_event_ids_that_could_not_be_named_again_are_refused(event_id: str) -> None:
    world, alice, bob = talking()
    content = sealed_by(bob, ALICE, "m.room.message", {"msgtype": "m.text", "body": "x"})
    shown(world, alice, event(BOB, content, event_id))
    assert alice.texts() == ["hello"]


def test_no_plaintext_is_in_what_goes_out_nor_in_any_representation() -> None:
    world, alice, bob = pair()
    alice.sends("CANARY")
    bob.sends("CANARY")
    world.settle()
    for _, carried in world.log:
        for value in carried.values.values():
            data = value.v if isinstance(value, Sealed) else str(value.v).encode()
            assert b"CANARY" not in data
    for machine in (alice, bob):
        assert "CANARY" not in repr(copy.copy(machine.step.records.held))
        assert "CANARY" not in repr(machine.step.deliveries)
