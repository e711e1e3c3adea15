"""The stream of a component, cut into stanzas: octets in, whole stanzas out.

Message stanzas are handed on as the very octets the server wrote, because what an ESession authenticates is the form
as it was received, and because nothing else need be looked at outside. Small stanzas (presence, iq) become elements.
"""

import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from xml.parsers import expat

from adapters.xmpp.names import NS_COMPONENT
from adapters.xmpp.outside_tokens import WholeTokens

MAX_STANZA = 4 << 20
"""Octets of a stanza beyond which it is no longer kept, only counted."""

_NS_STREAM = "http://etherx.jabber.org/streams"
_WRAPPED = f'<s xmlns="{NS_COMPONENT}" xmlns:stream="{_NS_STREAM}">'.encode()


class StreamBroken(Exception):
    """The server's stream is not well-formed, or holds what XMPP forbids."""


@dataclass(frozen=True, slots=True)
class Cut:
    """One first-level child of the stream: its name without prefix, attributes, and octets (None: too large)."""

    name: str
    attributes: dict[str, str]
    octets: bytes | None = field(repr=False)

    def element(self) -> ET.Element | None:
        """The element, None when it was too large or used a prefix declared elsewhere."""
        if self.octets is None:
            return None
        try:
            return ET.fromstring(_WRAPPED + self.octets + b"</s>")[0]  # noqa: S314 - DTDs were refused by `Cutter`
        except (ET.ParseError, IndexError):
            return None


class Cutter:
    """Cuts one stream, from its header to its end."""

    def __init__(self, limit: int = MAX_STANZA) -> None:
        """`limit`: octets of a stanza beyond which it is only counted."""
        self._limit = limit
        self._parser = expat.ParserCreate("utf-8")
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.StartDoctypeDeclHandler = self._doctype
        self._whole = WholeTokens()
        self._kept = bytearray()
        self._base = 0
        self._depth = 0
        self._begun = 0
        self._done = 0
        self._name = ""
        self._attributes: dict[str, str] = {}
        self._overflowed = False
        self._ready: list[Cut | dict[str, str] | None] = []

    def feed(self, octets: bytes) -> Iterator[Cut | dict[str, str] | None]:
        """What these octets complete: the stream header's attributes, stanzas, None for the end of the stream.

        Raises StreamBroken when the stream is not XML as XMPP has it (RFC 6120, 11.1).
        """
        whole = self._whole.feed(octets)
        self._kept += whole
        broken = self._whole.waiting > self._limit
        try:
            self._parser.Parse(whole, False)
        except expat.ExpatError:
            broken = True
        self._forget()
        ready, self._ready = self._ready, []
        yield from ready
        if broken:
            raise StreamBroken("the stream is not well-formed XML")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if self._depth == 0:
            self._ready.append(attributes)
        elif self._depth == 1:
            self._name, self._attributes = name, attributes
            self._begun = self._parser.CurrentByteIndex
            self._overflowed = False
        self._depth += 1

    def _end(self, _: str) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._ready.append(None)
        elif self._depth == 1:
            octets = self._octets(self._parser.CurrentByteIndex)
            self._ready.append(Cut(self._name.rpartition(":")[2], self._attributes, octets))

    def _octets(self, index: int) -> bytes | None:
        """From the start tag to the end of the end tag, which begins at `index`; an empty element ends at `index`.

        What follows an empty element can be the end tag of the stream, but never one of the element's own name.
        """
        self._done = max(index, self._base)
        if self._overflowed:
            return None
        begun, ended = self._begun - self._base, index - self._base
        end_tag = b"</" + self._name.encode()
        if ended == begun or self._kept[ended : ended + len(end_tag)] == end_tag:
            ended = self._kept.index(b">", ended) + 1
        self._done = self._base + ended
        return bytes(self._kept[begun:ended])

    def _forget(self) -> None:
        """Drop what is no longer needed: all before the stanza that is under way, or before the next."""
        end = self._base + len(self._kept)
        keep_from = self._done if self._depth <= 1 else self._begun
        if self._depth > 1 and (self._overflowed or end - keep_from > self._limit):
            self._overflowed = True
            keep_from = end
        elif self._depth <= 1 and b"<" not in self._kept[keep_from - self._base :]:
            keep_from = self._done = end
        elif end - keep_from > self._limit:
            raise StreamBroken("a start tag is longer than any stanza may be")
        del self._kept[: keep_from - self._base]
        self._base = keep_from

    def _doctype(self, *_: object) -> None:
        raise StreamBroken("the stream holds a document type declaration")


class SlixmppParser:
    """A `Cutter` in the shape slixmpp expects of its parser: stream-level elements go to slixmpp, stanzas do not.

    slixmpp's own handling costs several times what the whole of the gateway spends on a stanza; it keeps the
    connection, the stream header and the handshake.
    """

    def __init__(self, on_stanza: Callable[[Cut], None], on_broken: Callable[[], None]) -> None:
        self._cutter = Cutter()
        self._on_stanza = on_stanza
        self._on_broken = on_broken
        self._fed: list[bytes] = []

    def feed(self, octets: bytes) -> None:
        """Take what came from the socket."""
        self._fed.append(octets)

    def read_events(self) -> Iterator[tuple[str, ET.Element]]:
        """Events of the stream itself; stanzas are handed over on the way, in order."""
        octets, self._fed = b"".join(self._fed), []
        try:
            for found in self._cutter.feed(octets):
                yield from self._events(found)
        except StreamBroken:
            self._on_broken()

    def _events(self, found: Cut | dict[str, str] | None) -> Iterator[tuple[str, ET.Element]]:
        if found is None:
            yield "end", ET.Element("stream")
        elif isinstance(found, dict):
            yield "start", ET.Element(f"{{{_NS_STREAM}}}stream", found)
        elif found.name in ("message", "presence", "iq"):
            self._on_stanza(found)
        elif (element := found.element()) is not None:
            yield "start", element
            yield "end", element
