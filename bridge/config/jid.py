"""XMPP addresses in the configuration.

RFC 7622 prepares a localpart by the PRECIS profile UsernameCaseMapped (RFC 8265, section 3.3); today's servers
and slixmpp still prepare it by Nodeprep (RFC 6122, appendix A). Where the two disagree, a server and the gateway
would compare different strings, and a message would be refused for no visible reason. An address is therefore
accepted only when both give the same normal form; `NotAnAddress.suggestion` names the other one.
"""

import re
import stringprep
import unicodedata
from collections.abc import Iterator
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from unicodedata import ucd_3_2_0

import idna

MAX_PART = 1023
"""Octets of a localpart or a domainpart (RFC 7622, sections 3.2 and 3.3)."""

_EXCLUDED = frozenset("\"&'/:<>@")
"""RFC 7622, section 3.3.1."""
_LETTER_DIGITS = frozenset({"Ll", "Lu", "Lo", "Nd", "Lm", "Mn", "Mc"})
"""RFC 8264, section 9.1."""
_EXCEPTIONS = {char: True for char in "\u00df\u03c2\u06fd\u06fe\u0f0b\u3007"} | {
    char: False for char in "\u0640\u07fa\u302e\u302f\u3031\u3032\u3033\u3034\u3035\u303b"
}
"""RFC 8264, section 9.6, without those that depend on their context."""
_OLD_HANGUL_JAMO = (range(0x1100, 0x1200), range(0xA960, 0xA97D), range(0xD7B0, 0xD7FC))
"""RFC 8264, section 9.9."""
_CONTEXTUAL_DIGITS = frozenset(map(chr, (*range(0x0660, 0x066A), *range(0x06F0, 0x06FA))))
"""Arabic-Indic digits: letters or digits by category, but never of both sorts together (RFC 5892, A.8 and A.9)."""
_PROHIBITED = (
    stringprep.in_table_c11_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
    stringprep.in_table_a1,
)
"""RFC 6122, appendix A.5, and unassigned code points."""


