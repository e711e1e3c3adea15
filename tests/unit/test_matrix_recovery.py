"""Joining an identity that another client made, by its recovery key, whatever the homeserver answers."""

import json
from typing import Any, cast

import pytest

from adapters.matrix import names
from adapters.matrix.inside_backup import OLDER_PREFERENCE, PREFERENCE
from adapters.matrix.inside_identity import state_of
from adapters.matrix.inside_recovery import Recovery
from bridge.wire.values import Opaque
from crypto.enclave.statecodec import decoded, encoded
from crypto.olm.backup import SECRET
from crypto.olm.identity import MASTER, USAGES, OwnIdentity, require_vouched_device, signing_keys, verified_identity
from crypto.olm.keys import b64
from crypto.olm.storage import DEFAULT_KEY, KEY_PREFIX, StorageKey, description_of, recovery_key, stored
from tests.unit.matrix_world import ALICE, BOB, Machine, World

JSON = dict[str, Any]
THEIRS = OwnIdentity(ALICE, bytes([4] * 32), bytes([5] * 32), bytes([6] * 32))
OTHER = OwnIdentity(ALICE, bytes([7] * 32), bytes([8] * 32), bytes([9] * 32))
KEY = StorageKey(bytes(range(32)))
WRITTEN = recovery_key(KEY)
PHRASE = "correct horse battery staple"


def plain(value: object) -> JSON:
    """As it would come off the wire."""
    return cast(JSON, json.loads(json.dumps(value)))


def put_storage(world: World, identity: OwnIdentity = THEIRS, key: StorageKey = KEY, **description: object) -> None:
    """Another client's secret storage."""
    world.account_data[ALICE, DEFAULT_KEY] = {"key": "k1"}
    world.account_data[ALICE, KEY_PREFIX + "k1"] = plain({**description_of(key, bytes(16)), **description})
    for usage in USAGES:
        name = f"m.cross_signing.{usage}"
        world.account_data[ALICE, name] = plain(stored(key, "k1", name, b64(identity.seed(usage)), bytes([1] * 16)))


def elsewhere(*, storage: bool = True) -> tuple[World, Machine]:
    """Alice's account has an identity that another client made."""
    world = World()
    world.identities[ALICE] = plain(signing_keys(THEIRS))
    if storage:
        put_storage(world)
    return world, world.join(ALICE, "ALICEDEV", BOB)


def begin(machine: Machine, secret: str = WRITTEN) -> str:
    """The operator gives the secret."""
    found = [""]

    def act() -> None:
        found[0] = machine.half.recover(machine.step, secret)

    machine.step.commit(act)
    return found[0]


def recover(world: World, machine: Machine, secret: str = WRITTEN) -> str | None:
    """The same, and what came of it."""
    assert begin(machine, secret) == "started"
    world.settle()
    return outcome(machine)


def outcome(machine: Machine) -> str | None:
    """What came of it."""
    return machine.half.own_identity(machine.step.records, machine.step.account).recovered


def test_the_recovery_key_joins_the_identity_and_the_device_is_signed_by_it() -> None:
    world, alice = elsewhere()
    assert recover(world, alice) == "ok"
    identity = verified_identity(ALICE, *(world.identities[ALICE][f"{usage}_key"] for usage in USAGES))
    require_vouched_device(identity, world.device_keys[ALICE]["ALICEDEV"])
    assert identity.master == THEIRS.public(MASTER)
    assert not world.sent(ALICE, names.SIGNING_KEYS_UPLOAD)
    assert [cast(Opaque, put.values["type"]).v for put in world.sent(ALICE, names.ACCOUNT_DATA_PUT)] == [SECRET]
    assert alice.half.own_identity(alice.step.records, alice.step.account).state == "ours"


def test_the_phrase_that_the_key_was_made_from_does_as_well() -> None:
    from crypto.olm.storage import key_from_passphrase

    passphrase = {"algorithm": "m.pbkdf2", "salt": "salt", "iterations": 1000}
    world, alice = elsewhere(storage=False)
    put_storage(world, key=key_from_passphrase(PHRASE, {"passphrase": passphrase}), passphrase=passphrase)
    assert recover(world, alice, PHRASE) == "ok"


@pytest.mark.parametrize("secret", [recovery_key(StorageKey(bytes(32))), PHRASE, WRITTEN[:-1]])
def test_another_key_or_phrase_is_refused_and_nothing_changes(secret: str) -> None:
    world, alice = elsewhere()
    assert recover(world, alice, secret) == "wrong-key"
    assert state_of(alice.step).own is None
    assert recover(world, alice) == "ok"


