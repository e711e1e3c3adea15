"""Joining an identity that another client made: its private keys from secret storage, by the recovery key.

All that is fetched is what the homeserver says: it counts only when the recovery key opens it, and the keys in it only
when the identity that everybody sees is made of them.
"""

import re
from contextlib import suppress
from dataclasses import dataclass, field, replace

from adapters.inside_api import Step
from adapters.matrix import inside_backup, inside_devices, inside_identity
from adapters.matrix.inside_own import own_state
from adapters.matrix.inside_state import Storage, StoredSecret
from adapters.matrix.names import ACCOUNT_DATA_GET, NOT_FOUND
from bridge.wire.link import Input
from bridge.wire.values import Opaque
from crypto.olm.backup import SECRET
from crypto.olm.canonical import decoded_object
from crypto.olm.errors import Malformed, OlmError
from crypto.olm.identity import MASTER, SEED, SELF_SIGNING, USAGES, USER_SIGNING, Identity, OwnIdentity
from crypto.olm.keys import unb64
from crypto.olm.storage import (
    DEFAULT_KEY,
    KEY_PREFIX,
    StorageKey,
    WrongKey,
    key_from_passphrase,
    read_recovery_key,
    require_described,
    secret_in,
)

LANE = "recovery"
RECORD = "recovery"
MOST_OCTETS = 64 << 10
"""Of one entry of the account data that is taken."""

# ---------------------------------------------------------------- what came of it
STARTED = "started"
OK = "ok"
WRONG_KEY = "wrong-key"
NO_STORAGE = "no-storage"
MALFORMED_STORAGE = "malformed-storage"
NOT_THIS_IDENTITY = "not-this-identity"
UNAVAILABLE = "server-unavailable"
NOT_CONNECTED = "not-connected"
ALREADY_OURS = "already-ours"

_KEY_ID = re.compile(r"[A-Za-z0-9._~:+/=-]{1,200}")


@dataclass(frozen=True, slots=True)
class Recovery:
    """How far we are. The secret is kept, sealed, only until it was tried."""

    secret: str = field(default="", repr=False)
    awaited: tuple[tuple[str, str], ...] = ()
    """Requests under way: key, and the type of account data."""
    key_id: str = ""
    found: tuple[tuple[str, bytes], ...] = field(default=(), repr=False)
    """Account data by type."""
    candidate: OwnIdentity | None = field(default=None, repr=False)
    """What was found: waits for the list of the account's own keys."""
    storage: bytes = field(default=b"", repr=False)
    backup: str = field(default="", repr=False)
    """With it: the key of the storage, and the private key of the account's backup, when it is there."""
    outcome: str = STARTED


def outcome_of(recovery: Recovery | None) -> str | None:
    """What came of the last try, as a code."""
    return recovery.outcome if recovery is not None else None


def begin(step: Step, secret: str) -> str:
    """Try the recovery key or passphrase. Returns a code; `started` when it is being tried."""
    own, state = own_state(step), inside_identity.state_of(step)
    if own is None or not own.published:
        return NOT_CONNECTED
    if state.own is not None and not state.elsewhere and not inside_backup.needs_storage(step):
        return ALREADY_OURS
    inside_devices.outdated(step, own.device.user_id)
    step.records.put(RECORD, _asking(step, Recovery(secret=secret), DEFAULT_KEY))
    return STARTED


def answered(step: Step, answer: Input) -> bool:
    """An entry of the account data came, or did not. Returns whether it was asked for here."""
    recovery = step.records.get(RECORD, Recovery)
    kind = dict(recovery.awaited).get(answer.key or "") if recovery is not None else None
    if recovery is None or kind is None:
        return False
    rest = tuple(entry for entry in recovery.awaited if entry[0] != answer.key)
    recovery = replace(recovery, awaited=rest)
    if kind == SECRET and answer.code == NOT_FOUND:  # an account need not have a backup
        _found(step, recovery, kind, b"{}")
    elif answer.code != "ok":
        _end(step, NO_STORAGE if answer.code == NOT_FOUND else UNAVAILABLE)
    elif len(answer.body) > MOST_OCTETS:
        _end(step, MALFORMED_STORAGE)
    elif kind == DEFAULT_KEY:
        _key_named(step, recovery, answer.body)
    else:
        _found(step, recovery, kind, answer.body)
    return True


