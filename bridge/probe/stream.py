"""The opening of a component's XML stream (XEP-0114), read without a library: whatever answers may be anything."""

from dataclasses import dataclass, field
from xml.parsers.expat import ExpatError, ParserCreate

from adapters.xmpp.outside_tokens import WholeTokens

STREAMS = "http://etherx.jabber.org/streams"
MAX_OCTETS = 1 << 16


class NotXmpp(Exception):
    """What answers does not speak XMPP."""


@dataclass
class StreamReader:
    """Collects what a server says: the stream's id, names of the elements in it, conditions of a stream error.

    Names are `namespace local`. Raises `NotXmpp` for what is no XML stream, has a document type, or is too large.
    """

    id: str | None = None
    namespace: str = ""
    elements: list[str] = field(default_factory=list)
    conditions: list[str] = field(default_factory=list)
    _depth: int = 0
    _octets: int = 0

    def __post_init__(self) -> None:
        self._whole = WholeTokens()
        self._parser = ParserCreate(namespace_separator=" ")
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.StartDoctypeDeclHandler = self._doctype
        self._parser.StartNamespaceDeclHandler = self._declared

    def feed(self, octets: bytes) -> None:
        """Take what was received."""
        self._octets += len(octets)
        fits = self._octets <= MAX_OCTETS
        try:
            if fits:
                self._parser.Parse(self._whole.feed(octets), False)
        except ExpatError:
            fits = False
        if not fits:
            raise NotXmpp

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if self._depth == 0:
            if name != f"{STREAMS} stream":
                raise NotXmpp
            self.id = attributes.get("id", "")
        elif self._depth == 1:
            self.elements.append(name)
        elif self._depth == 2 and self.elements[-1] == f"{STREAMS} error":
            self.conditions.append(name.rpartition(" ")[2])
        self._depth += 1

    def _end(self, _name: str) -> None:
        self._depth -= 1

    def _declared(self, prefix: str | None, uri: str) -> None:
        if self._depth == 0 and not prefix:
            self.namespace = uri

    def _doctype(self, *_arguments: object) -> None:
        raise NotXmpp
