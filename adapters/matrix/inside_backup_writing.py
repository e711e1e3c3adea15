"""Sessions on their way into the backup: noted when they come, written in batches, again when the backup is another."""

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
from vodozemac import GroupSession, InboundGroupSession

from adapters.inside_api import AnyValue, Step
from adapters.matrix import inside_identity, inside_origin
from adapters.matrix.inside_state import MINUTE_MS, Inbound, OwnState
from adapters.matrix.names import BACKUP_PUT, FORBIDDEN, NOT_FOUND
from bridge.wire.link import Input
from bridge.wire.values import Opaque, Sealed
from crypto.olm.backup import EPHEMERAL, BackupKey, Origin, entry

TIMER = "backup"
LANE = "backup"
RECORD = "backup-writing"
SWEEP = "backup-sweep"
BATCH = 50
MOST_OWN = 100
"""Sessions of our own that are kept for a backup that is not there yet."""
GONE = "gone"
GONE_WAIT_MS = MINUTE_MS
_SESSION_ID = 43


@dataclass(frozen=True, slots=True)
class Due:
    """A contact's session is to be written. `since`: the step that noted it (last)."""

    since: int


@dataclass(frozen=True, slots=True)
class DueOwn:
    """A session of our own is to be written; `backup-own-key/<session id>` holds it from its first message on."""

    room_id: str


@dataclass(frozen=True, slots=True)
class Sweep:
    """The backup is another: all sessions are to be written, those up to this `in-of/` record have been."""

    after: str = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """What the request under way writes: names of `Due` and `DueOwn` records, each with its `since`."""

    request: str
    names: tuple[tuple[str, int], ...]
    swept: str = ""
    """How far `Sweep` gets with it."""


@dataclass(frozen=True, slots=True)
class Writing:
    """Where to write, and as whom."""

    key: BackupKey
    version: str
    own: OwnState


# ---------------------------------------------------------------- what is to be written
def received(step: Step, user: str, session_id: str) -> None:
    """A contact's device sent us a session (or more of one)."""
    if _has_identity(step):
        step.records.put(f"backup-due/{user}/{session_id}", Due(step.position))
        _soon(step)


def made(step: Step, room_id: str, session: GroupSession) -> None:
    """We begin a session of our own."""
    waiting = list(step.records.names("backup-own/"))
    if not _has_identity(step) or len(waiting) >= MOST_OWN:
        return
    step.records.put(f"backup-own/{session.session_id}", DueOwn(room_id))
    step.records.put(f"backup-own-key/{session.session_id}", InboundGroupSession(session.session_key))
    _soon(step)


def forget_own(step: Step) -> None:
    """There is no backup to write them to: our own sessions' first keys are not kept for nothing."""
    for prefix in ("backup-own/", "backup-own-key/"):
        for name in list(step.records.names(prefix)):
            step.records.delete(name)


def all_due(step: Step) -> None:
    """The backup is another: all that contacts' devices sent us is to be written."""
    step.records.put(SWEEP, Sweep())
    step.records.delete(RECORD)


def _has_identity(step: Step) -> bool:
    state = inside_identity.state_of(step)
    return state.own is not None and not state.elsewhere


def _soon(step: Step) -> None:
    """In a step of its own: several sessions that come at once are written together."""
    if step.records.get(RECORD, Batch) is None:
        step.wake_at(TIMER, step.now_ms())


# ---------------------------------------------------------------- writing
def write(step: Step, where: Writing) -> None:
    """Send the next batch, unless one is under way."""
    if step.records.get(RECORD, Batch) is not None:
        return
    rooms: dict[str, dict[str, dict[str, object]]] = {}
    names: list[tuple[str, int]] = []
    swept = ""
    for name, passed in _waiting(step):
        if len(names) >= BATCH:
            break
        swept = passed or swept
        found = _own_entry(step, where, name) if name.startswith("backup-own/") else _entry(step, where, name)
        if found is None:
            step.records.delete(name)
            continue
        room_id, since, written = found
        rooms.setdefault(room_id, {"sessions": {}})["sessions"][name[-_SESSION_ID:]] = written
        names.append((name, since))
    if not names:
        step.records.delete(SWEEP)
        return
    values: dict[str, AnyValue] = {
        "version": Opaque(v=where.version),
        "body": Sealed(v=msgspec.json.encode({"rooms": rooms})),
    }
    step.records.put(RECORD, Batch(step.carry(BACKUP_PUT, values, lane=LANE), tuple(names), swept))


def _waiting(step: Step) -> Iterator[tuple[str, str]]:
    """Names of `DueOwn` and `Due` records, or such as would be; those with the `in-of/` record they were swept from."""
    for name in [*step.records.names("backup-own/"), *step.records.names("backup-due/")]:
        yield name, ""
    sweep = step.records.get(SWEEP, Sweep)
    for name in list(step.records.names("in-of/")) if sweep is not None else []:
        if sweep is not None and name > sweep.after:
            yield f"backup-due/{name.removeprefix('in-of/')}", name


def answered(step: Step, answer: Input) -> str | None:
    """The outcome of a batch: `ok`, `gone` (the backup is another now) or a code; None when it is none of ours."""
    batch = step.records.get(RECORD, Batch)
    if batch is None or answer.key != batch.request:
        return None
    step.records.delete(RECORD)
    if answer.code != "ok":
        return GONE if answer.code in (FORBIDDEN, NOT_FOUND) else answer.code
    if batch.swept:
        step.records.put(SWEEP, Sweep(batch.swept))
    for name, since in batch.names:
        due = step.records.get(name, Due) if name.startswith("backup-due/") else None
        if due is None or due.since == since:
            step.records.delete(name)
        if name.startswith("backup-own/"):
            step.records.delete(f"backup-own-key/{name[-_SESSION_ID:]}")
        step.report("key-backed-up")
    return "ok"


def _entry(step: Step, where: Writing, name: str) -> tuple[str, int, object] | None:
    which = name.removeprefix("backup-due/")
    due, origin = step.records.get(name, Due), step.records.get(f"in-of/{which}", Inbound)
    session = step.records.get(f"in/{which}", InboundGroupSession)
    if origin is None or session is None or not inside_origin.is_proved(origin):
        return None
    since = due.since if due is not None else 0
    contact = step.account.contact_by_address("matrix", which[: -_SESSION_ID - 1])
    believed = contact is not None and inside_origin.believed(step, contact, origin) is None
    claimed = Origin(origin.curve25519, origin.ed25519)
    return origin.room_id, since, entry(where.key, session, claimed, _draw(step), believed=believed)


def _own_entry(step: Step, where: Writing, name: str) -> tuple[str, int, object] | None:
    due = step.records.get(name, DueOwn)
    session = step.records.get(f"backup-own-key/{name[-_SESSION_ID:]}", InboundGroupSession)
    if due is None or session is None:
        return None
    device = where.own.device
    origin = Origin(device.curve25519, device.ed25519)
    return due.room_id, 0, entry(where.key, session, origin, _draw(step), believed=True)


def _draw(step: Step) -> bytes:
    return step.draw("backup-ephemeral", EPHEMERAL)
