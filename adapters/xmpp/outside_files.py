"""Files of the XMPP side over HTTP: fetched from where a message says, put where the user's server says."""

import json
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from yarl import URL

from adapters.outside_api import AccountRoutes, Outcome
from adapters.xmpp.outside_asks import Asks
from adapters.xmpp.outside_upload import Slot, Uploads
from bridge.downloads import Sink
from bridge.filing import CHUNK, NOT_CONNECTED, FileDesk, file_chunks
from bridge.public_hosts import Forbidden, Hosts, is_loopback
from bridge.wire.files import (
    FILE_ADDRESS_REFUSED,
    FILE_GONE,
    FILE_TOO_LARGE,
    FILE_UNAVAILABLE,
    FILE_UPLOAD,
    UPLOAD_INSECURE,
    UPLOAD_REFUSED,
)
from bridge.wire.link import Carry

STALL_S = 60.0
REACH_S = 10.0
UPLOAD_STALL_S = 300.0
MOST_REDIRECTS = 3
_AGAIN = Outcome(FILE_UNAVAILABLE, retry=True)
_REFUSED = Outcome(FILE_ADDRESS_REFUSED)


class Web:
    """The HTTP side: nothing but public hosts and those that were named, certificates checked."""

    def __init__(self, allowed: Iterable[str] = (), *, context: ssl.SSLContext | None = None) -> None:
        self.hosts = Hosts(allowed)
        self._context = context
        self._getting: aiohttp.ClientSession | None = None
        self._putting: aiohttp.ClientSession | None = None

    def _session(self, *, guarded: bool) -> aiohttp.ClientSession:
        context = self._context or ssl.create_default_context()
        resolver = self.hosts if guarded else None
        connector = aiohttp.TCPConnector(ssl=context, resolver=resolver, use_dns_cache=not guarded)
        return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())

    async def get(self, address: str, most: int, sink: Sink) -> Outcome:
        """Hand a file's octets to the sink. Redirections lead only to where a message could have."""
        self._getting = self._getting or self._session(guarded=True)
        try:
            url = URL(address, encoded=True)
            for _ in range(1 + MOST_REDIRECTS):
                self.hosts.require(url)
                found = await self._got(self._getting, url, most, sink)
                if isinstance(found, Outcome):
                    return found
                url = found
        except Forbidden:
            return _REFUSED
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError):
            return _REFUSED if url.host in self.hosts.refused else _AGAIN
        return Outcome(FILE_UNAVAILABLE)

    async def _got(self, session: aiohttp.ClientSession, url: URL, most: int, sink: Sink) -> Outcome | URL:
        headers = {"Accept-Encoding": "identity"}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=STALL_S, sock_read=STALL_S)
        async with session.get(url, headers=headers, allow_redirects=False, timeout=timeout) as response:
            if response.status in (301, 302, 303, 307, 308):
                return url.join(URL(response.headers.get("Location", ""), encoded=True))
            if response.status != 200:
                return _judged(response)
            if (response.content_length or 0) > most:
                return Outcome(FILE_TOO_LARGE)
            async for chunk in response.content.iter_chunked(CHUNK):
                sink(chunk)
            return Outcome()

    async def put(self, slot: Slot, path: Path, size: int) -> Outcome:
        """Upload a file to its place. The body of the outcome says where it stands then."""
        put, get = URL(slot.put, encoded=True), URL(slot.get, encoded=True)
        if put.scheme != "https" and not (put.scheme == "http" and is_loopback(put.host or "")):
            return Outcome(UPLOAD_INSECURE)
        self._putting = self._putting or self._session(guarded=False)
        headers = {**dict(slot.headers), "Content-Type": "application/octet-stream", "Content-Length": str(size)}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=STALL_S, sock_read=UPLOAD_STALL_S)
        try:
            async with self._putting.put(
                put, data=file_chunks(path), headers=headers, allow_redirects=False, timeout=timeout
            ) as response:
                if response.status in (200, 201, 204):
                    self.hosts.trust(get)
                    return Outcome(body=json.dumps({"url": slot.get}).encode())
                return _judged(response, gone=UPLOAD_REFUSED)
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError):
            return _AGAIN

    async def reach(self, address: str) -> None:
        """Connect as for an upload, and change nothing. Raises what aiohttp does, OSError, or TimeoutError."""
        timeout = aiohttp.ClientTimeout(total=REACH_S)
        async with (
            self._session(guarded=False) as session,
            session.head(URL(address, encoded=True), allow_redirects=False, timeout=timeout),
        ):
            return

    async def close(self) -> None:
        """End all connections."""
        for session in (self._getting, self._putting):
            if session is not None:
                await session.close()
        self._getting = self._putting = None


def _judged(response: aiohttp.ClientResponse, gone: str = FILE_GONE) -> Outcome:
    if response.status == 413:
        return Outcome(FILE_TOO_LARGE)
    if response.status in (408, 425, 429) or response.status >= 500:
        after = response.headers.get("Retry-After", "")
        return Outcome(FILE_UNAVAILABLE, retry=True, retry_after_s=float(after) if after.isdigit() else None)
    return Outcome(gone)


class XmppFiles:
    """The files of all accounts. `folder`: where they are kept on their way; `allowed`: hosts the operator named."""

    def __init__(self, write: Callable[[bytes], object], folder: str | None, allowed: Iterable[str] = ()) -> None:
        self.asks = Asks(write)
        self._desk, self._web, self._uploads = FileDesk(folder), Web(allowed), Uploads(self.asks)

    handles = staticmethod(FileDesk.handles)

    async def carry(self, component: str, account: AccountRoutes | None, request: Carry, *, up: bool) -> Outcome:
        """Carry one request out. `up`: whether the user's server can be asked for a place."""
        if account is None:
            return NOT_CONNECTED
        domain = account.near_address.rpartition("@")[2]
        carrier = XmppCarrier(self._web, self._uploads, f"{account.account}@{component}", domain)
        ready = up or request.request != FILE_UPLOAD
        return await self._desk.carry(account.account, request, carrier if ready else None)

    async def close(self) -> None:
        """Stop."""
        self.asks.forget()
        await self._desk.close()
        await self._web.close()


@dataclass(frozen=True, slots=True)
class XmppCarrier:
    """The files of one account. `sender`: who asks its server for places; `domain`: of that server."""

    web: Web
    uploads: Uploads
    sender: str
    domain: str

    async def load(self, url: str, most: int, sink: Sink) -> Outcome:
        """See bridge.filing.Carrier."""
        return await self.web.get(url, most, sink)

    async def upload(self, path: Path, size: int, ending: str | None) -> Outcome:
        """See bridge.filing.Carrier; answered with `{"url": ...}`."""
        slot = await self.uploads.slot(self.sender, self.domain, size, ending)
        return slot if isinstance(slot, Outcome) else await self.web.put(slot, path, size)
