"""Sessions that are kept no longer, and what stays of them: an index below which nothing is opened again.

Of what a homeserver can make up there is no end, so sessions are counted by what they are worth.
"""

import hashlib
from dataclasses import replace

from adapters.inside_api import Step
from adapters.matrix import inside_devices, inside_origin
from adapters.matrix.inside_state import HOUR_MS, Forgotten, Inbound, Seen

MOST_FORGOTTEN = 2_000
SESSIONS_KEPT = 32
SESSIONS_KEPT_MS = 7 * 24 * HOUR_MS
SESSIONS_MOST = 500
"""The newest sessions of a contact are kept, and all that came within this time, up to the most."""
_SESSION_ID = 43


def floor_of(step: Step, user: str, session_id: str) -> int:
    """The index from which on a session that comes (again) may be opened."""
    known = step.records.get(f"forgotten/{user}", Forgotten) or Forgotten()
    digest = _digest(session_id)
    return max(dict(known.floors).get(digest, 0), dict(known.unproved).get(digest, 0))


def forget_oldest(step: Step, user: str) -> None:
    """Forget sessions that are neither new nor among the newest. Of their replay marks, one number stays.

    Those of each worth are counted apart: what a server makes up pushes out only what a server may have made up. One
    that a held event needs stays.
    """
    needed = {name.removeprefix(f"parked/{user}/")[:_SESSION_ID] for name in step.records.names(f"parked/{user}/")}
    told = inside_devices.tracked(step, user)
    vouched = told.vouched if told is not None else ()
    kept: dict[tuple[bool, bool], list[tuple[int, str]]] = {}
    for name in list(step.records.names(f"in-of/{user}/")):
        origin, session_id = step.records.get(name, Inbound), name.removeprefix(f"in-of/{user}/")
        if origin is not None and session_id not in needed:
            worth = (inside_origin.is_proved(origin), origin.device_id in vouched)
            kept.setdefault(worth, []).append((origin.received_ms, session_id))
    for sessions in kept.values():
        surplus = max(0, len(sessions) - SESSIONS_MOST)
        for number, (received_ms, session_id) in enumerate(sorted(sessions)[:-SESSIONS_KEPT]):
            if number >= surplus and step.now_ms() - received_ms < SESSIONS_KEPT_MS:
                break
            _forget(step, user, session_id)


def _forget(step: Step, user: str, session_id: str) -> None:
    _note_floor(step, user, session_id)
    for prefix in ("in/", "in-of/", "backup-due/"):  # what no backup takes is not noted for ever either
        step.records.delete(f"{prefix}{user}/{session_id}")
    for name in list(step.records.names(f"seen/{user}/{session_id}/")):
        step.records.delete(name)


def _note_floor(step: Step, user: str, session_id: str) -> None:
    """Should its key come again (an old handshake that is replayed), what was opened stays closed."""
    origin = step.records.get(f"in-of/{user}/{session_id}", Inbound)
    floor = origin.floor if origin is not None else 0
    for name in list(step.records.names(f"seen/{user}/{session_id}/")):
        seen = step.records.get(name, Seen) or Seen()
        floor = max(floor, *(mark.index + 1 for mark in seen.marks))
    if not floor:
        return
    known = step.records.get(f"forgotten/{user}", Forgotten) or Forgotten()
    if origin is not None and inside_origin.is_proved(origin):
        known = replace(known, floors=_with_floor(known.floors, session_id, floor))
    else:
        known = replace(known, unproved=_with_floor(known.unproved, session_id, floor))
    step.records.put(f"forgotten/{user}", known)


def _with_floor(floors: tuple[tuple[bytes, int], ...], session_id: str, floor: int) -> tuple[tuple[bytes, int], ...]:
    digest = _digest(session_id)
    return (*(entry for entry in floors if entry[0] != digest), (digest, floor))[-MOST_FORGOTTEN:]


def _digest(session_id: str) -> bytes:
    return hashlib.sha256(session_id.encode()).digest()[:16]
