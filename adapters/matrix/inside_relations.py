"""`m.relates_to`: what an event says of another one (spec: Event relationships, Rich replies, Threading).

It stands beside the ciphertext, so whoever carries the event can take it away, add or change it: nothing in a relation
is authentic. A half that acts on it must not let it touch what somebody else wrote.
"""

import re
from dataclasses import dataclass, field

import msgspec

from crypto.olm.canonical import decoded
from crypto.olm.errors import OlmError

EVENT_ID = re.compile(r"\$[!-~]{1,254}")
REPLACE = "m.replace"
ANNOTATION = "m.annotation"
THREAD = "m.thread"


@dataclass(frozen=True, slots=True)
class Relation:
    """`event_id` is what `kind` relates to, empty without one; `reply_to` what is answered, empty for no reply."""

    kind: str = ""
    event_id: str = ""
    reply_to: str = ""
    key: str = field(default="", repr=False)
    is_falling_back: bool = False
    """Whether, in a thread, the reply is there only for clients that know no threads."""


class _InReplyTo(msgspec.Struct):
    event_id: object = None


class _RelatesTo(msgspec.Struct, rename={"in_reply_to": "m.in_reply_to"}):
    rel_type: object = None
    event_id: object = None
    key: object = None
    is_falling_back: object = None
    in_reply_to: _InReplyTo | None = None


class _Content(msgspec.Struct, rename={"relates_to": "m.relates_to"}):
    relates_to: msgspec.Raw = msgspec.Raw()


def relation_of(content: bytes | msgspec.Raw) -> Relation | None:
    """The relation in an event's content; None when there is none, or one that has not the form of one."""
    try:
        raw = decoded(content, _Content).relates_to
        found = decoded(raw, _RelatesTo) if bytes(raw) else None
    except OlmError:
        return None
    if found is None:
        return None
    kind = found.rel_type if isinstance(found.rel_type, str) else ""
    event_id = event_id_of(found.event_id)
    reply_to = event_id_of(found.in_reply_to.event_id) if found.in_reply_to is not None else ""
    if not event_id:
        kind = ""
    if not kind and not reply_to:
        return None
    key = found.key if isinstance(found.key, str) else ""
    return Relation(kind, event_id if kind else "", reply_to, key, found.is_falling_back is True)


def event_id_of(value: object) -> str:
    """An event id, empty when it is none."""
    return value if isinstance(value, str) and EVENT_ID.fullmatch(value) is not None else ""


def relates_to(relation: Relation) -> dict[str, object]:
    """`m.relates_to` for the relation."""
    found: dict[str, object] = {}
    if relation.kind:
        found |= {"rel_type": relation.kind, "event_id": relation.event_id}
    if relation.key:
        found["key"] = relation.key
    if relation.reply_to:
        found["m.in_reply_to"] = {"event_id": relation.reply_to}
    if relation.kind == THREAD:
        found["is_falling_back"] = relation.is_falling_back
    return found
