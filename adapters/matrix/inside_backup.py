"""The account's key backup: whose it is, made when there is none, read from (spec: Server-side key backups).

Each call of `proceed` does the one next thing. Used is only a backup whose private key we hold: made by us, or read
from the secret storage that the recovery key opened. What is written goes to our own public key, whatever the server
says.
"""

import re
from dataclasses import dataclass, field, replace

import msgspec
from vodozemac import Account

from adapters.inside_api import AnyValue, Step
from adapters.matrix import inside_backup_writing, inside_identity
from adapters.matrix.inside_backup_writing import LANE, TIMER, Writing
from adapters.matrix.inside_own import own_state
from adapters.matrix.inside_state import HOUR_MS, OwnState, Storage, StoredSecret
from adapters.matrix.names import (
    ACCOUNT_DATA_GET,
    ACCOUNT_DATA_PUT,
    BACKUP_GET,
    BACKUP_VERSION_GET,
    BACKUP_VERSION_MAKE,
    NOT_FOUND,
)
from bridge.wire.link import Input
from bridge.wire.values import Address, Opaque, Public, Sealed
from crypto.olm.backup import (
    KEY,
    SECRET,
    BackupKey,
    Restored,
    new_version,
    own_version,
    read_entry,
    read_key,
)
from crypto.olm.canonical import canonical, decoded, decoded_object
from crypto.olm.errors import Malformed, OlmError
from crypto.olm.forwarded import Wanted
from crypto.olm.identity import OwnIdentity
from crypto.olm.keys import b64
from crypto.olm.storage import IV, StorageKey, stored

RECORD = "backup"
PREFERENCE = "m.key_backup"
OLDER_PREFERENCE = "m.org.matrix.custom.backup_disabled"
LOOK_AGAIN_MS = 24 * HOUR_MS
MOST_OCTETS = 64 << 10
"""Of an answer that is read."""
FOREIGN = "foreign"
SWITCHED_OFF = "switched-off"
NO_STORAGE_KEY = "no-storage-key"
_VERSION = re.compile(r"[A-Za-z0-9._~:+/=-]{1,200}")


@dataclass(frozen=True, slots=True)
class BackupState:
    """How far we are. `request` is the key of the one request that is awaited, `stage` what it is for."""

    key: bytes | None = field(default=None, repr=False)
    stored: bool = False
    """The private key is in the account's secret storage."""
    version: str = ""
    """Of the backup that is in use; empty: none is."""
    request: str | None = None
    stage: str = ""
    problem: str = ""
    not_before_ms: int = 0


class _Made(msgspec.Struct):
    version: str


def state_of(step: Step) -> BackupState:
    """How far we are."""
    return step.records.get(RECORD, BackupState) or BackupState()


def word(state: BackupState) -> str:
    """How the backup stands, for the operator."""
    return "active" if state.version else state.problem or "none"


def needs_storage(step: Step) -> bool:
    """Whether the recovery key would help."""
    return state_of(step).problem in (FOREIGN, NO_STORAGE_KEY)


def started(step: Step) -> None:
    """Look whether the backup is still the same."""
    state = state_of(step)
    if state.not_before_ms:
        step.records.put(RECORD, replace(state, not_before_ms=0))
    proceed(step)


def proceed(step: Step) -> None:
    """Do the next thing that the backup needs, if it can be done now."""
    state = _with_secret(step)
    if _whose(step) is None or state.request is not None or not inside_identity.state_of(step).stored:
        return
    if state.not_before_ms > step.now_ms():
        step.wake_at(TIMER, state.not_before_ms)
        _write(step, state)
        return
    _await(step, state, "version", step.carry(BACKUP_VERSION_GET, {}, lane=LANE))


def identity_moved(step: Step) -> None:
    """The identity, or what the recovery key opened, may be ready now."""
    if not state_of(step).version or step.records.get("stored-secret", StoredSecret) is not None:
        proceed(step)


