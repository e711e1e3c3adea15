"""Whom keys are given to and who is believed: unsigned devices, identities that change, the operator's policy."""

import json
from dataclasses import replace
from typing import Any, cast

import pytest

from adapters.inside_api import Proof
from adapters.matrix import names
from adapters.matrix.inside_peers import Pin, pin_of
from bridge.wire.values import Public
from crypto.olm.identity import OwnIdentity, signing_keys, vouched_device
from tests.unit.matrix_world import ALICE, BOB, Machine, World, pair

JSON = dict[str, Any]
OTHER = OwnIdentity(BOB, bytes([7] * 32), bytes([8] * 32), bytes([9] * 32))


def with_trust(machine: Machine, word: str) -> None:
    """Give the contact this policy."""
    contact = replace(machine.step.account.contacts[0], options={"trust": word})
    machine.step.account = replace(machine.step.account, contacts=(contact,))


def reset_identity(world: World, identity: OwnIdentity, *devices: str) -> None:
    """Bob's identity is another one now, and vouches for these devices."""
    world.identities[BOB] = cast(JSON, json.loads(json.dumps(signing_keys(identity))))
    for device in devices:
        keys = world.device_keys[BOB][device]
        signed = cast(JSON, vouched_device(identity, keys)["signatures"])
        keys["signatures"][BOB].update(signed[BOB])
    world.changed(BOB)
    world.settle()


def trust(machine: Machine, decision: str) -> str:
    """Decide as the operator."""
    contact, found = machine.step.account.contacts[0], [""]

    def decide() -> None:
        found[0] = machine.half.trust(machine.step, contact, decision)

    machine.step.commit(decide)
    return found[0]


def withheld_from(world: World, user: str) -> set[str]:
    """The devices that were told they get no key."""
    bodies = [json.loads(cast(Public, carried.values["body"]).v) for carried in world.sent(user, names.SEND_WITHHELD)]
    return {device for body in bodies for devices in body["messages"].values() for device in devices}


def test_a_device_that_its_owner_did_not_sign_is_given_no_key_and_told_so_once() -> None:
    world, alice, bob = pair()
    unsigned = world.join(BOB, "UNSIGNED", ALICE, signed=False)
    for number in range(3):
        alice.sends(f"text {number}")
        world.settle()
    assert bob.texts() == ["text 0", "text 1", "text 2"]
    assert unsigned.texts() == []
    assert withheld_from(world, ALICE) == {"UNSIGNED"}
    assert len(world.sent(ALICE, names.SEND_WITHHELD)) == 1
    assert "key-withheld" in unsigned.step.codes()


def test_what_an_unsigned_device_sends_waits_until_its_owner_signs_it() -> None:
    world, alice, bob = pair()
    unsigned = world.join(BOB, "UNSIGNED", ALICE, signed=False)
    unsigned.sends("who am I")
    world.settle()
    assert alice.texts() == []
    assert any(trace[2] == "unsigned-device" for trace in alice.step.traces)
    own = bob.step.records.get("identity", object)
    reset_identity(world, cast(Any, own).own, "UNSIGNED")
    assert alice.texts() == ["who am I"]


def test_a_contact_without_an_identity_is_refused_with_the_reason() -> None:
    world, alice, _ = pair()
    world.machines.pop((BOB, "BOBDEV"))  # it would put its identity back
    world.identities.pop(BOB)
    alice.step.records.delete(f"pin/{BOB}")
    world.changed(BOB)
    world.settle()
    alice.sends("text", "m1")
    world.settle()
    assert alice.step.failures == [("bob", "m1", "not-cross-signed")]


def test_an_identity_is_pinned_when_it_is_first_seen() -> None:
    world, alice, _ = pair()
    alice.sends("text")
    world.settle()
    master = next(iter(world.identities[BOB]["master_key"]["keys"].values()))
    assert pin_of(alice.step.records, BOB) == Pin(master, proof=Proof("first-use", "nobody", alice.step.now))


