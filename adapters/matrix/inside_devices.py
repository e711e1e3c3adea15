"""Device lists of the contacts and of the user (spec: Tracking the device list for a user)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import msgspec

from adapters.inside_api import Step
from adapters.matrix.inside_state import MINUTE_MS, OwnState, Tracked
from adapters.matrix.inside_timers import wake_by
from adapters.matrix.names import KEYS_QUERY
from bridge.wire.link import Input
from bridge.wire.values import Address
from crypto.olm.canonical import decoded
from crypto.olm.device import Device, verified_device
from crypto.olm.errors import OlmError
from crypto.olm.identity import Identity, require_vouched_device, verified_identity

MOST_DEVICES = 200
RETRY_MS = (5_000, 30_000, 2 * MINUTE_MS, 10 * MINUTE_MS)
TIMER = "query"


class _Answer(msgspec.Struct):
    device_keys: dict[str, dict[str, object]] = {}
    master_keys: dict[str, object] = {}
    self_signing_keys: dict[str, object] = {}
    user_signing_keys: dict[str, object] = {}
    failures: dict[str, object] = {}


def tracked(step: Step, user: str) -> Tracked | None:
    """What is known of the user's devices."""
    return step.records.get(f"user/{user}", Tracked)


def may_be_tracked(step: Step, user: str) -> bool:
    """Whether keys may ever be shared with this user: a mapped contact, or the user."""
    policy = step.account
    return user == policy.far_addresses.get("matrix") or policy.contact_by_address("matrix", user) is not None


def current_devices(step: Step, user: str) -> tuple[Device, ...] | None:
    """The user's devices when the list is up to date; else None, and it is being asked for."""
    state = tracked(step, user)
    if state is None or (state.outdated and state.query is None and state.retry_ms <= step.now_ms()):
        _query(step, user, state or Tracked())
        return None
    if not state.outdated:
        return state.devices
    exhausted = state.query is None and state.known  # the server cannot tell now: what it told before must do
    return state.devices if exhausted else None


def device_of(step: Step, user: str, curve25519: str) -> Device | None:
    """The user's device with that identity key, as far as we know."""
    state = tracked(step, user)
    return next((d for d in state.devices if d.curve25519 == curve25519), None) if state is not None else None


def is_known(step: Step, curve25519: str) -> bool:
    """Whether any tracked user has a device with that identity key."""
    return curve25519 in all_keys(step)


def all_keys(step: Step) -> set[str]:
    """The identity keys of all tracked users' devices."""
    return {device.curve25519 for _, state in _all(step) for device in state.devices}


def given_up(step: Step, user: str) -> bool:
    """Whether the list was asked for often enough, in vain."""
    state = tracked(step, user)
    return state is not None and not state.known and state.query is None and state.tries > len(RETRY_MS)


def outdated(step: Step, user: str) -> bool:
    """The user's devices changed: ask for them. Returns whether the user is tracked at all."""
    state = tracked(step, user)
    if state is None or not may_be_tracked(step, user):
        return False
    if state.query is not None:
        step.records.put(f"user/{user}", replace(state, outdated=True, again=True))
    else:
        _query(step, user, replace(state, tries=0))
    return True


def all_outdated(step: Step) -> None:
    """Changes may have been missed."""
    for name in list(step.records.names("user/")):
        outdated(step, name.removeprefix("user/"))


def answered(step: Step, answer: Input, own: OwnState) -> str | None:
    """A device list came. Returns the user it is of, None when nobody asked for it (any more)."""
    found = next(((u, t) for u, t in _all(step) if t.query is not None and t.query == answer.key), None)
    if found is None:
        return None
    user, state = found
    try:
        parsed = decoded(answer.body, _Answer) if answer.code == "ok" else None
    except OlmError as error:
        step.report(f"query-{error.code}")
        parsed = None
    state = replace(state, query=None)
    listed = parsed.device_keys.get(user) if parsed is not None else None
    if listed is None and (parsed is None or parsed.failures):
        _failed(step, user, state)
        return user
    devices = _devices(step, user, listed or {}, state, own)
    again = state.again
    identity = _identity(step, user, parsed) if parsed is not None else None
    state = Tracked(
        devices=devices,
        known=True,
        outdated=again,
        identity=identity,
        claims_identity=parsed is not None and (user in parsed.master_keys or user in parsed.self_signing_keys),
        vouched=_vouched(identity, listed or {}, devices, own) if identity is not None else (),
    )
    step.records.put(f"user/{user}", state)
    if again:
        _query(step, user, state)
    return user