def answered(step: Step, answer: Input) -> bool:
    """The outcome of a request. Returns whether a backup can be read from now on that could not be before."""
    state = state_of(step)
    outcome = inside_backup_writing.answered(step, answer)
    if outcome is not None:
        if outcome != "ok":
            _again_later(step, state, outcome)
        else:
            proceed(step)
        return False
    if state.request is None or answer.key != state.request:
        return False
    handlers = {
        "version": _version_told,
        "preference": _preference_told,
        "older-preference": _older_preference_told,
        "put": _put_answered,
        "make": _made,
    }
    before, stage = state.version, state.stage
    state = replace(state, request=None, stage="")
    step.records.put(RECORD, state)
    whose = _whose(step)
    if whose is None:
        return False
    if len(answer.body) > MOST_OCTETS or answer.code not in ("ok", NOT_FOUND):
        _again_later(step, state, answer.code if answer.code != "ok" else "malformed-response")
    else:
        try:
            handlers[stage](step, state, answer)
        except OlmError:
            _again_later(step, state, "malformed-response")
    now = state_of(step).version
    return bool(now) and now != before


def fetch(step: Step, wanted: Wanted) -> str | None:
    """Ask for the entry of a session; returns the request's key, None when there is nothing to read from."""
    state = state_of(step)
    if not state.version or state.key is None or _whose(step) is None:
        return None
    values: dict[str, AnyValue] = {
        "version": Opaque(v=state.version),
        "room": Address(v=wanted.room_id),
        "session": Opaque(v=wanted.session_id),
    }
    return step.carry(BACKUP_GET, values, lane="backup-read")


def restored(step: Step, body: bytes, session_id: str) -> Restored | None:
    """The session in an entry that was fetched; None when there is no key to read it any more. Raises OlmError."""
    state = state_of(step)
    if len(body) > MOST_OCTETS:
        raise Malformed
    return read_entry(BackupKey(state.key), body, session_id) if state.key is not None else None


# ---------------------------------------------------------------- what there is
def _whose(step: Step) -> tuple[OwnState, OwnIdentity] | None:
    """Our device and identity, while the identity is ours and vouches for the device."""
    own, identity = own_state(step), inside_identity.state_of(step)
    if own is None or identity.own is None or identity.elsewhere or identity.vouched != own.device.device_id:
        return None
    return own, identity.own


def _with_secret(step: Step) -> BackupState:
    """The state, with the private key that the recovery key has just opened."""
    state, secret = state_of(step), step.records.get("stored-secret", StoredSecret)
    if secret is None:
        if state.problem == NO_STORAGE_KEY and step.records.get("storage", Storage) is not None:
            state = replace(state, problem="", not_before_ms=0)
            step.records.put(RECORD, state)
        return state
    step.records.delete("stored-secret")
    try:
        key = read_key(secret.text)
    except Malformed:
        step.report("backup-secret-malformed")
        return state
    if key.octets != state.key:
        state = replace(state, key=key.octets, stored=True, version="", problem="", not_before_ms=0, request=None)
        step.records.put(RECORD, state)
    return state


def _version_told(step: Step, state: BackupState, answer: Input) -> None:
    if answer.code == NOT_FOUND:
        state = replace(state, version="")
        _await(step, state, "preference", step.carry(ACCOUNT_DATA_GET, {"type": Opaque(v=PREFERENCE)}, lane=LANE))
        return
    version = own_version(BackupKey(state.key), answer.body) if state.key is not None else None
    if version is None:
        _unusable(step, state, FOREIGN, HOUR_MS)
    elif _VERSION.fullmatch(version) is None:
        raise Malformed
    else:
        _use(step, state, version)


def _use(step: Step, state: BackupState, version: str) -> None:
    if version != state.version:
        step.report("backup-in-use")
        inside_backup_writing.all_due(step)
    if state.stored:
        step.records.delete("storage")
    state = replace(state, version=version, problem="", not_before_ms=step.now_ms() + LOOK_AGAIN_MS)
    step.records.put(RECORD, state)
    proceed(step)


