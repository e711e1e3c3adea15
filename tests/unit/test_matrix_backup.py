"""The account's key backup: made, joined, written, left alone; whatever the homeserver says of it."""

import json
from dataclasses import replace
from typing import Any, cast

import pytest
from vodozemac import GroupSession, InboundGroupSession

from adapters.matrix import inside_backup, inside_backup_writing, names
from adapters.matrix.inside_backup import BackupState
from adapters.matrix.inside_identity import state_of as identity_of
from adapters.matrix.inside_state import HOUR_MS, MINUTE_MS, Inbound, Storage
from adapters.matrix.outside_requests import http_request
from bridge.wire.values import Opaque, Public, Sealed
from crypto.enclave.statecodec import decoded, encoded
from crypto.olm.backup import ALGORITHM, SECRET, BackupKey, read_entry, read_key
from crypto.olm.canonical import signature_of, signed_part
from crypto.olm.identity import MASTER
from crypto.olm.keys import b64, require_signature
from crypto.olm.storage import StorageKey, secret_in, stored
from tests.unit.matrix_world import ALICE, BOB, Machine, World, pair
from tests.unit.test_matrix_identity import alone
from tests.unit.test_matrix_recovery import KEY, begin, elsewhere, outcome, plain, recover

JSON = dict[str, Any]
THEIR_BACKUP = BackupKey(bytes([11] * 32))
FOREIGN = BackupKey(bytes([12] * 32))
REQUESTS = (
    names.BACKUP_VERSION_GET,
    names.BACKUP_VERSION_MAKE,
    names.BACKUP_PUT,
    names.BACKUP_GET,
    names.SEND_KEY_REQUEST,
)


def state(machine: Machine) -> BackupState:
    """How its backup stands."""
    return machine.step.records.get(inside_backup.RECORD, BackupState) or BackupState()


def private(machine: Machine) -> BackupKey:
    """The private key that it holds."""
    octets = state(machine).key
    assert octets is not None
    return BackupKey(octets)


def entries(world: World, machine: Machine) -> dict[str, JSON]:
    """What is in the account's backup, by session."""
    return {session: found for (user, _, _, session), found in world.backed_up.items() if user == machine.user}


def written(world: World, machine: Machine) -> None:
    """Let what is to be written be written."""
    machine.wakes("backup")
    world.settle()


def put_backup(world: World, key: BackupKey) -> None:
    """Another client made a backup."""
    world.backups[ALICE].append({"algorithm": ALGORITHM, "auth_data": {"public_key": key.public()}})


def put_secret(world: World, key: BackupKey) -> None:
    """Another client put the backup's key into its secret storage."""
    world.account_data[ALICE, SECRET] = plain(stored(KEY, "k1", SECRET, b64(key.octets), bytes([2] * 16)))


# ---------------------------------------------------------------- made
def test_an_account_without_a_backup_gets_one_that_its_master_key_signed() -> None:
    world, alice = alone()
    (made,) = world.backups[ALICE]
    assert made["algorithm"] == ALGORITHM
    assert made["auth_data"]["public_key"] == private(alice).public()
    own = identity_of(alice.step).own
    assert own is not None
    master = own.public(MASTER)
    auth_data = made["auth_data"]
    require_signature(master, signed_part(auth_data), signature_of(auth_data, ALICE, f"ed25519:{master}"))
    assert alice.half.own_identity(alice.step.records, alice.step.account).backup == "active"


def test_its_private_key_is_in_secret_storage_before_the_backup_is_made_and_the_storage_key_is_not_kept() -> None:
    world, alice = alone()
    storage_key = identity_of(alice.step).storage_key
    assert storage_key is not None
    (key_id,) = world.account_data[ALICE, SECRET]["encrypted"]
    secret = secret_in(StorageKey(storage_key), key_id, SECRET, world.account_data[ALICE, SECRET])
    assert read_key(secret) == private(alice)
    order = [carried.request for _, carried in world.log if carried.lane == "backup"]
    assert order.index(names.ACCOUNT_DATA_PUT) < order.index(names.BACKUP_VERSION_MAKE)
    assert alice.step.records.get("storage", Storage) is None


def test_nothing_is_made_before_the_identity_is_stored_and_then_all_is_under_one_key() -> None:
    world = World()
    world.failing = {names.ACCOUNT_DATA_PUT: names.REJECTED}
    alice = world.join(ALICE, "ALICEDEV", BOB)
    assert not world.sent(ALICE, names.BACKUP_VERSION_GET)
    world.failing = {}
    alice.step.now += HOUR_MS
    alice.wakes("identity")
    world.settle()
    assert state(alice).version == "1"
    (key_id,) = world.account_data[ALICE, SECRET]["encrypted"]
    assert list(world.account_data[ALICE, "m.cross_signing.master"]["encrypted"]) == [key_id]


