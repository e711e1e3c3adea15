"""Keys: our own in supply, those of others only when signed, sessions that break and are founded anew."""

import copy
import json
from typing import Any, cast

import pytest
from vodozemac import Account

from adapters.matrix import names
from adapters.matrix.inside_state import HOUR_MS, Olm, OwnState
from bridge.wire.values import Public
from crypto.olm.canonical import signed_part
from tests.unit.matrix_world import ALICE, BOB, CAROL, JSON, Machine, World, pair


def uploads(world: World, user: str) -> list[JSON]:
    """Bodies of the user's uploads."""
    return [json.loads(cast(Public, c.values["body"]).v) for c in world.sent(user, names.KEYS_UPLOAD)]


def told(machine: Machine, **body: Any) -> None:
    """A `keys` arrival."""
    machine.arrives(names.KEYS, body)


def test_the_first_upload_has_the_device_fifty_keys_and_a_fallback() -> None:
    world = World()
    world.join(ALICE, "A", BOB)
    (body,) = uploads(world, ALICE)
    assert body["device_keys"]["algorithms"] == ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"]
    assert len(body["one_time_keys"]) == 50
    assert [key["fallback"] for key in body["fallback_keys"].values()] == [True]


@pytest.mark.parametrize(
    "counts", [{"device_one_time_keys_count": {"signed_curve25519": 0}}, {"device_one_time_keys_count": {}}, {}]
)
def test_keys_are_refilled_at_zero_and_when_the_count_is_missing(counts: JSON) -> None:
    world = World()
    alice = world.join(ALICE, "A", BOB)
    alice.step.now += HOUR_MS
    told(alice, **counts)
    world.settle()
    assert [len(body["one_time_keys"]) for body in uploads(world, ALICE)] == [50, 50]
    assert "device_keys" not in uploads(world, ALICE)[1]


def test_a_supply_above_the_threshold_is_left_alone() -> None:
    world = World()
    alice = world.join(ALICE, "A", BOB)
    alice.step.now += HOUR_MS
    told(alice, device_one_time_keys_count={"signed_curve25519": 25})
    world.settle()
    assert len(uploads(world, ALICE)) == 1
    told(alice, device_one_time_keys_count={"signed_curve25519": 24})
    world.settle()
    assert len(uploads(world, ALICE)[1]["one_time_keys"]) == 26


def test_repeated_claims_of_an_empty_supply_cannot_make_us_flood_the_server() -> None:
    world = World()
    alice = world.join(ALICE, "A", BOB)
    for _ in range(20):
        told(alice, device_one_time_keys_count={})
        world.settle()
    assert len(uploads(world, ALICE)) == 1
    alice.step.now = alice.step.wakes["keys"]
    alice.wakes("keys")
    world.settle()
    assert len(uploads(world, ALICE)) == 2


def test_a_used_fallback_key_is_replaced_and_at_most_once_in_an_hour() -> None:
    world = World()
    alice = world.join(ALICE, "A", BOB)
    for _ in range(3):
        alice.step.now += HOUR_MS // 2
        told(alice, device_one_time_keys_count={"signed_curve25519": 50}, device_unused_fallback_key_types=[])
        world.settle()
    assert sum("fallback_keys" in body for body in uploads(world, ALICE)) == 2


def test_a_server_without_fallback_keys_is_not_given_new_ones() -> None:
    world = World()
    alice = world.join(ALICE, "A", BOB)
    alice.step.now += 2 * HOUR_MS
    told(alice, device_one_time_keys_count={"signed_curve25519": 50})
    world.settle()
    assert len(uploads(world, ALICE)) == 1


def test_an_upload_that_failed_is_tried_again_with_fresh_keys() -> None:
    world = World(failing={names.KEYS_UPLOAD: "rejected"})
    alice = world.join(ALICE, "A", BOB)
    world.failing = {}
    alice.wakes("keys")
    world.settle()
    first, second = uploads(world, ALICE)
    assert "device_keys" in second
    assert not first["one_time_keys"].keys() & second["one_time_keys"].keys()
    assert cast(OwnState, alice.step.records.get("own", OwnState)).published


def test_another_device_id_makes_another_device() -> None:
    world, alice, bob = pair()
    alice.sends("one")
    world.settle()
    before = cast(OwnState, alice.step.records.get("own", OwnState)).device
    world.machines[ALICE, "NEW"] = world.machines.pop((ALICE, "ALICEDEV"))
    alice.device = "NEW"
    alice.arrives(names.DEVICE, {"user_id": ALICE, "device_id": "NEW"})
    world.settle()
    after = cast(OwnState, alice.step.records.get("own", OwnState)).device
    assert {before.ed25519, before.curve25519}.isdisjoint({after.ed25519, after.curve25519})
    alice.sends("two")
    world.settle()
    assert bob.texts() == ["one", "two"]


