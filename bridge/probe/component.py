"""The XMPP server's component port: does it listen, does it expect this component, is the secret right (XEP-0114)?"""

import asyncio
import hashlib
import socket
from xml.sax.saxutils import quoteattr

from bridge.config.models import Component
from bridge.probe.hop import Hop, failed, ok, skipped
from bridge.probe.stream import STREAMS, NotXmpp, StreamReader

ACCEPT = "jabber:component:accept"
PATIENCE_S = 10.0
PORT, SECRET = "component port", "component secret"

_CONDITIONS = {
    "not-authorized": (
        "the server does not accept the secret",
        "Write the same secret into the server's settings (Prosody: component_secret; ejabberd: password) and into "
        "the secret's file. ejabberd says the same when its listener has no host {jid}.",
    ),
    "host-unknown": (
        "the server does not know the component",
        'Add it to the server\'s settings. Prosody: Component "{jid}" with its component_secret. ejabberd: a listener '
        "of module ejabberd_service with the host {jid}.",
    ),
    "conflict": (
        "another program is connected as this component",
        "Stop the other gateway, or give this one a domain of its own: {jid} must not be the server's own, either.",
    ),
    "invalid-namespace": (
        "the port is not for components (perhaps it is for clients, 5222, or servers, 5269)",
        "Use the server's component port; 5347 is usual.",
    ),
}


async def probe_component(component: Component, secret: str) -> list[Hop]:
    """Connect, shake hands, disconnect."""
    where = f"{component.host}:{component.port}"
    try:
        async with asyncio.timeout(PATIENCE_S):
            reader, writer = await asyncio.open_connection(component.host.strip("[]"), component.port)
    except OSError as error:
        return [_unreachable(where, error), skipped(SECRET, "the port could not be reached")]
    try:
        async with asyncio.timeout(PATIENCE_S):
            finding = await _shake_hands(reader, writer, component, secret)
    except TimeoutError:
        finding = failed(SECRET, f"the server says nothing for {PATIENCE_S:.0f} seconds", _other_port())
    except NotXmpp:
        finding = failed(SECRET, "what listens there does not speak XMPP", _other_port())
    except OSError:
        finding = failed(SECRET, "the server breaks the connection off", "Look at the server's log.")
    finally:
        writer.close()
    return [ok(PORT, f"{where} accepts connections"), finding]


async def _shake_hands(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, component: Component, secret: str
) -> Hop:
    stream = StreamReader()
    opening = f"<stream:stream xmlns='{ACCEPT}' xmlns:stream='{STREAMS}' to={quoteattr(component.jid)}>"
    # The end of line means nothing to an XMPP server; a web server waits for one before it says what it is.
    writer.write(f"<?xml version='1.0'?>{opening}\n".encode())
    while stream.id is None and await _more(reader, stream):
        pass
    if not stream.id:
        return _refused(stream, component.jid)
    digest = hashlib.sha1((stream.id + secret).encode(), usedforsecurity=False).hexdigest()
    writer.write(f"<handshake>{digest}</handshake>".encode())
    while not stream.elements and await _more(reader, stream):
        pass
    while stream.elements == [f"{STREAMS} error"] and not stream.conditions and await _more(reader, stream):
        pass
    if stream.elements[:1] == [f"{ACCEPT} handshake"]:
        writer.write(b"</stream:stream>")
        await writer.drain()
        return ok(SECRET, f"the server accepts it for {component.jid}")
    return _refused(stream, component.jid)


async def _more(reader: asyncio.StreamReader, stream: StreamReader) -> bool:
    """Read on; False at the end."""
    octets = await reader.read(4096)
    stream.feed(octets)
    return bool(octets)


def _refused(stream: StreamReader, jid: str) -> Hop:
    conditions = ["invalid-namespace"] if stream.namespace not in ("", ACCEPT) else stream.conditions
    found, remedy = next(
        (_CONDITIONS[name] for name in conditions if name in _CONDITIONS),
        ("the server refuses the connection", "Look at the server's log."),
    )
    return failed(SECRET, found, remedy.replace("{jid}", jid))


def _unreachable(where: str, error: OSError) -> Hop:
    if isinstance(error, ConnectionRefusedError):
        settings = "Prosody: component_ports; ejabberd: listen"
        remedy = f"Start the XMPP server, and see which port it takes components on ({settings})."
        return failed(PORT, f"nothing listens on {where}", remedy)
    if isinstance(error, socket.gaierror):
        return failed(PORT, f"the host of {where} is not known", "Check xmpp.component.host.")
    if isinstance(error, TimeoutError):
        return failed(PORT, f"{where} does not answer", "Check xmpp.component.host and firewalls in between.")
    return failed(PORT, f"{where} cannot be reached", "Check xmpp.component.host and the network.")


def _other_port() -> str:
    return "Check xmpp.component.port: it must be the server's port for components; 5347 is usual."
