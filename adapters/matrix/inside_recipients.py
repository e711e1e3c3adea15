"""Who is given the key of a room's session, and who is told that they are not."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec

from adapters.inside_api import ContactPolicy, Step
from adapters.matrix import inside_devices, inside_identity, inside_peers
from adapters.matrix.inside_state import Outbound, OwnState, Share
from adapters.matrix.names import DEVICES_UNKNOWN, IDENTITY_CHANGED, NO_DEVICES, NOT_CROSS_SIGNED, SEND_WITHHELD
from bridge.wire.values import Public
from crypto.olm.device import MEGOLM, Device

SHARED_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class Recipients:
    """Devices of the contact and of the user: those that are given keys, and the others."""

    served: tuple[Device, ...]
    excluded: tuple[Device, ...]


@dataclass(frozen=True, slots=True)
class Nobody:
    """Why nothing can be sent. `held`: until the operator decided; else what waits fails."""

    code: str
    held: bool = False


def policy_of(contact: ContactPolicy) -> str:
    """What the operator says about whom keys go to: a session is not used under another word than it was made under."""
    return f"{contact.require.value} {contact.options.get('trust', '')}"


def share_of(device: Device) -> Share:
    """How a device is remembered as one that was served."""
    return Share(device.user_id, device.device_id, device.curve25519)


def of(step: Step, contact: ContactPolicy, own: OwnState) -> Recipients | Nobody | None:
    """Whom a message to the contact goes to; None while that is being asked for."""
    theirs = inside_devices.current_devices(step, contact.address)
    others = inside_devices.current_devices(step, own.device.user_id)
    told = inside_devices.tracked(step, contact.address)
    if theirs is None or others is None or told is None:
        lost = any(inside_devices.given_up(step, user) for user in (contact.address, own.device.user_id))
        return Nobody(DEVICES_UNKNOWN) if lost else None
    if not theirs:
        return Nobody(NO_DEVICES)
    reason = inside_peers.problem(step, contact)
    if reason is not None:
        return Nobody(reason, held=reason == IDENTITY_CHANGED)
    chosen = inside_peers.served(contact, told, theirs)
    if not chosen:
        return Nobody(NOT_CROSS_SIGNED)
    served = (*chosen, *inside_identity.own_served(step, own, others))
    return Recipients(served, tuple(device for device in (*theirs, *others) if device not in served))


def withhold(step: Step, contact: ContactPolicy, own: OwnState, out: Outbound, excluded: Sequence[Device]) -> Outbound:
    """Tell the devices that are not given the session's key that they are not, once (spec: m.room_key.withheld)."""
    untold = [device for device in excluded if share_of(device) not in out.withheld][:SHARED_AT_ONCE]
    if not untold:
        return out
    content = {
        "algorithm": MEGOLM,
        "room_id": out.room_id,
        "session_id": out.session_id,
        "sender_key": own.device.curve25519,
        "code": "m.unverified",
        "reason": "The device is not signed by its owner.",
    }
    messages: dict[str, dict[str, object]] = {}
    for device in untold:
        messages.setdefault(device.user_id, {})[device.device_id] = content
    body = msgspec.json.encode({"messages": messages})
    step.carry(SEND_WITHHELD, {"body": Public(v=body)}, lane="to-device")
    step.report("key-withheld-from", contact.id)
    out = replace(out, withheld=(*out.withheld, *(share_of(device) for device in untold)))
    step.records.put(f"out/{contact.address}", out)
    return out
