"""Between `m.room.message` and the network-neutral message (spec: Instant Messaging)."""

import re
from dataclasses import dataclass, field, replace

import msgspec

from adapters.matrix.inside_attachments import with_file
from adapters.matrix.inside_html import one_line, text_of
from adapters.matrix.inside_markup import formatted
from adapters.matrix.inside_state import Beside, Queued
from crypto.content import Mark
from crypto.message import Kind, Message
from crypto.olm.canonical import decoded
from crypto.olm.errors import Malformed

HTML = "org.matrix.custom.html"
MAX_LABEL = 300
MAX_FORMATTED = 40_000
"""Octets of a text twice, plain and formatted; what is longer is sent plain, for one event has to hold it."""
SHOWN = frozenset({"m.room.message", "m.sticker"})
"""Types of events whose content is read here."""
_MSGTYPES = {Kind.TEXT: "m.text", Kind.NOTICE: "m.notice", Kind.EMOTE: "m.emote"}
_KINDS = {msgtype: kind for kind, msgtype in _MSGTYPES.items()}
FILES = {
    "m.image": "image",
    "m.file": "file",
    "m.audio": "audio",
    "m.video": "video",
    "m.sticker": "sticker",
}
_PLACE = re.compile(r"geo:[-+0-9.]{1,32},[-+0-9.]{1,32}(?:,[-+0-9.]{1,32})?(?:;[A-Za-z0-9=.;%_-]{1,100})?")
_SENTENCES = {
    "far-leg-too-weak": "the gateway's operator asks for better encryption than this conversation has",
    "policy-violation": "the gateway's policy for this contact does not allow it",
    "queue-full": "too many messages are waiting for the recipient already",
    "too-large": "it is too large",
    "undeliverable": "the recipient's client did not accept it",
    "file-too-large": "the file is larger than the gateway or the recipient's server takes",
    "files-not-allowed": "the gateway's operator does not let files pass",
    "file-gone": "your homeserver does not have the file",
    "file-unavailable": "one of the servers that keep files did not answer for a whole day",
    "file-not-authentic": "what the server has is not the file that you sent",
    "upload-refused": "the recipient's server does not let the gateway upload files",
    "upload-no-service": "the recipient's server has no place for files",
    "upload-insecure": "the recipient's server does not protect files on their way (https)",
}


class _Content(msgspec.Struct):
    msgtype: str = ""
    body: object = None
    format: object = None
    formatted_body: object = None
    geo_uri: object = None


class _NewContent(msgspec.Struct, rename={"new_content": "m.new_content"}):
    new_content: msgspec.Raw = msgspec.Raw()


@dataclass(frozen=True, slots=True)
class Read:
    """What a content says, whatever event it came in."""

    body: str = field(repr=False)
    kind: Kind = Kind.TEXT
    marks: tuple[Mark, ...] = field(default=(), repr=False)
    place: str = field(default="", repr=False)


# ---------------------------------------------------------------- to the room
def queued_of(message: Message) -> Queued:
    """The message as it waits and is kept."""
    beside = Beside(
        message.marks,
        message.replaces,
        message.retracts,
        message.reply,
        message.reaction,
        message.attachment,
        message.place,
    )
    extra = beside if beside != Beside() else None
    return Queued(message.id, message.kind, message.position, False, message.body, extra)


def room_message(message: Queued) -> dict[str, object]:
    """Content of the `m.room.message` for a message of the other network, without its relations."""
    if message.content:
        return decoded(message.content, dict[str, object])
    if message.beside is None:
        return {"msgtype": _MSGTYPES[message.kind], "body": message.body}
    if message.beside.place and _PLACE.fullmatch(message.beside.place):
        body = message.body or message.beside.place
        return {"msgtype": "m.location", "body": body, "geo_uri": message.beside.place}
    body, html = formatted(message.body, message.beside.marks)
    content: dict[str, object] = {"msgtype": _MSGTYPES[message.kind], "body": body}
    if html is not None and len(body.encode()) + len(html.encode()) <= MAX_FORMATTED:
        content |= {"format": HTML, "formatted_body": html}
    return content