def test_every_session_is_written_the_contacts_and_our_own_from_its_first_message() -> None:
    world, alice, bob = pair()
    bob.sends("from Bob")
    alice.sends("from Alice")
    world.settle()
    written(world, alice)
    found = entries(world, alice)
    assert set(found) == {event["content"]["session_id"] for event in world.timeline}
    for session_id, entry in found.items():
        assert entry["first_message_index"] == 0
        assert entry["is_verified"] is True
        read = read_entry(private(alice), json.dumps(entry).encode(), session_id)
        (sender,) = {event["sender"] for event in world.timeline if event["content"]["session_id"] == session_id}
        (device,) = world.device_keys[sender].values()
        assert {read.origin.curve25519, read.origin.ed25519} == set(device["keys"].values())
    assert not [name for name in alice.step.records.held if name.startswith(("backup-due", "backup-own"))]


def test_many_sessions_go_in_few_requests() -> None:
    world, alice, bob = pair()
    for number in range(8):
        bob.starts(resumed=False)
        bob.sends(f"t{number}")
        world.settle()
    written(world, alice)
    assert len(entries(world, alice)) == 8
    assert len(world.sent(ALICE, names.BACKUP_PUT)) == 1


def test_what_is_not_yet_written_survives_a_restart() -> None:
    world, alice, bob = pair()
    world.held = {names.BACKUP_PUT}
    bob.sends("one")
    world.settle()
    written(world, alice)
    held = {name: value for name, value in alice.step.records.held.items() if name.startswith("backup")}
    assert held
    for name, value in held.items():
        if not isinstance(value, InboundGroupSession | GroupSession):
            assert decoded(encoded(value, bytes(32)), type(value), bytes(32)) == value, name
    alice.starts(resumed=True)
    world.held = set()
    world.settle()
    assert len(entries(world, alice)) == 1


def test_a_session_that_comes_better_while_it_is_written_is_written_again() -> None:
    world, alice, bob = pair()
    bob.sends("one")
    world.settle()
    world.held = {names.BACKUP_PUT}
    written(world, alice)
    (name,) = alice.step.records.names("backup-due/")
    alice.step.position += 10
    alice.step.commit(lambda: inside_backup_writing.received(alice.step, BOB, name[-43:]))
    world.held = set()
    world.settle()
    written(world, alice)
    assert len(world.sent(ALICE, names.BACKUP_PUT)) == 2
    assert not list(alice.step.records.names("backup-due/"))


def test_all_sessions_go_into_another_backup_batch_by_batch_over_restarts() -> None:
    world, alice, _ = pair()
    for _ in range(120):
        session = InboundGroupSession(GroupSession().session_key)
        device = GroupSession().session_id  # any key will do
        origin = Inbound(world.room_id, b64(bytes([9] * 32)), device, "BOBDEV", alice.step.now)
        alice.step.records.put(f"in/{BOB}/{session.session_id}", session)
        alice.step.records.put(f"in-of/{BOB}/{session.session_id}", origin)
    world.backups[ALICE][0] = {}
    for _ in range(3):
        alice.starts(resumed=True)
        world.settle()
    assert state(alice).version == "2"
    assert {version for user, version, *_ in world.backed_up if user == ALICE} == {"2"}
    assert len(entries(world, alice)) == 120
    sizes = [
        len(json.loads(cast(Sealed, put.values["body"]).v)["rooms"]) for put in world.sent(ALICE, names.BACKUP_PUT)
    ]
    assert sizes == [1, 1, 1]
    assert not list(alice.step.records.names("backup-sweep"))


# ---------------------------------------------------------------- joined
def joined(secret: BackupKey | None = THEIR_BACKUP, backup: BackupKey | None = THEIR_BACKUP) -> tuple[World, Machine]:
    """Alice joins the identity of another client that has this backup, and this secret in its storage."""
    world, alice = elsewhere()
    if backup is not None:
        put_backup(world, backup)
    if secret is not None:
        put_secret(world, secret)
    assert recover(world, alice) == "ok"
    return world, alice


def test_the_recovery_key_joins_the_backup_as_well() -> None:
    world, alice = joined()
    assert private(alice) == THEIR_BACKUP
    assert state(alice).version == "1"
    assert len(world.backups[ALICE]) == 1
    assert not world.sent(ALICE, names.ACCOUNT_DATA_PUT)
    assert alice.step.records.get("storage", Storage) is None


