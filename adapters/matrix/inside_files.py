"""Files in Matrix rooms: encrypted attachments of messages, both ways (spec: m.image, m.file, m.audio, m.video)."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec

from adapters.inside_api import ContactPolicy, Step
from adapters.matrix import inside_sending
from adapters.matrix.inside_content import HTML, queued_of
from adapters.matrix.inside_markup import formatted
from bridge.wire.files import UPLOAD_REFUSED
from crypto.content import Attachment, FileKind
from crypto.files.attachment import described, is_mxc
from crypto.files.streams import Made, Method
from crypto.message import Message
from crypto.olm.canonical import decoded
from crypto.olm.errors import OlmError
from crypto.transfers.relay import Relay

_MSGTYPES = {
    FileKind.FILE: "m.file",
    FileKind.IMAGE: "m.image",
    FileKind.AUDIO: "m.audio",
    FileKind.VIDEO: "m.video",
    FileKind.VOICE: "m.audio",
    FileKind.STICKER: "m.image",
}
VOICE = "org.matrix.msc3245.voice"


def matrix_files() -> Relay:
    """The files of all accounts on this network."""
    return Relay(Method.CTR, _uploaded)


def _uploaded(step: Step, contact: ContactPolicy, message: Message, made: Made, answer: bytes) -> str:
    """The homeserver has the ciphertext: send the event that names it."""
    url = _content_uri(answer)
    if url is None or message.attachment is None:
        return UPLOAD_REFUSED
    content = file_content(message, message.attachment, url, made)
    inside_sending.send(step, contact, replace(queued_of(message), content=msgspec.json.encode(content)))
    return "ok"


def _content_uri(answer: bytes) -> str | None:
    found = None
    try:
        found = decoded(answer, dict[str, object]).get("content_uri")
    except OlmError:
        found = None
    return found if isinstance(found, str) and is_mxc(found) else None


def file_content(message: Message, attachment: Attachment, url: str, made: Made) -> Mapping[str, Any]:
    """Content of the `m.room.message` of a file that stands at that URI; the body is the caption, or else its name."""
    info: dict[str, Any] = {"mimetype": attachment.media_type, "size": made.size}
    for name, value in (("w", attachment.width), ("h", attachment.height), ("duration", attachment.duration_ms)):
        if value is not None:
            info[name] = value
    body, html = formatted(message.body, message.marks) if message.body else (attachment.name, None)
    content: dict[str, Any] = {
        "msgtype": _MSGTYPES[attachment.kind],
        "body": body,
        "filename": attachment.name,
        "info": info,
        "file": described(url, made),
    }
    if html is not None:
        content |= {"format": HTML, "formatted_body": html}
    if attachment.kind is FileKind.VOICE:
        length = {} if attachment.duration_ms is None else {"duration": attachment.duration_ms}
        content |= {VOICE: {}, "org.matrix.msc1767.audio": length}
    return content
