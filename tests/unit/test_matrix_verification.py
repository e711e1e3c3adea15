"""Verifying a contact between two gateways: what is seen, what comes of it, what a hostile server cannot do."""

import json
from dataclasses import replace
from typing import Any, cast

import pytest

from adapters.inside_api import Shown
from adapters.matrix import inside_talks, inside_vouching, names
from adapters.matrix.inside_identity import state_of
from adapters.matrix.inside_peers import pin_of
from bridge.wire.values import Opaque
from crypto.olm.identity import MASTER, OwnIdentity, require_vouched_master, verified_identity
from crypto.olm.verification import Limits
from tests.unit.matrix_world import ALICE, BOB, Machine, World, pair
from tests.unit.test_matrix_peers import OTHER, reset_identity, with_trust

JSON = dict[str, Any]
WAYS = ("begin", "begin-to-device")


def act(machine: Machine, action: str, compared: str | None = None) -> str:
    """What the person there does; returns the code."""
    contact, codes = machine.step.account.contacts[0], list[str]()
    machine.step.commit(lambda: codes.append(machine.half.verification(machine.step, contact, action, compared)[0]))
    return codes[0]


def shown(machine: Machine) -> Shown:
    """What the person there sees."""
    return machine.half.verification(machine.step, machine.step.account.contacts[0], "show", None)[1]


def numbers(machine: Machine) -> str:
    """The numbers that are compared there."""
    return " ".join(str(number) for number in shown(machine).decimal)


def verified(machine: Machine) -> bool:
    """Whether the contact is known as verified there."""
    pin = pin_of(machine.step.records, machine.step.account.contacts[0].address)
    return pin is not None and pin.verified


def met() -> tuple[World, Machine, Machine]:
    """Alice and Bob, who know each other's devices: they were asked for because they were needed."""
    world, alice, bob = pair()
    for machine in (alice, bob):
        assert act(machine, "begin") == "devices-unknown"
    world.settle()
    return world, alice, bob


def joined(way: str = "begin") -> tuple[World, Machine, Machine]:
    """Alice asked and Bob accepted: both compare."""
    world, alice, bob = met()
    assert act(alice, way) == "ok"
    world.settle()
    assert shown(bob).state == "asked"
    assert act(bob, "begin") == "ok"
    world.settle()
    assert (shown(alice).state, shown(bob).state) == ("comparing", "comparing")
    return world, alice, bob


def settled(world: World, *machines: Machine) -> None:
    """Let requests and due wakes happen."""
    world.settle()
    for machine in machines:
        machine.wakes(inside_vouching.TIMER)
    world.settle()


@pytest.mark.parametrize("way", WAYS)
def test_both_see_the_same_and_both_are_verified(way: str) -> None:
    world, alice, bob = joined(way)
    assert shown(alice).emoji == shown(bob).emoji
    assert len(shown(alice).emoji) == 7
    assert act(alice, "match", numbers(alice)) == "ok"
    world.settle()
    assert not verified(alice)
    assert act(bob, "match", numbers(bob)) == "ok"
    settled(world, alice, bob)
    assert (shown(alice).state, shown(bob).state) == ("finished", "finished")
    assert verified(alice)
    assert verified(bob)
    assert "identity-vouched" in alice.step.codes()
    master = world.identities[BOB]["master_key"]
    identity = verified_identity(BOB, master, world.identities[BOB]["self_signing_key"])
    own = state_of(alice.step).own
    assert own is not None
    require_vouched_master(own, identity, master)


@pytest.mark.parametrize("way", WAYS)
def test_other_emoji_end_it_at_both_ends_and_verify_nobody(way: str) -> None:
    world, alice, bob = joined(way)
    assert act(bob, "match", numbers(bob)) == "ok"
    assert act(alice, "differ", numbers(alice)) == "ok"
    settled(world, alice, bob)
    assert shown(alice) == Shown(
        "cancelled", "room" if way == "begin" else "to-device", code="mismatched-sas", by_us=True
    )
    assert (shown(bob).code, shown(bob).by_us) == ("mismatched-sas", False)
    assert not verified(alice)
    assert not verified(bob)


