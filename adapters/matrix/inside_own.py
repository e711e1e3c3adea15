"""Our own device: made at the first log-in, its keys published, one-time and fallback keys kept in supply."""

from contextlib import suppress
from dataclasses import replace

import msgspec
from vodozemac import Account

from adapters.inside_api import Step
from adapters.matrix.inside_state import HOUR_MS, MINUTE_MS, OwnState
from adapters.matrix.names import KEYS_UPLOAD
from bridge.wire.link import Input
from bridge.wire.values import Public
from crypto.olm.canonical import decoded
from crypto.olm.device import ONE_TIME, new_fallback_key, new_one_time_keys, own_device
from crypto.olm.errors import Malformed

STOCK = 50
REFILL_BELOW = 25
REFILL_EVERY_MS = 10_000
"""Least time between two uploads: what the server counts lags behind what we sent."""
LANE = "keys"
TIMER = "keys"


class DeviceArrival(msgspec.Struct):
    """Whom the access token belongs to."""

    user_id: str
    device_id: str
    forgotten: bool = False
    """The server had removed the device, and its keys with it; it is there again by another log-in."""


class _Uploaded(msgspec.Struct):
    one_time_key_counts: dict[str, int]


def own_state(step: Step) -> OwnState | None:
    """Our device, None before the first log-in."""
    return step.records.get("own", OwnState)


def logged_in(step: Step, arrival: Input) -> bool:
    """Take note of the log-in. Returns whether this is a device we were not before: everything starts anew."""
    told = decoded(arrival.body, DeviceArrival)
    if told.user_id != step.account.far_addresses.get("matrix"):
        step.report("device-foreign")
        return False
    if not 1 <= len(told.device_id) <= 255:
        raise Malformed
    own = own_state(step)
    fresh = own is None or own.device.device_id != told.device_id
    if fresh:
        account = Account()  # draws from the kernel: the library takes no randomness from its caller
        own = OwnState(own_device(account, told.user_id, told.device_id))
        step.records.put("account", account)
        step.records.put("own", own)
        step.report("device-created")
    assert own is not None
    if told.forgotten and own.published:
        # The same keys, since others know them by this name. What was under way went to the device that is gone.
        own = replace(own, published=False, uploading=None, count=0, fallback_ms=0)
        step.records.put("own", own)
        step.report("device-forgotten")
    if not own.published and own.uploading is None:
        _upload(step, own, fallback=own.fallback_ms == 0)
    return fresh


def stock_told(step: Step, counts: dict[str, int] | None, fallbacks: list[str] | None) -> None:
    """The server's count of unclaimed keys (absent: none) and its unused fallback keys (absent: unknown)."""
    own = own_state(step)
    if own is None:
        return
    count = _bounded((counts or {}).get(ONE_TIME, 0))
    own = replace(own, count=count)
    spent = fallbacks is not None and ONE_TIME not in fallbacks and step.now_ms() - own.fallback_ms >= HOUR_MS
    if not own.published or own.uploading is not None or (count >= REFILL_BELOW and not spent):
        step.records.put("own", own)
    elif step.now_ms() - own.uploaded_ms < REFILL_EVERY_MS:
        step.records.put("own", own)
        step.wake_at(TIMER, own.uploaded_ms + REFILL_EVERY_MS)
    else:
        _upload(step, own, fallback=spent)


def uploaded(step: Step, answer: Input) -> bool:
    """The outcome of an upload. Returns whether our device became known to others by it."""
    own = own_state(step)
    if own is None or own.uploading != answer.key:
        return False
    if answer.code != "ok":
        step.records.put("own", replace(own, uploading=None))
        step.report("keys-upload-failed")
        step.wake_at(TIMER, step.now_ms() + MINUTE_MS)
        return False
    with suppress(Malformed):
        own = replace(own, count=_bounded(decoded(answer.body, _Uploaded).one_time_key_counts.get(ONE_TIME, 0)))
    step.records.put("own", replace(own, uploading=None, published=True))
    return not own.published


def woken(step: Step) -> None:
    """Time to look at the supply again."""
    own = own_state(step)
    if own is not None and own.uploading is None and (not own.published or own.count < REFILL_BELOW):
        _upload(step, own, fallback=own.fallback_ms == 0)


def _bounded(count: int) -> int:
    """A count as far as it matters: what a server says may be any integer."""
    return max(0, min(count, 2 * STOCK))


def _upload(step: Step, own: OwnState, *, fallback: bool) -> None:
    """Send keys. The private halves are remembered in the very transaction that holds the request."""
    account = step.records.get("account", Account)
    if account is None:
        return
    body: dict[str, object] = {}
    if not own.published:
        body["device_keys"] = msgspec.Raw(own.device.device_keys)
    missing = STOCK - min(STOCK, max(0, own.count))
    if missing:
        body["one_time_keys"] = new_one_time_keys(account, own.device, missing)
    if fallback:
        body["fallback_keys"] = new_fallback_key(account, own.device)
        own = replace(own, fallback_ms=step.now_ms())
    account.mark_keys_as_published()
    step.records.put("account", account)
    key = step.carry(KEYS_UPLOAD, {"body": Public(v=msgspec.json.encode(body))}, lane=LANE)
    step.records.put("own", replace(own, uploading=key, uploaded_ms=step.now_ms()))
    step.report("keys-upload")
