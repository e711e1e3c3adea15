"""The user's own cross-signing identity: made once, kept for good, vouching for our device (spec: Cross-signing).

Each call of `proceed` does the one next thing that is missing. What the server tells of the account decides: an
identity that is there already and is not ours is never replaced; its owner hands it over with the recovery key.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import msgspec

from adapters.inside_api import AnyValue, Step
from adapters.matrix import inside_devices
from adapters.matrix.inside_own import own_state
from adapters.matrix.inside_state import HOUR_MS, OwnState, Storage, Tracked
from adapters.matrix.names import (
    ACCOUNT_DATA_GET,
    ACCOUNT_DATA_PUT,
    NOT_FOUND,
    SIGNATURES_UPLOAD,
    SIGNING_KEYS_UPLOAD,
)
from bridge.wire.link import Input
from bridge.wire.values import Opaque, Public, Sealed
from crypto.olm.canonical import canonical, decoded_object
from crypto.olm.device import Device
from crypto.olm.identity import (
    MASTER,
    SEED,
    SELF_SIGNING,
    USAGES,
    OwnIdentity,
    signing_keys,
    vouched_device,
    with_signatures,
)
from crypto.olm.keys import b64
from crypto.olm.storage import DEFAULT_KEY, IV, KEY, KEY_PREFIX, StorageKey, description_of, recovery_key, stored

LANE = "identity"
TIMER = "identity"
RECORD = "identity"


@dataclass(frozen=True, slots=True)
class IdentityState:
    """How far we are. `request` is the key of the one request that is awaited, `waits_for` its name."""

    own: OwnIdentity | None = field(default=None, repr=False)
    request: str | None = None
    published: bool = False
    stored: bool = False
    """The private keys are in the account's secret storage."""
    storage_key: bytes | None = field(default=None, repr=False)
    """The key of the secret storage, until its owner was shown it."""
    storage_key_id: str = ""
    """By what name the account's data knows that key: the same at every try, for others read it from there."""
    pending: tuple[str, ...] = ()
    """Account data on its way."""
    elsewhere: bool = False
    """The account has an identity that is not ours: its owner has to hand it over."""
    vouched: str = ""
    """Id of the device of ours that the server shows as vouched for."""
    not_before_ms: int = 0
    """After something failed, or was done that the server does not show yet."""
    problem: str = ""
    """Why the last attempt failed, a code."""
    foreign: str = ""
    """While there is none of ours: the master key of the identity that was first seen."""


def state_of(step: Step) -> IdentityState:
    """How far we are."""
    return step.records.get(RECORD, IdentityState) or IdentityState()


def settled(step: Step) -> bool:
    """Whether messages need not wait: our device is vouched for, or for now it cannot be."""
    own, state = own_state(step), state_of(step)
    if own is None:
        return False
    hopeless = state.not_before_ms > step.now_ms() or inside_devices.given_up(step, own.device.user_id)
    return state.vouched == own.device.device_id or state.elsewhere or hopeless


def proceed(step: Step) -> None:
    """Do the next thing that the identity needs, if it can be done now."""
    own, state = own_state(step), state_of(step)
    if own is None or not own.published or state.request is not None or state.pending:
        return
    if state.not_before_ms > step.now_ms():
        step.wake_at(TIMER, state.not_before_ms)
        return
    told = told_of(step, own)
    if told is None:
        return
    if state.own is None and not told.claims_identity and not state.foreign:
        _create(step, own)
    elif state.own is None or (told.claims_identity and not _is_ours(state.own, told)):
        _not_ours(step, state, told)
    elif not told.claims_identity:
        _publish(step, state)
    else:
        _complete(step, own, replace(state, published=True, elsewhere=False), told)


def answered(step: Step, answer: Input) -> None:
    """The outcome of one of our requests."""
    state = state_of(step)
    if answer.key in state.pending:
        _put_answered(step, state, answer)
    elif state.request is not None and answer.key == state.request:
        state = replace(state, request=None)
        if answer.name == ACCOUNT_DATA_GET:
            _store(step, state, answer)
        elif answer.code != "ok":
            _later(step, state, f"{answer.name}-failed", answer.code)
        else:
            # Signed once: when the server does not show it, not again before an hour.
            published = state.published or answer.name == SIGNING_KEYS_UPLOAD
            wait_ms = step.now_ms() + HOUR_MS if answer.name == SIGNATURES_UPLOAD else 0
            step.records.put(RECORD, replace(state, published=published, not_before_ms=wait_ms, problem=""))
            _after_upload(step)


