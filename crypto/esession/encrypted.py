"""The `<c/>` element as it stands on the wire (XEP-0200, "Encrypting a Stanza", "XML Schemas"): reading and writing."""

import binascii
from typing import NamedTuple

from crypto.esession import names
from crypto.esession.faults import MalformedStanza
from crypto.esession.session import MAX_CONTENT
from crypto.xml import Element

MAC = 32
_BLANK = " \t\r\n"
_BASE64 = ("data", "mac", "key", "old")
_MOST_DIGITS = 10
_START = b'<c xmlns="' + names.STANZA.encode() + b'">'


class EncryptedContent(NamedTuple):
    """What a `<c/>` element holds. Nothing of it is authentic before the MAC was compared."""

    covered: bytes
    """All of it but the MAC, as the MAC covers it."""
    data: bytes | None
    """The encrypted content; None when there is none (an empty stanza that re-keys)."""
    mac: bytes
    key: bytes | None = None
    """The peer's new public value."""
    new: int = 0
    """How many of our `<key/>` it has received since it last sent."""


# ---------------------------------------------------------------------------------------------------- writing
def base64(octets: bytes) -> bytes:
    """One line, with padding."""
    return binascii.b2a_base64(octets, newline=False)


def data_part(octets: bytes) -> bytes:
    """The encrypted content."""
    return b"<data>" + binascii.b2a_base64(octets, newline=False) + b"</data>"


def key_parts(key: bytes | None, new: int, old: tuple[bytes, ...]) -> bytes:
    """A public value, the count of received ones where it is not zero, and MAC keys that are published."""
    parts = [] if key is None else [b"<key>" + base64(key) + b"</key>"]
    if new:
        parts.append(b"<new>%d</new>" % new)
    parts += [b"<old>" + base64(octets) + b"</old>" for octets in old]
    return b"".join(parts)


def written(covered: bytes, mac: bytes) -> bytes:
    """The `<c/>` element, serialised."""
    return _START + covered + b"<mac>" + binascii.b2a_base64(mac, newline=False) + b"</mac></c>"


# ---------------------------------------------------------------------------------------------------- reading
def read_encrypted(c: Element, mac_octets: int = MAC) -> EncryptedContent:
    """The parts of a `<c/>` element. `mac_octets`: the length of the MAC, by the hash. Raises MalformedStanza."""
    covered = ""
    found: dict[str, bytes] = {}
    for child in c.children:
        if isinstance(child, str):
            _require_blank(child)
            continue
        text = _only_text(child)
        name = child.name
        if name in found and name != "old":
            raise MalformedStanza
        found[name] = _octets(name, text)
        if name != "mac":
            covered += f"<{name}>{text}</{name}>"
    mac = found.get("mac", b"")
    if len(mac) != mac_octets:
        raise MalformedStanza
    return EncryptedContent(covered.encode(), found.get("data"), mac, found.get("key"), int(found.get("new", b"0")))


def _require_blank(between: str) -> None:
    if between.strip(_BLANK):
        raise MalformedStanza


def _only_text(child: Element) -> str:
    """The text of a plain child of `<c/>`: no attributes, nothing inside."""
    if child.namespace != names.STANZA or child.attributes or len(child.children) > 1:
        raise MalformedStanza
    text = child.children[0] if child.children else ""
    if not isinstance(text, str) or len(text) > 2 * MAX_CONTENT:
        raise MalformedStanza
    return text


def _octets(name: str, text: str) -> bytes:
    """What a child of `<c/>` holds. Raises MalformedStanza when there may be no such child."""
    if name == "new":
        return _count(text)
    octets: bytes | None = None
    if name in _BASE64:
        try:
            octets = binascii.a2b_base64(text.strip(_BLANK), strict_mode=True)
        except ValueError:
            octets = None
    if octets is None:
        raise MalformedStanza
    return octets


def _count(text: str) -> bytes:
    """A positive integer, as ASCII digits. Raises MalformedStanza."""
    digits = text.strip(_BLANK)
    if not (digits.isascii() and digits.isdigit() and len(digits) <= _MOST_DIGITS and int(digits) > 0):
        raise MalformedStanza
    return digits.encode()
