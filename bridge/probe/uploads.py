"""Whether the XMPP server gives the component places for files (XEP-0363): without them no file reaches the users."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Sequence

import aiohttp
from yarl import URL

from adapters.outside_api import Outcome
from adapters.xmpp.outside_asks import Asks
from adapters.xmpp.outside_files import Web
from adapters.xmpp.outside_stream import Cut, Cutter, StreamBroken
from adapters.xmpp.outside_upload import Slot, Uploads
from bridge.config.models import Component
from bridge.probe.component import ACCEPT
from bridge.probe.hop import Hop, ok, skipped, warning
from bridge.probe.reach import Trouble, trouble_of
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
_TROUBLES = {
    Trouble.UNTRUSTED: (
        "shows a certificate that this machine does not trust",
        "Give the service a certificate of a public authority, or add its authority to this system's (or to the file "
        "that SSL_CERT_FILE names where lockgate runs).",
    ),
    Trouble.EXPIRED: (
        "shows a certificate that has expired or is not valid yet",
        "Renew it, have the service load it anew, and see to this machine's clock.",
    ),
    Trouble.OTHER_NAME: (
        "shows a certificate for another name",
        "Let the service's URLs have the name that the certificate is for (Prosody: http_host, http_external_url; "
        "ejabberd: put_url, get_url).",
    ),
    Trouble.NO_TLS: ("does not speak TLS", "Let its URLs name the https port (Prosody: https_ports; ejabberd: tls)."),
    Trouble.UNKNOWN_HOST: ("has a name that is not known here", "Correct the service's URLs, or the DNS."),
    Trouble.REFUSED: (
        "accepts no connections",
        "Start the service, open its port to this machine, or correct its URLs (Prosody: http_external_url; ejabberd: "
        "put_url, get_url).",
    ),
    Trouble.SILENT: ("does not answer", "Open its port to this machine, or correct the service's URLs."),
}
_ODD = ("does not answer as a web server should", "See the upload service's log.")
_SILENT = ("does not answer about uploads", "Try again; see the XMPP server's log.")


async def probe_uploads(component: Component, secret: str, domains: Sequence[str]) -> list[Hop]:
    """Ask for a place for one octet at each server of a user's. The component's own connection is known to work."""
    with contextlib.suppress(OSError, TimeoutError, StreamBroken):
        async with asyncio.timeout(PATIENCE_S * (1 + 3 * len(domains))):
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


async def _reached(slot: Slot) -> Hop | None:
    """What is wrong with the hosts that files go to and come from, found as the gateway itself connects to them."""
    web = Web()
    places = {URL(address, encoded=True).origin(): address for address in (slot.get, slot.put)}
    for origin, address in places.items():
        trouble: Trouble | None = None
        try:
            await web.reach(address)
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            trouble = trouble_of(error)
        if trouble is not None:
            what, remedy = _TROUBLES.get(trouble, _ODD)
            return warning(UPLOADS, f"the upload service at {origin} {what}, so files will not arrive", remedy)
    return None


async def _domain(uploads: Uploads, jid: str, domain: str) -> Hop:
    try:
        found = await asyncio.wait_for(uploads.slot(f"check@{jid}", domain, 1, None), PATIENCE_S)
    except TimeoutError:
        found = Outcome()
    if isinstance(found, Slot):
        secure = found.put.startswith("https://") and found.get.startswith("https://")
        if secure:
            return await _reached(found) or ok(UPLOADS, f"{domain} gives the component places for files")
        remedy = "Let its URLs begin with https:// (Prosody: http_external_url; ejabberd: put_url, get_url)."
        return warning(UPLOADS, f"the upload service of {domain} does not use TLS, so files will be refused", remedy)
    finding, remedy = _REMEDIES.get(found.code, _SILENT)
    return warning(UPLOADS, f"{domain} {finding}", remedy.format(domain=domain, jid=jid))