def woken(step: Step) -> None:
    """Ask again for the lists that could not be told."""
    for user, state in _all(step):
        if not state.outdated or state.query is not None or not may_be_tracked(step, user):
            continue
        if state.retry_ms <= step.now_ms():
            _query(step, user, state)
        else:
            wake_by(step, TIMER, state.retry_ms)


def _all(step: Step) -> list[tuple[str, Tracked]]:
    names = list(step.records.names("user/"))
    states = ((name.removeprefix("user/"), step.records.get(name, Tracked)) for name in names)
    return [(user, state) for user, state in states if state is not None]


def _query(step: Step, user: str, state: Tracked) -> None:
    key = step.carry(KEYS_QUERY, {"user": Address(v=user)}, lane="query")
    step.records.put(f"user/{user}", replace(state, outdated=True, query=key, again=False, retry_ms=0))


def _failed(step: Step, user: str, state: Tracked) -> None:
    delay = RETRY_MS[min(state.tries, len(RETRY_MS) - 1)]
    at_ms = step.now_ms() + delay
    step.records.put(f"user/{user}", replace(state, outdated=True, again=False, tries=state.tries + 1, retry_ms=at_ms))
    step.report("devices-unknown")
    wake_by(step, TIMER, at_ms)


def _identity(step: Step, user: str, told: _Answer) -> Identity | None:
    """The user's cross-signing keys, when they are there and vouch for each other."""
    master, self_signing = told.master_keys.get(user), told.self_signing_keys.get(user)
    if master is None or self_signing is None:
        return None
    try:
        return verified_identity(user, master, self_signing, told.user_signing_keys.get(user))
    except OlmError as error:
        step.report(f"identity-{error.code}")
        return None


def _vouched(
    identity: Identity, listed: Mapping[str, object], devices: Sequence[Device], own: OwnState
) -> tuple[str, ...]:
    """Which of the accepted devices, and of our own, the identity vouches for."""
    found = []
    mine = [own.device] if identity.user_id == own.device.user_id else []
    for device in (*devices, *mine):
        claimed = listed.get(device.device_id)
        try:
            if isinstance(claimed, dict):
                now = verified_device(device.user_id, device.device_id, claimed)
                if (now.ed25519, now.curve25519) == (device.ed25519, device.curve25519):
                    require_vouched_device(identity, claimed)
                    found.append(device.device_id)
        except OlmError:
            continue  # not vouched for: whoever asks will not find it here
    return tuple(found)


def _devices(step: Step, user: str, listed: Mapping[str, object], state: Tracked, own: OwnState) -> tuple[Device, ...]:
    """Those of the listed devices that are signed and have not changed their keys, without our own."""
    before = {device.device_id: device for device in state.devices}
    accepted: dict[str, Device] = {}
    for device_id, claimed in sorted(listed.items())[:MOST_DEVICES]:
        try:
            device = verified_device(user, device_id, claimed)
        except OlmError as error:
            step.report(f"device-{error.code}")
            continue
        if (user, device_id) == (own.device.user_id, own.device.device_id):
            if (device.ed25519, device.curve25519) != (own.device.ed25519, own.device.curve25519):
                step.report("own-device-mismatch")
            continue
        if before.get(device_id, device) != device:
            step.report("device-keys-changed")
            device = before[device_id]
        if any(device.curve25519 == other.curve25519 for other in accepted.values()):
            step.report("device-keys-shared")
            continue
        accepted[device_id] = device
    if state.known and accepted.keys() - before.keys():
        step.report("device-new")
    return tuple(accepted.values())
