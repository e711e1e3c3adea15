"""What the user's devices say of each other's keys: automatic trust management (XEP-0450; decisions 0179, 0180).

`omemo-claims`   Claims   what was said and could not be heeded yet; for the whole account, as the keys are

Only a key that is verified can vouch for others. What others say is kept until they are verified, as is what is said of
keys that no device has shown yet. Everything has the time that its sender put inside the encryption: what is older than
what is known changes nothing, in whatever order it comes.
"""

from dataclasses import dataclass, replace
from functools import partial

from adapters.inside_api import ContactPolicy
from adapters.xmpp.inside_leg import LegStep
from adapters.xmpp.inside_omemo_keeping import user_of
from adapters.xmpp.inside_omemo_own import omemo_on
from adapters.xmpp.inside_omemo_trust import (
    BLIND,
    BY_DEVICE,
    DISTRUSTED,
    PEOPLE,
    UNDECIDED,
    VERIFIED,
    Keys,
    Known,
    keys_in,
)
from crypto.omemo.envelope import Envelope
from crypto.omemo.faults import OmemoError
from crypto.omemo.trust_messages import MAX_STATEMENTS, forms, is_trust_message, read_trust_message

MAX_CLAIMS = 256
"""Of all devices together."""
MAX_OF_ONE = MAX_STATEMENTS
AHEAD_MS = 24 * 3600_000
"""How far ahead of us a clock may be that vouches for a key: nothing could be said against it until then."""
DEVICE_VOUCHED, DEVICE_DISOWNED, DEVICE_CONTESTED = (
    "omemo-device-vouched",
    "omemo-device-disowned",
    "omemo-device-contested",
)
"""Codes of what the user is told."""
_NAME = "omemo-claims"


@dataclass(frozen=True, slots=True)
class Claim:
    """That the holder of one key trusts another one, or does not. `about`: as it was written (`forms`)."""

    by: bytes
    device: int
    about: bytes
    trusted: bool
    stamp_ms: int


@dataclass(frozen=True, slots=True)
class Claims:
    """Those that wait, the one that came last at the end."""

    waiting: tuple[Claim, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """What came of a claim: the user is told `code`. `state`: how the key stands now."""

    identity: bytes
    state: str
    code: str


def automatic(contact: ContactPolicy) -> bool:
    """Whether a contact takes such messages. A word that is not understood is taken for no."""
    return omemo_on(contact) and contact.options.get("omemo-automatic", "on") == "on"


def told_of_keys(at: LegStep, envelope: Envelope, sender: bytes, device: int) -> bool:
    """Take what an envelope says of the user's keys, if it says any; False: it is no trust message.

    `sender`: the key of the session that it came in. What follows from it is in `heeded`.
    """
    if not is_trust_message(envelope.content):
        return False
    if not automatic(at.contact):
        at.report("omemo-trust-off")
        return True
    found = None
    try:
        found = read_trust_message(envelope.content, envelope.stamp, user_of(at))
    except OmemoError:
        found = None
    known = keys_in(at.step.records).find(sender)
    if found is None:
        at.report("omemo-trust-malformed")
    elif known is None or known.state == DISTRUSTED:
        at.report("omemo-trust-refused")
    else:
        ahead = found.stamp_ms > at.step.now_ms() + AHEAD_MS
        taken = [each for each in found.statements if not (each.trusted and (ahead or sender in forms(each.key)))]
        _keep(at, [Claim(sender, device, each.key, each.trusted, found.stamp_ms) for each in taken])
        at.report("omemo-trust-told")
    return True


# ---------------------------------------------------------------- what waits
def _claims(at: LegStep) -> tuple[Claim, ...]:
    return (at.step.records.get(_NAME, Claims) or Claims()).waiting


def _put(at: LegStep, waiting: tuple[Claim, ...]) -> None:
    if waiting != _claims(at):
        at.step.records.put(_NAME, Claims(waiting))


def _keep(at: LegStep, said: list[Claim]) -> None:
    """Beyond a limit those go first that may be anybody's: a server can add devices without end."""
    waiting = list(_claims(at))
    for claim in said:
        same = next((each for each in waiting if (each.by, each.about) == (claim.by, claim.about)), None)
        if same is not None and _rank(same) >= _rank(claim):
            continue
        waiting = [each for each in waiting if each is not same] + [claim]
        of_one = [each for each in waiting if each.by == claim.by]
        if len(of_one) > MAX_OF_ONE:
            waiting.remove(of_one[0])
    worth = partial(_worth, keys_in(at.step.records))
    gone = sorted(waiting, key=worth)[: max(0, len(waiting) - MAX_CLAIMS)]
    _put(at, tuple(each for each in waiting if each not in gone))


def _worth(keys: Keys, claim: Claim) -> int:
    """How far its sender is believed."""
    sender = keys.find(claim.by)
    return (UNDECIDED, BLIND, VERIFIED).index(sender.state) if sender is not None and sender.state != DISTRUSTED else -1


def _rank(claim: Claim) -> tuple[int, bool]:
    """The later word counts; of two at one time the one that takes trust back."""
    return claim.stamp_ms, not claim.trusted


# ---------------------------------------------------------------- what follows
def heeded(at: LegStep, only: bytes | None = None) -> list[Change]:
    """Heed what can be heeded now, and what follows from that, the earliest first. `only`: what is about this key."""
    if not any(automatic(contact) for contact in at.step.account.contacts):
        return []  # what waits is not lost: it may be turned on again
    changes: list[Change] = []
    while (ready := _next(at, only)) is not None:
        claim, known = ready
        _put(at, tuple(each for each in _claims(at) if each != claim))
        changed = _judged(known, claim, at.step.now_ms())
        if changed is None:
            at.report("omemo-trust-without-effect")
            continue
        after, code = changed
        keys = keys_in(at.step.records)
        at.step.records.put("omemo-keys", keys.with_changed(after))
        if code is not None:
            at.report(f"omemo-key-{after.state}-by-device" if after.state != known.state else code)
            changes.append(Change(after.identity, after.state, code))
    return changes


def _next(at: LegStep, only: bytes | None) -> tuple[Claim, Known] | None:
    """The earliest that a verified key's holder said of a key that was shown. What distrusted ones said is dropped."""
    keys = keys_in(at.step.records)
    states = {known.identity: known.state for known in keys.known}
    _put(at, tuple(each for each in _claims(at) if states.get(each.by) != DISTRUSTED))
    for claim in sorted((each for each in _claims(at) if states.get(each.by) == VERIFIED), key=_rank):
        meant = forms(claim.about)
        known = next((k for k in keys.known if k.identity in meant and only in (None, k.identity)), None)
        if known is not None:
            return claim, known
    return None


def _judged(known: Known, claim: Claim, now_ms: int) -> tuple[Known, str | None] | None:
    """What a key is after a claim about it, and what the user is told; None: nothing changes.

    A device may take back what people decided, but not grant what they denied, nor that a contact's key is the user's.
    """
    if known.by in PEOPLE and claim.stamp_ms <= known.since_ms:
        return None
    if _rank(claim) <= (known.said_ms, not claim.trusted and known.state == DISTRUSTED):
        return None
    heard = replace(known, said_ms=claim.stamp_ms)
    if claim.trusted and known.state == DISTRUSTED and known.by != BY_DEVICE:
        return heard, DEVICE_CONTESTED
    state = VERIFIED if claim.trusted else DISTRUSTED
    if state == known.state:
        return heard, None
    code = DEVICE_VOUCHED if claim.trusted else DEVICE_DISOWNED
    return replace(heard, state=state, since_ms=now_ms, by=BY_DEVICE, voucher=claim.device), code
