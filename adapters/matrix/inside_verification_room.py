"""Verification messages in a room: encrypted by a Megolm session of their own.

They have to pass where messages may not yet: a contact is verified so that messages can flow. A session of its own
keeps the rule for messages whole: whom it is shared with says nothing about who may read them. It goes to the devices
that the identity shown now vouches for, and to the user's own.
"""

from contextlib import suppress
from dataclasses import dataclass, field, replace

import msgspec
from vodozemac import GroupSession

from adapters.inside_api import ContactPolicy, Step
from adapters.matrix import inside_devices, inside_identity, inside_olm
from adapters.matrix.inside_own import own_state
from adapters.matrix.inside_recipients import SHARED_AT_ONCE, share_of
from adapters.matrix.inside_state import OwnState, Share
from adapters.matrix.names import ROOM_SEND
from bridge.wire.link import Input
from bridge.wire.values import Address, Sealed
from crypto.olm.canonical import decoded
from crypto.olm.device import Device
from crypto.olm.errors import Malformed
from crypto.olm.group import ROOM_KEY, encrypted_event, room_key_content

MOST_WAITING = 16


@dataclass(frozen=True, slots=True)
class Letter:
    """A message that waits: the type of its event, and the content."""

    kind: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Talk:
    """The session for one verification. `request`: the key of the request that its first message went out by."""

    room_id: str
    waiting: tuple[Letter, ...] = ()
    shared: tuple[Share, ...] = ()
    pending: tuple[Share, ...] = ()
    sharing: str | None = None
    request: str | None = None


class _Sent(msgspec.Struct):
    event_id: str


def open_talk(step: Step, contact: ContactPolicy, room_id: str) -> None:
    """A new session for a new verification."""
    step.records.put(_session(contact), GroupSession())
    step.records.put(_talk(contact), Talk(room_id))


def forget(step: Step) -> None:
    """No session is sent by any more: its keys may have been used in a future that was rolled back."""
    for prefix in ("verify-talk/", "verify-session/"):
        for name in list(step.records.names(prefix)):
            step.records.delete(name)


def send(step: Step, contact: ContactPolicy, kind: str, content: bytes) -> None:
    """Send a message, once the session is shared."""
    talk = step.records.get(_talk(contact), Talk)
    if talk is None or len(talk.waiting) >= MOST_WAITING:
        step.report("verification-unsent", contact.id)
        return
    step.records.put(_talk(contact), replace(talk, waiting=(*talk.waiting, Letter(kind, content))))
    advance(step, contact)


def answered(step: Step, answer: Input, contact: ContactPolicy) -> str | None:
    """The outcome of one of our requests. Returns the id of the event of our first message, when it is told."""
    talk = step.records.get(_talk(contact), Talk)
    if talk is None:
        return None
    if talk.sharing is not None and talk.sharing == answer.key:
        shared = talk.shared + talk.pending if answer.code == "ok" else talk.shared
        step.records.put(_talk(contact), replace(talk, shared=shared, pending=(), sharing=None))
    elif talk.request is not None and talk.request == answer.key:
        step.records.put(_talk(contact), replace(talk, request=""))
        with suppress(Malformed):
            return decoded(answer.body, _Sent).event_id if answer.code == "ok" else ""
        return ""
    return None


def advance(step: Step, contact: ContactPolicy) -> None:
    """Do the next thing that the waiting messages need."""
    own, talk = own_state(step), step.records.get(_talk(contact), Talk)
    if own is None or talk is None or not talk.waiting or talk.sharing is not None:
        return
    devices = _recipients(step, contact, own)
    if devices is None:
        return
    missing = [device for device in devices if share_of(device) not in talk.shared][:SHARED_AT_ONCE]
    if inside_olm.claim_missing(step, missing):
        return
    reachable = [device for device in missing if inside_olm.sending_session(step, device.curve25519) is not None]
    if reachable:
        _share(step, contact, own, talk, reachable)
    elif talk.shared:
        _emit(step, contact, own, talk)
    else:
        step.report("verification-no-sessions", contact.id)


def _recipients(step: Step, contact: ContactPolicy, own: OwnState) -> tuple[Device, ...] | None:
    theirs = inside_devices.current_devices(step, contact.address)
    others = inside_devices.current_devices(step, own.device.user_id)
    told = inside_devices.tracked(step, contact.address)
    if theirs is None or others is None or told is None:
        return None
    vouched = tuple(device for device in theirs if device.device_id in told.vouched)
    return (*vouched, *inside_identity.own_served(step, own, others))


def _share(step: Step, contact: ContactPolicy, own: OwnState, talk: Talk, devices: list[Device]) -> None:
    group = step.records.get(_session(contact), GroupSession)
    assert group is not None
    sharing = inside_olm.send_to_devices(step, own, devices, ROOM_KEY, room_key_content(group, talk.room_id))
    pending = tuple(share_of(device) for device in devices)
    step.records.put(_talk(contact), replace(talk, sharing=sharing, pending=pending))


def _emit(step: Step, contact: ContactPolicy, own: OwnState, talk: Talk) -> None:
    group = step.records.get(_session(contact), GroupSession)
    assert group is not None
    request = talk.request
    for letter in talk.waiting:
        content = encrypted_event(group, own.device, talk.room_id, letter.kind, msgspec.Raw(letter.content))
        relation = _relation(letter)
        if relation is not None:  # in clear as well: servers bundle by it, and clients look for it there
            content = msgspec.json.encode({**decoded(content, dict[str, object]), "m.relates_to": relation})
        key = step.carry(
            ROOM_SEND, {"room": Address(v=talk.room_id), "content": Sealed(v=content)}, lane=f"contact-{contact.id}"
        )
        request = request if request is not None else key
    step.records.put(_session(contact), group)
    step.records.put(_talk(contact), replace(talk, waiting=(), request=request))


def _relation(letter: Letter) -> object:
    return decoded(letter.content, dict[str, object]).get("m.relates_to")


def _talk(contact: ContactPolicy) -> str:
    return f"verify-talk/{contact.address}"


def _session(contact: ContactPolicy) -> str:
    return f"verify-session/{contact.address}"
