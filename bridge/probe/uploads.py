"""Whether the XMPP server gives the component places for files (XEP-0363): without them no file reaches the users."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Sequence

from adapters.outside_api import Outcome
from adapters.xmpp.outside_asks import Asks
from adapters.xmpp.outside_stream import Cut, Cutter, StreamBroken
from adapters.xmpp.outside_upload import Slot, Uploads
from bridge.config.models import Component
from bridge.probe.component import ACCEPT
from bridge.probe.hop import Hop, ok, skipped, warning
from bridge.probe.stream import STREAMS
from bridge.wire.files import UPLOAD_NO_SERVICE, UPLOAD_REFUSED

UPLOADS = "file uploads"
PATIENCE_S = 15.0
_REMEDIES = {
    UPLOAD_NO_SERVICE: (
        "names no upload service, so files of contacts will be refused",
        'Prosody: Component "files.{domain}" "http_file_share". ejabberd: mod_http_upload. See docs/files.md.',
    ),
    UPLOAD_REFUSED: (
        "does not let the component upload, so files of contacts will be refused",
        'Prosody: http_file_share_access = {{ "{domain}", "{jid}" }}, beside the Component of http_file_share. '
        "ejabberd: an access rule that allows the server {jid}, as `access` of mod_http_upload. See docs/files.md.",
    ),
}
_SILENT = ("does not answer about uploads", "Try again; see the XMPP server's log.")


async def probe_uploads(component: Component, secret: str, domains: Sequence[str]) -> list[Hop]:
    """Ask for a place for one octet at each server of a user's. The component's own connection is known to work."""
    with contextlib.suppress(OSError, TimeoutError, StreamBroken):
        async with asyncio.timeout(PATIENCE_S * (1 + len(domains))):
            return await _asked(component, secret, domains)
    return [skipped(UPLOADS, "the connection of the component did not last")]


async def _asked(component: Component, secret: str, domains: Sequence[str]) -> list[Hop]:
    async with connected(component, secret) as asks:
        return [await _domain(Uploads(asks), component.jid, domain) for domain in domains]


@contextlib.asynccontextmanager
async def connected(component: Component, secret: str) -> AsyncIterator[Asks]:
    """A connection of the component's, to ask questions on."""
    reader, writer = await asyncio.open_connection(component.host.strip("[]"), component.port)
    asks = Asks(writer.write)
    listening: asyncio.Task[None] | None = None
    try:
        cutter = Cutter()
        await _shake_hands(reader, writer, cutter, component.jid, secret)
        listening = asyncio.create_task(_listen(reader, cutter, asks))
        yield asks
    finally:
        if listening is not None:
            listening.cancel()
        with contextlib.suppress(OSError):
            writer.write(b"</stream:stream>")
        writer.close()


async def _shake_hands(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cutter: Cutter, jid: str, secret: str
) -> None:
    writer.write(f"<?xml version='1.0'?><stream:stream xmlns='{ACCEPT}' xmlns:stream='{STREAMS}' to='{jid}'>".encode())
    while True:
        octets = await reader.read(4096)
        for found in cutter.feed(octets):
            if isinstance(found, dict):
                digest = hashlib.sha1((found.get("id", "") + secret).encode(), usedforsecurity=False).hexdigest()
                writer.write(f"<handshake>{digest}</handshake>".encode())
            elif isinstance(found, Cut) and found.name == "handshake":
                return
        if not octets:
            raise OSError


async def _listen(reader: asyncio.StreamReader, cutter: Cutter, asks: Asks) -> None:
    while octets := await reader.read(1 << 16):
        for found in cutter.feed(octets):
            element = found.element() if isinstance(found, Cut) and found.name == "iq" else None
            if element is not None:
                asks.answered(element)
    asks.forget()


async def _domain(uploads: Uploads, jid: str, domain: str) -> Hop:
    try:
        found = await asyncio.wait_for(uploads.slot(f"check@{jid}", domain, 1, None), PATIENCE_S)
    except TimeoutError:
        found = Outcome()
    if isinstance(found, Slot):
        secure = found.put.startswith("https://") and found.get.startswith("https://")
        if secure:
            return ok(UPLOADS, f"{domain} gives the component places for files")
        remedy = "Let its URLs begin with https:// (Prosody: http_external_url; ejabberd: put_url, get_url)."
        return warning(UPLOADS, f"the upload service of {domain} does not use TLS, so files will be refused", remedy)
    finding, remedy = _REMEDIES.get(found.code, _SILENT)
    return warning(UPLOADS, f"{domain} {finding}", remedy.format(domain=domain, jid=jid))