class NotAnAddress(ValueError):
    """The text is not usable as an address. `reason` continues the sentence "it ..."."""

    def __init__(self, reason: str, suggestion: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.suggestion = suggestion


def bare_jid(text: str) -> str:
    """The normal form of `localpart@domainpart`. Raises `NotAnAddress`."""
    if "/" in text:
        raise NotAnAddress("has a resource (the part after “/”)", text.partition("/")[0])
    if "@" not in text:
        raise NotAnAddress("has no “@”")
    local, _, domain = text.partition("@")
    if "@" in domain:
        raise NotAnAddress("has more than one “@”")
    if not local:
        raise NotAnAddress("has nothing before the “@”")
    return f"{localpart(local)}@{domainpart(domain)}"


def localpart(text: str) -> str:
    """The normal form of a localpart. Raises `NotAnAddress`."""
    normal = unicodedata.normalize("NFC", _width_mapped(text).lower())
    _require_size(normal)
    for place, char in enumerate(normal):
        if char in _EXCLUDED or not _in_identifier_class(normal, place):
            raise NotAnAddress(f"contains {_name(char)}, which the part before the “@” may not have")
    _require_direction(normal)
    legacy = nodeprep(normal)
    if legacy is None:
        raise NotAnAddress("has a part before the “@” that XMPP servers do not accept")
    if legacy != normal:
        raise NotAnAddress("is prepared differently by different XMPP servers", legacy)
    return normal


def domainpart(text: str) -> str:
    """The normal form of a domainpart: a host name with Unicode labels, or an IP address. Raises `NotAnAddress`."""
    name = text.removesuffix(".")
    if not name:
        raise NotAnAddress("has no domain")
    _require_size(name)
    if _is_ip(name):
        return name
    if re.search(r"(^|\.)[0-9]+$", name):
        raise NotAnAddress("has a domain that is neither a host name nor an IP address")
    try:
        mapped = idna.uts46_remap(name, std3_rules=True, transitional=False)
        idna.encode(mapped)
    except (idna.IDNAError, UnicodeError):
        mapped = ""
    if not mapped:
        raise NotAnAddress("has a domain that is no valid host name")
    normal = ".".join(_unicode_label(label) for label in mapped.split("."))
    legacy = ".".join(_nameprep(label) or "" for label in normal.split("."))
    if legacy != normal:
        raise NotAnAddress("has a domain that different XMPP servers read differently", legacy or None)
    return normal


def nodeprep(text: str) -> str | None:
    """The localpart by RFC 6122, appendix A; None when that prohibits it."""
    if any(char in _EXCLUDED for char in text):
        return None
    return _nameprep(text)


def _nameprep(text: str) -> str | None:
    mapped = "".join(stringprep.map_table_b2(char) for char in text if not stringprep.in_table_b1(char))
    normal = ucd_3_2_0.normalize("NFKC", mapped)
    if any(prohibited(char) for char in normal for prohibited in _PROHIBITED):
        return None
    right_to_left = [stringprep.in_table_d1(char) for char in normal]
    if any(right_to_left):
        mixed = any(stringprep.in_table_d2(char) for char in normal)
        if mixed or not (right_to_left[0] and right_to_left[-1]):
            return None
    return normal


def _unicode_label(label: str) -> str:
    """The U-label of an A-label, when both generations of IDNA read it alike; else the label as it stands."""
    if not label.startswith("xn--"):
        return label
    decoded = idna.decode(label)
    return decoded if _nameprep(decoded) == decoded else label


def _is_ip(name: str) -> bool:
    try:
        if name.startswith("[") and name.endswith("]"):
            IPv6Address(name[1:-1])
        elif re.fullmatch(r"[0-9.]+", name):
            IPv4Address(name)
        else:
            return False
    except AddressValueError:
        return False
    return True


def _width_mapped(text: str) -> str:
    """Full-width and half-width characters as their usual forms (RFC 8265, section 3.3.1)."""
    return "".join(_mapped_widths(text))


def _mapped_widths(text: str) -> Iterator[str]:
    for char in text:
        kind, _, mapping = unicodedata.decomposition(char).partition(" ")
        wide = kind in {"<wide>", "<narrow>"}
        yield "".join(chr(int(point, 16)) for point in mapping.split()) if wide else char


def _in_identifier_class(text: str, place: int) -> bool:
    """RFC 8264, section 8, for the IdentifierClass."""
    char = text[place]
    point = ord(char)
    if char in _EXCEPTIONS:
        return _EXCEPTIONS[char]
    if point < 0x80:
        return 0x21 <= point <= 0x7E
    if any(point in block for block in _OLD_HANGUL_JAMO) or unicodedata.normalize("NFKC", char) != char:
        return False
    if point in (0x200C, 0x200D):
        return idna.valid_contextj(text, place)
    return idna.valid_contexto(text, place) or (
        unicodedata.category(char) in _LETTER_DIGITS and char not in _CONTEXTUAL_DIGITS
    )


def _require_direction(text: str) -> None:
    """RFC 5893, section 2 (asked for by RFC 8265, section 3.3.1, when a character runs right to left)."""
    if not any(unicodedata.bidirectional(char) in {"R", "AL", "AN"} for char in text):
        return
    try:
        idna.check_bidi(text)
        fits = True
    except idna.IDNABidiError:
        fits = False
    if not fits:
        raise NotAnAddress("mixes directions of writing in the part before the “@”")


def _require_size(part: str) -> None:
    if len(part.encode(errors="surrogatepass")) > MAX_PART:
        raise NotAnAddress(f"has a part of more than {MAX_PART} octets")


def _name(char: str) -> str:
    if char == " ":
        return "a space"
    if char.isprintable():
        return f"“{char}”"
    return f"the character U+{ord(char):04X}"