def test_a_key_that_the_description_fits_but_the_secrets_do_not_is_refused() -> None:
    world, alice = elsewhere()
    other = StorageKey(bytes([3] * 32))
    world.account_data[ALICE, KEY_PREFIX + "k1"] = plain(description_of(other, bytes(16)))
    assert recover(world, alice, recovery_key(other)) == "wrong-key"


def test_an_account_without_storage_or_without_an_identity_in_it_is_told_as_such() -> None:
    world, alice = elsewhere(storage=False)
    assert recover(world, alice) == "no-storage"
    world.account_data[ALICE, DEFAULT_KEY] = {}
    assert recover(world, alice) == "no-storage"
    put_storage(world)
    del world.account_data[ALICE, "m.cross_signing.master"]
    assert recover(world, alice) == "no-storage"


def test_private_keys_of_another_identity_than_the_one_listed_are_not_taken() -> None:
    world, alice = elsewhere(storage=False)
    put_storage(world, OTHER)
    assert recover(world, alice) == "not-this-identity"
    assert state_of(alice.step).own is None
    assert state_of(alice.step).elsewhere


def test_the_list_is_asked_for_anew_before_the_identity_is_taken() -> None:
    world, alice = elsewhere(storage=False)
    put_storage(world, OTHER)
    world.identities[ALICE] = plain(signing_keys(OTHER))
    assert recover(world, alice) == "ok"


def test_a_server_that_does_not_answer_is_told_as_such() -> None:
    world, alice = elsewhere()
    world.failing[names.ACCOUNT_DATA_GET] = names.FORBIDDEN
    assert recover(world, alice) == "server-unavailable"


@pytest.mark.parametrize(
    "content",
    [
        {"key": 7},
        {"key": "a b"},
        {"key": ""},
        {"key": "x" * 300},
        {"key": ["k1"]},
    ],
)
def test_a_storage_key_with_a_name_that_is_none_is_refused(content: JSON) -> None:
    world, alice = elsewhere()
    world.account_data[ALICE, DEFAULT_KEY] = content
    assert recover(world, alice) == "malformed-storage"


def test_a_replaced_identity_can_be_joined_and_one_that_is_ours_need_not_be() -> None:
    world = World()
    alice = world.join(ALICE, "ALICEDEV", BOB)
    assert begin(alice) == "already-ours"
    world.identities[ALICE] = plain(signing_keys(THEIRS))
    put_storage(world)
    world.changed(ALICE)
    world.settle()
    assert alice.half.own_identity(alice.step.records, alice.step.account).state == "replaced"
    assert recover(world, alice) == "ok"
    own = state_of(alice.step).own
    assert own is not None
    assert own.public(MASTER) == THEIRS.public(MASTER)


def test_nothing_is_recovered_before_the_account_has_logged_in() -> None:
    world = World()
    alice = world.join(ALICE, "ALICEDEV", BOB)
    alice.step.records.delete("own")
    assert begin(alice) == "not-connected"


def test_the_secret_is_kept_only_while_it_is_tried_and_never_shown_or_sent() -> None:
    world, alice = elsewhere()
    world.held.add(names.ACCOUNT_DATA_GET)
    begin(alice)
    world.settle()
    kept = alice.step.records.get("recovery", Recovery)
    assert kept is not None
    assert WRITTEN in kept.secret
    assert WRITTEN not in repr(kept)
    assert decoded(encoded(kept, bytes(32)), Recovery, bytes(32)) == kept
    world.held.clear()
    world.settle()
    assert alice.step.records.get("recovery", Recovery) == Recovery(outcome="ok")
    sent = b"".join(
        value.v if isinstance(value.v, bytes) else str(value.v).encode()
        for _, carried in world.log
        for value in carried.values.values()
    )
    for secret in (KEY.octets, THEIRS.master, b64(THEIRS.master).encode(), WRITTEN.encode()):
        assert secret not in sent


def test_it_asks_for_what_it_needs_and_for_nothing_else() -> None:
    world, alice = elsewhere()
    recover(world, alice)
    asked = {cast(Opaque, carried.values["type"]).v for carried in world.sent(ALICE, names.ACCOUNT_DATA_GET)}
    stored = {DEFAULT_KEY, KEY_PREFIX + "k1", SECRET, *(f"m.cross_signing.{usage}" for usage in USAGES)}
    assert asked == stored | {PREFERENCE, OLDER_PREFERENCE}
