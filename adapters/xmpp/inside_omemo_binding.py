"""Which key each of the user's OMEMO devices has, and what its messages are worth (decision 0169).

`omemo-told`   Told   what the user was told already
"""

from dataclasses import dataclass, replace

from adapters.xmpp.inside_leg import LegStep, arm
from adapters.xmpp.inside_omemo_keeping import keep_devices, user_of
from adapters.xmpp.inside_omemo_own import store_in, store_of
from adapters.xmpp.inside_omemo_state import Device, devices_in
from adapters.xmpp.inside_omemo_trust import (
    DEVICE_CHANGED,
    DEVICE_NEW,
    VERIFIED,
    decided,
    is_believed,
    is_closed,
    met,
    standing_of,
    strict,
)
from adapters.xmpp.inside_omemo_vouching import Change, heeded
from crypto.message import Standing
from crypto.omemo.conversation import forgotten, session_identity
from crypto.omemo.device import own
from crypto.omemo.model import Peer
from crypto.omemo.names import Namespace
from crypto.records import Records

ANNOUNCE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Heard:
    """What a message from a device is worth. `refused`: why it is not passed on, a code."""

    standing: Standing
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """Codes of what the user was told, until it is different; when they were told of devices last."""

    codes: tuple[str, ...] = ()
    """With `/CONTACT` for those of contacts that believe fewer devices than others do."""
    devices_ms: tuple[tuple[str, int], ...] = ()


def told_once(at: LegStep, code: str) -> None:
    """Tell the user a sentence about the devices, unless they were told it already."""
    told = at.step.records.get("omemo-told", Told) or Told()
    known = f"{code}/{at.contact.id}" if strict(at.step.records, at.contact) else code
    if known not in told.codes:
        at.step.records.put("omemo-told", replace(told, codes=(*told.codes, known)))
        at.notice(at.step.account.near_address, code)


def told_again(at: LegStep) -> None:
    """What was wrong is not any more: should it come back, the user is told again. Of others it says nothing."""
    _forget_told(at.step.records, ("", at.contact.id))


def forget_told(records: Records, contact: str) -> None:
    """The contact is not on the map any more."""
    _forget_told(records, (contact,))


def _forget_told(records: Records, whose: tuple[str, ...]) -> None:
    told = records.get("omemo-told", Told) or Told()
    left = tuple(code for code in told.codes if code.partition("/")[2] not in whose)
    if left != told.codes:
        records.put("omemo-told", replace(told, codes=left))


def announce(at: LegStep, code: str) -> None:
    """Tell the user of a device to which nothing is sent. A server may add very many at once: then of the first."""
    told, now = at.step.records.get("omemo-told", Told) or Told(), at.step.now_ms()
    before = dict(told.devices_ms)
    if now >= before.get(code, 0) + ANNOUNCE_MS:
        at.step.records.put("omemo-told", replace(told, devices_ms=tuple({**before, code: now}.items())))
        at.notice(at.step.account.near_address, code)


def pinned(at: LegStep, device_id: int) -> bytes | None:
    """The key that messages of a device must come with, once no new one is trusted blindly; None: any.

    A key that is not believed itself keeps no other away: its holder may have been the first to show this number.
    """
    device = devices_in(at.step.records).find(device_id)
    bound = device.identity if device is not None else b""
    return bound if bound and is_closed(at) and is_believed(at, bound) else None


def heard(at: LegStep, device_id: int, identity_key: bytes, namespace: Namespace) -> Heard:
    """A message of a device was opened, by a session with this key: whether it counts as the user's."""
    ours = own(store_of(at))
    if ours is not None and ours.identity_key == identity_key:  # somebody mirrors what we send
        at.report("omemo-own-key")
        return Heard(Standing.ENCRYPTED, "omemo-distrusted")
    known = devices_in(at.step.records)
    device = known.find(device_id)
    if device is None:
        device = Device(device_id)
        keep_devices(at, known.doubted(at.step.now_ms()))  # it should stand in a list
    if namespace not in device.spoke:
        device = replace(device, spoke=(*device.spoke, namespace))
    showed(at, device, identity_key)
    standing = standing_of(at, identity_key)
    if standing == VERIFIED:
        return Heard(Standing.VERIFIED)
    refused = None if is_believed(at, identity_key) else f"omemo-{_REFUSED[standing]}"
    return Heard(Standing.ENCRYPTED, refused)


