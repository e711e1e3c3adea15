"""What a gateway that was taken over, or a homeserver, tries at the Matrix inside half."""

from dataclasses import replace
from typing import cast

import pytest
from vodozemac import Account, GroupSession

from adapters.matrix import names
from adapters.matrix.inside_forgotten import SESSIONS_KEPT, SESSIONS_KEPT_MS
from adapters.matrix.inside_state import Forgotten, Inbound, OwnState, Parked
from crypto.olm.device import own_device, verified_one_time_key
from crypto.olm.group import ENCRYPTED, ROOM_KEY, room_key_content
from crypto.olm.pairwise import encrypted_for, outbound_session
from tests.unit.matrix_world import ALICE, BOB, Machine, pair
from tests.unit.test_matrix_receiving import event, sealed_by, shown, talking


@pytest.mark.parametrize("room_id", ["!a b:x", "!a\tb", "!\x7f", "!", "a", "!" + "x" * 300])
def test_a_room_whose_id_could_not_be_named_in_a_request_is_not_taken(room_id: str) -> None:
    world, alice, bob = pair()
    alice.arrives(names.ROOM, {**world.room_state(BOB), "room_id": room_id})
    assert "room-malformed" in alice.step.codes()
    alice.sends("still goes")
    world.settle()
    assert bob.texts() == ["still goes"]


@pytest.mark.parametrize("count", [10**30, -(10**30), 1 << 64])
def test_absurd_counts_of_keys_are_bounded(count: int) -> None:
    _world, alice, _ = pair()
    alice.arrives(names.KEYS, {"device_one_time_keys_count": {"signed_curve25519": count}})
    own = alice.step.records.get("own", OwnState)
    assert own is not None
    assert 0 <= own.count <= 1000


def stranger_event(alice: Machine, fallback: object, number: int) -> dict[str, object]:
    """An Olm message of a device of Bob's that nobody lists, founded with Alice's fallback key."""
    account = Account()
    device = own_device(account, BOB, f"STRANGER{number}")
    own = cast(OwnState, alice.step.records.get("own", OwnState)).device
    session = outbound_session(account, own, verified_one_time_key(own, fallback))
    return {"type": ENCRYPTED, "sender": BOB, "content": encrypted_for(session, device, own, "m.dummy", {})}


def sessions(machine: Machine) -> int:
    """How many Olm sessions it keeps."""
    return len(list(machine.step.records.names("olm-session/")))


def test_devices_that_nobody_lists_do_not_fill_the_state_with_sessions() -> None:
    world, alice, _ = pair()
    before = sessions(alice)
    for number in range(150):
        alice.arrives(names.TO_DEVICE, stranger_event(alice, world.fallback[ALICE, "ALICEDEV"], number))
        if number % 10 == 0:
            world.settle()
    assert sessions(alice) <= before + 40


def test_more_than_may_wait_for_a_list_keeps_no_session() -> None:
    world, alice, _ = pair()
    world.held = {names.KEYS_QUERY}
    before = sessions(alice)
    for number in range(130):
        alice.arrives(names.TO_DEVICE, stranger_event(alice, world.fallback[ALICE, "ALICEDEV"], number))
    assert alice.step.codes().count("unbound-overflow") == 30
    assert sessions(alice) <= before + 100


def reshared(alice: Machine, bob: Machine, key: dict[str, object]) -> None:
    """Bob's device gives a room key once more, as a replayed handshake would."""
    bob_own = cast(OwnState, bob.step.records.get("own", OwnState)).device
    alice_own = cast(OwnState, alice.step.records.get("own", OwnState)).device
    account = cast(Account, alice.step.records.get("account", Account))
    account.generate_one_time_keys(1)
    one_time = next(iter(account.one_time_keys.values()))
    founder = cast(Account, bob.step.records.get("account", Account))
    session = founder.create_outbound_session(account.curve25519_key, one_time)
    content = encrypted_for(session, bob_own, alice_own, ROOM_KEY, key)
    alice.arrives(names.TO_DEVICE, {"type": ENCRYPTED, "sender": BOB, "content": content})