@pytest.mark.parametrize("way", WAYS)
def test_what_takes_too_long_ends_at_both_ends(way: str) -> None:
    world, alice, bob = joined(way)
    alice.step.now += Limits().whole_ms
    alice.wakes(inside_talks.TIMER)
    world.settle()
    assert (shown(alice).code, shown(bob).code) == ("timeout", "timeout")


def test_a_wake_before_its_time_changes_nothing() -> None:
    world, alice, _ = joined()
    alice.wakes(inside_talks.TIMER)
    world.settle()
    assert shown(alice).state == "comparing"


def test_a_word_about_another_string_is_not_taken() -> None:
    _, alice, _ = joined()
    for compared in (None, "", "1000 1000 1000"):
        assert act(alice, "match", compared) == "other-session"
    assert shown(alice).state == "comparing"


def test_there_is_nothing_to_decide_before_and_after() -> None:
    world, alice, _ = met()
    assert act(alice, "match", "1 2 3") == "no-verification"
    assert shown(alice).state == "none"
    assert act(alice, "begin") == "ok"
    world.settle()
    assert act(alice, "match", "1 2 3") == "nothing-to-compare"
    assert act(alice, "begin") == "under-way"
    assert act(alice, "cancel") == "ok"
    assert act(alice, "cancel") == "no-verification"


def test_cancelling_ends_it_at_the_other_end() -> None:
    world, alice, bob = joined()
    assert act(bob, "cancel") == "ok"
    world.settle()
    assert shown(alice) == Shown("cancelled", "room", code="user")


def test_a_request_that_is_cancelled_before_the_room_has_it_is_cancelled_once_it_has() -> None:
    world, alice, bob = met()
    assert act(alice, "begin") == "ok"
    assert act(alice, "cancel") == "ok"
    world.settle()
    assert shown(bob) == Shown("cancelled", "room", code="user")
    assert shown(alice).state == "cancelled"


def test_whoever_was_asked_starts_when_the_asker_does_not() -> None:
    world, alice, bob = met()
    assert act(alice, "begin") == "ok"
    world.settle()
    world.events_held = True  # Alice does not see that Bob is ready
    assert act(bob, "begin") == "ok"
    world.settle()
    assert shown(bob).state == "prepared"
    bob.step.now += inside_talks.START_AFTER_MS
    bob.wakes(inside_talks.TIMER)
    assert shown(bob).state == "started"


def test_a_contact_who_has_to_be_verified_first_can_be_and_then_messages_pass() -> None:
    world, alice, bob = met()
    with_trust(alice, "verified")
    alice.sends("too early")
    bob.sends("held")
    world.settle()
    assert alice.texts() == []
    assert [code for *_, code in alice.step.failures] == [names.NOT_VERIFIED]
    assert act(bob, "begin") == "ok"
    world.settle()
    assert act(alice, "begin") == "ok"
    world.settle()
    assert act(alice, "match", numbers(alice)) == "ok"
    assert act(bob, "match", numbers(bob)) == "ok"
    settled(world, alice, bob)
    assert verified(alice)
    assert alice.texts() == ["held"]
    alice.sends("now")
    world.settle()
    assert bob.texts() == ["now"]


def test_verifying_a_changed_identity_takes_it_in_place_of_the_old_one() -> None:
    world, alice, bob = met()
    reset_identity(world, OTHER, "BOBDEV")
    assert shown(alice).state == "none"
    identity = state_of(bob.step)
    bob.step.records.put("identity", replace(identity, own=OTHER, elsewhere=False))
    assert act(alice, "begin") == "ok"
    world.settle()
    assert act(bob, "begin") == "ok"
    world.settle()
    assert act(alice, "match", numbers(alice)) == "ok"
    assert act(bob, "match", numbers(bob)) == "ok"
    settled(world, alice, bob)
    pin = pin_of(alice.step.records, BOB)
    assert pin is not None
    assert (pin.master, pin.verified, pin.other) == (OTHER.public(MASTER), True, None)