def listed_again(step: Step) -> None:
    """The account's own keys were asked for anew: what was waited for may be seen now."""
    own, state = own_state(step), state_of(step)
    told = told_of(step, own) if own is not None else None
    if own is not None and told is not None and state.published and own.device.device_id in told.vouched:
        step.records.put(RECORD, replace(state, not_before_ms=0))
    proceed(step)


def adopted(step: Step, identity: OwnIdentity) -> None:
    """The account's identity was handed over: it is in its owner's storage already, and signs our device next."""
    step.records.put(RECORD, IdentityState(identity, published=True, stored=True))
    proceed(step)


def recovery_key_to_show(step: Step) -> tuple[str, str | None]:
    """A code, and with `ok` the recovery key, once."""
    state = state_of(step)
    if state.own is None:
        return "identity-elsewhere" if state.elsewhere else "no-identity", None
    if state.storage_key is None:
        return "already-shown", None
    shown = shown_recovery_key(step)
    return ("not-stored", None) if shown is None else ("ok", shown)


def shown_recovery_key(step: Step) -> str | None:
    """The recovery key, once; None when there is none to show (any more)."""
    state = state_of(step)
    if state.storage_key is None or not state.stored:
        return None
    step.records.put(RECORD, replace(state, storage_key=None))
    return recovery_key(StorageKey(state.storage_key))


# ---------------------------------------------------------------- what the server says
def told_of(step: Step, own: OwnState) -> Tracked | None:
    """The account's own keys as the server lists them now; None while they are being asked for."""
    if inside_devices.current_devices(step, own.device.user_id) is None:
        return None
    told = inside_devices.tracked(step, own.device.user_id)
    return told if told is not None and told.known and not told.outdated else None


def _is_ours(own: OwnIdentity, told: Tracked) -> bool:
    theirs = told.identity
    return theirs is not None and (theirs.master, theirs.self_signing) == (own.public(MASTER), own.public(SELF_SIGNING))


def own_served(step: Step, own: OwnState, devices: Sequence[Device]) -> tuple[Device, ...]:
    """Those of the account's own other devices that are given keys: those that the identity we know vouches for.

    Which one that is the server cannot change: what it shows in its place makes no device the user's, nor does hiding
    it. Where there never was one, all are served.
    """
    state, told = state_of(step), inside_devices.tracked(step, own.device.user_id)
    if told is None:
        return ()
    if state.own is not None and state.published:
        known = _is_ours(state.own, told)
    elif state.foreign or told.claims_identity:
        known = told.identity is not None and state.foreign in ("", told.identity.master)
    else:
        return tuple(devices)
    return tuple(device for device in devices if known and device.device_id in told.vouched)


def trusted_devices(step: Step, own: OwnState) -> tuple[Device, ...]:
    """The account's other devices that our own identity vouches for; none while the identity is not ours."""
    state, told = state_of(step), inside_devices.tracked(step, own.device.user_id)
    if told is None or state.own is None or state.elsewhere or state.vouched != own.device.device_id:
        return ()
    if not _is_ours(state.own, told):  # `elsewhere` may not be noted yet
        return ()
    return tuple(device for device in told.devices if device.device_id in told.vouched)


def _not_ours(step: Step, state: IdentityState, told: Tracked) -> None:
    foreign = state.foreign or (told.identity.master if told.identity is not None else "")
    if not state.elsewhere:
        step.report("identity-elsewhere" if state.own is None else "identity-replaced")
    if not state.elsewhere or foreign != state.foreign:
        step.records.put(RECORD, replace(state, elsewhere=True, vouched="", foreign=foreign))


