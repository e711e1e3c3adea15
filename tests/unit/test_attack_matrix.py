"""Attacks by whoever owns the gateway process, and so both servers, on the enclave's Matrix half."""

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, cast

import pytest
from vodozemac import GroupSession, InboundGroupSession

from adapters.matrix import (
    inside_backup_writing,
    inside_forgotten,
    inside_missing,
    inside_parking,
    inside_sending,
    inside_timeline,
    inside_todevice,
    names,
)
from adapters.matrix.inside_origin import MARK
from adapters.matrix.inside_own import own_state
from adapters.matrix.inside_state import Inbound, Outbound, Parked, Queued, Tracked
from bridge.wire.values import Sealed
from crypto.olm.group import encrypted_event
from crypto.olm.identity import OwnIdentity, signing_keys, vouched_device
from tests.unit.late_world import bobs_device, keyless, look, parked, put_entry, session_of
from tests.unit.matrix_world import ALICE, BOB, CAROL, Machine, World, pair
from tests.unit.test_matrix_peers import trust, with_trust

JSON = dict[str, Any]
FAKE = OwnIdentity(ALICE, bytes([7] * 32), bytes([8] * 32), bytes([9] * 32))


# ---------------------------------------------------------------- devices in the user's own name
def given_keys(alice: Machine) -> set[str]:
    """Ids of the devices that have the key of the session in use."""
    out = alice.step.records.get(f"out/{BOB}", Outbound)
    assert out is not None
    return {share.device_id for share in (*out.shared, *out.pending)}


def show_fake_identity(world: World, *devices: str) -> None:
    """The homeserver shows an identity of its own making as Alice's, which vouches for these devices."""
    world.identities[ALICE] = cast(JSON, json.loads(json.dumps(signing_keys(FAKE))))
    for device in devices:
        keys = world.device_keys[ALICE][device]
        signed = cast(JSON, vouched_device(FAKE, keys)["signatures"])
        keys["signatures"][ALICE].update(signed[ALICE])
    world.changed(ALICE)
    world.settle()


def sends(world: World, alice: Machine, text: str) -> None:
    """One message, as far as it goes."""
    alice.sends(text)
    world.settle()


def test_a_device_in_the_users_name_gets_no_key_when_the_server_hides_the_users_identity() -> None:
    world, alice, _ = pair()
    sends(world, alice, "before")
    world.join(ALICE, "SPY", BOB, signed=False)
    world.held = {names.SIGNING_KEYS_UPLOAD}
    del world.identities[ALICE]
    world.changed(ALICE)
    world.settle()
    sends(world, alice, "secret")
    assert "SPY" not in given_keys(alice)


def test_a_device_in_the_users_name_gets_no_key_when_the_server_shows_another_identity() -> None:
    world, alice, _ = pair()
    sends(world, alice, "before")
    world.join(ALICE, "SPY", BOB, signed=False)
    show_fake_identity(world, "SPY")
    sends(world, alice, "secret")
    assert "SPY" not in given_keys(alice)


def test_nor_while_the_gateway_waits_for_something_else_and_it_is_not_answered_with_keys_either() -> None:
    world = World(failing={names.ACCOUNT_DATA_PUT: "rejected"})
    alice = world.join(ALICE, "ALICEDEV", BOB)
    bob = world.join(BOB, "BOBDEV", ALICE)
    world.tell_room()
    world.settle()
    bob.sends("from Bob")
    world.settle()
    assert alice.texts() == ["from Bob"]
    world.join(ALICE, "SPY", BOB, signed=False)
    show_fake_identity(world, "SPY")
    sends(world, alice, "secret")
    assert "SPY" not in given_keys(alice)
    before = len(world.sent(ALICE, names.SEND_TO_DEVICE))
    request = {
        "action": "request",
        "requesting_device_id": "SPY",
        "request_id": "r1",
        "body": {
            "algorithm": "m.megolm.v1.aes-sha2",
            "room_id": world.room_id,
            "session_id": session_of(world.timeline[0]),
        },
    }
    alice.arrives(names.TO_DEVICE, {"type": "m.room_key_request", "sender": ALICE, "content": request})
    world.settle()
    assert "key-forwarded" not in alice.step.codes()
    later = world.sent(ALICE, names.SEND_TO_DEVICE)[before:]
    assert not any(b"SPY" in cast(Sealed, carried.values["body"]).v for carried in later)


