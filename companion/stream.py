"""A client-to-server stream (RFC 6120), either end of it, cut into its header and first-level elements.

On top of the component's cutter: what RFC 6120, 11.1 forbids is refused, and every element must stand alone, with its
true name (namespace resolved), because it will be written into another stream.
"""

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass, field

from adapters.xmpp.outside_stream import Cut, Cutter, StreamBroken

NS_CLIENT = "jabber:client"
NS_STREAM = "http://etherx.jabber.org/streams"
MAX_FROM_SERVER = 4 << 20
MAX_FROM_CLIENT = 1 << 20
MAX_BEFORE_LOGIN = 1 << 14
MAX_DEPTH = 200
STANZAS = frozenset(f"{{{NS_CLIENT}}}{name}" for name in ("message", "presence", "iq"))
_WRAPPED = f"<s xmlns='{NS_CLIENT}' xmlns:stream='{NS_STREAM}'>".encode()


class TooLarge(Exception):
    """An element is larger than allowed."""


@dataclass(frozen=True, slots=True)
class Header:
    """The start of a stream."""

    attributes: dict[str, str]


@dataclass(frozen=True, slots=True)
class Element:
    """A first-level element: the octets as received, and what they say.

    No octets: a stanza that cannot be handed on. It counts all the same, and has its attributes.
    """

    octets: bytes = field(repr=False)
    xml: ET.Element = field(repr=False)

    @property
    def name(self) -> str:
        """The name as `{namespace}local`."""
        return self.xml.tag

    @property
    def is_stanza(self) -> bool:
        """Whether stream management counts it."""
        return self.xml.tag in STANZAS

    @property
    def mark(self) -> tuple[str, ...]:
        """What tells it from its neighbours: name and attributes."""
        return (self.xml.tag, *(text for pair in sorted(self.xml.attrib.items()) for text in pair))


def count(xml: ET.Element) -> int | None:
    """The attribute `h` of stream management, a number below 2^32; None when it is none."""
    text = xml.get("h", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 and int(text) < 1 << 32 else None


class End:
    """The end of the stream."""


class StreamReader(Cutter):
    """Reads one stream, from its header to its end."""

    def __init__(self, limit: int, *, lenient: bool = False) -> None:
        """`limit`: octets an element may have. `lenient`: a stanza that is too large, too deep, or does not stand alone

        is given without octets instead of ending the stream: it is somebody else's, and would only come again.
        """
        super().__init__(limit)
        self._lenient = lenient
        self._root = ""
        self._fed_before = False
        self._parser.CommentHandler = self._restricted
        self._parser.ProcessingInstructionHandler = self._restricted

    def read(self, octets: bytes) -> Iterator[Header | Element | End]:
        """What these octets complete. Raises StreamBroken, or TooLarge."""
        if octets and not self._fed_before:
            self._fed_before = True
            if octets[0] not in b"< \t\r\n":  # a byte order mark would change the encoding (RFC 6120, 11.6)
                raise StreamBroken("the stream does not begin with a tag")
        for found in self.feed(octets):
            if found is None:
                yield End()
            elif isinstance(found, dict):
                yield self._header(found)
            else:
                yield self._element(found)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if self._depth == 0:
            self._root = name
        elif self._depth > MAX_DEPTH:
            if not self._lenient:
                raise StreamBroken("elements are nested too deeply")
            self._overflowed = True
        super()._start(name, attributes)

    def _header(self, attributes: dict[str, str]) -> Header:
        prefix, _, local = self._root.rpartition(":")
        declared = attributes.get(f"xmlns:{prefix}" if prefix else "xmlns")
        if local != "stream" or declared != NS_STREAM:
            raise StreamBroken("this is no XMPP stream")
        if attributes.get("xmlns:stream", NS_STREAM) != NS_STREAM or attributes.get("xmlns") != NS_CLIENT:
            raise StreamBroken("the stream is of another namespace")
        return Header(attributes)

    def _element(self, cut: Cut) -> Element:
        unusable = False
        try:
            return self._usable(cut)
        except (TooLarge, StreamBroken):
            unusable = self._lenient and f"{{{NS_CLIENT}}}{cut.name}" in STANZAS
            if not unusable:
                raise
        attributes = {key: value for key, value in cut.attributes.items() if key != "xmlns" and ":" not in key}
        return Element(b"", ET.Element(f"{{{NS_CLIENT}}}{cut.name}", attributes))

    def _usable(self, cut: Cut) -> Element:
        if cut.octets is None or len(cut.octets) > self._limit:
            raise TooLarge("an element is too large")
        try:
            return Element(cut.octets, ET.fromstring(_WRAPPED + cut.octets + b"</s>")[0])  # noqa: S314 - no DTD gets here
        except (ET.ParseError, IndexError):
            pass
        raise StreamBroken("an element does not stand alone")

    def _restricted(self, *_: object) -> None:
        raise StreamBroken("the stream holds what XMPP forbids")
