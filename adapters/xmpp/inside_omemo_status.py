"""OMEMO devices as operator and user see them: the contacts' own, and the user's with what is believed of them."""

from collections.abc import Sequence
from dataclasses import replace

from adapters.inside_api import AccountPolicy, ContactDevice, ContactPolicy, LegStatus, UserDevice
from adapters.xmpp.inside_omemo_own import omemo_on, store_in
from adapters.xmpp.inside_omemo_state import Device, UserDevices, devices_in
from adapters.xmpp.inside_omemo_trust import BLIND, UNDECIDED, Keys, keys_in, strict
from crypto.omemo.device import own
from crypto.records import Records


def with_devices(legs: Sequence[LegStatus], records: Records, account: AccountPolicy) -> list[LegStatus]:
    """The legs, with each contact's device; the first of them with the user's as well, which are the account's."""
    found: list[LegStatus] = []
    for each in legs:
        leg, contact = each, account.contact_by_id(each.contact)
        ours = own(store_in(records, leg.contact)) if contact is not None and omemo_on(contact) else None
        if contact is not None and ours is not None:
            first = not any(before.device is not None for before in found)
            devices = _devices(records, contact) if first else ()
            leg = replace(leg, device=ContactDevice(ours.device_id, ours.identity_key.hex(), devices))
        found.append(leg)
    return found


def _devices(records: Records, contact: ContactPolicy) -> tuple[UserDevice, ...]:
    known, keys, blind = devices_in(records), keys_in(records), not strict(records, contact)
    return tuple(_device(each, known, keys, blind=blind) for each in known.devices)


def _device(device: Device, known: UserDevices, keys: Keys, *, blind: bool) -> UserDevice:
    key = device.shown or device.identity
    found = keys.find(key)
    state = "unknown" if not key else "changed" if device.shown else found.state if found is not None else UNDECIDED
    if state == BLIND and not blind:
        state = UNDECIDED
    by, voucher = (found.by, found.voucher) if found is not None and found.state == state else ("nobody", 0)
    return UserDevice(device.id, state, key.hex(), bool(known.forms(device)), by, voucher)
