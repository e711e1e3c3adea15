"""Files to and from the user: transfers, and how a file is shown (XEP-0454, XEP-0447 with XEP-0448, XEP-0066).

It makes children of a stanza, and knows nothing of the encryption that they go out in.
"""

import json
from dataclasses import replace

from adapters.inside_api import ContactPolicy, Step
from adapters.xmpp.inside_leg import LegStep
from adapters.xmpp.inside_queue import enqueue
from adapters.xmpp.inside_starting import proceed
from adapters.xmpp.inside_writing import Attached
from bridge.wire.files import UPLOAD_INSECURE, UPLOAD_REFUSED
from crypto.content import Attachment
from crypto.files.addresses import NotAnAddress, address_of, is_fetchable
from crypto.files.sharing import NS_FALLBACK, NS_OOB, NS_SHARING, Metadata, sharing_content
from crypto.files.streams import Made, Method
from crypto.message import Message
from crypto.transfers.relay import Relay
from crypto.xml import escape_text, sanitise_text


def xmpp_files() -> Relay:
    """The files of all accounts on this network."""
    return Relay(Method.GCM, _uploaded, endings=True)


def _uploaded(step: Step, contact: ContactPolicy, message: Message, made: Made, answer: bytes) -> str:
    """The ciphertext has its place: queue the message that names it, and before it the caption as one of its own.

    Both stand for the one message: whoever answers either of them answers that; what takes it back takes the file back.
    """
    url = _url(answer)
    if url is None or message.attachment is None:
        return UPLOAD_REFUSED
    attached = shown(message.attachment, url, made)
    if attached is None:
        return UPLOAD_INSECURE
    at = LegStep(step, contact)
    if message.body:
        enqueue(at, replace(message, attachment=None, replaces=None, position=0))
        message = replace(message, body="", marks=(), reply=None)
    enqueue(at, message, attached)
    proceed(at)
    at.finish()
    return "ok"


def _url(answer: bytes) -> str | None:
    try:
        found = json.loads(answer)
    except (ValueError, RecursionError):
        found = None
    url = found.get("url") if isinstance(found, dict) else None
    return url if isinstance(url, str) and is_fetchable(url) else None


def shown(attachment: Attachment, url: str, made: Made) -> Attached | None:
    """How a file that stands there is shown: its `aesgcm:` address in the body, all that is known of it beside that.

    None when it stands at no https URL.
    """
    try:
        address = address_of(url, made)
    except NotAnAddress:
        return None
    metadata = Metadata(
        name=sanitise_text(attachment.name),
        media_type=attachment.media_type,
        width=attachment.width or 0,
        height=attachment.height or 0,
        length_ms=attachment.duration_ms or 0,
    )
    oob = f'<x xmlns="{NS_OOB}"><url>{escape_text(address)}</url></x>'
    fallback = f'<fallback xmlns="{NS_FALLBACK}" for="{NS_SHARING}"><body/></fallback>'
    return Attached(address, (sharing_content(metadata, url, made) + oob + fallback).encode())
