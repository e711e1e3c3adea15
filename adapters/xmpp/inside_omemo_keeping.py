"""What is known of the user's OMEMO devices, as it is written down: one place for all that changes it."""

from dataclasses import replace

from adapters.inside_api import AnyValue, Step
from adapters.xmpp.inside_leg import LegStep
from adapters.xmpp.inside_omemo_own import store_in
from adapters.xmpp.inside_omemo_state import Missing, UserDevices, devices_in
from adapters.xmpp.names import address_of, bare
from bridge.wire.values import Code
from crypto.omemo.conversation import forgotten
from crypto.omemo.model import Peer
from crypto.omemo.names import Namespace


def question_for(at: LegStep, node: str) -> dict[str, AnyValue]:
    """What every question about one of the user's nodes holds; `node`: its code."""
    return {"from": at.contact_jid, "to": address_of(user_of(at)), "node": Code(v=node)}


def lacks(at: LegStep, device_id: int, namespace: Namespace, for_ms: int) -> None:
    """The device has no keys in that form: it is not asked for them again before so many milliseconds."""
    known = devices_in(at.step.records)
    device = known.find(device_id)
    if device is not None:
        missing = Missing(namespace, at.step.now_ms() + for_ms)
        keep_devices(at, known.with_device(replace(device, missing=(*device.without(namespace).missing, missing))))


def keep_devices(at: LegStep, known: UserDevices) -> None:
    """Keep what is known, if it changed; of devices that are not in it any more nothing stays."""
    before = devices_in(at.step.records)
    if known == before:
        return
    at.step.records.put("omemo-devices", known)
    for id_ in {device.id for device in before.devices} - {device.id for device in known.devices}:
        _forget(at, id_)


def client_came(step: Step) -> None:
    """One more of the user's clients is there. Servers do not always tell of what it publishes."""
    known = devices_in(step.records)
    if known.met(step.now_ms()) != known:
        step.records.put("omemo-devices", known.met(step.now_ms()))


def _forget(at: LegStep, device_id: int) -> None:
    """A device that is not remembered any more: there may be very many of them."""
    for namespace in Namespace:
        at.step.records.delete(f"omemo-spent/{namespace.short}/{device_id}")
        for contact in at.step.account.contacts:
            forgotten(store_in(at.step.records, contact.id), Peer(namespace, user_of(at), device_id))
            at.step.records.delete(f"omemo-bundle/{contact.id}/{namespace.short}/{device_id}")


def user_of(at: LegStep) -> str:
    """The user's bare JID."""
    return bare(at.step.account.near_address)