def test_an_identity_that_changes_while_it_is_compared_is_not_verified() -> None:
    world, alice, bob = joined()
    assert act(bob, "match", numbers(bob)) == "ok"
    world.settle()
    reset_identity(world, OwnIdentity(BOB, *(bytes([n] * 32) for n in (7, 8, 9))), "BOBDEV")
    assert act(alice, "match", numbers(alice)) == "ok"
    settled(world, alice, bob)
    assert shown(alice).code == "key-mismatch"
    assert not verified(alice)


def test_state_that_may_be_old_ends_it_so_that_no_secret_meets_a_second_key() -> None:
    world, alice, bob = joined()
    alice.starts(resumed=False)
    world.settle()
    assert (shown(alice).code, shown(bob).code) == ("user", "user")


def test_state_that_is_the_newest_goes_on() -> None:
    world, alice, bob = joined()
    alice.starts(resumed=True)
    assert act(alice, "match", numbers(alice)) == "ok"
    assert act(bob, "match", numbers(bob)) == "ok"
    settled(world, alice, bob)
    assert verified(alice)


def request(device: str = "BOBDEV", **changes: object) -> JSON:
    """A to-device request in Bob's name."""
    content: JSON = {
        "from_device": device,
        "methods": ["m.sas.v1"],
        "timestamp": 1_800_000_000_000,
        "transaction_id": "t",
    }
    return {"type": "m.key.verification.request", "sender": BOB, "content": {**content, **changes}}


@pytest.mark.parametrize(
    "event",
    [
        request("NODEVICE"),
        request(timestamp=1_800_000_000_000 - 600_001),
        request(timestamp=1_800_000_000_000 + 300_001),
        request(timestamp=None),
        request(methods=["m.qr_code.scan.v1"]),
        {**request(), "sender": "@mallory:two.example"},
    ],
)
def test_requests_that_are_old_or_of_nobodys_device_are_not_shown(event: JSON) -> None:
    world, alice, _ = met()
    alice.arrives(names.TO_DEVICE, event)
    world.settle()
    assert shown(alice).state == "none"


def test_a_request_of_a_device_that_is_not_known_yet_is_shown_once_it_is() -> None:
    world, alice, _ = pair()
    alice.arrives(names.TO_DEVICE, request())
    assert shown(alice).state == "none"
    world.settle()
    assert shown(alice).state == "asked"
    assert alice.step.notices == [("bob", names.TOLD_VERIFICATION_ASKED)]


def test_a_device_that_its_owner_did_not_sign_is_not_talked_with() -> None:
    world, alice, _ = met()
    world.join(BOB, "BOBNEW", ALICE, signed=False)
    alice.arrives(names.TO_DEVICE, request("BOBNEW"))
    world.settle()
    assert shown(alice).state == "none"
    assert "verification-unknown-device" in alice.step.codes()


def test_another_device_of_the_contact_has_nothing_to_say_in_it() -> None:
    world, alice, bob = met()
    other = world.join(BOB, "BOBTWO", ALICE)
    world.tell_room()
    world.settle()
    assert act(other, "begin") == "devices-unknown"
    world.settle()
    assert act(alice, "begin") == "ok"
    world.settle()
    assert (shown(bob).state, shown(other).state) == ("asked", "asked")
    assert act(bob, "begin") == "ok"
    assert act(other, "begin") == "ok"
    world.settle()
    assert act(other, "cancel") == "ok"
    world.settle()
    assert (shown(alice).state, shown(bob).state) == ("comparing", "comparing")
    assert shown(alice).emoji == shown(bob).emoji