def test_an_identity_of_another_client_of_the_users_can_neither_be_hidden_nor_exchanged() -> None:
    world, alice, _ = unjoined()
    sends(world, alice, "before")
    assert given_keys(alice) == {"BOBDEV", "PHONE"}
    world.join(ALICE, "SPY", BOB, signed=False)
    world.failing = {names.SIGNING_KEYS_UPLOAD: "auth-required"}
    known = world.identities.pop(ALICE)
    world.changed(ALICE)
    world.settle()
    sends(world, alice, "secret")
    assert given_keys(alice) == {"BOBDEV"}
    show_fake_identity(world, "SPY")
    sends(world, alice, "secret")
    assert given_keys(alice) == {"BOBDEV"}
    world.identities[ALICE] = known
    world.changed(ALICE)
    world.settle()
    sends(world, alice, "after")
    assert given_keys(alice) == {"BOBDEV", "PHONE"}


def unjoined() -> tuple[World, Machine, Machine]:
    """Alice has a client with an identity; the gateway has not joined it."""
    world = World()
    phone = world.join(ALICE, "PHONE", BOB)
    alice = world.join(ALICE, "ALICEDEV", BOB, signed=False)
    world.join(BOB, "BOBDEV", ALICE)
    world.tell_room()
    world.settle()
    return world, alice, phone


# ---------------------------------------------------------------- keys that prove nobody
def test_nothing_stands_before_the_line_that_says_that_the_contact_may_not_have_written_it() -> None:
    """The server makes a session of its own, parks an event of it, and hands its key out from the backup."""
    world, alice, bob = keyless()
    alice.sends("pay 10", "mine")
    world.settle()
    group = GroupSession()
    put_entry(world, alice, InboundGroupSession(group.session_key), bobs_device(world))
    own = own_state(bob.step)
    assert own is not None
    quoting = {"msgtype": "m.text", "body": "> <@alice:one.example> pay 9999\n\nas you said"}
    content = json.loads(encrypted_event(group, own.device, world.room_id, "m.room.message", quoting))
    content["m.relates_to"] = {"m.in_reply_to": {"event_id": world.timeline[-1]["event_id"]}}
    forged = {"type": "m.room.encrypted", "sender": BOB, "event_id": "$forged", "content": content}
    alice.arrives(names.EVENT, {"room_id": world.room_id, "event": forged})
    look(world, alice, 3)
    (message,) = [found for found in alice.delivered() if found.id == "$forged"]
    assert message.body.startswith(MARK)
    assert message.reply is None or not message.reply.quoted


def test_what_cannot_carry_that_line_is_not_shown_and_the_user_is_told_that_there_was_something() -> None:
    world, alice, bob = keyless()
    group = GroupSession()
    put_entry(world, alice, InboundGroupSession(group.session_key), bobs_device(world))
    own = own_state(bob.step)
    assert own is not None
    content = json.loads(encrypted_event(group, own.device, world.room_id, "m.poll.start", {"body": "Lunch?"}))
    poll = {"type": "m.room.encrypted", "sender": BOB, "event_id": "$poll", "content": content}
    alice.arrives(names.EVENT, {"room_id": world.room_id, "event": poll})
    look(world, alice, 3)
    assert not [found for found in alice.delivered() if found.id == "$poll"]
    assert ("bob", names.TOLD_UNSUPPORTED) in alice.step.notices


