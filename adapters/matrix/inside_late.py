"""Sessions that came from the backup or from another device of ours: taken only if they help, and never over better.

An export is not signed, so a session is taken when it opens an event that is parked for it: a ratchet that somebody
made up opens nothing that the session's own device wrote. Over a session that its device sent us only an earlier place
of the same ratchet is taken, and that keeps its proof.
"""

from dataclasses import replace

from vodozemac import InboundGroupSession

from adapters.inside_api import Step
from adapters.matrix import (
    inside_backup,
    inside_forgotten,
    inside_identity,
    inside_missing,
    inside_origin,
    inside_timeline,
)
from adapters.matrix.inside_own import own_state
from adapters.matrix.inside_state import Inbound, Parked
from adapters.matrix.inside_withheld import KEYLESS
from bridge.wire.link import Input
from crypto.olm.backup import Origin, Restored
from crypto.olm.canonical import decoded
from crypto.olm.device import Device
from crypto.olm.errors import OlmError
from crypto.olm.forwarded import received_forward, same_ratchet
from crypto.olm.group import opened_event, sealed_event


def fetched(step: Step, answer: Input) -> None:
    """The backup's entry of a session that is looked for came, or there is none."""
    found = inside_missing.fetched(step, answer.key)
    if found is None or answer.code != "ok":
        return
    user, session_id, missing = found
    try:
        restored = inside_backup.restored(step, answer.body, session_id)
    except OlmError as error:
        step.report(f"backup-entry-{error.code}")
        return
    if restored is not None:
        _offered(step, user, missing.room_id, restored, inside_origin.BACKUP)


def forwarded(step: Step, content: bytes, device: Device) -> None:
    """A device sent a session of somebody's. The caller has bound it to the device; whose it is, is looked at here.

    Raises OlmError.
    """
    own = own_state(step)
    wanted, session, sender_key, signing_key = received_forward(content)
    ours = own is not None and device in inside_identity.trusted_devices(step, own)
    user = inside_missing.awaited_from(step, wanted, device.device_id) if ours else None
    if user is None:
        step.report("forwarded-key-refused")
        return
    restored = Restored(session, Origin(sender_key, signing_key))
    _offered(step, user, wanted.room_id, restored, inside_origin.FORWARDED)


def superseded(step: Step, name: str, known: Inbound, session: InboundGroupSession) -> InboundGroupSession:
    """Its own device sent us a session that we had another way: what to keep, which is proved now."""
    held = step.records.get(f"in/{name}", InboundGroupSession)
    if held is not None and held.first_known_index < session.first_known_index and same_ratchet(held, session):
        return held
    return session


def _offered(step: Step, user: str, room_id: str, restored: Restored, source: str) -> None:
    session_id = restored.session.session_id
    contact = step.account.contact_by_address("matrix", user)
    if contact is None or not _opens(step, user, room_id, restored.session):
        step.report("late-key-useless")
        return
    held = step.records.get(f"in/{user}/{session_id}", InboundGroupSession)
    known = step.records.get(f"in-of/{user}/{session_id}", Inbound)
    floor = inside_forgotten.floor_of(step, user, session_id)
    origin = Inbound(
        room_id, restored.origin.curve25519, restored.origin.ed25519, "", step.now_ms(), floor, source=source
    )
    if held is not None and known is not None:
        same = same_ratchet(held, restored.session)
        if known.room_id != room_id or (inside_origin.is_proved(known) and not same):
            step.report("late-key-conflict", contact.id)
            return
        origin = known if same else replace(origin, floor=known.floor)
    step.records.put(f"in/{user}/{session_id}", restored.session)
    step.records.put(f"in-of/{user}/{session_id}", origin)
    step.report(f"key-from-{source}", contact.id)
    inside_timeline.key_arrived(step, user, session_id)


def _opens(step: Step, user: str, room_id: str, session: InboundGroupSession) -> bool:
    """Whether it opens an event that waits for it. One that the session we hold opens does not wait for it."""
    for name in list(step.records.names(f"parked/{user}/{session.session_id}/")):
        parked = step.records.get(name, Parked)
        if parked is None or parked.room_id != room_id or parked.reason not in KEYLESS:
            continue
        try:
            event = decoded(parked.event, inside_timeline.TimelineEvent)
            opened_event(session, sealed_event(event.content), room_id)
        except OlmError:
            continue
        return True
    return False
