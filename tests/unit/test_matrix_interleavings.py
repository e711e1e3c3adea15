"""What happens between two answers: lists that come late, contacts that leave the map, decisions that let much pass."""

import json
from contextlib import nullcontext
from dataclasses import replace
from typing import cast

import msgspec
import pytest
from vodozemac import GroupSession, InboundGroupSession

from adapters.matrix import (
    inside_devices,
    inside_forgotten,
    inside_olm,
    inside_parking,
    inside_rooms,
    inside_timeline,
    inside_todevice,
    inside_vouching,
    names,
)
from adapters.matrix.inside_own import own_state
from adapters.matrix.inside_state import Inbound, Line, Mark, Parked, Queued, Room, Seen, Tracked
from bridge.wire.values import Address, Opaque
from crypto.message import Kind
from crypto.olm.errors import Malformed
from crypto.olm.group import encrypted_event, received_room_key, room_key_content
from crypto.olm.pairwise import encrypted_for
from tests.unit.fake_step import Carried
from tests.unit.late_world import parked
from tests.unit.matrix_world import ALICE, BOB, CAROL, Machine, World, pair
from tests.unit.test_matrix_peers import trust, with_trust

HOUR_MS = 3_600_000


def forgets_devices(alice: Machine, *kept: str) -> None:
    """Alice knows Bob's list as it was when he had these devices only."""
    known = cast(Tracked, alice.step.records.get(f"user/{BOB}", Tracked))
    devices = tuple(device for device in known.devices if device.device_id in kept)
    alice.step.records.put(f"user/{BOB}", replace(known, devices=devices, vouched=kept))


def from_a_new_device(text: str) -> tuple[World, Machine]:
    """Bob's new device wrote: its key and its event are on their way to Alice, who does not know the device yet."""
    world, alice, _ = pair()
    alice.sends("before")
    world.settle()
    tablet = world.join(BOB, "TABLET", ALICE)
    world.tell_room()
    world.to_device_held = world.events_held = True
    tablet.sends(text)
    world.settle()
    world.to_device_held = world.events_held = False
    forgets_devices(alice, "BOBDEV")
    return world, alice


# ---------------------------------------------------------------- keys that wait for a list
def test_a_key_waits_on_when_the_list_could_not_be_told() -> None:
    """The server of the contact may be out of reach for a while: its key would be lost, and with it what it opens."""
    world, alice = from_a_new_device("hello")
    world.held = {names.KEYS_QUERY}
    world.flush_to_device()
    world.settle()
    (query,) = [carried for machine, carried in world.waiting if machine is alice]
    world.waiting.clear()
    alice.answered(query, {"failures": {"two.example": {}}})
    world.held = set()
    alice.step.now += 5_000
    alice.wakes(inside_devices.TIMER)
    world.settle()
    world.show(world.timeline[-1])
    assert alice.texts() == ["hello"]


def test_a_key_waits_on_for_the_list_that_is_asked_for_because_of_it() -> None:
    """A list that was asked for before the device was there comes first, and does not have it."""
    world, alice = from_a_new_device("hello")
    world.held = {names.KEYS_QUERY}
    listed = {device: keys for device, keys in world.device_keys[BOB].items() if device == "BOBDEV"}
    alice.arrives(names.KEYS, {"device_lists": {"changed": [BOB]}, **world.stock(alice)})
    world.flush_to_device()
    world.settle()
    (query,) = [carried for machine, carried in world.waiting if machine is alice]
    world.waiting.clear()
    keys = {f"{name}s": {BOB: key} for name, key in world.identities[BOB].items() if name != "user_signing_key"}
    alice.answered(query, {"device_keys": {BOB: listed}, "failures": {}, **keys})
    world.held = set()
    world.settle()
    world.show(world.timeline[-1])
    assert alice.texts() == ["hello"]


# ---------------------------------------------------------------- contacts that leave the map
def test_a_contact_that_was_off_the_map_when_its_room_came_is_written_to_when_it_is_back() -> None:
    world = World()
    alice = world.join(ALICE, "ALICEDEV", BOB)
    bob = world.join(BOB, "BOBDEV", ALICE)
    world.held = {names.ROOM_OBTAIN}
    alice.sends("first", "m1")
    world.settle()
    account = alice.step.account
    alice.step.account = replace(account, contacts=())
    alice.starts(resumed=True)
    world.held = set()
    world.settle()
    alice.step.account = account
    alice.starts(resumed=True)
    bob.arrives(names.ROOM, world.room_state(ALICE))
    alice.sends("second", "m2")
    world.settle()
    assert cast(Room, alice.step.records.get(f"room/{BOB}", Room)).obtaining is None
    assert bob.texts() == ["second"]
    assert alice.step.done == [("bob", "m2")]


