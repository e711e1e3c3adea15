"""The file that a Matrix message has: what is said of it, and what opens it. Hostile input."""

from dataclasses import replace
from typing import Any

import msgspec

from adapters.inside_api import ContactPolicy, Step
from crypto.content import Attachment, FileKind
from crypto.errors import Malformed
from crypto.files.attachment import EncryptedFile, encrypted_file
from crypto.files.naming import file_name, media_type
from crypto.message import Message
from crypto.olm.canonical import decoded
from crypto.olm.errors import Replayed
from crypto.transfers.giving import offer

_KINDS = {
    "m.image": FileKind.IMAGE,
    "m.file": FileKind.FILE,
    "m.audio": FileKind.AUDIO,
    "m.video": FileKind.VIDEO,
    "m.sticker": FileKind.STICKER,
}
_VOICE = ("org.matrix.msc3245.voice", "m.voice")
_MOST = 1 << 50
NOT_ENCRYPTED, NOT_READABLE = "sent unencrypted, not fetched", "cannot be opened"


class _File(msgspec.Struct):
    msgtype: object = None
    body: object = None
    filename: object = None
    info: object = None
    file: object = None


class _Edited(msgspec.Struct, rename={"new_content": "m.new_content"}):
    new_content: msgspec.Raw


def with_file(kind: str, content: bytes, message: Message) -> Message | str:
    """The message with its file and caption, or why there is no file that could be had. Raises Malformed.

    What is not encrypted was on a server in clear, and is not what its sender sent for certain: it is not fetched.
    """
    parsed = decoded(content, _File)
    if parsed.file is None:
        return NOT_ENCRYPTED
    if _encrypted(parsed) is None:
        return NOT_READABLE
    named = isinstance(parsed.filename, str) and bool(parsed.filename) and parsed.filename != parsed.body
    caption = parsed.body if named and isinstance(parsed.body, str) else ""
    attachment = _attachment(kind, content, parsed, parsed.filename if named else parsed.body)
    return replace(message, body=caption, attachment=attachment)


def offered(step: Step, contact: ContactPolicy, message: Message, content: bytes) -> None:
    """Keep what opens the file of a message that `with_file` found, before it is handed on.

    Raises Replayed when a file of another event was already taken under this event's id.
    """
    if message.attachment is None:
        return
    stands = content if message.replaces is None else bytes(decoded(content, _Edited).new_content)
    found = _encrypted(decoded(stands, _File))
    if found is not None and not offer(step, contact, message.id, found.url, found.lock):
        raise Replayed


def _encrypted(parsed: _File) -> EncryptedFile | None:
    try:
        return encrypted_file(parsed.file)
    except Malformed:
        return None


def _attachment(kind: str, content: bytes, parsed: _File, name: object) -> Attachment:
    info: dict[str, Any] = parsed.info if isinstance(parsed.info, dict) else {}
    shown = _KINDS.get("m.sticker" if kind == "m.sticker" else str(parsed.msgtype), FileKind.FILE)
    if shown is FileKind.AUDIO and any(word in decoded(content, dict[str, object]) for word in _VOICE):
        shown = FileKind.VOICE
    return Attachment(
        name=file_name(name),
        media_type=media_type(info.get("mimetype")),
        size=_number(info.get("size")) or 0,
        kind=shown,
        width=_number(info.get("w")),
        height=_number(info.get("h")),
        duration_ms=_number(info.get("duration")),
    )


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST else None