# ---------------------------------------------------------------- from the room
def opened_content(content: bytes) -> bytes | None:
    """The new wording in a replacement's content, None when there is none."""
    found = bytes(decoded(content, _NewContent).new_content)
    return found if found.startswith(b"{") else None


def received_message(kind: str, content: bytes, message: Message) -> Message:
    """The message that an opened event of that type and content is, made of one that holds all but the content.

    `kind` is one of SHOWN. Raises Malformed.
    """
    parsed = decoded(content, _Content)
    if kind == "m.sticker":
        parsed.msgtype = kind
    if not isinstance(parsed.body, str):
        raise Malformed
    if parsed.msgtype in FILES:
        found = with_file(kind, content, message)
        if isinstance(found, Message):
            caption = _formatted(parsed) if found.body else None
            return found if caption is None else replace(found, body=caption[0], marks=caption[1])
        return replace(message, body=_in_words(f"{FILES[parsed.msgtype]}, {found}", parsed.body))
    read = _read(parsed, parsed.body, answers=message.reply is not None)
    return replace(message, body=read.body, kind=read.kind, marks=read.marks, place=read.place)


def _read(parsed: _Content, body: str, *, answers: bool) -> Read:
    if parsed.msgtype in _KINDS:
        kind = _KINDS[parsed.msgtype]
        found = _formatted(parsed)
        if found is not None:
            return Read(found[0], kind, found[1])
        return Read(without_fallback(body)[1] if answers else body, kind)
    if parsed.msgtype == "m.location":
        place = parsed.geo_uri if isinstance(parsed.geo_uri, str) and _PLACE.fullmatch(parsed.geo_uri) else ""
        return Read(body, place=place) if place else Read(_in_words("location", body))
    return Read(_in_words("message of an unknown kind", body))


def _formatted(parsed: _Content) -> tuple[str, tuple[Mark, ...]] | None:
    """The formatted text, with its marks; None when there is none."""
    html = parsed.formatted_body if parsed.format == HTML else None
    return text_of(html) if isinstance(html, str) else None


def without_fallback(body: str) -> tuple[str, str]:
    """The quotation that older clients put before an answer, and the answer (spec: Rich replies)."""
    lines = body.split("\n")
    count = next((number for number, line in enumerate(lines) if not line.startswith("> ")), len(lines))
    if not count or count == len(lines):
        return "", body
    rest = lines[count + 1 :] if not lines[count] and count + 1 < len(lines) else lines[count:]
    return "\n".join(line.removeprefix("> ") for line in lines[:count]), "\n".join(rest)


def quoted_in(content: bytes) -> str:
    """What the fallback of an answer quotes, without who is said to have written it."""
    body = decoded(content, _Content).body
    quoted = without_fallback(body)[0] if isinstance(body, str) else ""
    return re.sub(r"^(?:\* )?<@[^>\s]{1,255}>\s?", "", quoted)[:MAX_LABEL]


def _in_words(label: str, body: str) -> str:
    return f"[{label}: {body}]"


def text_in(content: bytes) -> str:
    """A text of an event of any kind, for people: its body, or that of an extensible event. Empty without one."""
    whole = decoded(content, dict[str, object])
    for name in ("body", "m.text", "org.matrix.msc1767.text"):
        found = whole.get(name)
        if isinstance(found, list):
            bodies = (item.get("body") for item in found if isinstance(item, dict))
            found = next((body for body in bodies if isinstance(body, str)), None)
        if isinstance(found, str) and found.strip():
            return one_line(found)[:MAX_LABEL]
    return ""


def refusal(code: str) -> str:
    """The sentence that tells a contact why a message of theirs did not arrive. It is sent encrypted."""
    return f"Your message was not delivered: {_SENTENCES.get(code, 'the recipient cannot be reached now')}."