# ---------------------------------------------------------------- what was held, and may pass
@pytest.mark.parametrize("size", [0, 40_000])
def test_what_was_held_comes_in_the_order_in_which_it_was_written(size: int) -> None:
    """Also when each message has a session of its own, and when not all can be opened in one step."""
    world, alice, bob = pair()
    world.encryption = {"algorithm": "m.megolm.v1.aes-sha2", "rotation_period_msgs": 1}
    world.tell_room()
    world.settle()
    with_trust(alice, "verified")
    texts = [f"text {number}{'x' * size}" for number in range(40)]
    for text in texts:
        bob.sends(text)
        world.settle()
    assert alice.texts() == []
    assert trust(alice, "verify") == "ok"
    assert (alice.texts() == texts) is not bool(size)
    while alice.step.wakes.pop(inside_timeline.TIMER, None) is not None:
        alice.wakes(inside_timeline.TIMER)
    assert alice.texts() == texts
    assert parked(alice) == []
    assert not list(alice.step.records.names("reopening/"))


def test_the_key_of_what_is_held_is_not_forgotten_for_newer_ones() -> None:
    """Nobody would send it again; what came from a backup would prove nothing."""
    world, alice, bob = pair()
    with_trust(alice, "verified")
    bob.sends("held")
    world.settle()
    assert parked(alice) == ["identity-not-verified"]
    held = alice.step.records.names(f"in-of/{BOB}/")
    (session_id,) = [name.removeprefix(f"in-of/{BOB}/") for name in held]
    key = alice.step.records.get(f"in/{BOB}/{session_id}", InboundGroupSession)
    alice.step.now += inside_forgotten.SESSIONS_KEPT_MS + HOUR_MS
    for number in range(inside_forgotten.SESSIONS_KEPT + 1):
        alice.step.records.put(f"in/{BOB}/{number:043d}", key)
        origin = Inbound(world.room_id, "curve", "ed", "BOBDEV", alice.step.now + number)
        alice.step.records.put(f"in-of/{BOB}/{number:043d}", origin)
    alice.step.commit(lambda: inside_timeline.key_arrived(alice.step, BOB, f"{1:043d}"))
    assert trust(alice, "verify") == "ok"
    assert alice.texts() == ["held"]


# ---------------------------------------------------------------- sessions that are forgotten
def session(alice: Machine, session_id: str, origin: Inbound) -> None:
    """A session of Bob's of which one message was opened."""
    alice.step.now += 1
    alice.step.records.put(f"in/{BOB}/{session_id}", InboundGroupSession(GroupSession().session_key))
    alice.step.records.put(f"in-of/{BOB}/{session_id}", replace(origin, received_ms=alice.step.now))
    alice.step.records.put(f"seen/{BOB}/{session_id}/0", Seen((Mark(7, b"digest"),)))
    alice.step.commit(lambda: inside_forgotten.forget_oldest(alice.step, BOB))


GENUINE, OF_A_BACKUP = Inbound("!r", "c", "e", "BOBDEV", 0), Inbound("!r", "c", "e", "", 0, source="backup")
OF_A_SPY = Inbound("!r", "c", "e", "SPY", 0)


@pytest.mark.parametrize("made_up", [OF_A_BACKUP, OF_A_SPY])
def test_sessions_that_a_server_makes_up_push_out_no_session_of_the_contacts_device(
    made_up: Inbound, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inside_forgotten, "SESSIONS_KEPT", 2)
    monkeypatch.setattr(inside_forgotten, "SESSIONS_MOST", 4)
    world, alice, _ = pair()
    alice.sends("before")
    world.settle()
    session(alice, "g" * 43, GENUINE)
    for number in range(20):
        session(alice, f"{number:043d}", made_up)
    assert alice.step.records.get(f"in-of/{BOB}/{'g' * 43}", Inbound) is not None
    assert len(list(alice.step.records.names("in-of/"))) == 5


