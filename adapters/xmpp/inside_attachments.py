"""The file in a message of the user's: XEP-0454 addresses, XEP-0447 with sources of XEP-0448, XEP-0066. Hostile input.

It works on the children of a stanza, and knows nothing of the encryption that they came in.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from adapters.xmpp.inside_leg import LegStep
from crypto.content import Attachment, FileKind
from crypto.errors import Malformed
from crypto.files.addresses import SealedAddress, name_in, sole_address
from crypto.files.naming import OCTETS, file_name, media_type
from crypto.files.sharing import NS_OOB, NS_SHARING, SharedFile, shared_file
from crypto.files.streams import Lock
from crypto.message import Message
from crypto.transfers.giving import offer
from crypto.xml import Element

_BY_ENDING = {
    **{ending: f"image/{ending}" for ending in ("png", "gif", "webp", "avif")},
    **{"jpg": "image/jpeg", "jpeg": "image/jpeg", "mp4": "video/mp4", "webm": "video/webm", "mov": "video/quicktime"},
    **{"ogg": "audio/ogg", "oga": "audio/ogg", "opus": "audio/ogg", "mp3": "audio/mpeg", "m4a": "audio/mp4"},
    **{"aac": "audio/aac", "wav": "audio/wav", "flac": "audio/flac", "pdf": "application/pdf", "txt": "text/plain"},
}
_SHOWN = {"image": FileKind.IMAGE, "audio": FileKind.AUDIO, "video": FileKind.VIDEO}


@dataclass(frozen=True, slots=True)
class Found:
    """The file of a message: what is said of it, the text that is left, where its ciphertext is and what opens it."""

    attachment: Attachment
    body: str = field(repr=False)
    url: str = field(repr=False)
    lock: Lock


def attachment_of(body: str, extras: Sequence[Element]) -> Found | None:
    """The file that a content is about; None when it is a text. Plain links are texts: nothing in them is encrypted."""
    shared = _shared(extras)
    address = sole_address(body)
    oob = _oob(extras)
    if shared is not None:
        caption = "" if address is not None or body.strip() in (shared.url, oob) else body
        return _of_sharing(shared, caption or shared.metadata.description)
    if address is not None:
        return _of_address(address, "")
    beside = sole_address(oob)
    return _of_address(beside, body) if beside is not None else None


def with_file(at: LegStep, message: Message, body: str, extras: Sequence[Element]) -> Message:
    """The message with its file, if its content has one; what opens it is kept."""
    found = attachment_of(body, extras)
    if found is None:
        return message
    offer(at.step, at.contact, message.id, found.url, found.lock)
    kept = message.body if found.body == body else found.body
    marks = message.marks if found.body == body else ()
    return replace(message, attachment=found.attachment, body=kept, marks=marks)


def _shared(extras: Sequence[Element]) -> SharedFile | None:
    for element in extras:
        if (element.namespace, element.name) == (NS_SHARING, "file-sharing"):
            try:
                return shared_file(element)
            except Malformed:
                continue
    return None


def _oob(extras: Sequence[Element]) -> str:
    found = next((e.child(NS_OOB, "url") for e in extras if (e.namespace, e.name) == (NS_OOB, "x")), None)
    return "" if found is None else found.text.strip()


def _of_sharing(shared: SharedFile, caption: str) -> Found:
    about = shared.metadata
    kind = media_type(about.media_type)
    attachment = Attachment(
        name=file_name(about.name or name_in(shared.url)),
        media_type=kind,
        size=about.size,
        kind=_SHOWN.get(kind.partition("/")[0], FileKind.FILE),
        width=about.width or None,
        height=about.height or None,
        duration_ms=about.length_ms or None,
    )
    return Found(attachment, caption, shared.url, shared.lock)


def _of_address(address: SealedAddress, caption: str) -> Found:
    name = file_name(name_in(address.url))
    kind = _BY_ENDING.get(name.rpartition(".")[2].lower(), OCTETS)
    attachment = Attachment(name, kind, kind=_SHOWN.get(kind.partition("/")[0], FileKind.FILE))
    return Found(attachment, caption, address.url, address.lock)