def test_of_two_requests_that_nobody_answered_the_newer_is_shown() -> None:
    world, alice, _ = met()
    for transaction in ("t1", "t1", "t2"):
        alice.arrives(names.TO_DEVICE, request(transaction_id=transaction))
    world.settle()
    assert shown(alice).state == "asked"
    sent = [cast(Opaque, c.values["type"]).v for c in world.sent(ALICE, names.SEND_VERIFICATION)]
    assert sent == ["m.key.verification.cancel"]


def test_a_request_while_another_is_under_way_ends_both() -> None:
    world, alice, bob = joined()
    alice.arrives(names.TO_DEVICE, request(transaction_id="other"))
    world.settle()
    assert (shown(alice).state, shown(bob).state) == ("cancelled", "cancelled")
    assert "verification-crossed" in alice.step.codes()


def test_messages_of_no_conversation_are_counted_and_change_nothing() -> None:
    world, alice, _ = joined()
    for kind in ("key", "mac", "done", "cancel", "accept", "ready"):
        event = {"type": f"m.key.verification.{kind}", "sender": BOB, "content": {"transaction_id": "t"}}
        alice.arrives(names.TO_DEVICE, event)
    world.settle()
    assert shown(alice).state == "comparing"
    assert alice.step.codes().count("verification-unknown") == 6


def test_events_in_plain_in_the_room_are_taken_as_unproved_and_a_device_of_nobody_is_not() -> None:
    world, alice, _ = met()
    content: JSON = {"msgtype": "m.key.verification.request", "methods": ["m.sas.v1"], "to": ALICE, "body": "verify"}
    for number, device in enumerate(("NODEVICE", "BOBDEV")):
        event = {
            "type": "m.room.message",
            "sender": BOB,
            "event_id": f"$plain{number}",
            "origin_server_ts": 1_800_000_000_000,
            "content": {**content, "from_device": device},
        }
        world.show(event)
        assert shown(alice).state == ("none", "asked")[number]
    assert alice.texts() == []


def test_a_malformed_message_of_the_conversation_ends_it() -> None:
    world, alice, bob = joined("begin-to-device")
    talk = inside_talks.kept(alice.step, alice.step.account.contacts[0])
    assert talk is not None
    content = {"transaction_id": talk[0].transaction_id, "mac": 1}
    alice.arrives(names.TO_DEVICE, {"type": "m.key.verification.mac", "sender": BOB, "content": content})
    world.settle()
    assert shown(alice).state == "comparing"  # what cannot even be read names no conversation
    alice.arrives(
        names.TO_DEVICE,
        {"type": "m.key.verification.mac", "sender": BOB, "content": {**content, "mac": {}, "keys": "k"}},
    )
    world.settle()
    assert (shown(alice).code, shown(bob).code) == ("invalid-message", "invalid-message")


def test_a_signature_that_the_server_refused_is_sent_again() -> None:
    world, alice, bob = joined()
    world.failing[names.SIGNATURES_UPLOAD] = "rejected"
    assert act(alice, "match", numbers(alice)) == "ok"
    assert act(bob, "match", numbers(bob)) == "ok"
    settled(world, alice, bob)
    assert "vouching-failed" in alice.step.codes()
    assert verified(alice)
    world.failing.clear()
    alice.wakes(inside_vouching.RETRY)
    world.settle()
    assert "identity-vouched" in alice.step.codes()


def test_a_contact_without_an_identity_cannot_be_verified() -> None:
    world, alice, _ = met()
    world.held.add(names.SIGNING_KEYS_UPLOAD)  # else Bob's gateway puts it back
    world.identities.pop(BOB)
    world.changed(BOB)
    world.settle()
    assert act(alice, "begin") == "not-cross-signed"


def test_what_is_sent_to_devices_says_no_secret() -> None:
    world, alice, bob = joined("begin-to-device")
    talk = inside_talks.kept(alice.step, alice.step.account.contacts[0])
    assert talk is not None
    told = json.dumps([repr(c.values) for c in world.sent(ALICE, names.SEND_VERIFICATION)])
    assert "shared" not in told
    assert shown(bob).state == "comparing"