# ---------------------------------------------------------------- what a start or a decision has to hold
def test_a_decision_of_the_operators_does_not_fail_for_what_was_parked_until_it() -> None:
    """Nor does a start under another policy. Of many sessions, no more is opened in one step than a frame can hold."""
    world, alice, bob = pair()
    world.encryption = {"algorithm": "m.megolm.v1.aes-sha2", "rotation_period_msgs": 1}
    world.tell_room()
    world.settle()
    with_trust(alice, "verified")
    texts = [f"{number} {'x' * 40_000}" for number in range(60)]
    for text in texts:
        bob.sends(text)
        world.settle()
    assert alice.texts() == []
    alice.step.deliveries.clear()
    assert trust(alice, "verify") == "ok"
    sizes = [sum(map(len, alice.texts()))]
    while alice.step.wakes.pop(inside_timeline.TIMER, None) is not None:
        before = sum(map(len, alice.texts()))
        alice.wakes(inside_timeline.TIMER)
        sizes.append(sum(map(len, alice.texts())) - before)
    assert alice.texts() == texts
    assert max(sizes) <= inside_timeline.OPENED_AT_ONCE + 80_000


def test_a_device_list_can_be_taken_whatever_waited_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that can never be taken would leave the contact's list unknown for good."""
    world, alice, _ = pair()
    sends(world, alice, "before")
    world.encryption = {"algorithm": "m.megolm.v1.aes-sha2", "rotation_period_msgs": 1}
    spy = world.join(BOB, "SPY", ALICE, signed=False)
    world.tell_room()
    world.settle()
    known = alice.step.records.get(f"user/{BOB}", Tracked)
    assert known is not None
    alice.step.records.put(f"user/{BOB}", replace(known, devices=known.devices[:1]))
    world.events_held = world.to_device_held = True
    for number in range(40):
        spy.sends(f"{number} {'x' * 40_000}")
        world.settle()
    for event in world.timeline:
        alice.arrives(names.EVENT, {"room_id": world.room_id, "event": event})
    world.flush_to_device()
    assert len(list(alice.step.records.names("unbound/"))) == 40
    sizes = rewritten(alice, monkeypatch)
    world.settle()
    while alice.step.wakes.pop(inside_timeline.TIMER, None) is not None:
        alice.wakes(inside_timeline.TIMER)
    assert parked(alice) == ["unsigned-device"] * 40
    assert max(sizes) <= inside_timeline.OPENED_AT_ONCE + 80_000


