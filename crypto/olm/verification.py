"""Verification of a person: a pure state machine (spec: Key verification framework; SAS verification; QR codes).

States hold exactly what is known then; events are what came from the peer or from the person at our end; what is to
be sent comes back. `PERMITTED` is the table of transitions: anything that is not in it is refused. No clock and no
randomness: the ephemeral secret is an argument of the events that need one, and times are the caller's.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from crypto.olm.canonical import canonical, decoded_object
from crypto.olm.errors import BadSignature
from crypto.olm.qr import require_scanned
from crypto.olm.sas import (
    Ends,
    Party,
    commitment,
    presented,
    public_of,
    require_commitment,
    require_presented,
    shared_secret,
    string_of,
)
from crypto.olm.verification_messages import (
    AGREEMENT,
    DECIMAL,
    EMOJI,
    HASH,
    MAC,
    RECIPROCATE,
    REQUEST,
    SAS,
    SCAN_CODE,
    SHOW_CODE,
    Cancel,
    Done,
    Key,
    Mac,
    Reciprocate,
    Send,
    framed,
)
from crypto.olm.verification_states import (
    KEY_MISMATCH,
    MISMATCHED_COMMITMENT,
    MISMATCHED_SAS,
    REASONS,
    UNEXPECTED,
    UNKNOWN_METHOD,
    USER,
    Answered,
    Asked,
    Began,
    Begun,
    Cancelled,
    Committed,
    Comparing,
    Confirmed,
    Differed,
    Event,
    Finished,
    Flow,
    Joined,
    Matched,
    Outcome,
    Prepared,
    Promised,
    Proposed,
    Refused,
    Requested,
    Revealed,
    Scanned,
    Started,
    State,
    Verified,
    Withdrawn,
)


# ---------------------------------------------------------------- transitions
def _answered(state: Requested, event: Answered) -> Outcome:
    code = _code(state.us, event.them, event.methods, event.code)
    if SAS not in event.methods and not code:
        raise Refused(UNKNOWN_METHOD)
    return Prepared(Flow(Ends(state.transaction_id, state.us, event.them), state.in_room), code), ()


def _joined(state: Asked, event: Joined) -> Outcome:
    ends = state.flow.ends
    code = _code(ends.us, ends.them, state.methods, event.code)
    content = {"from_device": ends.us.device_id, "methods": methods(shows_code=bool(code))}
    return Prepared(state.flow, code), (_send(state.flow, "ready", content),)


def methods(*, shows_code: bool) -> list[str]:
    """What this end says that it can do. It cannot scan: there is no camera."""
    return [SAS, SHOW_CODE, RECIPROCATE] if shows_code else [SAS]


def _code(us: Party, them: Party, theirs: tuple[str, ...], drawn: bytes) -> bytes:
    """The secret of the code to show, empty when it could not be scanned or would prove nothing."""
    scans = SCAN_CODE in theirs and RECIPROCATE in theirs
    return drawn if scans and us.master and them.master else b""


def _joined_at_once(state: Proposed, event: Joined) -> Outcome:
    return _began(Prepared(state.flow), Began(state.start, event.secret))


def _begun(state: Prepared, _: Begun) -> Outcome:
    offer = {
        "from_device": state.flow.ends.us.device_id,
        "method": SAS,
        "key_agreement_protocols": [AGREEMENT],
        "hashes": [HASH],
        "message_authentication_codes": [MAC],
        "short_authentication_string": [EMOJI, DECIMAL],
    }
    send = _send(state.flow, "start", offer)
    return Started(state.flow, canonical(dict(send.content))), (send,)


def _began(state: Prepared | Started, event: Began) -> Outcome:
    start, ends = event.start, state.flow.ends
    if start.from_device != ends.them.device_id:
        raise Refused(UNEXPECTED)
    strings = tuple(each for each in (EMOJI, DECIMAL) if each in start.strings)
    offered = start.method == SAS and AGREEMENT in start.agreements and HASH in start.hashes and MAC in start.macs
    if not offered or not strings:
        raise Refused(UNKNOWN_METHOD)
    chosen = {
        "key_agreement_protocol": AGREEMENT,
        "hash": HASH,
        "message_authentication_code": MAC,
        "short_authentication_string": list(strings),
        "commitment": commitment(public_of(event.secret), decoded_object(start.content)),
    }
    return Committed(state.flow, strings, event.secret), (_send(state.flow, "accept", chosen),)


def _both_began(state: Started, event: Began) -> Outcome:
    """Both started: that of the smaller user id counts (of the smaller device id, if they are equal)."""
    ends = state.flow.ends
    if event.start.method != SAS:
        raise Refused(UNEXPECTED)
    theirs_holds = (ends.them.user_id, ends.them.device_id) < (ends.us.user_id, ends.us.device_id)
    return _began(state, event) if theirs_holds else (state, ())


def _scanned(state: Prepared, event: Reciprocate) -> Outcome:
    if not state.code or event.from_device != state.flow.ends.them.device_id:
        raise Refused(UNEXPECTED)
    try:
        require_scanned(state.code, event.secret)
        seen = True
    except BadSignature:
        seen = False
    if not seen:
        raise Refused(KEY_MISMATCH)
    return Scanned(state.flow), ()


def _scan_confirmed(state: Scanned, _: Matched) -> Outcome:
    return Verified(state.flow), (_send(state.flow, "done", {}),)


def _scan_denied(state: Scanned, _: Differed) -> Outcome:
    return ended(state, KEY_MISMATCH)


def _promised(state: Started, event: Promised) -> Outcome:
    chosen = event.accept
    strings = tuple(each for each in (EMOJI, DECIMAL) if each in chosen.strings)
    if (chosen.agreement, chosen.hash, chosen.mac) != (AGREEMENT, HASH, MAC) or not strings:
        raise Refused(UNKNOWN_METHOD)
    revealed = Revealed(state.flow, state.start, strings, chosen.commitment, event.secret)
    return revealed, (_send(state.flow, "key", {"key": public_of(event.secret)}),)


def _key_for_promise(state: Committed, event: Key) -> Outcome:
    ours = public_of(state.secret)
    comparing = _comparing(state, event.key, ours, we_started=False)
    return comparing, (_send(state.flow, "key", {"key": ours}),)


def _promised_key(state: Revealed, event: Key) -> Outcome:
    try:
        require_commitment(state.commitment, event.key, decoded_object(state.start))
        kept = True
    except BadSignature:
        kept = False
    if not kept:
        raise Refused(MISMATCHED_COMMITMENT)
    return _comparing(state, event.key, public_of(state.secret), we_started=True), ()


def _comparing(state: Committed | Revealed, theirs: str, ours: str, *, we_started: bool) -> Comparing:
    if theirs == ours:
        raise Refused(KEY_MISMATCH)  # our own key, sent back
    shared = shared_secret(state.secret, theirs)
    sas = string_of(shared, state.flow.ends, ours, theirs, we_started=we_started)
    return Comparing(state.flow, state.strings, sas, shared)


def _mac_first(state: Comparing, event: Mac) -> Outcome:
    if state.mac is not None:
        raise Refused(UNEXPECTED)
    return Comparing(state.flow, state.strings, state.sas, state.shared, event), ()


def _matched(state: Comparing, _: Matched) -> Outcome:
    mac = _send(state.flow, "mac", presented(state.shared, state.flow.ends))
    if state.mac is None:
        return Confirmed(state.flow, state.sas, state.shared), (mac,)
    verified, done = _proved(Confirmed(state.flow, state.sas, state.shared), state.mac)
    return verified, (mac, *done)


def _proved(state: Confirmed, event: Mac) -> Outcome:
    try:
        require_presented(state.shared, state.flow.ends, event.macs, event.keys)
        proved = True
    except BadSignature:
        proved = False
    if not proved:
        raise Refused(KEY_MISMATCH)
    return Verified(state.flow), (_send(state.flow, "done", {}),)


def _done(state: Verified, _: Done) -> Outcome:
    return Finished(state.flow), ()


def _differed(state: Comparing, _: Differed) -> Outcome:
    return ended(state, MISMATCHED_SAS)


def _cancelled(_state: State, event: Cancel) -> Outcome:
    return Cancelled(event.code, by_us=False), ()


def _late(state: Verified, _: Cancel | Withdrawn) -> Outcome:
    """What is proved stays proved."""
    return Finished(state.flow), ()


def _withdrawn(state: State, event: Withdrawn) -> Outcome:
    return ended(state, event.code)


_LIVE: tuple[type[State], ...] = (
    Requested,
    Asked,
    Proposed,
    Prepared,
    Started,
    Committed,
    Revealed,
    Comparing,
    Scanned,
    Confirmed,
)
_Handler = Callable[[Any, Any], Outcome]
_TRANSITIONS: Mapping[tuple[type[State], type[Event]], tuple[_Handler, frozenset[type[State]]]] = MappingProxyType(
    {
        (Requested, Answered): (_answered, frozenset({Prepared})),
        (Asked, Joined): (_joined, frozenset({Prepared})),
        (Proposed, Joined): (_joined_at_once, frozenset({Committed})),
        (Prepared, Begun): (_begun, frozenset({Started})),
        (Prepared, Began): (_began, frozenset({Committed})),
        (Prepared, Reciprocate): (_scanned, frozenset({Scanned})),
        (Scanned, Matched): (_scan_confirmed, frozenset({Verified})),
        (Scanned, Differed): (_scan_denied, frozenset({Cancelled})),
        (Started, Began): (_both_began, frozenset({Started, Committed})),
        (Started, Promised): (_promised, frozenset({Revealed})),
        (Committed, Key): (_key_for_promise, frozenset({Comparing})),
        (Revealed, Key): (_promised_key, frozenset({Comparing})),
        (Comparing, Mac): (_mac_first, frozenset({Comparing})),
        (Comparing, Matched): (_matched, frozenset({Confirmed, Verified})),
        (Comparing, Differed): (_differed, frozenset({Cancelled})),
        (Confirmed, Mac): (_proved, frozenset({Verified})),
        (Verified, Done): (_done, frozenset({Finished})),
        (Verified, Cancel): (_late, frozenset({Finished})),
        (Verified, Withdrawn): (_late, frozenset({Finished})),
        **{(state, Cancel): (_cancelled, frozenset({Cancelled})) for state in _LIVE},
        **{(state, Withdrawn): (_withdrawn, frozenset({Cancelled})) for state in _LIVE},
    }
)
"""What may come in a state, what is made of it, and the states that may follow."""
PERMITTED: Mapping[tuple[type[State], type[Event]], frozenset[type[State]]] = MappingProxyType(
    {at: following for at, (_, following) in _TRANSITIONS.items()}
)


def advanced(state: State, event: Event) -> Outcome:
    """The state that follows, and what is to be sent.

    Raises Refused (it cannot go on: `ended` with its code is what follows) and Malformed (a key that is none).
    """
    found = _TRANSITIONS.get((type(state), type(event)))
    if found is None:
        raise Refused(UNEXPECTED)
    handler, permitted = found
    following, sends = handler(state, event)
    assert type(following) in permitted
    return following, sends


def ended(state: State, code: str) -> Outcome:
    """Broken off by this end: what follows, and the word to the other one. Of what was over already nothing changes."""
    if type(state) not in _LIVE:
        return state, ()
    flow = flow_of(state)
    over = Cancelled(code, by_us=True)
    content = {"code": code, "reason": REASONS.get(code, REASONS[USER])}
    if isinstance(state, Requested):
        return over, (framed("cancel", state.transaction_id, content, in_room=state.in_room),)
    assert flow is not None
    return over, (_send(flow, "cancel", content),)


def is_request(content: bytes) -> bool:
    """Whether the content of an `m.room.message` is a request to verify. Raises Malformed."""
    return decoded_object(content).get("msgtype") == REQUEST


def live(state: State) -> bool:
    """Whether it can still be broken off."""
    return type(state) in _LIVE


def flow_of(state: State) -> Flow | None:
    """The conversation, None while its other end is not known, or when it came to nothing."""
    return None if isinstance(state, Requested | Cancelled) else state.flow


def _send(flow: Flow, name: str, content: Mapping[str, object]) -> Send:
    return framed(name, flow.ends.transaction_id, content, in_room=flow.in_room)


# ---------------------------------------------------------------- time
@dataclass(frozen=True, slots=True)
class Limits:
    """How long a conversation may take, in milliseconds; `ahead_ms`: how far a peer's clock may be ahead of ours."""

    whole_ms: int = 600_000
    ahead_ms: int = 300_000


def expired(now_ms: int, begun_ms: int, limits: Limits) -> bool:
    """Whether a conversation that began then has to end now. A beginning in the future is not believed."""
    return not begun_ms - limits.ahead_ms <= now_ms < begun_ms + limits.whole_ms