def test_an_identity_without_a_backup_gets_one_when_it_is_joined() -> None:
    world, alice = joined(None, None)
    assert state(alice).version == "1"
    secret = secret_in(KEY, "k1", SECRET, world.account_data[ALICE, SECRET])
    assert read_key(secret) == private(alice)


def test_nothing_is_asked_of_a_backup_or_written_while_the_identity_is_not_ours() -> None:
    world, alice = elsewhere()
    put_backup(world, THEIR_BACKUP)
    world.settle()
    assert not [carried for _, carried in world.log if carried.request.startswith("backup")]
    assert not list(alice.step.records.names("backup"))


@pytest.mark.parametrize("secret", [None, THEIR_BACKUP])
def test_a_backup_whose_private_key_we_lack_is_never_written_to(secret: BackupKey | None) -> None:
    world, alice = joined(secret, FOREIGN)
    alice.sends("secret")
    world.settle()
    written(world, alice)
    assert state(alice).version == ""
    assert alice.half.own_identity(alice.step.records, alice.step.account).backup == "foreign"
    assert not world.sent(ALICE, names.BACKUP_PUT)
    assert len(world.backups[ALICE]) == 1
    assert not list(alice.step.records.names("backup-own"))


def test_the_recovery_key_given_again_joins_a_backup_that_was_made_anew() -> None:
    world, alice = joined()
    put_backup(world, FOREIGN)
    alice.starts(resumed=True)
    world.settle()
    assert state(alice).problem == "foreign"
    put_secret(world, FOREIGN)
    assert begin(alice) == "started"
    world.settle()
    assert outcome(alice) == "ok"
    assert (private(alice), state(alice).version) == (FOREIGN, "2")
    assert begin(alice) == "already-ours"


def test_a_secret_that_is_no_key_is_not_taken() -> None:
    world, alice = elsewhere()
    put_backup(world, THEIR_BACKUP)
    world.account_data[ALICE, SECRET] = plain(stored(KEY, "k1", SECRET, "AAAA", bytes(16)))
    assert recover(world, alice) == "ok"
    assert "backup-secret-malformed" in alice.step.codes()
    assert state(alice).problem == "foreign"


@pytest.mark.parametrize(
    "preference",
    [("m.key_backup", {"enabled": False}), ("m.org.matrix.custom.backup_disabled", {"disabled": True})],
)
def test_who_switched_the_backup_off_gets_none(preference: tuple[str, JSON]) -> None:
    world, alice = elsewhere()
    world.account_data[ALICE, preference[0]] = preference[1]
    assert recover(world, alice) == "ok"
    assert not world.backups[ALICE]
    assert state(alice).problem == "switched-off"
    alice.sends("text")
    world.settle()
    assert not list(alice.step.records.names("backup-own"))


def test_without_the_storage_key_none_is_made_until_the_recovery_key_is_given() -> None:
    world, alice = alone()
    world.backups[ALICE].clear()
    alice.step.records.put(inside_backup.RECORD, BackupState())
    alice.starts(resumed=True)
    world.settle()
    assert state(alice).problem == "no-storage-key"
    assert not world.backups[ALICE]
    key = identity_of(alice.step).storage_key
    assert key is not None
    from crypto.olm.storage import recovery_key

    assert recover(world, alice, recovery_key(StorageKey(key))) == "ok"
    assert state(alice).version == "1"
    assert identity_of(alice.step).own is not None


# ---------------------------------------------------------------- changed and deleted
def test_a_deleted_backup_is_made_again_under_the_same_key_and_everything_is_written_again() -> None:
    world, alice, bob = pair()
    bob.sends("one")
    world.settle()
    written(world, alice)
    key = private(alice)
    world.backups[ALICE][0] = {}
    bob.starts(resumed=False)
    bob.sends("two")
    world.settle()
    written(world, alice)  # not found
    alice.step.now += MINUTE_MS
    written(world, alice)
    written(world, alice)
    assert state(alice).version == "2"
    assert private(alice) == key
    assert {version for user, version, *_ in world.backed_up if user == ALICE} == {"1", "2"}
    assert len([1 for user, version, *_ in world.backed_up if (user, version) == (ALICE, "2")]) == 2


def test_a_backup_that_was_replaced_by_a_foreign_one_is_written_to_no_more() -> None:
    world, alice, bob = pair()
    put_backup(world, FOREIGN)
    bob.sends("one")
    world.settle()
    written(world, alice)  # the server: wrong version
    alice.step.now += MINUTE_MS
    written(world, alice)
    assert state(alice).problem == "foreign"
    assert not entries(world, alice)
    assert not world.sent(ALICE, names.BACKUP_PUT)[1:]


