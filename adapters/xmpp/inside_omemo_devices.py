"""Whom of the user's OMEMO devices a message is encrypted for, and with what (decisions 0168, 0169)."""

from dataclasses import dataclass

from adapters.xmpp.inside_leg import LegStep
from adapters.xmpp.inside_omemo_finding import ask_bundle, drop_offer, give_up_asking, lists_awaited, offered_by
from adapters.xmpp.inside_omemo_keeping import lacks, user_of
from adapters.xmpp.inside_omemo_mending import is_healing
from adapters.xmpp.inside_omemo_own import device_id_of, omemo_on, store_of
from adapters.xmpp.inside_omemo_patience import may_wait
from adapters.xmpp.inside_omemo_state import AGAIN_MS, MAX_DEVICES, Device, UserDevices, devices_in
from adapters.xmpp.inside_omemo_trust import is_believed
from adapters.xmpp.pep.names import FORBIDDEN
from crypto.omemo.conversation import forgotten, missing_sessions, session_identity
from crypto.omemo.model import Peer, Recipient
from crypto.omemo.names import Namespace


@dataclass(frozen=True, slots=True)
class Recipients:
    """Whom a message is encrypted for. `waiting`: more may be known soon, nothing should be sent yet.

    `refused`: why there is nobody, a code. `left_out`: ids of devices that get nothing.
    """

    ready: tuple[Recipient, ...] = ()
    waiting: bool = False
    refused: str | None = None
    left_out: tuple[int, ...] = ()


def recipients(at: LegStep) -> Recipients:
    """The user's devices as they can be reached now. What is missing for that is asked for."""
    if not omemo_on(at.contact) or device_id_of(at) is None:
        return Recipients(refused="omemo-off")
    give_up_asking(at)
    waiting = lists_awaited(at)
    known, now = devices_in(at.step.records), at.step.now_ms()
    ready: list[Recipient] = []
    left_out: list[int] = []
    untrusted = False
    for device in sorted(_active(known), key=_last_asked):
        forms = [form for form in known.forms(device) if not device.lacks(form, now) or _stands(at, device, form)]
        if device.shown or (device.identity and not is_believed(at, device.identity)):
            untrusted = True
            left_out.append(device.id)
        elif not forms:
            left_out.append(device.id)
        elif (found := _recipient(at, device, forms[0])) is not None:
            ready.append(found)
        elif may_wait(at):
            waiting = True
        else:  # it is asked for its keys all the same
            left_out.append(device.id)
    if ready or waiting:
        return Recipients(tuple(ready), waiting, None, tuple(left_out))
    return Recipients(refused=_why(known, untrusted=untrusted, any_left=bool(left_out)), left_out=tuple(left_out))


def _active(known: UserDevices) -> list[Device]:
    """Those that are in a list now; of very many, those that were met first."""
    return [device for device in known.devices if known.forms(device)][:MAX_DEVICES]


def _last_asked(device: Device) -> int:
    """One device is asked for its keys at a time: whoever never answered comes after the others."""
    return max((each.until_ms for each in device.missing), default=0)


def _why(known: UserDevices, *, untrusted: bool, any_left: bool) -> str:
    if untrusted:
        return "omemo-not-verified"
    if any_left:
        return "omemo-no-keys"
    closed = any(listing.code == FORBIDDEN for listing in known.listings)
    return "omemo-forbidden" if closed else "omemo-no-devices"


def _recipient(at: LegStep, device: Device, form: Namespace) -> Recipient | None:
    """The device, with what it takes to begin a session if there is none; None: that is being asked for."""
    peer = Peer(form, user_of(at), device.id)
    store = store_of(at)
    if may_wait(at) and is_healing(at, peer) and not device.lacks(form, at.step.now_ms()):
        ask_bundle(at, peer)
        return None
    if _stands(at, device, form):
        drop_offer(at, peer)
        return Recipient(peer, None, device.identity)
    if not missing_sessions(store, (peer,)):
        forgotten(store, peer)  # it is with who showed another key
    offered = offered_by(at, peer)
    if offered is not None and offered.identity_key == device.identity:
        return Recipient(peer, offered, device.identity)
    ask_bundle(at, peer)
    return None


def _stands(at: LegStep, device: Device, form: Namespace) -> bool:
    """Whether there is a session that needs no keys of the device's."""
    store, peer = store_of(at), Peer(form, user_of(at), device.id)
    return not missing_sessions(store, (peer,)) and session_identity(store, peer) == device.identity


def unusable(at: LegStep, peer: Peer) -> None:
    """What `recipients` gave was of no use for a device: its keys are asked for again, but not at once."""
    drop_offer(at, peer)
    lacks(at, peer.device_id, peer.namespace, AGAIN_MS)