def test_a_device_that_the_server_forgot_publishes_the_same_keys_with_new_one_time_keys() -> None:
    world = World()
    alice = world.join(ALICE, "A", BOB)
    world.settle()
    alice.arrives(names.DEVICE, {"user_id": ALICE, "device_id": "A", "forgotten": True})
    world.settle()
    first, again = uploads(world, ALICE)
    assert again["device_keys"]["keys"] == first["device_keys"]["keys"]
    assert len(again["one_time_keys"]) == 50
    assert not set(again["one_time_keys"]) & set(first["one_time_keys"])
    assert len(again["fallback_keys"]) == 1
    alice.arrives(names.DEVICE, {"user_id": ALICE, "device_id": "A"})
    assert len(uploads(world, ALICE)) == 2


def test_a_log_in_as_somebody_else_is_not_believed() -> None:
    world = World()
    alice = world.join(ALICE, "A", BOB)
    alice.arrives(names.DEVICE, {"user_id": CAROL, "device_id": "X"})
    assert "device-foreign" in alice.step.codes()
    assert cast(OwnState, alice.step.records.get("own", OwnState)).device.device_id == "A"


# ---------------------------------------------------------------- devices of others
def tampered(world: World, change: str) -> None:
    """Change what the server tells of Bob's device."""
    keys = world.device_keys[BOB]["BOBDEV"]
    other = world.device_keys[ALICE]["ALICEDEV"]
    if change == "key":
        keys["keys"]["curve25519:BOBDEV"] = other["keys"]["curve25519:ALICEDEV"]
    elif change == "no signature":
        keys["signatures"] = {}
    elif change == "signature of another":
        keys["signatures"][BOB]["ed25519:BOBDEV"] = other["signatures"][ALICE]["ed25519:ALICEDEV"]
    elif change == "another user's":
        world.device_keys[BOB]["BOBDEV"] = other
    elif change == "no algorithms":
        keys["algorithms"] = []
    elif change == "no object":
        world.device_keys[BOB]["BOBDEV"] = cast(JSON, ["x"])


@pytest.mark.parametrize(
    "change", ["key", "no signature", "signature of another", "another user's", "no algorithms", "no object"]
)
def test_a_device_that_is_not_signed_by_itself_is_given_nothing(change: str) -> None:
    world, alice, _ = pair()
    tampered(world, change)
    alice.sends("secret", "m")
    world.settle()
    assert alice.step.failures == [("bob", "m", "no-devices")]
    assert not world.sent(ALICE, names.SEND_TO_DEVICE)


def test_a_known_device_that_changes_its_keys_keeps_the_old_ones() -> None:
    world, alice, _ = pair()
    alice.sends("one")
    world.settle()
    other = World()
    other.join(BOB, "BOBDEV", ALICE)
    world.device_keys[BOB]["BOBDEV"] = other.device_keys[BOB]["BOBDEV"]
    before = len(world.sent(ALICE, names.SEND_TO_DEVICE))
    world.changed(BOB)
    alice.sends("two")
    world.settle()
    assert "device-keys-changed" in alice.step.codes()
    assert len(world.sent(ALICE, names.SEND_TO_DEVICE)) == before


def test_a_second_device_with_the_same_identity_key_is_left_out() -> None:
    world, alice, bob = pair()
    thief = World().join(BOB, "THIEF", ALICE)
    own = cast(OwnState, bob.step.records.get("own", OwnState))
    keys = copy.deepcopy(world.device_keys[BOB]["BOBDEV"])
    assert own.device.curve25519 == keys["keys"]["curve25519:BOBDEV"]

    account = cast(Account, thief.step.records.get("account", Account))
    claimed: JSON = {
        "user_id": BOB,
        "device_id": "THIEF",
        "algorithms": keys["algorithms"],
        "keys": {
            "curve25519:THIEF": own.device.curve25519,
            "ed25519:THIEF": account.ed25519_key.to_base64(),
        },
    }
    claimed["signatures"] = {BOB: {"ed25519:THIEF": account.sign(signed_part(claimed)).to_base64()}}
    world.device_keys[BOB]["THIEF"] = claimed
    alice.sends("text")
    world.settle()
    assert "device-keys-shared" in alice.step.codes()
    assert bob.texts() == ["text"]


