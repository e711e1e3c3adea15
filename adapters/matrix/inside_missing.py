"""Sessions that parked events wait for: after a while they are looked for in the backup and at our other devices."""

from dataclasses import dataclass, replace

from adapters.inside_api import Step
from adapters.matrix import inside_backup, inside_devices, inside_key_requests
from adapters.matrix.inside_state import HOUR_MS, MINUTE_MS, Parked
from adapters.matrix.inside_withheld import KEYLESS
from crypto.olm.forwarded import Wanted

TIMER = "missing"
WAITS_MS = (3_000, 7_000, MINUTE_MS, HOUR_MS, 24 * HOUR_MS)
"""Before each try, the last again and again: mostly the key is only a little late."""
ASK_AFTER_TRIES = 1
"""Our other devices are asked when the first look into the backup was in vain."""
AT_ONCE = 20
_SESSION_ID = 43


@dataclass(frozen=True, slots=True)
class Missing:
    """A session that is looked for. `fetching`: the key of the request to the backup that is under way."""

    room_id: str
    due_ms: int
    tries: int = 0
    fetching: str = ""
    request_id: str = ""
    asked: tuple[str, ...] = ()
    """Ids of our other devices that were asked for it."""


def started(step: Step) -> None:
    """Look for what parked events wait for: also for those that were parked before this part was there."""
    for contact in step.account.contacts:
        if contact.network != "matrix":
            continue
        prefix = f"parked/{contact.address}/"
        for name in list(step.records.names(prefix)):
            parked = step.records.get(name, Parked)
            if parked is not None and parked.reason in KEYLESS:
                _note(step, contact.address, name.removeprefix(prefix)[:_SESSION_ID], parked.room_id)
    _wake(step)


def noted(step: Step, user: str, session_id: str, room_id: str) -> None:
    """An event was parked for want of this session."""
    if _note(step, user, session_id, room_id):
        _wake(step)


def _note(step: Step, user: str, session_id: str, room_id: str) -> bool:
    """Returns whether it is looked for from now on."""
    name = f"missing/{user}/{session_id}"
    if step.records.get(name, Missing) is not None:
        return False
    step.records.put(name, Missing(room_id, step.now_ms() + WAITS_MS[0]))
    inside_devices.current_devices(step, user)  # whose key it is said to be will be looked up in it
    return True


def key_came(step: Step, user: str, session_id: str) -> None:
    """The session is there: if nothing waits for it any more, those who were asked need not answer."""
    name = f"missing/{user}/{session_id}"
    missing = step.records.get(name, Missing)
    if missing is not None and not _is_wanted(step, user, session_id):
        _forget(step, name, missing)


def hurry(step: Step) -> None:
    """The backup can be read now: look at once."""
    for name in list(step.records.names("missing/")):
        missing = step.records.get(name, Missing)
        if missing is not None:
            step.records.put(name, replace(missing, due_ms=step.now_ms(), tries=min(missing.tries, len(WAITS_MS) - 2)))
    _wake(step)


def woken(step: Step) -> None:
    """Try what is due."""
    left = AT_ONCE
    for name in list(step.records.names("missing/")):
        missing = step.records.get(name, Missing)
        if missing is not None and missing.due_ms <= step.now_ms() and left > 0:
            left -= 1
            _try(step, name, missing)
    _wake(step)


def fetched(step: Step, key: str | None) -> tuple[str, str, Missing] | None:
    """User, session and record that the answer with this key is for; None when nobody asked."""
    for name in list(step.records.names("missing/")):
        missing = step.records.get(name, Missing)
        if missing is not None and missing.fetching and missing.fetching == key:
            missing = replace(missing, fetching="")
            step.records.put(name, missing)
            return *_named(name), missing
    return None


def awaited_from(step: Step, wanted: Wanted, device_id: str) -> str | None:
    """The user whose session this is, when that device of ours was asked for it; else None."""
    for name in list(step.records.names("missing/")):
        missing = step.records.get(name, Missing)
        user, session_id = _named(name)
        if missing is not None and (session_id, missing.room_id) == (wanted.session_id, wanted.room_id):
            return user if device_id in missing.asked else None
    return None


def _try(step: Step, name: str, missing: Missing) -> None:
    user, session_id = _named(name)
    if step.account.contact_by_address("matrix", user) is None or not _is_wanted(step, user, session_id):
        _forget(step, name, missing)
        return
    if inside_devices.current_devices(step, user) is None and not inside_devices.given_up(step, user):
        step.records.put(name, replace(missing, due_ms=step.now_ms() + WAITS_MS[0]))
        return
    wanted = Wanted(missing.room_id, session_id)
    fetching = missing.fetching or inside_backup.fetch(step, wanted) or ""
    request_id, asked = missing.request_id, missing.asked
    if missing.tries >= ASK_AFTER_TRIES and not asked:
        request_id = request_id or step.draw("key-request", 16).hex()
        asked = inside_key_requests.ask(step, request_id, wanted)
    tries = missing.tries + 1
    due_ms = step.now_ms() + WAITS_MS[min(tries, len(WAITS_MS) - 1)]
    step.records.put(name, Missing(missing.room_id, due_ms, tries, fetching, request_id, asked))


def _forget(step: Step, name: str, missing: Missing) -> None:
    inside_key_requests.cancel(step, missing.request_id, missing.asked)
    step.records.delete(name)


def _is_wanted(step: Step, user: str, session_id: str) -> bool:
    held = (step.records.get(name, Parked) for name in step.records.names(f"parked/{user}/{session_id}/"))
    return any(parked is not None and parked.reason in KEYLESS for parked in held)


def _wake(step: Step) -> None:
    found = (step.records.get(name, Missing) for name in step.records.names("missing/"))
    due = [missing.due_ms for missing in found if missing is not None]
    if due:
        step.wake_at(TIMER, max(min(due), step.now_ms()))


def _named(name: str) -> tuple[str, str]:
    """User and session of a record: both may hold slashes, and a session id has 43 characters."""
    rest = name.removeprefix("missing/")
    return rest[: -_SESSION_ID - 1], rest[-_SESSION_ID:]
