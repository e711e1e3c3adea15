"""The account's own cross-signing identity: made once, published, stored for its owner, never replaced."""

import base64
import json
from typing import Any, cast

import pytest

from adapters.matrix import names
from adapters.matrix.inside_devices import tracked
from adapters.matrix.inside_identity import TIMER, IdentityState, shown_recovery_key, state_of
from adapters.matrix.inside_own import own_state
from adapters.matrix.inside_state import HOUR_MS
from bridge.wire.values import Opaque
from crypto.enclave.statecodec import decoded, encoded
from crypto.olm.identity import MASTER, USAGES, OwnIdentity, require_vouched_device, signing_keys, verified_identity
from crypto.olm.storage import DEFAULT_KEY, KEY_PREFIX, read_recovery_key, require_described, secret_in
from tests.unit.matrix_world import ALICE, BOB, Machine, World, pair

JSON = dict[str, Any]
PICKLE = bytes(32)


def alone(world: World | None = None) -> tuple[World, Machine]:
    """Alice with one device."""
    world = world or World()
    return world, world.join(ALICE, "ALICEDEV", BOB)


def requests_of(world: World, name: str) -> int:
    """How often Alice asked for it."""
    return len(world.sent(ALICE, name))


def test_a_new_account_gets_an_identity_that_vouches_for_the_device() -> None:
    world, alice = alone()
    keys = world.identities[ALICE]
    identity = verified_identity(ALICE, *(keys[f"{usage}_key"] for usage in USAGES))
    require_vouched_device(identity, world.device_keys[ALICE]["ALICEDEV"])
    assert state_of(alice.step).published
    assert "identity-created" in alice.step.codes()


def test_its_device_is_known_as_vouched_for_to_others() -> None:
    _, alice, bob = pair()
    for machine, user, device in ((alice, BOB, "BOBDEV"), (bob, ALICE, "ALICEDEV")):
        machine.sends("x")
        state = tracked(machine.step, user)
        assert state is None or device in state.vouched or state.outdated


def test_the_signature_travels_with_every_key_that_is_shared() -> None:
    world, alice = alone()
    own = own_state(alice.step)
    assert own is not None
    identity = verified_identity(ALICE, *(world.identities[ALICE][f"{usage}_key"] for usage in USAGES))
    keys = json.loads(own.device.device_keys)
    require_vouched_device(identity, keys)
    assert "ed25519:ALICEDEV" in keys["signatures"][ALICE]


def test_every_step_is_done_once() -> None:
    world, alice = alone()
    for _ in range(3):
        world.changed(ALICE)
        world.settle()
        alice.wakes(TIMER)
        alice.starts(resumed=True)
        world.settle()
    assert requests_of(world, names.SIGNING_KEYS_UPLOAD) == 1
    assert requests_of(world, names.SIGNATURES_UPLOAD) == 1
    assert requests_of(world, names.ACCOUNT_DATA_PUT) == 6
    assert requests_of(world, names.BACKUP_VERSION_MAKE) == 1


def test_the_private_keys_are_stored_for_whoever_holds_the_recovery_key() -> None:
    world, alice = alone()
    written = shown_recovery_key(alice.step)
    assert written is not None
    key = read_recovery_key(written)
    key_id = world.account_data[ALICE, DEFAULT_KEY]["key"]
    require_described(key, world.account_data[ALICE, KEY_PREFIX + key_id])
    own = state_of(alice.step).own
    assert own is not None
    for usage in USAGES:
        name = f"m.cross_signing.{usage}"
        secret = secret_in(key, key_id, name, world.account_data[ALICE, name])
        assert base64.b64decode(secret + "==") == own.seed(usage)


def test_the_recovery_key_is_shown_once() -> None:
    _, alice = alone()
    assert shown_recovery_key(alice.step) is not None
    assert shown_recovery_key(alice.step) is None
    assert state_of(alice.step).storage_key is None


def test_a_secret_storage_that_is_there_stays_the_default() -> None:
    world = World()
    world.account_data[ALICE, DEFAULT_KEY] = {"key": "theirs"}
    _, alice = alone(world)
    assert world.account_data[ALICE, DEFAULT_KEY] == {"key": "theirs"}
    assert state_of(alice.step).stored


