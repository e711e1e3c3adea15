"""Between `m.room.message` and the network-neutral message (spec: Instant Messaging)."""

import re

import msgspec

from adapters.matrix.inside_state import Queued
from crypto.message import Kind, Message
from crypto.olm.canonical import decoded
from crypto.olm.errors import Malformed

EVENT_ID = re.compile(r"\$[!-~]{1,254}")
_MSGTYPES = {Kind.TEXT: "m.text", Kind.NOTICE: "m.notice", Kind.EMOTE: "m.emote"}
_KINDS = {msgtype: kind for kind, msgtype in _MSGTYPES.items()}
_NAMED = {
    "m.image": "image",
    "m.file": "file",
    "m.audio": "audio",
    "m.video": "video",
    "m.location": "location",
    "m.sticker": "sticker",
}
_SENTENCES = {
    "far-leg-too-weak": "the gateway's operator asks for better encryption than this conversation has",
    "policy-violation": "the gateway's policy for this contact does not allow it",
    "queue-full": "too many messages are waiting for the recipient already",
    "too-large": "it is too large",
    "undeliverable": "the recipient's client did not accept it",
}


class _Content(msgspec.Struct):
    msgtype: str = ""
    body: object = None


def room_message(message: Queued) -> dict[str, str]:
    """Content of the `m.room.message` for a message of the other network."""
    return {"msgtype": _MSGTYPES[message.kind], "body": message.body}


def received_message(kind: str, content: bytes, event_id: str, sent_at_ms: int | None, position: int) -> Message:
    """The message in an opened event of that type. Raises Malformed; LookupError when there is none to show."""
    parsed = decoded(content, _Content)
    if kind == "m.sticker":
        parsed.msgtype = kind
    elif kind != "m.room.message":
        raise LookupError
    if not isinstance(parsed.body, str):
        raise Malformed
    if parsed.msgtype in _KINDS:
        return Message(event_id, parsed.body, _KINDS[parsed.msgtype], sent_at_ms, position)
    label = _NAMED.get(parsed.msgtype, "message of an unknown kind")
    return Message(event_id, f"[{label}: {parsed.body}]", Kind.TEXT, sent_at_ms, position)


def refusal(code: str) -> str:
    """The sentence that tells a contact why a message of theirs did not arrive. It is sent encrypted."""
    return f"Your message was not delivered: {_SENTENCES.get(code, 'the recipient cannot be reached now')}."
