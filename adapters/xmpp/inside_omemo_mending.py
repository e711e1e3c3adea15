"""Sessions with the user's OMEMO devices that are broken, until there are keys for new ones (decision 0174).

`omemo-heal/CONTACT`   Healing   devices whose sessions are broken
"""

from dataclasses import dataclass, replace

from adapters.xmpp.inside_leg import LegStep
from adapters.xmpp.inside_omemo_finding import ask_bundle, drop_offer, give_up_asking, lists_awaited, offered_by
from adapters.xmpp.inside_omemo_keeping import keep_devices, user_of
from adapters.xmpp.inside_omemo_state import ANSWER_MS, Device, devices_in
from adapters.xmpp.inside_omemo_trust import is_believed
from crypto.omemo.model import Bundle, Peer
from crypto.omemo.names import Namespace

HEAL_MS = 600_000
"""A device's session is not healed again before: two ends that cannot read each other would go on for ever."""
MAX_HEALING = 8


@dataclass(frozen=True, slots=True)
class Broken:
    """A session that cannot be read, and since when it is being healed."""

    namespace: Namespace
    device_id: int
    at_ms: int
    done: bool = False


@dataclass(frozen=True, slots=True)
class Healing:
    """All of a contact's."""

    broken: tuple[Broken, ...] = ()


def failed(at: LegStep, device_id: int, namespace: Namespace) -> None:
    """A message of a device could not be read: look for its lists and keys anew, to make another session."""
    now = at.step.now_ms()
    keep_devices(at, devices_in(at.step.records).doubted(now))
    lists_awaited(at)
    device = devices_in(at.step.records).find(device_id) or Device(device_id)
    if device.shown or (device.identity and not is_believed(at, device.identity)):
        return
    keep_devices(at, devices_in(at.step.records).with_device(device))
    healing = at.step.records.get(_heal(at), Healing) or Healing()
    same = next((b for b in healing.broken if (b.namespace, b.device_id) == (namespace, device_id)), None)
    if same is not None and now < same.at_ms + HEAL_MS:
        return
    others = tuple(each for each in healing.broken if each is not same)[1 - MAX_HEALING :]
    at.step.records.put(_heal(at), Healing((*others, Broken(namespace, device_id, now))))
    give_up_asking(at)
    ask_bundle(at, Peer(namespace, user_of(at), device_id))


def is_healing(at: LegStep, peer: Peer) -> bool:
    """Whether keys for a new session may come soon: what is sent until then goes to waste if the old one is broken.

    Not for longer than an answer takes: perhaps only one message was, or nobody may read the keys.
    """
    healing = at.step.records.get(_heal(at), Healing) or Healing()
    since = at.step.now_ms() - ANSWER_MS
    same = (peer.namespace, peer.device_id)
    return any((b.namespace, b.device_id) == same and not b.done and since < b.at_ms for b in healing.broken)


def to_heal(at: LegStep) -> tuple[Peer, ...]:
    """Devices for which `healing_bundle` has something."""
    healing = at.step.records.get(_heal(at), Healing) or Healing()
    peers = [Peer(b.namespace, user_of(at), b.device_id) for b in healing.broken if not b.done]
    return tuple(peer for peer in peers if offered_by(at, peer) is not None)


def healing_bundle(at: LegStep, peer: Peer) -> Bundle | None:
    """The keys for a new session with a device whose session is broken. They are given once."""
    healing = at.step.records.get(_heal(at), Healing) or Healing()
    offered = offered_by(at, peer)
    same = (peer.namespace, peer.device_id)
    if offered is None or not any((b.namespace, b.device_id) == same and not b.done for b in healing.broken):
        return None
    after = tuple(replace(b, done=True) if (b.namespace, b.device_id) == same else b for b in healing.broken)
    at.step.records.put(_heal(at), Healing(after))
    drop_offer(at, peer)
    at.report("omemo-healed")
    return offered


def _heal(at: LegStep) -> str:
    return f"omemo-heal/{at.contact.id}"
