"""How the legs and the account's own identity stand, for the operator. Nothing here is secret."""

import re
from collections import Counter
from collections.abc import Iterable

from adapters.inside_api import AccountPolicy, ContactPolicy, LegStatus, OwnIdentity, PeerIdentity
from adapters.matrix import inside_backup, inside_peers, inside_recovery
from adapters.matrix.inside_backup import BackupState
from adapters.matrix.inside_identity import RECORD, IdentityState
from adapters.matrix.inside_recovery import Recovery
from adapters.matrix.inside_state import Line, Outbound, OwnState, Parked, Room, Tracked
from adapters.matrix.inside_withheld import KEYLESS
from adapters.matrix.names import IDENTITY_CHANGED, NETWORK
from crypto.message import Assurance
from crypto.olm.identity import MASTER
from crypto.records import Records

MOST_DEVICES = 64
_DEVICE_ID = re.compile(r"[A-Za-z0-9._~:+/=-]{1,255}")
_UNREADABLE = "unreadable"


def leg(records: Records, contact: ContactPolicy) -> LegStatus:
    """How the leg to a contact stands."""
    line = records.get(f"line/{contact.address}", Line) or Line()
    room = records.get(f"room/{contact.address}", Room)
    waiting = line.next - line.first
    held = (records.get(name, Parked) for name in records.names(f"parked/{contact.address}/"))
    parked = Counter(entry.reason for entry in held if entry is not None)
    identity, pin = _peer(records, contact), inside_peers.pin_of(records, contact.address)
    return LegStatus(
        contact=contact.id,
        network=NETWORK,
        assurance=Assurance.END_TO_END,
        state=_state(records, contact, room, waiting),
        verified=identity.state == "verified",
        proof=pin.proof if pin is not None else None,
        peer=room.room_id if room is not None and room.room_id else None,
        waiting=waiting + sum(parked.values()),
        undecryptable={reason: count for reason, count in parked.items() if reason in KEYLESS},
        identity=identity,
    )


def own(records: Records, account: AccountPolicy) -> OwnIdentity:
    """How the account's own identity stands."""
    state = records.get(RECORD, IdentityState) or IdentityState()
    device = records.get("own", OwnState)
    told = records.get(f"user/{account.far_addresses.get(NETWORK)}", Tracked)
    listed = told.identity.master if told is not None and told.identity is not None else None
    word = "none" if device is None else "preparing"
    if state.elsewhere:
        word = "elsewhere" if state.own is None else "replaced"
    elif device is not None and state.own is not None and state.vouched == device.device.device_id:
        word = "ours"
    return OwnIdentity(
        network=NETWORK,
        state=word,
        key=listed if state.elsewhere or state.own is None else state.own.public(MASTER),
        recovery_key=_recovery_key(state),
        problem=state.problem or None,
        backup=inside_backup.word(records.get(inside_backup.RECORD, BackupState) or BackupState()),
        recovered=inside_recovery.outcome_of(records.get(inside_recovery.RECORD, Recovery)),
    )


def _recovery_key(state: IdentityState) -> str:
    if state.storage_key is not None:
        return "to-show" if state.stored else "none"
    return "shown" if state.own is not None else "none"


def _state(records: Records, contact: ContactPolicy, room: Room | None, waiting: int) -> str:
    out = records.get(f"out/{contact.address}", Outbound)
    pin = inside_peers.pin_of(records, contact.address)
    if pin is not None and pin.other is not None and inside_peers.asks_for_identity(contact):
        return IDENTITY_CHANGED
    if room is not None and room.problem is not None:
        return room.problem
    if room is not None and room.room_id and not room.joined_ms:
        return "invited"
    return "active" if out is not None and out.ready_until_ms else "preparing" if waiting else "none"


def _peer(records: Records, contact: ContactPolicy) -> PeerIdentity:
    pin = inside_peers.pin_of(records, contact.address)
    told = records.get(f"user/{contact.address}", Tracked) or Tracked()
    out = records.get(f"out/{contact.address}", Outbound)
    usable = inside_peers.problem_with(contact, pin) is None
    served = inside_peers.served(contact, told, told.devices) if usable else ()
    word, key = "none", None
    if pin is not None:
        word, key = "verified" if pin.verified else "pinned", pin.master
        if pin.other is not None:
            word, key = ("changed", pin.other) if pin.other else ("gone", pin.master)
    return PeerIdentity(
        state=word,
        key=key,
        served=_shown(device.device_id for device in served),
        withheld=_shown(device.device_id for device in told.devices if device not in served),
        rotated_ms=out.created_ms if out is not None else 0,
    )


def _shown(device_ids: Iterable[str]) -> tuple[str, ...]:
    """A homeserver can give a device any id; only plain ones are shown."""
    shown = (device if _DEVICE_ID.fullmatch(device) else _UNREADABLE for device in device_ids)
    return tuple(shown)[:MOST_DEVICES]
