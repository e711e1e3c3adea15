"""The user's OMEMO device lists and the devices' keys: asked for, and what comes of it (decision 0168).

`omemo-asked/CONTACT`             Asked     the keys that are being asked for: of one device at a time
`omemo-bundle/CONTACT/FORM/ID`    Offered   keys that came and have made no session yet
`omemo-spent/FORM/ID`             Spent     prekeys of a device that one contact or another has taken
"""

from dataclasses import dataclass, replace

from adapters.inside_api import Step
from adapters.xmpp.inside_leg import LegStep, arm
from adapters.xmpp.inside_omemo_binding import forget_told, showed
from adapters.xmpp.inside_omemo_keeping import keep_devices, lacks, question_for, user_of
from adapters.xmpp.inside_omemo_own import BUNDLES, LISTS, omemo_on
from adapters.xmpp.inside_omemo_patience import may_wait, waited
from adapters.xmpp.inside_omemo_state import (
    AGAIN_MS,
    ANSWER_MS,
    FETCHED_MS,
    MAX_DEVICES,
    SOON_MS,
    TOLD_MS,
    Listing,
    devices_in,
)
from adapters.xmpp.pep.names import FETCH, FORBIDDEN, UNAVAILABLE, Items
from bridge.wire.values import Number, Opaque
from crypto.errors import PeerFault
from crypto.omemo.bundles import read_bundle
from crypto.omemo.elements import read_device_list
from crypto.omemo.model import Bundle, Peer
from crypto.omemo.names import Namespace
from crypto.xml import parse

OFFERED_MS = 3600_000
"""How long keys that came are used to begin a session."""
MAX_SPENT = 128


@dataclass(frozen=True, slots=True)
class Asked:
    """The device whose keys are asked for."""

    namespace: Namespace
    device_id: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class Offered:
    """Keys of a device, reduced to one prekey that no other contact takes."""

    bundle: Bundle
    at_ms: int


@dataclass(frozen=True, slots=True)
class Spent:
    """Ids of prekeys, the latest last."""

    ids: tuple[int, ...] = ()


def lists_awaited(at: LegStep) -> bool:
    """Ask for the lists that are too old; whether an answer is awaited."""
    known, now = devices_in(at.step.records), at.step.now_ms()
    awaited = False
    for namespace in Namespace:
        listing = known.listing(namespace)
        if now < listing.fresh_until_ms:
            continue
        if not listing.asked_ms:
            known = known.with_listing(replace(listing, asked_ms=now))
            at.step.carry(FETCH, question_for(at, LISTS[namespace]), lane=at.lane)
            arm(at.step, now + ANSWER_MS)
            awaited = True
        elif now < listing.asked_ms + ANSWER_MS:
            awaited = True
        else:  # nobody answers: go on with what is known, and try again later
            known = known.with_listing(_unanswered(listing, now))
    keep_devices(at, known)
    return awaited


def _unanswered(listing: Listing, now_ms: int) -> Listing:
    return replace(listing, code=listing.code or UNAVAILABLE, fresh_until_ms=now_ms + SOON_MS, asked_ms=0)


def list_arrived(at: LegStep, found: Items, *, pushed: bool = False) -> bool:
    """A list of the user's devices came, or an answer why there is none; whether anything follows from it."""
    namespace = next(n for n, code in LISTS.items() if code == found.node)
    known, now = devices_in(at.step.records), at.step.now_ms()
    listing = known.listing(namespace)
    if not omemo_on(at.contact) or not (pushed or listing.asked_ms):
        at.report("omemo-unasked")
        return False
    if pushed and not found.found:  # it changed, and the server does not say how
        keep_devices(at, known.doubted(now))
        return True
    ids = _ids(found, namespace)
    if ids is None:
        at.report("omemo-list-malformed")
    if not found.found or ids is None:
        code = found.why or UNAVAILABLE
        if ids is None or code == UNAVAILABLE:
            keep_devices(at, known.with_listing(_unanswered(listing, now)))
            return True
        if code == FORBIDDEN:
            at.ask_for_presence()  # who is in the user's contact list may read it, and is told of changes
        listing = Listing(namespace, code, now + FETCHED_MS, came_ms=now)
        keep_devices(at, known.unlisted(namespace).with_listing(listing))
        return True
    fresh_ms = now + (TOLD_MS if pushed else FETCHED_MS)
    keep_devices(at, known.listed(namespace, ids).with_listing(Listing(namespace, "ok", fresh_ms, came_ms=now)))
    return True


def _ids(found: Items, namespace: Namespace) -> tuple[int, ...] | None:
    """The ids that it names; None: what came is no such list."""
    if not found.items:
        return ()
    try:
        read = read_device_list(parse(found.items[-1].encode("utf-8", "replace")))
    except PeerFault:
        return None
    return read.ids[:MAX_DEVICES] if read.namespace is namespace else None


def ask_bundle(at: LegStep, peer: Peer) -> None:
    """Ask for the keys of a device, unless others are asked for just now: they come first."""
    now = at.step.now_ms()
    if at.step.records.get(_asked(at), Asked) is not None:
        return
    at.step.records.put(_asked(at), Asked(peer.namespace, peer.device_id, now))
    question = question_for(at, BUNDLES[peer.namespace])
    if peer.namespace is Namespace.AXOLOTL:
        question["number"] = Number(v=peer.device_id)
    else:
        question["item"] = Opaque(v=str(peer.device_id))
    at.step.carry(FETCH, question, lane=at.lane)
    arm(at.step, now + ANSWER_MS)


