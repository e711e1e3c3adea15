"""Events that Matrix has in clear only: reactions and redactions. Whoever carries them may make them up.

So they change nothing but what the contact said: no redaction removes what the user wrote, and no reaction is anybody
else's. Where the policy does not let them pass, the user is told so once.

| record | kind |
|---|---|
| `plain/<mxid>` | Digests: of the newest of these events, so that none counts twice |
"""

import hashlib
from dataclasses import dataclass, replace

import msgspec

from adapters.inside_api import ContactPolicy, Step
from adapters.matrix import inside_known, inside_notices, inside_peers, inside_reactions, inside_received
from adapters.matrix.inside_relations import ANNOTATION, event_id_of, relation_of
from adapters.matrix.inside_state import Parked
from adapters.matrix.names import TOLD_OWN_REMOVED, TOLD_REACTIONS_IGNORED, TOLD_RETRACTIONS_IGNORED
from crypto.content import ContentPolicy, Reaction, Reply
from crypto.message import Kind, Message
from crypto.olm.canonical import decoded
from crypto.olm.errors import Malformed

REACTION = "m.reaction"
REDACTION = "m.room.redaction"
TYPES = frozenset({REACTION, REDACTION})
MOST_DIGESTS = 64
EDIT_REMOVED = "edit-removed"
WORDS = "[took this new wording back; what was said before it holds again]"


@dataclass(frozen=True, slots=True)
class Digests:
    """Of event ids, the newest last."""

    digests: tuple[bytes, ...] = ()


class _Redacts(msgspec.Struct):
    redacts: object = None


class _Redaction(msgspec.Struct):
    content: msgspec.Raw
    redacts: object = None


class _Parked(msgspec.Struct):
    event_id: str


def redacted_event(event: bytes | msgspec.Raw) -> str:
    """The event that a redaction removes: named in its content since room version 11. Raises Malformed."""
    parsed = decoded(event, _Redaction)
    found = event_id_of(decoded(parsed.content, _Redacts).redacts) or event_id_of(parsed.redacts)
    if not found:
        raise Malformed
    return found


def arrived(step: Step, contact: ContactPolicy, kind: str, blank: Message, event: bytes | msgspec.Raw) -> None:
    """A reaction or redaction of the contact's. `blank`: a message with the event's id and time. Raises Malformed."""
    reason = inside_peers.problem(step, contact)
    if reason is not None:
        _drop(step, contact, reason)
        return
    message: Message | None
    if kind == REACTION:
        relation = relation_of(decoded(event, _Redaction).content)
        emoji = inside_reactions.emoji_of(relation.key) if relation is not None else ""
        if relation is None or relation.kind != ANNOTATION or not emoji:
            raise Malformed
        if not _is_new(step, contact, blank.id):
            return
        message = _reacted(step, contact, blank, relation.event_id, emoji)
    else:
        target = redacted_event(event)
        if not _is_new(step, contact, blank.id):
            return
        message = _redacted(step, contact, blank, target)
    if message is not None:
        step.deliver(contact.id, message)


def _reacted(step: Step, contact: ContactPolicy, blank: Message, target: str, emoji: str) -> Message | None:
    if not ContentPolicy.of(contact.options).reactions:
        _drop(step, contact, TOLD_REACTIONS_IGNORED)
        inside_notices.tell(step, contact, TOLD_REACTIONS_IGNORED)
        return None
    return inside_received.reacted(step, contact, blank, target, emoji)


def _redacted(step: Step, contact: ContactPolicy, blank: Message, target: str) -> Message | None:
    policy = ContentPolicy.of(contact.options)
    reaction = inside_reactions.removed(step, contact, target)
    if reaction is not None:
        message_id = inside_received.target_of(step, contact, reaction[0])
        if not policy.reactions or reaction[1] is None or not message_id:
            return None
        return replace(blank, reaction=Reaction(message_id, reaction[1]))
    told = None
    if inside_known.message_of(step, contact, target) is not None:
        told = TOLD_OWN_REMOVED
    elif not policy.retractions:
        told = TOLD_RETRACTIONS_IGNORED
    if told is not None:
        _drop(step, contact, told)
        inside_notices.tell(step, contact, told)
        return None
    edit = inside_received.edit_taken_back(step, contact, target)
    if edit is not None:
        return _wording_removed(step, contact, blank, *edit)
    _forget_parked(step, contact, target)
    inside_received.taken_back(step, contact, target)
    return replace(blank, retracts=target)


def _wording_removed(step: Step, contact: ContactPolicy, blank: Message, first: str, last: bool) -> Message | None:
    """Of what was read nothing is kept, so the wording that holds again cannot be shown again: it is said in words."""
    step.report(EDIT_REMOVED, contact.id)
    return replace(blank, body=WORDS, kind=Kind.NOTICE, reply=Reply(first, by_user=False)) if first and last else None


def _forget_parked(step: Step, contact: ContactPolicy, target: str) -> None:
    """What the contact took back is not shown later either, when its key comes."""
    for name in list(step.records.names(f"parked/{contact.address}/")):
        parked = step.records.get(name, Parked)
        if parked is not None and target.encode() in parked.event and decoded(parked.event, _Parked).event_id == target:
            step.records.delete(name)
            step.trace(parked.position, "refused", "taken-back")


def _is_new(step: Step, contact: ContactPolicy, event_id: str) -> bool:
    known = step.records.get(f"plain/{contact.address}", Digests) or Digests()
    digest = hashlib.sha256(event_id.encode()).digest()[:16]
    if digest in known.digests:
        step.report("event-repeated", contact.id)
        return False
    step.records.put(f"plain/{contact.address}", Digests((*known.digests, digest)[-MOST_DIGESTS:]))
    return True


def _drop(step: Step, contact: ContactPolicy, code: str) -> None:
    step.report(code, contact.id)
    step.trace(step.position, "refused", code)