_REFUSED = {"undecided": "not-verified", "distrusted": "distrusted"}


def showed(at: LegStep, device: Device, identity: bytes) -> bool:
    """A device showed a key: bind it, or tell the user; whether the device may be written to by it."""
    new = met(at, identity, devices_in(at.step.records).bound)
    vouched = heeded(at, identity) if new else []
    usable = _bound(at, device, identity, new=new)
    if vouched:
        _follow(at, vouched)
        heed(at)
    return usable


def _bound(at: LegStep, device: Device, identity: bytes, *, new: bool) -> bool:
    known = devices_in(at.step.records)
    changed = bool(device.identity) and device.identity != identity
    if not changed:
        keep_devices(at, known.with_device(replace(device, identity=identity, shown=b"")))
        if new and not is_believed(at, identity):
            announce(at, DEVICE_NEW)
        return is_believed(at, identity)
    verified = standing_of(at, identity) == VERIFIED
    if device.shown != identity and not verified:
        at.report("omemo-device-changed")
        announce(at, DEVICE_CHANGED)
    if not verified and (is_closed(at) or not is_believed(at, identity)):
        keep_devices(at, known.with_device(replace(device, shown=identity)))
        return False
    _rebind(at, device, identity)
    return True


def _rebind(at: LegStep, device: Device, identity: bytes) -> None:
    """The device has another key: nothing that was agreed on with the old one is used, by any contact."""
    known = devices_in(at.step.records)
    keep_devices(at, known.with_device(replace(device, identity=identity, shown=b"", missing=())))
    for contact in at.step.account.contacts:
        store = store_in(at.step.records, contact.id)
        for namespace in Namespace:
            peer = Peer(namespace, user_of(at), device.id)
            if session_identity(store, peer) not in (None, identity):
                forgotten(store, peer)
            at.step.records.delete(f"omemo-bundle/{contact.id}/{namespace.short}/{device.id}")


def trust_key(at: LegStep, decision: str, fingerprint: str, by: str) -> str:
    """`verify` or `distrust` the key of a fingerprint; returns a code. A device that showed it has it from then on."""
    code, identity = decided(at, decision, fingerprint, by)
    if code != "ok":
        return code
    told = at.step.records.get("omemo-told", Told)
    if told is not None and told.devices_ms:  # somebody has looked at the devices: the next one is news
        at.step.records.put("omemo-told", replace(told, devices_ms=()))
    _settled(at, identity, believed=decision == "verify")
    heed(at)
    return code


def heed(at: LegStep) -> None:
    """Do as the user's verified devices say of others of theirs (decision 0179); what waited for that goes on."""
    changes = heeded(at)
    for change in changes:
        _settled(at, change.identity, believed=change.state == VERIFIED)
    _follow(at, changes)


def _follow(at: LegStep, changes: list[Change]) -> None:
    for code in dict.fromkeys(change.code for change in changes):
        at.notice(at.step.account.near_address, code)
    if changes:
        arm(at.step, at.step.now_ms() + 1)  # other contacts may have something for these devices as well


def _settled(at: LegStep, identity: bytes, *, believed: bool) -> None:
    """It was decided about a key: a device that showed it has it from then on, or goes on with its old one."""
    for device in devices_in(at.step.records).devices:
        if device.shown == identity and believed:
            _rebind(at, device, identity)
        elif device.shown == identity or (device.shown and device.identity == identity and believed):
            keep_devices(at, devices_in(at.step.records).with_device(replace(device, shown=b"")))
