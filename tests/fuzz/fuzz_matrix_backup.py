"""Fuzz target: whatever is said of the backup, and whoever asks for keys, no step raises and nothing is taken.

The first octet chooses what is read: an answer about the backup or an entry of it, what an entry holds once it is
decrypted (its writer need only know the public key), or a to-device event of key requests. The rest is the body.
"""

import json
import sys
from collections.abc import Callable
from functools import partial
from typing import cast

from adapters.matrix import inside_backup, names
from adapters.matrix.inside_backup import BackupState
from bridge.wire.values import Sealed
from crypto.olm.backup import BackupKey, read_entry, sealed
from crypto.olm.errors import OlmError
from crypto.olm.forwarded import received_forward
from tests.unit.fake_step import Carried
from tests.unit.late_world import keyless, look
from tests.unit.matrix_world import ALICE, BOB, Machine, World

BACKUP = (names.BACKUP_VERSION_GET, names.BACKUP_VERSION_MAKE, names.BACKUP_PUT, names.BACKUP_GET)
TO_DEVICE = ("m.room_key_request", "m.room_key.withheld", "m.secret.request", "m.forwarded_room_key")


def _waiting(request: str) -> tuple[Machine, Carried]:
    """A gateway that awaits the answer to such a request."""
    world, alice, bob = keyless()
    world.held = {request}
    if request == names.BACKUP_VERSION_MAKE:
        world.backups[ALICE].clear()
    if request == names.BACKUP_PUT:
        bob.sends("seen")
        bob.starts(resumed=False)
        bob.sends("written")
        world.settle()
        alice.wakes("backup")
    elif request == names.BACKUP_GET:
        look(world, alice)
    else:
        alice.starts(resumed=True)
    world.settle()
    return next(item for item in world.waiting if item[1].request == request)


_STATES = {request: _waiting(request) for request in BACKUP}
_ALICE, _FETCH = _STATES[names.BACKUP_GET]
_KEY = BackupKey(cast(bytes, cast(BackupState, _ALICE.step.records.get(inside_backup.RECORD, BackupState)).key))
_WORLD: World = keyless()[0]
_LISTENER = _WORLD.machines[ALICE, "ALICEDEV"]


def _undone(machine: Machine, act: Callable[[], None]) -> None:
    held = dict(machine.step.records.held)
    try:
        act()
        _require_own_key(machine)
        assert not machine.step.deliveries, "nobody who can be believed wrote this"
    finally:
        machine.step.records.held = held
        machine.step.take()


def _require_own_key(machine: Machine) -> None:
    """Whatever goes into a backup, our key opens."""
    for carried in machine.step.take():
        if carried.request == names.BACKUP_PUT:
            for room in json.loads(cast(Sealed, carried.values["body"]).v)["rooms"].values():
                for session_id, entry in room["sessions"].items():
                    read_entry(_own_key(machine), json.dumps(entry).encode(), session_id)


def _own_key(machine: Machine) -> BackupKey:
    state = machine.step.records.get(inside_backup.RECORD, BackupState)
    assert state is not None
    assert state.key is not None
    return BackupKey(state.key)


def _answer(request: str) -> Callable[[bytes], None]:
    machine, carried = _STATES[request]
    return lambda body: _undone(machine, lambda: machine.answered(carried, body))


def _inner(body: bytes) -> None:
    """What an entry holds is of the attacker's making as well."""
    entry = json.dumps({"session_data": sealed(_KEY.public(), body, bytes([5] * 32))}).encode()
    _undone(_ALICE, lambda: _ALICE.answered(_FETCH, entry))


def _forward(body: bytes) -> None:
    try:
        received_forward(body)
    except OlmError:
        return


def _event(kind: str) -> Callable[[bytes], None]:
    def act(body: bytes) -> None:
        if kind == "m.forwarded_room_key":
            _forward(body)
        for sender in (ALICE, BOB):
            start = json.dumps({"type": kind, "sender": sender})[:-1].encode()
            _undone(_LISTENER, partial(_LISTENER.arrives, names.TO_DEVICE, start + b',"content":' + body + b"}"))

    return act


ACTS = [*(_answer(request) for request in BACKUP), _inner, *(_event(kind) for kind in TO_DEVICE)]


def target(data: bytes) -> None:
    """Nothing may be raised, delivered, or written for another key."""
    if data:
        ACTS[data[0] % len(ACTS)](data[1:])


def main() -> None:
    """Run under atheris."""
    import atheris

    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
