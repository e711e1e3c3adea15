"""A look at a stanza from outside: name, addresses, id, type, and its children as far as they are asked for."""

from dataclasses import dataclass, field
from html import escape
from xml.etree.ElementTree import Element, ParseError, fromstring  # the streams admit no document types

from adapters.companion.names import bare

CLIENT = "jabber:client"
NS_STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"
_START = f"<s xmlns='{CLIENT}' xmlns:stream='http://etherx.jabber.org/streams'>".encode()


class Unreadable(Exception):
    """These octets are no stanza."""

    def __init__(self) -> None:
        super().__init__("the octets are no stanza")


@dataclass(frozen=True, slots=True)
class Peek:
    """What a stanza looks like."""

    name: str
    to: str
    from_: str
    id: str
    type: str
    element: Element = field(repr=False)

    def is_from(self, jid: str) -> bool:
        """Whether it claims to be from that bare JID."""
        return bare(self.from_) == jid

    def is_to(self, jid: str) -> bool:
        """Whether it is for that bare JID."""
        return bare(self.to) == jid

    def holds(self, *namespaces: str) -> bool:
        """Whether something of one of these namespaces is in it, however it was written."""
        starts = tuple(f"{{{namespace}}}" for namespace in namespaces)
        return any(e.tag.startswith(starts) for e in self.element.iter())

    def child(self, namespace: str, name: str) -> Element | None:
        """The first child of that name."""
        return self.element.find(f"{{{namespace}}}{name}")

    def error(self, condition: str, kind: str) -> bytes:
        """The error stanza that answers it."""
        return self.answer("error", f"<error type='{kind}'><{condition} xmlns='{NS_STANZAS}'/></error>".encode())

    def result(self, payload: bytes = b"") -> bytes:
        """The result that answers an iq."""
        return self.answer("result", payload)

    def answer(self, kind: str, payload: bytes) -> bytes:
        """A stanza back to its sender."""
        attributes = {"from": self.to, "to": self.from_, "id": self.id, "type": kind}
        written = "".join(f" {name}='{escape(value)}'" for name, value in attributes.items() if value)
        return f"<{self.name}{written}>".encode() + payload + f"</{self.name}>".encode()


def peek(stanza: bytes) -> Peek:
    """Read a stanza. Raises Unreadable."""
    found: Element | None = None
    try:
        children = list(fromstring(_START + stanza + b"</s>"))  # noqa: S314 - no document types get here
        found = children[0] if len(children) == 1 else None
    except ParseError:
        pass
    if found is None or not isinstance(found.tag, str):
        raise Unreadable
    name = found.tag.rpartition("}")[2]
    get = found.attrib.get
    return Peek(name, get("to", ""), get("from", ""), get("id", ""), get("type", ""), found)


def written(element: Element, inherited: str = CLIENT) -> str:
    """An element as text; `inherited` is the default namespace where it will stand."""
    namespace, _, name = element.tag[1:].rpartition("}") if element.tag.startswith("{") else ("", "", element.tag)
    parts = [f"<{name}"]
    if namespace != inherited:
        parts.append(f" xmlns='{escape(namespace)}'")
    for number, (key, value) in enumerate(element.attrib.items()):
        space, _, local = key[1:].rpartition("}") if key.startswith("{") else ("", "", key)
        if space == "http://www.w3.org/XML/1998/namespace":
            local = f"xml:{local}"
        elif space:
            parts.append(f" xmlns:a{number}='{escape(space)}'")
            local = f"a{number}:{local}"
        parts.append(f" {local}='{_attribute(value)}'")
    inner = escape(element.text or "", quote=False)
    inner += "".join(written(child, namespace) + escape(child.tail or "", quote=False) for child in element)
    return "".join(parts) + (f">{inner}</{name}>" if inner else "/>")


def _attribute(text: str) -> str:
    return escape(text).replace("\n", "&#xA;").replace("\t", "&#x9;").replace("\r", "&#xD;")