def adopt(step: Step) -> None:
    """Take the identity that was found, once the server's list says that it is the account's."""
    recovery, own = step.records.get(RECORD, Recovery), own_state(step)
    if recovery is None or recovery.candidate is None or own is None:
        return
    told = inside_identity.told_of(step, own)
    if told is None:
        if inside_devices.given_up(step, own.device.user_id):
            _end(step, UNAVAILABLE)
        return
    if told.identity is None or not _is_identity(recovery.candidate, told.identity):
        _end(step, NOT_THIS_IDENTITY)
        return
    step.records.put("storage", Storage(recovery.storage, recovery.key_id))
    if recovery.backup:
        step.records.put("stored-secret", StoredSecret(recovery.backup))
    state = inside_identity.state_of(step)
    if state.own != recovery.candidate or state.elsewhere:
        inside_identity.adopted(step, recovery.candidate)
    step.report("identity-recovered")
    _end(step, OK)


# ---------------------------------------------------------------- parts
def _asking(step: Step, recovery: Recovery, *kinds: str) -> Recovery:
    keys = [step.carry(ACCOUNT_DATA_GET, {"type": Opaque(v=kind)}, lane=LANE) for kind in kinds]
    return replace(recovery, awaited=(*recovery.awaited, *zip(keys, kinds, strict=True)))


def _end(step: Step, outcome: str) -> None:
    step.records.put(RECORD, Recovery(outcome=outcome))


def _found(step: Step, recovery: Recovery, kind: str, body: bytes) -> None:
    recovery = replace(recovery, found=(*recovery.found, (kind, body)))
    step.records.put(RECORD, recovery)
    if not recovery.awaited:
        _open(step, recovery)


def _key_named(step: Step, recovery: Recovery, body: bytes) -> None:
    key_id: object = None
    try:
        key_id = decoded_object(body).get("key")
    except Malformed:
        key_id = ""
    if key_id is None:  # account data cannot be deleted, only emptied
        _end(step, NO_STORAGE)
    elif not isinstance(key_id, str) or _KEY_ID.fullmatch(key_id) is None:
        _end(step, MALFORMED_STORAGE)
    else:
        kinds = (KEY_PREFIX + key_id, *(_secret_name(usage) for usage in USAGES), SECRET)
        step.records.put(RECORD, _asking(step, replace(recovery, key_id=key_id), *kinds))


def _open(step: Step, recovery: Recovery) -> None:
    own = own_state(step)
    assert own is not None
    candidate, outcome = None, MALFORMED_STORAGE
    try:
        candidate = _stored(own.device.user_id, recovery)
    except WrongKey:
        outcome = WRONG_KEY
    except OlmError:
        outcome = MALFORMED_STORAGE
    if candidate is None:
        _end(step, outcome)
        return
    step.records.put(RECORD, candidate)
    adopt(step)


def _stored(user_id: str, recovery: Recovery) -> Recovery:
    """The private keys in what was fetched. Raises Malformed, WrongKey."""
    found = {kind: decoded_object(body) for kind, body in recovery.found}
    description = found[KEY_PREFIX + recovery.key_id]
    key = _storage_key(recovery.secret, description)
    require_described(key, description)
    identity = OwnIdentity(user_id, *(_seed(key, recovery.key_id, usage, found) for usage in USAGES))
    backup = ""
    with suppress(OlmError):  # one that this key does not open is as good as none
        backup = secret_in(key, recovery.key_id, SECRET, found[SECRET])
    return Recovery(key_id=recovery.key_id, candidate=identity, storage=key.octets, backup=backup)


def _storage_key(secret: str, description: dict[str, object]) -> StorageKey:
    """What a person typed is a recovery key if it can be one, else a passphrase if there is one."""
    try:
        return read_recovery_key(secret)
    except Malformed:
        pass
    if "passphrase" not in description:
        raise WrongKey
    return key_from_passphrase(secret, description)


def _seed(key: StorageKey, key_id: str, usage: str, found: dict[str, dict[str, object]]) -> bytes:
    name = _secret_name(usage)
    seed = unb64(secret_in(key, key_id, name, found[name]))
    if len(seed) != SEED:
        raise Malformed
    return seed


def _secret_name(usage: str) -> str:
    return f"m.cross_signing.{usage}"


def _is_identity(own: OwnIdentity, told: Identity) -> bool:
    shown = (told.master, told.self_signing, told.user_signing)
    return shown == (own.public(MASTER), own.public(SELF_SIGNING), own.public(USER_SIGNING))
