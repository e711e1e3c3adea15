"""A stub of an XMPP server, as a component sees it: enough for one user with one resource. Nobody measures it."""

import asyncio
from collections.abc import Callable

from adapters.xmpp.outside_stream import Cut, Cutter

HEADER = (
    "<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept'"
    " xmlns:stream='http://etherx.jabber.org/streams' from='{jid}' id='bench'>"
)
DISCO = "http://jabber.org/protocol/disco#info"
FEATURE = "http://www.xmpp.org/extensions/xep-0116.html#ns"


class StubComponentServer:
    """Accepts one component; the user's resource is always there and announces Encrypted Sessions."""

    def __init__(self, jid: str, user: str, heard: Callable[[bytes], None]) -> None:
        """`user` is the full JID of the user's client, `heard` is given the messages that are for it."""
        self._jid, self._user, self._heard = jid, user, heard
        self._writer: asyncio.StreamWriter | None = None
        self.port = 0
        self.greeted = False
        """Whether the component has asked what the user's client can do: it is at work."""

    async def start(self) -> None:
        """Listen on a free port of the loopback."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]

    def send(self, octets: bytes) -> None:
        """The user's client sends this."""
        assert self._writer is not None
        self._writer.write(octets)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        cutter = Cutter()
        while data := await reader.read(1 << 16):
            for cut in cutter.feed(data):
                if isinstance(cut, Cut):
                    self._stanza(cut)
                elif cut is not None:
                    writer.write(HEADER.format(jid=self._jid).encode())
        writer.close()

    def _stanza(self, cut: Cut) -> None:
        assert self._writer is not None
        to, kind = cut.attributes.get("to", ""), cut.attributes.get("type")
        sender, id_ = cut.attributes.get("from", ""), cut.attributes.get("id", "")
        if cut.name == "handshake":
            self._writer.write(b"<handshake/>")
        elif cut.name == "presence" and kind == "probe":
            self._writer.write(f"<presence from='{self._user}' to='{sender}'/>".encode())
        elif cut.name == "iq" and to == self._jid and cut.octets is not None:
            self._writer.write(cut.octets)
        elif cut.name == "iq" and kind == "get":
            self.greeted = True
            query = f"<query xmlns='{DISCO}'><feature var='{FEATURE}'/></query>"
            reply = f"<iq type='result' id='{id_}' from='{to}' to='{sender}'>{query}</iq>"
            self._writer.write(reply.encode())
        elif cut.name == "message" and cut.octets is not None:
            self._heard(cut.octets)
