"""XML as far as XMPP has it (RFC 6120, section 11): elements, attributes, text. All else is refused.

Document types, entities, processing instructions, comments and XML declarations have no place in a stanza; none of
them is ever acted on.
"""

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Never
from xml.parsers import expat

from crypto.errors import Malformed, Misuse

CLIENT = "jabber:client"
XML = "http://www.w3.org/XML/1998/namespace"
MAX_OCTETS = 1 << 20
MAX_DEPTH = 16
MAX_ELEMENTS = 1000
MAX_ATTRIBUTES = 32
_BLANK = " \t\r\n"
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_PLAIN = re.compile("[\t\n\x20-%'-;=?-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]*\\Z")
_PLAIN_ATTRIBUTE = re.compile("[\x20!#-%'-;=?-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]*\\Z")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9._-]*\Z")
_CONTENT_START = b'<content xmlns="jabber:client">'
_CONTENT_END = b"</content>"


class Flaw(StrEnum):
    """What is wrong with a piece of XML."""

    NOT_WELL_FORMED = "not-well-formed"
    RESTRICTED = "restricted-xml"
    TOO_LARGE = "too-large"
    TOO_DEEP = "too-deep"
    TOO_MANY_ELEMENTS = "too-many-elements"
    TOO_MANY_ATTRIBUTES = "too-many-attributes"
    TEXT_BETWEEN = "text-between-elements"


class MalformedXml(Malformed):
    """The octets are not XML that a stanza may hold; `reason` says which rule they break."""

    def __init__(self, reason: Flaw) -> None:
        super().__init__("not XML that a stanza may hold")
        self.reason = reason


class IllegalCharacter(Misuse):
    """A text holds a character that XML cannot express; see `sanitise_text`."""

    def __init__(self) -> None:
        super().__init__("a text holds a character that XML cannot express")


@dataclass(frozen=True, slots=True)
class Element:
    """One element. Attribute names: plain, `xml:lang` and its like, or `{namespace}local`."""

    namespace: str
    name: str
    attributes: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    children: "tuple[Element | str, ...]" = field(default=(), repr=False)

    def attribute(self, name: str) -> str | None:
        """The value of the attribute, None when there is none."""
        for key, value in self.attributes:
            if key == name:
                return value
        return None

    @property
    def elements(self) -> "tuple[Element, ...]":
        """The child elements."""
        return tuple(c for c in self.children if isinstance(c, Element))

    @property
    def text(self) -> str:
        """The text that stands directly inside, concatenated."""
        return "".join(c for c in self.children if isinstance(c, str))

    def child(self, namespace: str, name: str) -> "Element | None":
        """The first child element of that name."""
        for c in self.children:
            if isinstance(c, Element) and c.name == name and c.namespace == namespace:
                return c
        return None


def element(namespace: str, name: str, *children: Element | str, **attributes: str) -> Element:
    """An element in one line; a trailing underscore of an attribute's name is dropped (`from_`, `type_`)."""
    return Element(namespace, name, tuple((k.rstrip("_"), v) for k, v in attributes.items()), children)


# ---------------------------------------------------------------------------------------------------- reading
class _Builder:
    """Collects expat's events into elements, within limits."""

    def __init__(self, max_depth: int, max_elements: int) -> None:
        self.room = max_elements
        self.max_depth = max_depth
        self.open: list[tuple[str, str, tuple[tuple[str, str], ...], list[Element | str]]] = []
        self.root: Element | None = None

    def start(self, name: str, attributes: list[str]) -> None:
        self.room -= 1
        if self.room < 0 or len(self.open) >= self.max_depth or len(attributes) > 2 * MAX_ATTRIBUTES:
            raise MalformedXml(self._exceeded(attributes))
        namespace, _, local = name.rpartition("}")
        found = tuple(zip(map(_attribute_name, attributes[::2]), attributes[1::2], strict=True)) if attributes else ()
        self.open.append((namespace, local, found, []))

    def _exceeded(self, attributes: list[str]) -> Flaw:
        if self.room < 0:
            return Flaw.TOO_MANY_ELEMENTS
        return Flaw.TOO_MANY_ATTRIBUTES if len(attributes) > 2 * MAX_ATTRIBUTES else Flaw.TOO_DEEP

    def end(self, _name: str) -> None:
        namespace, local, attributes, children = self.open.pop()
        done = Element(namespace, local, attributes, tuple(children))
        if self.open:
            self.open[-1][3].append(done)
        else:
            self.root = done

    def text(self, data: str) -> None:
        if not self.open:
            return
        children = self.open[-1][3]
        if children and isinstance(children[-1], str):  # expat hands long texts over in pieces
            children[-1] += data
        else:
            children.append(data)


def _attribute_name(name: str) -> str:
    if "}" not in name:
        return name
    namespace, _, local = name.rpartition("}")
    return f"xml:{local}" if namespace == XML else f"{{{namespace}}}{local}"


def _restricted(*_: object) -> Never:
    raise MalformedXml(Flaw.RESTRICTED)