def rewritten(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Of each step from now on: octets of parked events and of messages that wait which it rewrote."""
    sizes: list[int] = []
    commit, records = machine.step.commit, machine.step.records

    def counted(act: Callable[[], None]) -> None:
        commit(act)
        held = [records.held.get(name) for name in records.written]
        events = sum(len(record.event) for record in held if isinstance(record, Parked))
        sizes.append(events + sum(len(record.body) for record in held if isinstance(record, Queued)))

    monkeypatch.setattr(machine.step, "commit", counted)
    return sizes


def test_what_a_server_gives_back_is_lined_up_again_in_steps_that_a_frame_can_hold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A start that has to do it in one would fail, and so would every one after it."""
    world, alice, bob = pair()
    sends(world, alice, "before")
    texts = [f"{number} {'x' * 30_000}" for number in range(60)]
    world.held = {names.ROOM_SEND}
    for text in texts[:30]:
        alice.sends(text)
    world.settle()
    alice.arrives(names.ROOM, world.room_state(BOB) | {"replaced": True})
    for text in texts[30:]:
        alice.sends(text)
    sizes = rewritten(alice, monkeypatch)
    world.failing, world.held = {names.ROOM_SEND: names.FORBIDDEN}, set()
    world.settle()
    world.failing, world.room_id = {}, "!Next:one.example"
    world.tell_room()
    for _ in range(20):
        world.settle()
        alice.step.now += 1_000
        alice.wakes(inside_sending.TIMER)
    assert bob.texts() == ["before", *texts]
    assert max(sizes) <= 2 * inside_sending.SENT_AT_ONCE


# ---------------------------------------------------------------- records without a bound
def test_sessions_that_no_backup_takes_are_not_noted_for_ever() -> None:
    """Anybody's homeserver can add a device that sends keys without end."""
    world, alice, _ = pair()
    key = InboundGroupSession(GroupSession().session_key)

    def received() -> None:
        for number in range(inside_forgotten.SESSIONS_MOST + 50):
            session_id = f"{number:043d}"
            alice.step.records.put(f"in/{BOB}/{session_id}", key)
            origin = Inbound(world.room_id, "curve", "ed", "SPY", alice.step.now + number)
            alice.step.records.put(f"in-of/{BOB}/{session_id}", origin)
            inside_backup_writing.received(alice.step, BOB, session_id)
        inside_timeline.key_arrived(alice.step, BOB, session_id)

    alice.step.commit(received)
    assert len(list(alice.step.records.names("backup-due/"))) <= inside_forgotten.SESSIONS_MOST


def test_what_many_parked_events_wait_for_is_noted_at_a_start_without_looking_at_all_of_it_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A start that takes minutes is taken for a process that hangs."""
    _, alice, _ = pair()
    for number in range(200):
        alice.step.records.put(f"parked/{BOB}/{number:043d}/{number:016d}", Parked("!r", number, "no-key", b"{}"))
    looked: list[str] = []
    names_of = alice.step.records.names

    def counted(prefix: str) -> Iterable[str]:
        looked.append(prefix)
        return names_of(prefix)

    monkeypatch.setattr(alice.step.records, "names", counted)
    alice.step.commit(lambda: inside_missing.started(alice.step))
    assert looked.count("missing/") == 1


def test_events_that_nobody_can_open_do_not_fill_the_state_of_the_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """They stay until their keys come, which is never: a full state takes nothing from anybody any more."""
    world = World(members={ALICE: "join", BOB: "join", CAROL: "join"})
    alice = world.join(ALICE, "ALICEDEV", BOB, CAROL)
    for contact in (BOB, CAROL):
        members = {ALICE: "join", contact: "join"}
        alice.arrives(names.ROOM, {**world.room_state(contact), "room_id": f"!{contact}", "members": members})
    monkeypatch.setattr(inside_parking, "MOST_PARKED_OCTETS", 1 << 20)
    own = own_state(alice.step)
    assert own is not None
    for number in range(40):
        sealed = encrypted_event(GroupSession(), own.device, "!r", "m.room.message", {"body": "x" * 40_000})
        sender = (BOB, CAROL)[number % 2]
        event = {"type": "m.room.encrypted", "sender": sender, "event_id": f"$junk{number}"}
        alice.arrives(names.EVENT, {"room_id": f"!{sender}", "event": event | {"content": json.loads(sealed)}})
    held = [alice.step.records.get(name, Parked) for name in alice.step.records.names("parked/")]
    assert 0 < sum(len(entry.event) for entry in held if entry is not None) <= 1 << 20
    assert "parked-overflow" in [code for _, stage, code in alice.step.traces if stage == "refused"]
    assert {("bob", names.TOLD_LEFT_OUT), ("carol", names.TOLD_LEFT_OUT)} <= set(alice.step.notices)


def test_devices_that_come_and_go_leave_nothing_behind_for_ever() -> None:
    """A homeserver can list as many as it likes, one after the other, and each may found a session."""
    world, alice, _ = pair()
    sends(world, alice, "before")
    for number in range(30):
        spy = world.join(BOB, f"SPY{number}", ALICE, signed=False)
        world.tell_room()
        spy.sends("hello")
        world.settle()
        world.leave(BOB, f"SPY{number}")
        world.settle()
    left = [name for prefix in ("olm/", "unclaimed/", "wedged/") for name in alice.step.records.names(prefix)]
    assert len(left) <= inside_todevice.MOST_STRANGERS + 2
