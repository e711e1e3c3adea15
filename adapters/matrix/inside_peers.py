"""Which devices of a contact are given keys, and which are believed: the operator's policy, and the pinned identity.

The master key of a contact is pinned when it is first seen. What its owner's self-signing key vouches for is served and
believed without a question; when another master key takes its place, nothing passes until the operator approves.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from adapters.inside_api import ContactPolicy, Proof, Step
from adapters.matrix import inside_devices, inside_notices
from adapters.matrix.inside_state import Tracked
from adapters.matrix.names import (
    IDENTITY_CHANGED,
    NOT_CROSS_SIGNED,
    NOT_VERIFIED,
    TOLD_IDENTITY_CHANGED,
    TOLD_IDENTITY_GONE,
    TOLD_NOT_VERIFIED,
)
from crypto.olm.device import Device
from crypto.records import Records

OPTION = "trust"


class Trust(StrEnum):
    """Whom an operator lets read and speak as a contact."""

    CROSS_SIGNED = "cross-signed"
    """Devices that the contact's identity vouches for. The default."""
    VERIFIED = "verified"
    """The same, once somebody verified that identity."""
    ANY_DEVICE = "any-device"
    """Whatever the homeserver lists."""


@dataclass(frozen=True, slots=True)
class Pin:
    """The master key a contact is known by. `other`: the one shown in its place, empty when none is shown any more."""

    master: str
    verified: bool = False
    other: str | None = None
    proof: Proof | None = None
    """Why it is the one that counts."""


def trust_of(contact: ContactPolicy) -> Trust:
    """The policy for the contact. What cannot be read counts as the strictest."""
    try:
        return Trust(contact.options.get(OPTION, Trust.CROSS_SIGNED))
    except ValueError:
        return Trust.VERIFIED


def pin_of(records: Records, address: str) -> Pin | None:
    """What is pinned for a contact."""
    return records.get(f"pin/{address}", Pin)


def listed(step: Step, contact: ContactPolicy) -> None:
    """The contact's keys came: pin the identity, or notice that it is another one."""
    told = inside_devices.tracked(step, contact.address)
    if told is None or not told.known:
        return
    pin = pin_of(step.records, contact.address)
    shown = told.identity.master if told.identity is not None else None
    if pin is None:
        if shown is not None:
            proof = Proof("first-use", "nobody", step.now_ms())
            step.records.put(f"pin/{contact.address}", Pin(shown, proof=proof))
            step.report("identity-pinned", contact.id)
        return
    other = None if shown == pin.master else shown or ""
    if other != pin.other:
        step.records.put(f"pin/{contact.address}", replace(pin, other=other))
        step.report("identity-restored" if other is None else IDENTITY_CHANGED, contact.id)
        _tell(step, contact, other)


def problem(step: Step, contact: ContactPolicy) -> str | None:
    """Why nothing may be sent to the contact's devices, as a code; None when there is no reason."""
    return problem_with(contact, pin_of(step.records, contact.address))


def problem_with(contact: ContactPolicy, pin: Pin | None) -> str | None:
    """`problem`, for a contact that is known by this pin."""
    trust = trust_of(contact)
    if trust is Trust.ANY_DEVICE:
        return None
    if pin is None:
        return NOT_CROSS_SIGNED
    if pin.other is not None:
        return IDENTITY_CHANGED
    return NOT_VERIFIED if trust is Trust.VERIFIED and not pin.verified else None


def asks_for_identity(contact: ContactPolicy) -> bool:
    """Whether the contact's identity decides who is served."""
    return trust_of(contact) is not Trust.ANY_DEVICE


def served(contact: ContactPolicy, told: Tracked, devices: Sequence[Device]) -> tuple[Device, ...]:
    """Those of the contact's devices that are given keys."""
    if trust_of(contact) is Trust.ANY_DEVICE:
        return tuple(devices)
    return tuple(device for device in devices if device.device_id in told.vouched)


def believed(step: Step, contact: ContactPolicy, device_id: str) -> str | None:
    """Why what a device of the contact's sent is not shown, as a code; None when it is."""
    if trust_of(contact) is Trust.ANY_DEVICE:
        return None
    reason = problem(step, contact)
    if reason is not None:
        return reason
    told = inside_devices.tracked(step, contact.address)
    return None if told is not None and device_id in told.vouched else "unsigned-device"


def decided(step: Step, contact: ContactPolicy, decision: str) -> str:
    """The operator's decision: `verify` vouches for the pinned identity, `approve` takes the one that is shown now.

    `distrust` forgets both. Returns a code.
    """
    pin = pin_of(step.records, contact.address)
    if pin is None:
        return "no-identity"
    if decision == "distrust":
        step.records.delete(f"pin/{contact.address}")
        _tell(step, contact, None)
        listed(step, contact)
        return "ok"
    if decision == "verify":
        if pin.other is not None:
            return IDENTITY_CHANGED
        step.records.put(f"pin/{contact.address}", replace(pin, verified=True))
        inside_notices.over(step, contact, TOLD_NOT_VERIFIED)
        return "ok"
    if decision == "approve" and pin.other:
        proof = Proof("approved", "operator", step.now_ms())
        step.records.put(f"pin/{contact.address}", Pin(pin.other, proof=proof))
        _tell(step, contact, None)
        return "ok"
    return "nothing-to-approve" if decision == "approve" else "unknown-decision"


def _tell(step: Step, contact: ContactPolicy, other: str | None) -> None:
    """Tell the user that messages are held because of the identity, once; None: they are not (any more)."""
    code = TOLD_IDENTITY_CHANGED if other else TOLD_IDENTITY_GONE
    told = {TOLD_IDENTITY_CHANGED, TOLD_IDENTITY_GONE} - ({code} if other is not None else set())
    inside_notices.over(step, contact, *sorted(told))
    if other is not None and asks_for_identity(contact):
        inside_notices.tell(step, contact, code)