def test_what_was_read_of_a_forgotten_session_is_remembered_whatever_a_server_makes_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else an old handshake, or an entry of the backup, would open it a second time."""
    monkeypatch.setattr(inside_forgotten, "SESSIONS_KEPT", 1)
    monkeypatch.setattr(inside_forgotten, "SESSIONS_MOST", 1)
    monkeypatch.setattr(inside_forgotten, "MOST_FORGOTTEN", 5)
    _, alice, _ = pair()
    session(alice, "g" * 43, GENUINE)
    session(alice, "h" * 43, GENUINE)
    for number in range(20):
        session(alice, f"{number:043d}", OF_A_BACKUP)
    assert alice.step.records.get(f"in-of/{BOB}/{'g' * 43}", Inbound) is None
    assert inside_forgotten.floor_of(alice.step, BOB, "g" * 43) == 8
    assert inside_forgotten.floor_of(alice.step, BOB, f"{18:043d}") == 8
    assert inside_forgotten.floor_of(alice.step, BOB, f"{1:043d}") == 0


# ---------------------------------------------------------------- what waits for a key that never comes
def junk(alice: Machine, sender: str, number: int, size: int = 40_000) -> None:
    """An event that nobody has a key for."""
    own = own_state(alice.step)
    assert own is not None
    sealed = encrypted_event(GroupSession(), own.device, "!r", "m.room.message", {"body": "x" * size})
    event = {"type": "m.room.encrypted", "sender": sender, "event_id": f"$junk{number}", "content": json.loads(sealed)}
    alice.arrives(names.EVENT, {"room_id": f"!{sender}", "event": event})


def waiting_of(alice: Machine, sender: str) -> list[str]:
    """Ids of the sender's events that are parked, in order."""
    held = [
        cast(Parked, alice.step.records.get(name, Parked)) for name in alice.step.records.names(f"parked/{sender}/")
    ]
    return [json.loads(one.event)["event_id"] for one in sorted(held, key=lambda one: one.position)]


def with_two() -> Machine:
    """Alice, with a room with Bob and one with Carol."""
    world = World()
    alice = world.join(ALICE, "ALICEDEV", BOB, CAROL)
    for contact in (BOB, CAROL):
        members = {ALICE: "join", contact: "join"}
        alice.arrives(names.ROOM, {**world.room_state(contact), "room_id": f"!{contact}", "members": members})
    return alice


def test_what_one_contact_sends_without_keys_takes_no_room_from_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inside_parking, "MOST_PARKED_OCTETS", 1 << 20)
    monkeypatch.setattr(inside_parking, "MOST_PARKED_OCTETS_OF_ONE", 1 << 19)
    alice = with_two()
    for number in range(40):
        junk(alice, BOB, number)
    junk(alice, CAROL, 40)
    assert waiting_of(alice, CAROL) == ["$junk40"]
    assert ("carol", names.TOLD_LEFT_OUT) not in alice.step.notices


def test_the_oldest_that_has_no_key_makes_room_for_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its key is not likely to come any more; that of the newest is on its way. The user is told."""
    monkeypatch.setattr(inside_parking, "MOST_PARKED", 3)
    alice = with_two()
    for number in range(5):
        junk(alice, BOB, number, 10)
    assert waiting_of(alice, BOB) == ["$junk2", "$junk3", "$junk4"]
    assert [trace[1:] for trace in alice.step.traces if trace[1] == "refused"] == [("refused", "parked-overflow")] * 2
    assert alice.step.traces[-2][0] < alice.step.position
    assert ("bob", names.TOLD_LEFT_OUT) in alice.step.notices


def test_what_has_its_key_and_waits_for_a_decision_makes_room_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inside_parking, "MOST_PARKED", 2)
    world, alice, bob = pair()
    with_trust(alice, "verified")
    for text in ("one", "two", "three"):
        bob.sends(text)
        world.settle()
    assert trust(alice, "verify") == "ok"
    assert alice.texts() == ["one", "two"]


def test_that_a_message_cannot_be_read_is_told() -> None:
    """It is authentic and opens, but its content is none: somebody said something."""
    world, alice, bob = pair()
    bob.sends("hello")
    world.settle()
    group = bob.step.records.get(f"out-session/{ALICE}", GroupSession)
    own = own_state(bob.step)
    assert group is not None
    assert own is not None
    content = json.loads(encrypted_event(group, own.device, world.room_id, "m.room.message", {"msgtype": "m.text"}))
    event = {"type": "m.room.encrypted", "sender": BOB, "event_id": "$odd", "content": content}
    alice.arrives(names.EVENT, {"room_id": world.room_id, "event": event})
    assert alice.step.traces[-1][1:] == ("refused", "malformed")
    assert ("bob", names.TOLD_UNSUPPORTED) in alice.step.notices


# ---------------------------------------------------------------- the account's own secrets
def test_secrets_that_are_stored_again_after_a_failure_are_stored_under_the_same_key() -> None:
    """The first try may have named its key as the default one: others would look for the secrets under that."""
    world = World()
    world.held = {names.ACCOUNT_DATA_PUT}
    alice = world.join(ALICE, "ALICEDEV", BOB)
    puts, world.waiting = world.waiting, []
    for machine, carried in puts:
        if cast(Opaque, carried.values["type"]).v == "m.cross_signing.self_signing":
            machine.answered(carried, b"", "rejected")
        else:
            world.carry_out(machine, carried)
    world.held = set()
    alice.step.now += HOUR_MS
    alice.wakes("identity")
    world.settle()
    default = world.account_data[ALICE, "m.secret_storage.default_key"]["key"]
    for name in ("master", "self_signing", "user_signing"):
        assert default in world.account_data[ALICE, f"m.cross_signing.{name}"]["encrypted"]


def test_a_contact_that_was_off_the_map_when_the_signature_was_taken_is_vouched_for_when_it_is_back() -> None:
    world, alice, bob = pair()
    alice.sends("hello")
    world.settle()
    world.failing = {names.SIGNATURES_UPLOAD: "rejected"}
    world.held = {names.SIGNATURES_UPLOAD}
    assert trust(alice, "verify") == "ok"
    world.settle()
    account = alice.step.account
    alice.step.account = replace(account, contacts=())
    alice.starts(resumed=True)
    world.held = set()
    world.settle()
    world.failing = {}
    alice.step.account = account
    alice.starts(resumed=True)
    alice.step.now += HOUR_MS
    alice.wakes(inside_vouching.RETRY)
    world.settle()
    assert "identity-vouched" in alice.step.codes()
    del bob


# ---------------------------------------------------------------- one timer for all contacts
def test_a_list_that_is_asked_for_rarely_holds_up_no_other() -> None:
    """A server that is gone for hours is asked every ten minutes: the contact's on another need not wait for that."""
    alice = with_two()
    for contact in (BOB, CAROL):
        alice.step.records.put(f"user/{contact}", Tracked())
    now, asked = alice.step.now, {}
    for contact, tries in ((BOB, 0), (CAROL, 4)):
        alice.step.records.put(f"user/{contact}", Tracked(query=contact[1:4], tries=tries))
        asked[contact] = Carried(names.KEYS_QUERY, {}, "query", contact[1:4], None)
        alice.answered(asked[contact], {"failures": {"two.example": {}}})
    assert alice.step.wakes[inside_devices.TIMER] == now + 5_000
    alice.step.now += 5_000
    alice.step.take()
    alice.wakes(inside_devices.TIMER)
    assert [cast(Address, carried.values["user"]).v for carried in alice.step.take()] == [BOB]
    assert alice.step.wakes[inside_devices.TIMER] == now + 600_000