# ---------------------------------------------------------------- making it known
def _create(step: Step, own: OwnState) -> None:
    seeds = (step.draw(f"cross-signing-{usage}", SEED) for usage in USAGES)
    state = IdentityState(OwnIdentity(own.device.user_id, *seeds), storage_key=step.draw("secret-storage", KEY))
    step.report("identity-created")
    _publish(step, state)


def _publish(step: Step, state: IdentityState) -> None:
    assert state.own is not None
    body = canonical(signing_keys(state.own))
    key = step.carry(SIGNING_KEYS_UPLOAD, {"body": Public(v=body)}, lane=LANE)
    step.records.put(RECORD, replace(state, request=key))


def _after_upload(step: Step) -> None:
    """Our own list is outdated now, whether or not the server says so."""
    own = own_state(step)
    if own is not None:
        inside_devices.outdated(step, own.device.user_id)


def _complete(step: Step, own: OwnState, state: IdentityState, told: Tracked) -> None:
    assert state.own is not None
    keys = decoded_object(own.device.device_keys)
    signed = vouched_device(state.own, keys)
    if own.device.device_id not in told.vouched:
        body = canonical({own.device.user_id: {own.device.device_id: signed}})
        key = step.carry(SIGNATURES_UPLOAD, {"body": Public(v=body)}, lane=LANE)
        step.records.put(RECORD, replace(state, request=key))
        step.report("device-vouched")
        return
    state = replace(state, vouched=own.device.device_id, not_before_ms=0)
    whole = canonical(with_signatures(keys, signed))
    if whole != own.device.device_keys:
        # It travels in every Olm message: who gets a key before our device list sees the signature at once.
        step.records.put("own", replace(own, device=replace(own.device, device_keys=whole)))
    if not state.stored and state.storage_key is not None:
        key = step.carry(ACCOUNT_DATA_GET, {"type": Opaque(v=DEFAULT_KEY)}, lane=LANE)
        step.records.put(RECORD, replace(state, request=key))
    elif state != state_of(step):
        step.records.put(RECORD, state)


# ---------------------------------------------------------------- secret storage
def _store(step: Step, state: IdentityState, answer: Input) -> None:
    """Put the private keys into the account's secret storage. One that its owner has already stays the default."""
    if state.own is None or state.storage_key is None or answer.code not in ("ok", NOT_FOUND):
        _later(step, state, "secret-storage-failed", answer.code)
        return
    key, key_id = StorageKey(state.storage_key), state.storage_key_id or step.draw("storage-key-id", 16).hex()
    step.records.put("storage", Storage(key.octets, key_id))  # for the backup's key
    put = [_put(step, KEY_PREFIX + key_id, public=description_of(key, step.draw("storage-iv", IV)))]
    for usage in USAGES:
        name = f"m.cross_signing.{usage}"
        content = stored(key, key_id, name, b64(state.own.seed(usage)), step.draw("storage-iv", IV))
        put.append(_put(step, name, sealed=content))
    if answer.code == NOT_FOUND:
        put.append(_put(step, DEFAULT_KEY, public={"key": key_id}))
    step.records.put(RECORD, replace(state, storage_key_id=key_id, pending=tuple(put)))


def _put(step: Step, name: str, *, public: object = None, sealed: object = None) -> str:
    values: dict[str, AnyValue] = {"type": Opaque(v=name)}
    if public is not None:
        values["public"] = Public(v=msgspec.json.encode(public))
    else:
        values["sealed"] = Sealed(v=msgspec.json.encode(sealed))
    return step.carry(ACCOUNT_DATA_PUT, values, lane=LANE)


def _put_answered(step: Step, state: IdentityState, answer: Input) -> None:
    rest = tuple(key for key in state.pending if key != answer.key)
    if answer.code != "ok":
        _later(step, replace(state, pending=()), "secret-storage-failed", answer.code)
        return
    step.records.put(RECORD, replace(state, pending=rest, stored=not rest, problem=""))
    if not rest:
        step.report("secret-storage-written")


def _later(step: Step, state: IdentityState, code: str, problem: str) -> None:
    at_ms = step.now_ms() + HOUR_MS
    step.report(code)
    step.wake_at(TIMER, at_ms)
    step.records.put(RECORD, replace(state, not_before_ms=at_ms, problem=problem))
