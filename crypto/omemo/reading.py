"""What all readers of OMEMO's XML share: base64, ids, exactly one child."""

import re
from base64 import b64decode, b64encode
from binascii import Error

from crypto.omemo.faults import Malformed
from crypto.omemo.names import MAX_READ_ID
from crypto.xml import Element

_BLANK = re.compile(r"[ \t\r\n]+")
_NUMBER = re.compile(r"[0-9]{1,10}\Z")


def b64(octets: bytes) -> str:
    """Base64, with padding."""
    return b64encode(octets).decode("ascii")


def unb64(text: str) -> bytes:
    """The octets; white space in between is passed over. Raises Malformed."""
    octets: bytes | None = None
    try:
        octets = b64decode(_BLANK.sub("", text), validate=True)
    except (Error, ValueError):
        octets = None
    if octets is None:
        raise Malformed
    return octets


def number(text: str | None) -> int:
    """An id: 1 to 2^32 - 1, in digits. Raises Malformed."""
    if text is None or not _NUMBER.match(text) or not 1 <= int(text) <= MAX_READ_ID:
        raise Malformed
    return int(text)


def flag(text: str | None) -> bool:
    """An xs:boolean that is false when it is missing. Raises Malformed."""
    if text not in (None, "true", "false", "1", "0"):
        raise Malformed
    return text in ("true", "1")


def only(parent: Element, name: str) -> Element:
    """The one child of that name, in the parent's namespace. Raises Malformed when there are none or several."""
    found = [child for child in parent.elements if child.name == name and child.namespace == parent.namespace]
    if len(found) != 1:
        raise Malformed
    return found[0]


def several(parent: Element, name: str) -> list[Element]:
    """The children of that name, in the parent's namespace."""
    return [child for child in parent.elements if child.name == name and child.namespace == parent.namespace]
