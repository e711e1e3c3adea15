"""The Olm sessions we hold with other devices: which there are, which one sends, how a new one is founded."""

from collections.abc import Sequence
from dataclasses import replace

import msgspec
from vodozemac import Account, Session

from adapters.inside_api import Step
from adapters.matrix.inside_state import HOUR_MS, Claim, Olm, OlmEntry, OwnState, Unclaimed, Wedged
from adapters.matrix.names import KEYS_CLAIM, SEND_TO_DEVICE
from bridge.wire.link import Input
from bridge.wire.values import Public, Sealed
from crypto.olm.canonical import decoded
from crypto.olm.device import ONE_TIME, Device, verified_one_time_key
from crypto.olm.errors import OlmError
from crypto.olm.pairwise import encrypted_for, outbound_session

MOST_SESSIONS = 5
"""Sessions kept with one device; the specification asks for at least four."""
UNWEDGE_EVERY_MS = HOUR_MS


class _Claimed(msgspec.Struct):
    one_time_keys: dict[str, dict[str, object]] = {}


# ---------------------------------------------------------------- the sessions with one device
def sessions_with(step: Step, curve25519: str) -> list[Session]:
    """All of them, the most recently used first."""
    olm = step.records.get(f"olm/{curve25519}", Olm) or Olm()
    found = (step.records.get(_name(curve25519, entry.session_id), Session) for entry in olm.entries)
    return [session for session in found if session is not None]


def sending_session(step: Step, curve25519: str) -> Session | None:
    """The session to send by: the one last received on, among those whose sending keys are fresh."""
    olm = step.records.get(f"olm/{curve25519}", Olm) or Olm()
    entry = next((entry for entry in olm.entries if entry.sendable), None)
    return step.records.get(_name(curve25519, entry.session_id), Session) if entry is not None else None


def keep_session(step: Step, curve25519: str, session: Session, *, used: bool) -> None:
    """Remember a session; `used`: it is new or has just opened a message, and goes to the front."""
    step.records.put(_name(curve25519, session.session_id), session)
    olm = step.records.get(f"olm/{curve25519}", Olm) or Olm()
    known = next((entry for entry in olm.entries if entry.session_id == session.session_id), None)
    if known is not None and not used:
        return
    first = replace(known or OlmEntry(session.session_id, 0), last_ms=step.now_ms())
    entries = (first, *(entry for entry in olm.entries if entry.session_id != session.session_id))
    for dropped in entries[MOST_SESSIONS:]:
        step.records.delete(_name(curve25519, dropped.session_id))
    step.records.put(f"olm/{curve25519}", Olm(entries[:MOST_SESSIONS]))


def forget_sending(step: Step) -> None:
    """No session's sending keys may be used again: they may have been, in a future that was rolled back."""
    for name in list(step.records.names("olm/")):
        olm = step.records.get(name, Olm)
        if olm is not None and any(entry.sendable for entry in olm.entries):
            step.records.put(name, Olm(tuple(replace(entry, sendable=False) for entry in olm.entries)))


def forget_device(step: Step, curve25519: str) -> None:
    """All sessions with a device that turned out to be nobody's."""
    for name in [f"olm/{curve25519}", *step.records.names(f"olm-session/{curve25519}/")]:
        step.records.delete(name)


def forget_all(step: Step) -> None:
    """We are another device now."""
    for prefix in ("olm/", "olm-session/", "unclaimed/", "wedged/", "claim"):
        for name in list(step.records.names(prefix)):
            step.records.delete(name)


# ---------------------------------------------------------------- new sessions
def unclaimable(step: Step, curve25519: str) -> int | None:
    """Until when the device is not to be asked for a key again, None when it may be."""
    state = step.records.get(f"unclaimed/{curve25519}", Unclaimed)
    return state.until_ms if state is not None and state.until_ms > step.now_ms() else None