def test_a_server_that_keeps_refusing_is_not_asked_all_the_time() -> None:
    world, alice, bob = pair()
    world.failing = {names.BACKUP_PUT: names.FORBIDDEN}
    bob.sends("one")
    world.settle()
    for _ in range(50):
        written(world, alice)
    assert len(world.sent(ALICE, names.BACKUP_PUT)) == 1
    world.failing = {}
    alice.step.now += MINUTE_MS
    written(world, alice)
    assert len(entries(world, alice)) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"algorithm": 7}',
        json.dumps({"algorithm": ALGORITHM, "auth_data": {"public_key": "A" * 50}, "version": "2"}).encode(),
        b"x" * 100_000,
    ],
)
def test_a_version_that_cannot_be_read_changes_nothing_and_is_asked_again_later(body: bytes) -> None:
    world, alice, _ = pair()
    before = state(alice)
    world.held = {names.BACKUP_VERSION_GET}
    alice.starts(resumed=True)
    world.settle()
    _, carried = next(item for item in world.waiting if item[1].request == names.BACKUP_VERSION_GET)
    alice.answered(carried, body)
    after = state(alice)
    assert (after.key, after.version) == (before.key, before.version)
    assert after.not_before_ms == alice.step.now + HOUR_MS


def test_a_version_whose_id_cannot_be_named_in_a_request_is_not_used() -> None:
    world, alice, _ = pair()
    world.held = {names.BACKUP_VERSION_GET}
    alice.starts(resumed=True)
    world.settle()
    _, carried = next(item for item in world.waiting if item[1].request == names.BACKUP_VERSION_GET)
    told = {"algorithm": ALGORITHM, "auth_data": {"public_key": private(alice).public()}, "version": "a b\n"}
    alice.answered(carried, told)
    assert state(alice).version == "1"


def test_whatever_is_written_only_our_own_key_opens() -> None:
    """The property that counts: no server word makes a session go to another public key."""
    world, alice, bob = pair()
    key = private(alice)
    for number, public in enumerate((FOREIGN.public(), b64(bytes(32)), "", key.public())):
        world.backups[ALICE].append({"algorithm": ALGORITHM, "auth_data": {"public_key": public}})
        alice.step.now += HOUR_MS * 25
        bob.starts(resumed=False)
        bob.sends(f"t{number}")
        alice.starts(resumed=True)
        world.settle()
        written(world, alice)
    puts = world.sent(ALICE, names.BACKUP_PUT)
    assert puts
    for put in puts:
        body = json.loads(cast(Sealed, put.values["body"]).v)
        for sessions in body["rooms"].values():
            for session_id, entry in sessions["sessions"].items():
                read_entry(key, json.dumps(entry).encode(), session_id)
    assert {cast(Opaque, put.values["version"]).v for put in puts} == {"5"}
    assert all(FOREIGN.public() not in str(cast(Public, put.values["body"]).v) for put in puts)


def test_sessions_that_are_not_proved_are_not_written() -> None:
    world, alice, bob = pair()
    bob.sends("one")
    world.settle()
    (name,) = alice.step.records.names("in-of/")
    origin = alice.step.records.get(name, Inbound)
    assert origin is not None
    alice.step.records.put(name, replace(origin, source="backup"))
    written(world, alice)
    assert not entries(world, alice)


def test_the_requests_are_those_of_the_specification() -> None:
    version, room = "7/8", "!Room:one.example"
    values = {"version": version, "room": room, "session": "a/b+c", "body": b"{}"}
    told = {name: http_request(name, "k-1/+", values, ALICE) for name in REQUESTS}
    assert told[names.BACKUP_VERSION_GET] == ("GET", "/room_keys/version", None)
    assert told[names.BACKUP_VERSION_MAKE] == ("POST", "/room_keys/version", b"{}")
    assert told[names.BACKUP_PUT] == ("PUT", "/room_keys/keys?version=7%2F8", b"{}")
    path = "/room_keys/keys/%21Room%3Aone.example/a%2Fb%2Bc?version=7%2F8"
    assert told[names.BACKUP_GET] == ("GET", path, None)
    assert told[names.SEND_KEY_REQUEST] == ("PUT", "/sendToDevice/m.room_key_request/k-1%2F%2B", b"{}")


def test_an_identity_that_was_replaced_stops_the_writing() -> None:
    world, alice, bob = pair()
    alice.step.records.put("identity", replace(identity_of(alice.step), elsewhere=True))
    bob.sends("one")
    world.settle()
    written(world, alice)
    assert not world.sent(ALICE, names.BACKUP_PUT)
