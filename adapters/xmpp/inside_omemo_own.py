"""The contact as an OMEMO device: its keys, and what its JID publishes of them (XEP-0384; decision 0167).

`omemo/CONTACT/...`   what crypto.omemo keeps: the device, its prekeys, its sessions
`omemo-own/CONTACT`   Published   that its keys are published, and when they are to be looked after again
"""

from dataclasses import dataclass

from adapters.inside_api import AnyValue, ContactPolicy, Step
from adapters.xmpp.inside_leg import LegStep, arm
from adapters.xmpp.inside_omemo_room import Roomed, forget_room
from adapters.xmpp.names import address_of
from adapters.xmpp.pep.names import (
    AXOLOTL_BUNDLE,
    AXOLOTL_DEVICES,
    OMEMO_BUNDLES,
    OMEMO_DEVICES,
    PUBLISH,
    RETRACT,
)
from bridge.wire.values import Code, Number, Opaque, Public
from crypto.omemo.bundles import bundle_element
from crypto.omemo.device import created, drawn_device_id, maintained, own, public_bundle, retired
from crypto.omemo.elements import device_list_element
from crypto.omemo.model import DeviceList, ListedDevice
from crypto.omemo.names import DEVICES_ITEM, SIGNED_PREKEY_MS, Namespace, bundle_item
from crypto.records import Records
from crypto.xml import Element, serialize

LISTS = {Namespace.OMEMO_2: OMEMO_DEVICES, Namespace.AXOLOTL: AXOLOTL_DEVICES}
BUNDLES = {Namespace.OMEMO_2: OMEMO_BUNDLES, Namespace.AXOLOTL: AXOLOTL_BUNDLE}
"""Codes of the nodes."""
LOOK_MS = SIGNED_PREKEY_MS // 7
"""How often it is looked whether the signed prekey has served its time."""


@dataclass(frozen=True, slots=True)
class Published:
    """What stands in the contact's nodes. `next_ms`: when to look after the keys again."""

    device_id: int
    next_ms: int


def omemo_on(contact: ContactPolicy) -> bool:
    """Whether the operator wants the contact to be an OMEMO device."""
    return contact.options.get("omemo") == "on"


def store_of(at: LegStep) -> Roomed:
    """Where the engine keeps what is the contact's."""
    return Roomed(at.step.records, at.contact.id, at.report)


def store_in(records: Records, contact: str) -> Roomed:
    """The same, of a contact by its id."""
    return Roomed(records, contact)


def device_id_of(at: LegStep) -> int | None:
    """The id of the contact's device; None before there is one."""
    found = own(store_of(at))
    return None if found is None else found.device_id


# ---------------------------------------------------------------- upkeep
def tend_own(at: LegStep, *, resumed: bool = True, room: bool = True) -> bool:
    """See that the contact's keys are there, fresh and published, or taken back; whether something was published.

    Without `resumed` the state may be older than what was published, and than what was sent in its sessions. Without
    `room` publishing is left to the next step: keys of hundreds of contacts fit no frame.
    """
    published = at.step.records.get(_name(at), Published)
    if not resumed and own(store_of(at)) is not None:
        retired(store_of(at))  # also while it is turned off: it may be turned on again
    if not omemo_on(at.contact):
        if published is not None:
            _withdraw(at, published)
        return False
    anew = published is None or not resumed
    due = anew or (published is not None and published.next_ms <= at.step.now_ms())
    if due and not room:
        if anew:
            at.step.records.delete(_name(at))
        arm(at.step, at.step.now_ms() + 1)
        return False
    if anew:
        _publish_all(at)
    elif due:
        keys_used(at)
    at.arm_refresh(own_due_ms(at))
    return due


def keys_used(at: LegStep) -> None:
    """Prekeys were used, or time has passed: refill and renew, and publish what changed."""
    store, now = store_of(at), at.step.now_ms()
    found = own(store)
    if found is None:
        return
    for namespace in maintained(store, at.step.draw, now):
        _publish_bundle(at, namespace, found.device_id)
        at.report("omemo-keys-published")
    at.step.records.put(_name(at), Published(found.device_id, now + LOOK_MS))


def own_due_ms(at: LegStep) -> int:
    """When the keys are to be looked after; 0: never."""
    published = at.step.records.get(_name(at), Published)
    return published.next_ms if published is not None and omemo_on(at.contact) else 0


def forget_own(step: Step, contact: str) -> None:
    """A contact that is not mapped any more: its device is no more."""
    for name in list(step.records.names(f"omemo/{contact}/")):
        step.records.delete(name)
    step.records.delete(f"omemo-own/{contact}")
    forget_room(step.records, contact)


# ---------------------------------------------------------------- what is published
def _publish_all(at: LegStep) -> None:
    store, now = store_of(at), at.step.now_ms()
    if own(store) is None:
        created(store, at.step.draw, device_id=drawn_device_id(at.step.draw), now_ms=now)
        at.report("omemo-device-made")
    maintained(store, at.step.draw, now)
    found = own(store)
    assert found is not None
    for namespace in Namespace:  # keys first: who sees the list asks for them
        _publish_bundle(at, namespace, found.device_id)
    for namespace in Namespace:
        _publish_list(at, namespace, (found.device_id,))
    at.report("omemo-keys-published")
    at.step.records.put(_name(at), Published(found.device_id, now + LOOK_MS))


def _withdraw(at: LegStep, published: Published) -> None:
    """The device stays: it would be another one to the user's clients, should it ever be wanted again."""
    for namespace in Namespace:
        _publish_list(at, namespace, ())  # so that clients are told; then there is nothing more to ask for
        at.step.carry(RETRACT, _where(at, LISTS[namespace]), lane=_lane(at))
        at.step.carry(RETRACT, _bundle_at(at, namespace, published.device_id), lane=_lane(at))
    at.step.records.delete(_name(at))
    at.report("omemo-keys-withdrawn")


def _publish_list(at: LegStep, namespace: Namespace, ids: tuple[int, ...]) -> None:
    devices = DeviceList(namespace, tuple(ListedDevice(id_) for id_ in ids))
    _publish(at, _where(at, LISTS[namespace]), DEVICES_ITEM, device_list_element(devices))


def _publish_bundle(at: LegStep, namespace: Namespace, device_id: int) -> None:
    bundle = bundle_element(public_bundle(store_of(at), namespace))
    _publish(at, _bundle_at(at, namespace, device_id), bundle_item(namespace, device_id), bundle)


def _publish(at: LegStep, where: dict[str, AnyValue], item: str, content: Element) -> None:
    values = {**where, "item": Opaque(v=item), "content": Public(v=serialize(content))}
    at.step.carry(PUBLISH, values, lane=_lane(at))


def _bundle_at(at: LegStep, namespace: Namespace, device_id: int) -> dict[str, AnyValue]:
    where = _where(at, BUNDLES[namespace])
    return {**where, "number": Number(v=device_id)} if namespace is Namespace.AXOLOTL else where


def _where(at: LegStep, node: str) -> dict[str, AnyValue]:
    return {"from": address_of(at.contact.alias), "node": Code(v=node)}


def _lane(at: LegStep) -> str:
    return f"omemo/{at.contact.id}"


def _name(at: LegStep) -> str:
    return f"omemo-own/{at.contact.id}"