def give_up_asking(at: LegStep) -> None:
    """Nobody answers for a device: go on without it, and try again later."""
    asked = at.step.records.get(_asked(at), Asked)
    if asked is not None and at.step.now_ms() >= asked.at_ms + ANSWER_MS:
        at.step.records.delete(_asked(at))
        waited(at, asked.at_ms)
        lacks(at, asked.device_id, asked.namespace, SOON_MS)


def bundle_arrived(at: LegStep, found: Items) -> bool:
    """Keys of a device came, or an answer why there are none; whether anything follows from it."""
    asked = at.step.records.get(_asked(at), Asked)
    if asked is None or BUNDLES[asked.namespace] != found.node or found.number != asked.device_id:
        at.report("omemo-unasked")
        return False
    at.step.records.delete(_asked(at))
    waited(at, asked.at_ms)
    device = devices_in(at.step.records).find(asked.device_id)
    if device is None:
        return True
    bundle = _bundle(found, asked.namespace)
    if bundle is None:
        at.report("omemo-no-bundle")
        lacks(at, device.id, asked.namespace, SOON_MS if found.why == UNAVAILABLE else AGAIN_MS)
        return True
    if showed(at, device.without(asked.namespace), bundle.identity_key):
        peer = Peer(asked.namespace, user_of(at), device.id)
        offered = Offered(_reduced(at, bundle, device.id), at.step.now_ms())
        at.step.records.put(_offer(at, peer), offered)
    return True


def _bundle(found: Items, namespace: Namespace) -> Bundle | None:
    """What came, if it is such keys, signed, with at least one prekey."""
    if not found.found or not found.items:
        return None
    try:
        read = read_bundle(parse(found.items[-1].encode("utf-8", "replace")))
    except PeerFault:
        return None
    return read if read.namespace is namespace and read.prekeys else None


def _reduced(at: LegStep, bundle: Bundle, device_id: int) -> Bundle:
    """The keys with one prekey: the device's owner takes each once, whichever of the contacts used it."""
    name = f"omemo-spent/{bundle.namespace.short}/{device_id}"
    spent = at.step.records.get(name, Spent) or Spent()
    fresh = [key for key in bundle.prekeys if key.id not in spent.ids] or list(bundle.prekeys)
    chosen = fresh[int.from_bytes(at.step.draw("omemo-prekey-chosen", 8), "big") % len(fresh)]
    at.step.records.put(name, Spent((*spent.ids, chosen.id)[-MAX_SPENT:]))
    return replace(bundle, prekeys=(chosen,))


def offered_by(at: LegStep, peer: Peer) -> Bundle | None:
    """Keys that came and are fresh enough to begin a session with; None: there are none."""
    offered = at.step.records.get(_offer(at, peer), Offered)
    return offered.bundle if offered is not None and at.step.now_ms() < offered.at_ms + OFFERED_MS else None


def drop_offer(at: LegStep, peer: Peer) -> None:
    """They were used, or are of no use."""
    at.step.records.delete(_offer(at, peer))


def forget_devices(at_step: Step, contact: str) -> None:
    """A contact that is not mapped any more."""
    for name in list(at_step.records.names(f"omemo-bundle/{contact}/")):
        at_step.records.delete(name)
    for kind in ("asked", "heal", "patience"):
        at_step.records.delete(f"omemo-{kind}/{contact}")
    forget_told(at_step.records, contact)


def tend_devices(at: LegStep) -> None:
    """The state may be old: lists are asked for before anything is sent, and no prekey is taken that came before."""
    for name in list(at.step.records.names(f"omemo-bundle/{at.contact.id}/")):
        at.step.records.delete(name)
    at.step.records.delete(_asked(at))
    keep_devices(at, devices_in(at.step.records).stale())


def devices_due_ms(at: LegStep) -> int:
    """When an answer is not waited for any longer; 0: none is. Always in the future."""
    now = at.step.now_ms()
    asked = at.step.records.get(_asked(at), Asked)
    times = [each.asked_ms + ANSWER_MS for each in devices_in(at.step.records).listings if each.asked_ms]
    times += [asked.at_ms + ANSWER_MS] if asked is not None and may_wait(at) else []
    return min((t for t in times if t > now), default=0)


def again_due_ms(at: LegStep) -> int:
    """When a question ends, though nothing waits for it, or what is missing for messages that wait may be asked for
    again: nobody may ever tell that it is there. 0: never; else in the future.
    """
    now, known = at.step.now_ms(), devices_in(at.step.records)
    asked = at.step.records.get(_asked(at), Asked)
    times = [asked.at_ms + ANSWER_MS] if asked is not None else []
    if at.line.sent < at.line.next:
        times += [each.fresh_until_ms for each in known.listings]
        times += [each.until_ms for device in known.devices if known.forms(device) for each in device.missing]
    return min((t for t in times if t > now), default=0)


def _asked(at: LegStep) -> str:
    return f"omemo-asked/{at.contact.id}"


def _offer(at: LegStep, peer: Peer) -> str:
    return f"omemo-bundle/{at.contact.id}/{peer.namespace.short}/{peer.device_id}"
