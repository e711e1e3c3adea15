"""What a verification comes to: the contact's identity is pinned as verified, and signed by the account's own."""

from dataclasses import dataclass

import msgspec

from adapters.inside_api import ContactPolicy, Proof, Step
from adapters.matrix import inside_devices, inside_identity
from adapters.matrix.inside_peers import Pin, pin_of
from adapters.matrix.inside_state import HOUR_MS
from adapters.matrix.names import NETWORK, SIGNATURES_UPLOAD
from bridge.wire.link import Input
from bridge.wire.values import Public
from crypto.olm.canonical import canonical, decoded
from crypto.olm.errors import OlmError
from crypto.olm.identity import vouched_master

TIMER, RETRY = "verified", "vouching"
LANE = "identity"


@dataclass(frozen=True, slots=True)
class Vouching:
    """A signature that is to be known to the server. `request`: the key of the request under way."""

    master: str
    request: str = ""


class _Failures(msgspec.Struct):
    failures: dict[str, object] = {}


def proved(step: Step, contact: ContactPolicy, master: str, proof: Proof) -> None:
    """The contact's master key is theirs. The caller has seen to it that it is the one shown now."""
    step.records.put(f"pin/{contact.address}", Pin(master, verified=True, proof=proof))
    step.records.put(f"vouching/{contact.address}", Vouching(master))
    step.report("identity-verified", contact.id)
    step.wake_at(TIMER, step.now_ms())  # what waited for it is looked at in a step of its own
    vouch(step, contact)


def compared(step: Step, contact: ContactPolicy) -> None:
    """The operator compared the pinned key (inside_peers.decided): that proves as much as emoji do."""
    pin = pin_of(step.records, contact.address)
    if pin is not None and pin.verified:
        proved(step, contact, pin.master, Proof("key", "operator", step.now_ms()))


def withdrawn(step: Step, contact: ContactPolicy) -> None:
    """The contact is not vouched for any more. A signature that the server has stays there: it has no way to go."""
    step.records.delete(f"vouching/{contact.address}")


def vouch(step: Step, contact: ContactPolicy) -> None:
    """Sign the contact's master key and tell the server, so that the user's other clients know it as verified."""
    name = f"vouching/{contact.address}"
    vouching, state = step.records.get(name, Vouching), inside_identity.state_of(step)
    told = inside_devices.tracked(step, contact.address)
    if vouching is None or vouching.request or state.own is None or state.elsewhere:
        return
    if told is None or told.identity is None or told.identity.master != vouching.master:
        step.records.delete(name)  # another one by now
        return
    signed = vouched_master(state.own, told.identity)
    body = canonical({contact.address: {vouching.master: signed}})
    key = step.carry(SIGNATURES_UPLOAD, {"body": Public(v=body)}, lane=LANE)
    step.records.put(name, Vouching(vouching.master, key))


def answered(step: Step, answer: Input) -> None:
    """The outcome of a signature's upload."""
    for name in list(step.records.names("vouching/")):
        vouching = step.records.get(name, Vouching)
        if vouching is None or not vouching.request or vouching.request != answer.key:
            continue
        contact = step.account.contact_by_address(NETWORK, name.removeprefix("vouching/"))
        whose = contact.id if contact is not None else None
        if answer.code == "ok" and not _refused(answer):
            step.records.delete(name)
            step.report("identity-vouched", whose)
        else:
            step.records.put(name, Vouching(vouching.master))
            step.report("vouching-failed", whose)
            step.wake_at(RETRY, step.now_ms() + HOUR_MS)


def woken(step: Step) -> None:
    """Try again."""
    for contact in step.account.contacts:
        if contact.network == "matrix":
            vouch(step, contact)


def _refused(answer: Input) -> bool:
    try:
        return bool(decoded(answer.body, _Failures).failures)
    except OlmError:
        return True
