"""Keys that are withheld from us: why, on the events that wait for them, and once in a sentence to the user.

Anybody between can send or drop such a word; nothing is decided by it.
"""

import hashlib
from dataclasses import dataclass, replace

import msgspec

from adapters.inside_api import ContactPolicy, Step
from adapters.matrix import inside_devices, inside_notices, inside_olm
from adapters.matrix.inside_state import Parked
from crypto.olm.canonical import decoded

WITHHELD = "m.room_key.withheld"
NO_OLM = "m.no_olm"
NO_KEY = "no-key"
UNDECRYPTABLE = "undecryptable"
UNKNOWN = "withheld"
REASONS = {
    "m.unverified": "withheld-unverified",
    "m.blacklisted": "withheld-blacklisted",
    "m.unauthorised": "withheld-unauthorised",
    "m.unavailable": "withheld-unavailable",
    NO_OLM: "withheld-no-olm",
}
ALL_REASONS = frozenset({UNKNOWN, *REASONS.values()})
KEYLESS = frozenset({NO_KEY, UNDECRYPTABLE, *ALL_REASONS})
"""Reasons of parked events that wait for a key."""
MOST_NOTED = 200
_PREFIX = "key-"
"""What the user is told: the reason with this before it."""


@dataclass(frozen=True, slots=True)
class Withheld:
    """Sessions of a contact that we are not given, the newest last: a digest of each id, and the reason."""

    noted: tuple[tuple[bytes, str], ...] = ()


class _Content(msgspec.Struct):
    session_id: str = ""
    sender_key: str = ""
    code: str = ""


def arrived(step: Step, user: str, content: msgspec.Raw) -> None:
    """A device tells that we are not given a key. Raises Malformed."""
    told = decoded(content, _Content)
    contact = step.account.contact_by_address("matrix", user)
    reason = REASONS.get(told.code, UNKNOWN)
    step.report("key-withheld", contact.id if contact is not None else None)
    if contact is None:
        return
    step.report(f"key-{reason}", contact.id)
    session_id = "" if told.code == NO_OLM else told.session_id
    _note(step, user, session_id, reason)
    if told.code == NO_OLM:  # the other end could not found a session: we do (spec: m.no_olm)
        device = inside_devices.device_of(step, user, told.sender_key)
        if device is not None:
            inside_olm.wedged(step, device)
    prefix = f"parked/{user}/{session_id}/" if session_id else f"parked/{user}/"
    for name in list(step.records.names(prefix)):
        parked = step.records.get(name, Parked)
        if parked is not None and parked.reason in KEYLESS and (session_id or parked.reason == NO_KEY):
            step.records.put(name, replace(parked, reason=reason))
            step.trace(parked.position, "parked", reason)
            told_user(step, contact, reason)


def reason_for(step: Step, user: str, session_id: str) -> str:
    """Why the key of a session is not there."""
    noted = dict((step.records.get(f"withheld/{user}", Withheld) or Withheld()).noted)
    return noted.get(_digest(session_id)) or noted.get(_digest("")) or NO_KEY


def told_user(step: Step, contact: ContactPolicy, reason: str) -> None:
    """Tell the user that a message waits for a key that is withheld, once."""
    if reason in ALL_REASONS:
        inside_notices.tell(step, contact, _PREFIX + reason)


def key_came(step: Step, user: str, session_id: str) -> None:
    """A session is there after all. A device that shares keys again has sessions with us."""
    record = step.records.get(f"withheld/{user}", Withheld)
    if record is not None:
        gone = (_digest(session_id), _digest(""))
        rest = tuple(entry for entry in record.noted if entry[0] not in gone)
        if rest != record.noted:
            step.records.put(f"withheld/{user}", Withheld(rest)) if rest else step.records.delete(f"withheld/{user}")
    contact = step.account.contact_by_address("matrix", user)
    if contact is None:
        return
    held = (step.records.get(name, Parked) for name in step.records.names(f"parked/{user}/"))
    reasons = {parked.reason for parked in held if parked is not None}
    inside_notices.over(step, contact, *sorted(_PREFIX + reason for reason in ALL_REASONS - reasons))


def _note(step: Step, user: str, session_id: str, reason: str) -> None:
    known = step.records.get(f"withheld/{user}", Withheld) or Withheld()
    digest = _digest(session_id)
    noted = (*(entry for entry in known.noted if entry[0] != digest), (digest, reason))[-MOST_NOTED:]
    step.records.put(f"withheld/{user}", Withheld(noted))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()[:16]