def _read(data: bytes, builder: _Builder) -> Element:
    if b"\0" in data:  # no XML in UTF-8 has one, all in UTF-16 has: expat would follow a byte order mark
        raise MalformedXml(Flaw.NOT_WELL_FORMED)
    parser = expat.ParserCreate("utf-8", "}")
    parser.buffer_text = True
    parser.ordered_attributes = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.text
    parser.StartDoctypeDeclHandler = _restricted
    parser.EntityDeclHandler = _restricted
    parser.ProcessingInstructionHandler = _restricted
    parser.CommentHandler = _restricted
    parser.XmlDeclHandler = _restricted
    reason: Flaw | None = None
    try:
        parser.Parse(data, True)
    except MalformedXml as found:
        reason = found.reason
    except (expat.ExpatError, ValueError):
        reason = Flaw.NOT_WELL_FORMED
    if reason is not None or builder.root is None:  # raised here: no input hangs on the exception's context
        raise MalformedXml(reason or Flaw.NOT_WELL_FORMED)
    return builder.root


def parse(
    data: bytes, *, max_octets: int = MAX_OCTETS, max_depth: int = MAX_DEPTH, max_elements: int = MAX_ELEMENTS
) -> Element:
    """One element with everything in it, from UTF-8. Raises MalformedXml."""
    if len(data) > max_octets:
        raise MalformedXml(Flaw.TOO_LARGE)
    return _read(data, _Builder(max_depth, max_elements))


def parse_content(
    data: bytes, *, max_octets: int = MAX_OCTETS, max_depth: int = MAX_DEPTH, max_elements: int = MAX_ELEMENTS
) -> tuple[Element, ...]:
    """The content of a stanza: elements without a root, in the namespace of clients; white space between is dropped.

    Raises MalformedXml, also for text between the elements.
    """
    if len(data) > max_octets:
        raise MalformedXml(Flaw.TOO_LARGE)
    builder = _Builder(max_depth + 1, max_elements + 1)
    root = _read(_CONTENT_START + data + _CONTENT_END, builder)
    if root.text.strip(_BLANK):
        raise MalformedXml(Flaw.TEXT_BETWEEN)
    return root.elements


# ---------------------------------------------------------------------------------------------------- writing
def sanitise_text(text: str) -> str:
    """The text with every character that XML cannot express replaced by U+FFFD."""
    return _ILLEGAL.sub("�", text)


def escape_text(text: str) -> str:
    """Character data. Raises IllegalCharacter."""
    if _PLAIN.match(text):
        return text
    if _ILLEGAL.search(text):
        raise IllegalCharacter
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#xD;")


def escape_attribute(text: str) -> str:
    """The inside of a double-quoted attribute value. Raises IllegalCharacter."""
    if _PLAIN_ATTRIBUTE.match(text):
        return text
    if _ILLEGAL.search(text):
        raise IllegalCharacter
    plain = text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return plain.replace("\t", "&#x9;").replace("\n", "&#xA;").replace("\r", "&#xD;")


def serialize(element: Element, *, inherited: str = "") -> bytes:
    """UTF-8 octets; `inherited` is the default namespace in force where they will stand.

    Raises IllegalCharacter, and Misuse for an element or attribute name that is none.
    """
    parts: list[str] = []
    _write(element, inherited, parts)
    return "".join(parts).encode()


def _write(element: Element, inherited: str, parts: list[str]) -> None:
    name = _checked_name(element.name)
    parts.append(f"<{name}")
    if element.namespace != inherited:
        parts.append(f' xmlns="{escape_attribute(element.namespace)}"')
    for number, (key, value) in enumerate(element.attributes):
        parts.append(_attribute(key, value, number))
    if not element.children:
        parts.append("/>")
        return
    parts.append(">")
    for child in element.children:
        if isinstance(child, str):
            parts.append(escape_text(child))
        else:
            _write(child, element.namespace, parts)
    parts.append(f"</{name}>")


def _attribute(key: str, value: str, number: int) -> str:
    if key.startswith("{"):
        namespace, _, local = key[1:].rpartition("}")
        prefix = f"a{number}"
        declared = f' xmlns:{prefix}="{escape_attribute(namespace)}"'
        return f'{declared} {prefix}:{_checked_name(local)}="{escape_attribute(value)}"'
    local = key.removeprefix("xml:")
    _checked_name(local)
    return f' {key}="{escape_attribute(value)}"'


def _checked_name(name: str) -> str:
    if not _NAME.match(name) and not _is_wide_name(name):
        raise Misuse("an element or attribute name is none")
    return name


def _is_wide_name(name: str) -> bool:
    """Names beyond ASCII: whatever expat itself reads as one."""
    if not name or ":" in name or _ILLEGAL.search(name):
        return False
    parser = expat.ParserCreate("utf-8")
    try:
        parser.Parse(f"<{name}/>".encode(), True)
    except expat.ExpatError:
        return False
    return not set(name) & set(" \t\r\n/>=\"'&")