@pytest.mark.parametrize("change", ["key", "signature", "missing", "unsigned algorithm", "no string"])
def test_a_one_time_key_that_the_device_did_not_sign_founds_no_session(change: str) -> None:
    world, alice, _ = pair()
    for name, key in list(world.one_time[BOB, "BOBDEV"].items()):
        if change == "key":
            key["key"] = "A" * 43
        elif change == "signature":
            key["signatures"] = {BOB: {"ed25519:BOBDEV": "A" * 86}}
        elif change == "unsigned algorithm":
            world.one_time[BOB, "BOBDEV"]["curve25519:" + name] = world.one_time[BOB, "BOBDEV"].pop(name)
        elif change == "no string":
            key["key"] = cast(str, 7)
    if change == "missing":
        world.one_time[BOB, "BOBDEV"].clear()
        world.fallback.clear()
    alice.sends("text", "m")
    world.settle()
    assert alice.step.failures == [("bob", "m", "no-sessions")]


def test_a_device_without_keys_does_not_hold_the_others_up_and_is_asked_again_later() -> None:
    world, alice, bob = pair()
    second = world.join(BOB, "BOB2", ALICE)
    second.arrives(names.ROOM, world.room_state(ALICE))
    stock = dict(world.one_time[BOB, "BOB2"])
    world.one_time[BOB, "BOB2"].clear()
    world.fallback[BOB, "BOB2"] = {}
    alice.sends("one")
    world.settle()
    assert bob.texts() == ["one"]
    world.one_time[BOB, "BOB2"].update(stock)
    alice.step.now += HOUR_MS
    alice.sends("two")
    world.settle()
    assert second.texts() == ["two"]


def test_a_fallback_key_serves_when_all_others_are_used() -> None:
    world, alice, bob = pair()
    world.one_time[BOB, "BOBDEV"].clear()
    alice.sends("text")
    world.settle()
    assert bob.texts() == ["text"]


# ---------------------------------------------------------------- sessions
def test_a_broken_session_is_replaced_once_in_an_hour() -> None:
    world, alice, bob = pair()
    alice.sends("one")
    world.settle()
    for name in [name for name in bob.step.records.held if name.startswith(("olm/", "olm-session/"))]:
        bob.step.records.delete(name)
    bob_claims = len(world.sent(BOB, names.KEYS_CLAIM))
    for _ in range(2):
        alice.half._reconsider(alice.step, BOB)
        alice.step.records.delete(f"out/{BOB}")
        alice.sends("lost key")
        world.settle()
    assert "to-device-undecryptable" in bob.step.codes()
    assert len(world.sent(BOB, names.KEYS_CLAIM)) == bob_claims + 1
    assert "unwedged" in bob.step.codes()
    alice.step.records.delete(f"out/{BOB}")
    alice.sends("readable again")
    world.settle()
    assert bob.texts()[-1] == "readable again"


def test_messages_that_do_not_open_lead_to_one_new_session_in_an_hour() -> None:
    world, alice, bob = pair()
    alice.sends("one")
    world.settle()
    world.to_device_held = True
    bob.sends("back")
    world.settle()
    ((_, made),) = world.to_device
    (part,) = made["content"]["ciphertext"].values()
    part["body"] = part["body"][:-8] + "AAAAAAAA"
    before = len(world.sent(ALICE, names.KEYS_CLAIM))
    for hours, claims in ((0, 1), (0, 1), (1, 2)):
        alice.step.now += hours * HOUR_MS
        alice.arrives(names.TO_DEVICE, made)
        world.settle()
        assert len(world.sent(ALICE, names.KEYS_CLAIM)) == before + claims


def test_at_most_five_sessions_are_kept_with_a_device() -> None:
    world, alice, bob = pair()
    for number in range(8):
        alice.starts(resumed=False)
        alice.sends(f"t{number}")
        world.settle()
    (name,) = (name for name in bob.step.records.held if name.startswith("olm/"))
    assert len(cast(Olm, bob.step.records.get(name, Olm)).entries) == 5
    assert len([name for name in bob.step.records.held if name.startswith("olm-session/")]) == 5
    assert bob.texts() == [f"t{number}" for number in range(8)]


@pytest.mark.parametrize("by_fallback", [False, True])
def test_a_repeated_handshake_founds_no_second_session(by_fallback: bool) -> None:
    world, alice, bob = pair()
    if by_fallback:  # unlike a one-time key it is not spent by the first
        world.one_time[BOB, "BOBDEV"].clear()
    world.to_device_held = True
    alice.sends("text")
    world.settle()
    ((target, event),) = world.to_device
    assert target is bob
    bob.arrives(names.TO_DEVICE, event)
    bob.arrives(names.TO_DEVICE, event)
    assert len([name for name in bob.step.records.held if name.startswith("olm-session/")]) == 1
    assert "to-device-undecryptable" in bob.step.codes()