def test_when_the_identity_changes_messages_are_held_both_ways_until_the_operator_approves() -> None:
    world, alice, bob = pair()
    alice.sends("before")
    world.settle()
    reset_identity(world, OTHER, "BOBDEV")
    alice.sends("held 1", "h1")
    alice.sends("held 2", "h2")
    bob.sends("from the other identity")
    world.settle()
    assert bob.texts() == ["before"]
    assert alice.texts() == []
    assert alice.step.failures == []
    assert "identity-changed" in alice.step.codes()
    assert trust(alice, "verify") == "identity-changed"
    assert trust(alice, "approve") == "ok"
    world.settle()
    assert bob.texts() == ["before", "held 1", "held 2"]
    assert alice.texts() == ["from the other identity"]


def test_an_identity_that_comes_back_needs_no_approval() -> None:
    world, alice, bob = pair()
    alice.sends("before")
    world.settle()
    known = world.identities[BOB]
    reset_identity(world, OTHER, "BOBDEV")
    alice.sends("held")
    world.settle()
    world.identities[BOB] = known
    world.changed(BOB)
    world.settle()
    assert bob.texts() == ["before", "held"]
    assert "identity-restored" in alice.step.codes()


def test_an_identity_that_disappears_holds_messages_as_well() -> None:
    world, alice, bob = pair()
    alice.sends("before")
    world.settle()
    world.machines.pop((BOB, "BOBDEV"))  # it would put its identity back
    world.identities.pop(BOB)
    world.changed(BOB)
    world.settle()
    alice.sends("held")
    world.settle()
    assert bob.texts() == ["before"]
    assert trust(alice, "approve") == "nothing-to-approve"


def test_a_contact_that_must_be_verified_is_refused_until_somebody_did() -> None:
    world, alice, bob = pair()
    with_trust(alice, "verified")
    alice.sends("too early", "m1")
    world.settle()
    assert alice.step.failures == [("bob", "m1", "identity-not-verified")]
    assert trust(alice, "verify") == "ok"
    alice.sends("now", "m2")
    world.settle()
    assert bob.texts() == ["now"]


def test_with_any_device_unsigned_ones_are_served_and_believed() -> None:
    world, alice, _ = pair()
    with_trust(alice, "any-device")
    unsigned = world.join(BOB, "UNSIGNED", ALICE, signed=False)
    alice.sends("to all")
    unsigned.sends("from all")
    world.settle()
    assert unsigned.texts() == ["to all"]
    assert alice.texts() == ["from all"]


def test_a_policy_that_cannot_be_read_counts_as_the_strictest() -> None:
    world, alice, _ = pair()
    with_trust(alice, "everybody")
    alice.sends("text", "m1")
    world.settle()
    assert alice.step.failures == [("bob", "m1", "identity-not-verified")]


def test_an_unsigned_device_in_the_users_own_name_is_given_no_key() -> None:
    world, alice, bob = pair()
    own = world.join(ALICE, "MINE", BOB, signed=False)
    alice.sends("text")
    world.settle()
    assert bob.texts() == ["text"]
    assert withheld_from(world, ALICE) == {"MINE"}
    assert own.step.deliveries == []


def test_a_device_that_another_identity_signed_is_not_served() -> None:
    world, alice, _ = pair()
    world.join(BOB, "FORGED", ALICE, signed=False)
    keys = world.device_keys[BOB]["FORGED"]
    keys["signatures"][BOB].update(cast(JSON, vouched_device(OTHER, keys)["signatures"])[BOB])
    world.changed(BOB)
    world.settle()
    alice.sends("text")
    world.settle()
    assert withheld_from(world, ALICE) == {"FORGED"}


@pytest.mark.parametrize("decision", ["verify", "approve", "distrust"])
def test_there_is_nothing_to_decide_on_before_an_identity_was_seen(decision: str) -> None:
    world = World()
    alice = world.join(ALICE, "A", BOB)
    assert trust(alice, decision) == "no-identity"


def test_distrusting_forgets_the_pin_and_the_verification() -> None:
    world, alice, _ = pair()
    alice.sends("text")
    world.settle()
    assert trust(alice, "verify") == "ok"
    assert trust(alice, "distrust") == "ok"
    pin = pin_of(alice.step.records, BOB)
    assert pin is not None
    assert not pin.verified