def test_an_identity_that_is_there_already_is_never_replaced() -> None:
    world = World()
    theirs = signing_keys(OwnIdentity(ALICE, bytes(32), bytes([1] * 32), bytes([2] * 32)))
    world.identities[ALICE] = cast(JSON, json.loads(json.dumps(theirs)))
    _, alice = alone(world)
    assert requests_of(world, names.SIGNING_KEYS_UPLOAD) == 0
    assert requests_of(world, names.SIGNATURES_UPLOAD) == 0
    assert state_of(alice.step).elsewhere
    assert alice.step.codes().count("identity-elsewhere") == 1


def test_an_identity_that_cannot_be_read_is_not_replaced_either() -> None:
    world = World()
    world.identities[ALICE] = {"master_key": {"usage": ["master"]}}
    _, alice = alone(world)
    assert requests_of(world, names.SIGNING_KEYS_UPLOAD) == 0
    assert state_of(alice.step).elsewhere


def test_an_identity_that_somebody_put_in_place_of_ours_is_told_and_left() -> None:
    world, alice = alone()
    theirs = signing_keys(OwnIdentity(ALICE, bytes(32), bytes([1] * 32), bytes([2] * 32)))
    world.identities[ALICE] = cast(JSON, json.loads(json.dumps(theirs)))
    world.changed(ALICE)
    world.settle()
    assert requests_of(world, names.SIGNING_KEYS_UPLOAD) == 1
    assert "identity-replaced" in alice.step.codes()


@pytest.mark.parametrize("request_name", [names.SIGNING_KEYS_UPLOAD, names.SIGNATURES_UPLOAD, names.ACCOUNT_DATA_PUT])
def test_what_fails_is_tried_again_after_an_hour_and_not_before(request_name: str) -> None:
    world = World()
    world.failing[request_name] = names.AUTH_REQUIRED
    _, alice = alone(world)
    tries = requests_of(world, request_name)
    world.failing.clear()
    alice.wakes(TIMER)
    world.settle()
    assert requests_of(world, request_name) == tries
    alice.step.now += HOUR_MS
    alice.wakes(TIMER)
    world.settle()
    state = state_of(alice.step)
    assert state.published
    assert state.stored


def test_a_new_device_of_ours_is_vouched_for_by_the_same_identity() -> None:
    world, alice = alone()
    master = world.identities[ALICE]["master_key"]
    alice.device = "SECOND"
    world.machines = {(ALICE, "SECOND"): alice}
    alice.arrives(names.DEVICE, {"user_id": ALICE, "device_id": "SECOND"})
    world.settle()
    alice.step.now += HOUR_MS
    alice.wakes(TIMER)
    world.settle()
    assert world.identities[ALICE]["master_key"] == master
    identity = verified_identity(ALICE, *(world.identities[ALICE][f"{usage}_key"] for usage in USAGES))
    require_vouched_device(identity, world.device_keys[ALICE]["SECOND"])


def test_the_state_survives_being_sealed_and_says_nothing_of_its_keys() -> None:
    _, alice = alone()
    state = state_of(alice.step)
    assert decoded(encoded(state, PICKLE), IdentityState, PICKLE) == state
    assert state.own is not None
    assert base64.b64encode(state.own.master).decode()[:20] not in repr(state)
    assert state.own.public(MASTER) not in repr(state)


def test_only_public_values_and_ciphertext_leave() -> None:
    world, alice = alone()
    own = state_of(alice.step).own
    assert own is not None
    for _, carried in world.log:
        for value in carried.values.values():
            text = value.v if isinstance(value.v, bytes) else str(value.v).encode()
            for usage in USAGES:
                assert own.seed(usage) not in text
                assert base64.b64encode(own.seed(usage)).rstrip(b"=") not in text
    puts = [c for _, c in world.log if c.request == names.ACCOUNT_DATA_PUT]
    assert {("sealed" in c.values) for c in puts if cast(Opaque, c.values["type"]).v.startswith("m.cross")} == {True}
