"""What the user is told about a Matrix contact: why messages wait, each reason once."""

from typing import Any, cast

from adapters.matrix import inside_notices, names
from adapters.matrix.inside_sending import PATIENCE_MS
from adapters.matrix.inside_state import MINUTE_MS
from adapters.matrix.inside_withheld import ALL_REASONS
from adapters.xmpp.sentences import NOTICES, OTHER_NOTICE, notice
from tests.unit.matrix_world import ALICE, BOB, Machine, World, pair
from tests.unit.test_matrix_peers import OTHER, reset_identity, trust, with_trust

CHANGED = ("bob", names.TOLD_IDENTITY_CHANGED)
NOT_JOINED = ("bob", names.TOLD_NOT_JOINED)
UNSIGNED = ("bob", names.TOLD_DEVICE_UNSIGNED)


def later(machine: Machine, ms: int) -> None:
    """Time passes."""
    machine.step.now += ms
    machine.wakes(inside_notices.TIMER)


def invited() -> tuple[World, Machine]:
    """Bob has not accepted the invitation, and a message waits for him."""
    world = World()
    world.members[BOB] = "invite"
    alice = world.join(ALICE, "ALICEDEV", BOB)
    world.join(BOB, "BOBDEV", ALICE)
    alice.sends("waits")
    world.settle()
    return world, alice


def test_there_are_words_for_every_code() -> None:
    codes = [getattr(names, name) for name in dir(names) if name.startswith("TOLD_")]
    codes = [code for code in codes if code.startswith("contact-")]
    codes += [f"key-{reason}" for reason in ALL_REASONS]
    assert len(codes) == 12
    assert all(code in NOTICES and notice(code) != OTHER_NOTICE for code in codes)


def test_that_messages_wait_for_the_contact_to_join_is_told_once_when_it_takes_long() -> None:
    world, alice = invited()
    later(alice, PATIENCE_MS - 1)
    assert alice.step.notices == []
    later(alice, 1)
    alice.sends("waits too")
    world.settle()
    later(alice, PATIENCE_MS)
    assert alice.step.notices == [NOT_JOINED]


def test_nothing_is_told_of_a_contact_that_joins_at_once() -> None:
    world, alice = invited()
    world.members[BOB] = "join"
    world.tell_room()
    world.settle()
    later(alice, PATIENCE_MS)
    assert alice.step.notices == []


def test_a_changed_identity_is_told_once_and_again_when_it_changes_again() -> None:
    world, alice, _ = pair()
    alice.sends("before")
    world.settle()
    own = world.identities[BOB]
    reset_identity(world, OTHER, "BOBDEV")
    alice.sends("held 1")
    alice.sends("held 2")
    world.settle()
    assert alice.step.notices == [CHANGED]
    assert trust(alice, "approve") == "ok"
    world.settle()
    alice.step.now += MINUTE_MS
    world.identities[BOB] = own
    world.changed(BOB)
    world.settle()
    assert alice.step.notices == [CHANGED, CHANGED]


def test_an_identity_that_comes_and_goes_does_not_fill_the_users_screen() -> None:
    world, alice, _ = pair()
    alice.sends("before")
    world.settle()
    own = world.identities[BOB]
    for _ in range(10):
        reset_identity(world, OTHER, "BOBDEV")
        world.identities[BOB] = own
        world.changed(BOB)
        world.settle()
    assert alice.step.notices == [CHANGED]


def test_nothing_is_told_where_any_device_is_trusted() -> None:
    world, alice, _ = pair()
    with_trust(alice, "any-device")
    alice.sends("before")
    world.settle()
    reset_identity(world, OTHER, "BOBDEV")
    assert alice.step.notices == []


def test_an_identity_that_disappears_is_told_as_such() -> None:
    world, alice, _ = pair()
    alice.sends("before")
    world.settle()
    world.machines.pop((BOB, "BOBDEV"))
    world.identities.pop(BOB)
    world.changed(BOB)
    world.settle()
    assert alice.step.notices == [("bob", names.TOLD_IDENTITY_GONE)]


def test_a_message_of_an_unsigned_device_is_told_once_until_what_was_parked_is_opened() -> None:
    world, alice, bob = pair()
    unsigned = world.join(BOB, "UNSIGNED", ALICE, signed=False)
    unsigned.sends("one")
    unsigned.sends("two")
    world.settle()
    assert alice.step.notices == [UNSIGNED]
    own = bob.step.records.get("identity", object)
    reset_identity(world, cast(Any, own).own, "UNSIGNED")
    assert alice.texts() == ["one", "two"]
    another = world.join(BOB, "ANOTHER", ALICE, signed=False)
    alice.step.now += MINUTE_MS
    another.sends("three")
    world.settle()
    assert alice.step.notices == [UNSIGNED, UNSIGNED]


def test_what_waits_for_a_verification_is_told_once() -> None:
    world, alice, bob = pair()
    with_trust(alice, "verified")
    bob.sends("one")
    bob.sends("two")
    world.settle()
    assert alice.step.notices == [("bob", names.TOLD_NOT_VERIFIED)]