def claim(step: Step, targets: Sequence[Device]) -> None:
    """Ask for one-time keys of these devices and of those that wait to be healed, unless a request is under way."""
    if step.records.get("claim", Claim) is not None:
        return
    wedged = [state.device for state in _wedged(step) if not state.healed]
    wanted = tuple(dict.fromkeys((*targets, *wedged)))
    if not wanted:
        return
    keys: dict[str, dict[str, str]] = {}
    for device in wanted:
        keys.setdefault(device.user_id, {})[device.device_id] = ONE_TIME
    key = step.carry(KEYS_CLAIM, {"keys": Public(v=msgspec.json.encode(keys))}, lane="claim")
    step.records.put("claim", Claim(key, wanted))


def claim_missing(step: Step, devices: Sequence[Device]) -> bool:
    """Ask for keys of those that there is no session with. Returns whether to wait for them."""
    without = [
        device
        for device in devices
        if sending_session(step, device.curve25519) is None and unclaimable(step, device.curve25519) is None
    ]
    if without:
        claim(step, without)
    return bool(without)


def claimed(step: Step, answer: Input, own: OwnState) -> bool:
    """Keys came: found the sessions. Returns whether the request was ours."""
    asked = step.records.get("claim", Claim)
    account = step.records.get("account", Account)
    if asked is None or asked.key != answer.key or account is None:
        return False
    step.records.delete("claim")
    keys: dict[str, dict[str, object]] = {}
    try:
        keys = decoded(answer.body, _Claimed).one_time_keys if answer.code == "ok" else {}
    except OlmError as error:
        step.report(f"claim-{error.code}")
    for device in asked.targets:
        _found(step, own, account, device, keys.get(device.user_id, {}).get(device.device_id))
    step.records.put("account", account)
    return True


def _found(step: Step, own: OwnState, account: Account, device: Device, offered: object) -> None:
    try:
        session = outbound_session(account, device, verified_one_time_key(device, offered if offered else {}))
    except OlmError as error:
        step.report("no-one-time-key" if not offered else f"one-time-key-{error.code}")
        step.records.put(f"unclaimed/{device.curve25519}", Unclaimed(step.now_ms() + HOUR_MS))
        _healed(step, device)
        return
    step.records.delete(f"unclaimed/{device.curve25519}")
    keep_session(step, device.curve25519, session, used=True)
    if _healed(step, device):
        send_to_devices(step, own, [device], "m.dummy", {})
        step.report("unwedged")


def send_to_devices(step: Step, own: OwnState, devices: Sequence[Device], kind: str, content: object) -> str:
    """Send the devices an event, encrypted for each, in one request; returns its key. There is a session with each."""
    messages: dict[str, dict[str, object]] = {}
    for device in devices:
        session = sending_session(step, device.curve25519)
        assert session is not None
        sealed = encrypted_for(session, own.device, device, kind, content)
        keep_session(step, device.curve25519, session, used=False)
        messages.setdefault(device.user_id, {})[device.device_id] = sealed
    body = msgspec.json.encode({"messages": messages})
    return step.carry(SEND_TO_DEVICE, {"body": Sealed(v=body)}, lane="to-device")


# ---------------------------------------------------------------- broken sessions
def wedged(step: Step, device: Device) -> None:
    """A message of the device's could not be opened: found a new session (spec: Recovering ...), once in an hour."""
    name = f"wedged/{device.curve25519}"
    state = step.records.get(name, Wedged)
    if state is not None and step.now_ms() - state.noted_ms < UNWEDGE_EVERY_MS:
        return
    step.records.put(name, Wedged(device, step.now_ms()))
    claim(step, ())


def claim_for_wedged(step: Step) -> None:
    """Ask for keys for devices that were found wedged while another request was under way."""
    claim(step, ())


def _wedged(step: Step) -> list[Wedged]:
    found = (step.records.get(name, Wedged) for name in list(step.records.names("wedged/")))
    return [state for state in found if state is not None]


def _healed(step: Step, device: Device) -> bool:
    name = f"wedged/{device.curve25519}"
    state = step.records.get(name, Wedged)
    if state is None or state.healed:
        return False
    step.records.put(name, replace(state, healed=True))
    return True


def _name(curve25519: str, session_id: str) -> str:
    return f"olm-session/{curve25519}/{session_id}"