def _unusable(step: Step, state: BackupState, problem: str, wait_ms: int) -> None:
    if state.problem != problem:
        step.report(f"backup-{problem}")
    inside_backup_writing.forget_own(step)
    step.records.delete("storage")
    at_ms = step.now_ms() + wait_ms
    step.records.put(RECORD, replace(state, version="", problem=problem, not_before_ms=at_ms))
    step.wake_at(TIMER, at_ms)


def _again_later(step: Step, state: BackupState, problem: str) -> None:
    step.report("backup-failed")
    at_ms = step.now_ms() + HOUR_MS
    if problem == inside_backup_writing.GONE:
        state, at_ms = replace(state, version=""), step.now_ms() + inside_backup_writing.GONE_WAIT_MS
    step.records.put(RECORD, replace(state, not_before_ms=at_ms))
    step.wake_at(TIMER, at_ms)


# ---------------------------------------------------------------- making one
def _preference_told(step: Step, state: BackupState, answer: Input) -> None:
    """Whether the user wants a backup at all (spec: Key backup enabled preference)."""
    enabled = decoded_object(answer.body).get("enabled") if answer.code == "ok" else None
    if enabled is False:
        _unusable(step, state, SWITCHED_OFF, LOOK_AGAIN_MS)
    elif enabled is True:
        _make(step, state)
    else:
        kind = Opaque(v=OLDER_PREFERENCE)
        _await(step, state, "older-preference", step.carry(ACCOUNT_DATA_GET, {"type": kind}, lane=LANE))


def _older_preference_told(step: Step, state: BackupState, answer: Input) -> None:
    """The same under the name that Element gave it."""
    if answer.code == "ok" and decoded_object(answer.body).get("disabled") is True:
        _unusable(step, state, SWITCHED_OFF, LOOK_AGAIN_MS)
    else:
        _make(step, state)


def _make(step: Step, state: BackupState) -> None:
    whose, storage = _whose(step), step.records.get("storage", Storage)
    assert whose is not None
    key = BackupKey(state.key if state.key is not None else step.draw("backup-key", KEY))
    state = replace(state, key=key.octets)
    if not state.stored and storage is None:
        _unusable(step, replace(state, key=None), NO_STORAGE_KEY, LOOK_AGAIN_MS)
    elif not state.stored and storage is not None:  # first kept, then used: a backup that nobody can read is none
        content = stored(
            StorageKey(storage.octets), storage.key_id, SECRET, b64(key.octets), step.draw("storage-iv", IV)
        )
        values: dict[str, AnyValue] = {"type": Opaque(v=SECRET), "sealed": Sealed(v=msgspec.json.encode(content))}
        _await(step, state, "put", step.carry(ACCOUNT_DATA_PUT, values, lane=LANE))
    else:
        own, identity = whose
        account = step.records.get("account", Account)
        assert account is not None
        body = canonical(new_version(key, identity, account, own.device.device_id))
        _await(step, state, "make", step.carry(BACKUP_VERSION_MAKE, {"body": Public(v=body)}, lane=LANE))


def _put_answered(step: Step, state: BackupState, answer: Input) -> None:
    if answer.code != "ok":
        _again_later(step, state, answer.code)
        return
    _make(step, replace(state, stored=True))


def _made(step: Step, state: BackupState, answer: Input) -> None:
    version = decoded(answer.body, _Made).version if answer.code == "ok" else ""
    if _VERSION.fullmatch(version) is None:
        raise Malformed
    step.report("backup-created")
    _use(step, state, version)


def _await(step: Step, state: BackupState, stage: str, key: str) -> None:
    step.records.put(RECORD, replace(state, request=key, stage=stage))


def _write(step: Step, state: BackupState) -> None:
    whose = _whose(step)
    if whose is not None and state.version and state.key is not None:
        inside_backup_writing.write(step, Writing(BackupKey(state.key), state.version, whose[0]))
