"""An event whose key never reached the gateway, and another client of the user's that has it."""

import json
from dataclasses import replace
from typing import cast

from vodozemac import GroupSession, InboundGroupSession

from adapters.matrix import inside_backup, inside_missing, names
from adapters.matrix.inside_backup import BackupState
from adapters.matrix.inside_own import own_state
from adapters.matrix.inside_state import Inbound, Parked
from crypto.olm.backup import BackupKey, Origin, entry
from crypto.olm.forwarded import FORWARDED, forward_content
from tests.unit.matrix_world import ALICE, BOB, JSON, Machine, World, pair


def backup_key(machine: Machine) -> BackupKey:
    """The private key of its backup."""
    state = machine.step.records.get(inside_backup.RECORD, BackupState)
    assert state is not None
    assert state.key is not None
    return BackupKey(state.key)


def tablet_of(world: World, alice: Machine, device: str = "TABLET") -> Machine:
    """Another client of the user's, with the same identity and the same backup."""
    tablet = world.join(ALICE, device, BOB)
    tablet.step.records.put(inside_backup.RECORD, BackupState(key=backup_key(alice).octets, stored=True))
    tablet.starts(resumed=True)
    world.settle()
    world.tell_room()
    world.settle()
    return tablet


def keyless(text: str = "late", *, sent: int = 1, tablet: bool = True) -> tuple[World, Machine, Machine]:
    """Bob wrote, and only Alice's other client was given the key; the gateway has parked what came."""
    world, alice, bob = pair()
    if tablet:
        tablet_of(world, alice)
    lose_next_key(world, bob, [f"{text} {number}" if sent > 1 else text for number in range(sent)])
    assert alice.texts() == []
    return world, alice, bob


def lose_next_key(world: World, bob: Machine, texts: list[str]) -> None:
    """Bob writes in a new session, whose key does not reach the gateway."""
    world.to_device_held = True
    for text in texts:
        bob.sends(text)
    world.settle()
    world.to_device = [item for item in world.to_device if (item[0].user, item[0].device) != (ALICE, "ALICEDEV")]
    world.to_device_held = False
    world.flush_to_device()
    world.settle()


def look(world: World, alice: Machine, times: int = 1) -> None:
    """Time passes, and what is missing is looked for."""
    for _ in range(times):
        alice.step.now = max(alice.step.now, alice.step.wakes.get(inside_missing.TIMER, 0))
        alice.wakes(inside_missing.TIMER)
        world.settle()


def backed_up(world: World) -> None:
    """The other client writes its keys."""
    world.machines[ALICE, "TABLET"].wakes("backup")
    world.settle()


def session_of(event: JSON) -> str:
    """The session that an event of the timeline is encrypted by."""
    return str(event["content"]["session_id"])


def bobs_device(world: World) -> Origin:
    """The keys of Bob's device."""
    keys = world.device_keys[BOB]["BOBDEV"]["keys"]
    return Origin(keys["curve25519:BOBDEV"], keys["ed25519:BOBDEV"])


def put_entry(
    world: World, alice: Machine, session: InboundGroupSession, origin: Origin, session_id: str | None = None
) -> None:
    """The server, which knows the public key, puts an entry of its own making into the backup."""
    made = entry(BackupKey(backup_key(alice).octets), session, origin, bytes([3] * 32), believed=True)
    where = (ALICE, str(len(world.backups[ALICE])), world.room_id, session_id or session.session_id)
    world.backed_up[where] = cast(JSON, json.loads(json.dumps(made)))


def session_at(bob: Machine) -> InboundGroupSession:
    """Bob's session from its present index on."""
    group = bob.step.records.get(f"out-session/{ALICE}", GroupSession)
    assert group is not None
    return InboundGroupSession(group.session_key)


def parked(alice: Machine) -> list[str]:
    """Why events are parked."""
    held = (alice.step.records.get(name, Parked) for name in alice.step.records.names("parked/"))
    return [entry.reason for entry in held if entry is not None]


def forward(world: World, sender: Machine, session: InboundGroupSession, origin: Origin, room_id: str = "") -> None:
    """A machine sends the gateway a forwarded key by its own Olm session."""
    from adapters.matrix import inside_olm
    from crypto.olm.pairwise import encrypted_for

    alice = world.machines[ALICE, "ALICEDEV"]
    target, own = own_state(alice.step), own_state(sender.step)
    assert target is not None
    assert own is not None
    device = replace(target.device)
    olm = inside_olm.sending_session(sender.step, device.curve25519)
    if olm is None:
        sender.step.commit(lambda: inside_olm.claim(sender.step, [device]))
        world.settle()
        olm = inside_olm.sending_session(sender.step, device.curve25519)
    assert olm is not None
    content = forward_content(session, room_id or world.room_id, origin.curve25519, origin.ed25519)
    sealed = encrypted_for(olm, own.device, device, FORWARDED, content)
    alice.arrives(names.TO_DEVICE, {"type": "m.room.encrypted", "sender": sender.user, "content": sealed})
    world.settle()


def origin_of(alice: Machine, session_id: str) -> Inbound | None:
    """What is known of a session of Bob's."""
    return alice.step.records.get(f"in-of/{BOB}/{session_id}", Inbound)