def test_a_contact_that_is_waited_for_longer_holds_up_no_other() -> None:
    world = World()
    alice = world.join(ALICE, "ALICEDEV", BOB, CAROL)
    rooms = {contact: {**world.room_state(contact), "room_id": f"!{contact}"} for contact in (BOB, CAROL)}
    for contact, room in rooms.items():
        alice.arrives(names.ROOM, {**room, "members": {ALICE: "join", contact: "invite"}})
        queue = Queued("m", Kind.TEXT, 1, False, "text")
        alice.step.records.put(f"queue/{contact}/{0:016d}", queue)
        alice.step.records.put(f"line/{contact}", Line(0, 1, contact))
    world.settle()
    alice.arrives(names.ROOM, {**rooms[BOB], "members": {ALICE: "join", BOB: "join"}})
    alice.arrives(names.ROOM, {**rooms[CAROL], "members": {ALICE: "join", CAROL: "join"}, "replaced": True})
    assert alice.step.wakes["line"] == alice.step.now + inside_rooms.JOIN_PAUSE_MS
    alice.step.now += inside_rooms.JOIN_PAUSE_MS - 1  # somebody's clock is fast
    del alice.step.wakes["line"]
    alice.wakes("line")
    assert alice.step.wakes["line"] == alice.step.now + 1


# ---------------------------------------------------------------- sizes
@pytest.mark.parametrize("size", [255, 256, 50_000])
def test_the_key_of_a_room_that_no_room_can_be_called_is_not_kept(size: int) -> None:
    """A contact's device may send five hundred keys: each stands in the account's state."""
    session = GroupSession()
    content = msgspec.json.encode(room_key_content(session, "!" + "x" * (size - 1)))
    with nullcontext() if size == 255 else pytest.raises(Malformed):
        received_room_key(content)


def test_what_waits_for_a_list_is_bounded_with_its_kind() -> None:
    world, alice, bob = pair()
    alice.sends("before")
    world.settle()
    forgets_devices(alice)
    world.held = {names.KEYS_QUERY}
    own, target = own_state(bob.step), own_state(alice.step)
    assert own is not None
    assert target is not None
    for size, kept in ((10, 1), (inside_todevice.MOST_OCTETS, 1)):
        olm = inside_olm.sending_session(bob.step, target.device.curve25519)
        if olm is None:
            bob.step.commit(lambda: inside_olm.claim(bob.step, [target.device]))
            world.settle()
            olm = inside_olm.sending_session(bob.step, target.device.curve25519)
        assert olm is not None
        sealed = encrypted_for(olm, own.device, target.device, "k" * size, {})
        alice.arrives(names.TO_DEVICE, {"type": "m.room.encrypted", "sender": BOB, "content": sealed})
        assert len(list(alice.step.records.names("unbound/"))) == kept