def test_messages_of_a_session_that_was_forgotten_stay_closed_when_its_key_is_replayed() -> None:
    world, alice, bob = talking()
    first = GroupSession()
    key = room_key_content(first, world.room_id)
    reshared(alice, bob, key)
    bob.step.records.put(f"out-session/{ALICE}", first)
    old = event(BOB, sealed_by(bob, ALICE, "m.room.message", {"msgtype": "m.text", "body": "pay"}), "$old")
    shown(world, alice, old)
    assert alice.texts() == ["hello", "pay"]
    alice.step.now += 2 * SESSIONS_KEPT_MS
    for _ in range(SESSIONS_KEPT + 1):
        reshared(alice, bob, room_key_content(GroupSession(), world.room_id))
    assert alice.step.records.get(f"in-of/{BOB}/{first.session_id}", Inbound) is None
    assert alice.step.records.get(f"forgotten/{BOB}", Forgotten) is not None
    reshared(alice, bob, key)
    shown(world, alice, {**old, "event_id": "$new"})
    shown(world, alice, old)
    assert alice.texts() == ["hello", "pay"]
    assert "event-replayed" in alice.step.codes()
    later = event(BOB, sealed_by(bob, ALICE, "m.room.message", {"msgtype": "m.text", "body": "later"}), "$later")
    shown(world, alice, later)
    assert alice.texts() == ["hello", "pay", "later"]


def test_a_long_line_is_sent_in_several_steps_and_in_order() -> None:
    world, alice, bob = pair()
    world.held = {names.KEYS_CLAIM}
    texts = [f"{n:03d} ".ljust(40_000, "x") for n in range(60)]
    for text in texts:
        alice.sends(text)
    world.settle()
    world.held = set()
    most = 0
    while True:
        world.settle()
        if "line" not in alice.step.wakes:
            break
        del alice.step.wakes["line"]
        alice.wakes("line")
        most = max(most, sum(one.request == names.ROOM_SEND for one in alice.step.carries))
    assert bob.texts() == texts
    assert 0 < most < 20
    assert not list(alice.step.records.names("queue/"))


def test_many_parked_events_are_opened_in_several_steps_and_in_order() -> None:
    world, alice, bob = pair()
    world.to_device_held = True
    texts = [f"{n:03d} ".ljust(40_000, "x") for n in range(60)]
    for text in texts:
        bob.sends(text)
    world.settle()
    while bob.step.wakes.pop("line", None) is not None:
        bob.wakes("line")
        world.settle()
    assert len(list(alice.step.records.names("parked/"))) == 60
    world.to_device_held = False
    world.flush_to_device()
    world.settle()
    opened = [len(alice.texts())]
    while alice.step.wakes.pop("parked", None) is not None:
        alice.wakes("parked")
        opened.append(len(alice.texts()) - sum(opened))
    assert alice.texts() == texts
    assert max(opened) < 40
    assert not list(alice.step.records.names("parked/"))
    assert not list(alice.step.records.names("opening/"))


def test_an_event_larger_than_any_server_would_hand_on_is_not_parked() -> None:
    world, alice, bob = talking()
    content = sealed_by(bob, ALICE, "m.room.message", {"msgtype": "m.text", "body": "x"})
    content["session_id"] = GroupSession().session_id
    made = event(BOB, content)
    shown(world, alice, {**made, "unsigned": "x" * 200_000})
    assert "event-too-large" in alice.step.codes()
    assert not [name for name in alice.step.records.held if isinstance(alice.step.records.held[name], Parked)]


def test_sending_keys_towards_a_contact_that_is_off_the_map_are_retired_too() -> None:
    world, alice, _ = pair()
    alice.sends("one")
    world.settle()
    mapped = alice.step.account
    alice.step.account = replace(mapped, contacts=())
    alice.starts(resumed=True)
    alice.starts(resumed=False)
    alice.step.account = mapped
    alice.starts(resumed=True)
    assert alice.step.records.get(f"out-session/{BOB}", GroupSession) is None
