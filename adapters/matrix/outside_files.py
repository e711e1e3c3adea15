"""Media of the homeserver: downloaded and uploaded as they are, ciphertext both ways (spec: Content Repository)."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from yarl import URL

from adapters.matrix import names
from adapters.matrix.transport import Homeserver, Reply, outcome_of
from adapters.outside_api import Outcome
from bridge.downloads import Sink
from bridge.filing import CHUNK, file_chunks
from bridge.wire.files import FILE_GONE, FILE_TOO_LARGE, FILE_UNAVAILABLE, UPLOAD_REFUSED

DOWNLOAD = "/_matrix/client/v1/media/download"
DOWNLOAD_BEFORE = "/_matrix/media/v3/download"
"""Of homeservers before Matrix 1.11."""
UPLOAD = "/_matrix/media/v3/upload"
CONFIG = "/_matrix/client/v1/media/config"
STALL_S = 60.0
UPLOAD_STALL_S = 300.0
MOST_REDIRECTS = 3


@dataclass(frozen=True, slots=True)
class MatrixCarrier:
    """The media of one account's homeserver."""

    server: Homeserver

    async def load(self, url: str, most: int, sink: Sink) -> Outcome:
        """See bridge.filing.Carrier; `url` is an mxc: URI."""
        medium = f"{url.removeprefix('mxc://')}?timeout_ms=20000"
        outcome = await _loaded(self.server, _url(self.server, f"{DOWNLOAD}/{medium}"), most, sink)
        if outcome.code == names.REJECTED:
            outcome = await _loaded(self.server, _url(self.server, f"{DOWNLOAD_BEFORE}/{medium}"), most, sink)
        gone = outcome.code in (names.NOT_FOUND, names.FORBIDDEN, names.REJECTED)
        return Outcome(FILE_GONE) if gone else outcome

    async def upload(self, path: Path, size: int, ending: str | None) -> Outcome:
        """See bridge.filing.Carrier; answered with `{"content_uri": ...}`."""
        limit = await self._limit()
        if limit is not None and size > limit:
            return Outcome(FILE_TOO_LARGE)
        reply = await _asked(self.server, "POST", UPLOAD, path, size)
        outcome = outcome_of(reply)
        if reply.status == 413 or outcome.code == "too-large":
            return Outcome(FILE_TOO_LARGE)
        return outcome if outcome.retry or outcome.code == "ok" else Outcome(UPLOAD_REFUSED)

    async def _limit(self) -> int | None:
        """Octets of the largest file that the homeserver takes (`m.upload.size`), None when it does not say."""
        reply = await _asked(self.server, "GET", CONFIG)
        told = (reply.object() or {}).get("m.upload.size") if reply.ok else None
        return told if isinstance(told, int) and not isinstance(told, bool) and told >= 0 else None


def _headers(server: Homeserver) -> dict[str, str]:
    return {"Authorization": f"Bearer {server.client.access_token}", "Accept-Encoding": "identity"}


def _url(server: Homeserver, path: str) -> URL:
    return URL(server.url + server.asserted(path), encoded=True)


async def _asked(server: Homeserver, method: str, path: str, file: Path | None = None, size: int = 0) -> Reply:
    """One request with a short answer, perhaps with a file. Troubles of the network are a reply of status 0."""
    headers = _headers(server)
    if file is not None:
        headers |= {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
    try:
        async with server.opened().request(
            method,
            _url(server, path),
            data=None if file is None else file_chunks(file),
            headers=headers,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=STALL_S, sock_read=UPLOAD_STALL_S),
        ) as response:
            return Reply(response.status, await response.content.read(CHUNK))
    except (TimeoutError, aiohttp.ClientError, OSError, ValueError):
        return Reply(0)


async def _loaded(server: Homeserver, url: URL, most: int, sink: Sink) -> Outcome:
    """Redirections are followed, but they do not get the access token."""
    headers = _headers(server)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=STALL_S, sock_read=STALL_S)
    for _ in range(1 + MOST_REDIRECTS):
        with contextlib.suppress(TimeoutError, aiohttp.ClientError, OSError, ValueError):
            async with server.opened().get(url, headers=headers, allow_redirects=False, timeout=timeout) as response:
                if response.status not in (301, 302, 307, 308):
                    return await _taken(response, most, sink)
                following = url.join(URL(response.headers.get("Location", ""), encoded=True))
                if following.scheme != "https" and following.origin() != url.origin():
                    return Outcome(FILE_UNAVAILABLE)
                url, headers = following, {"Accept-Encoding": "identity"}
                continue
        return Outcome(names.UNAVAILABLE, retry=True)
    return Outcome(FILE_UNAVAILABLE)


async def _taken(response: aiohttp.ClientResponse, most: int, sink: Sink) -> Outcome:
    if response.status != 200:
        reply = Reply(response.status, await response.content.read(CHUNK))
        if response.status == 404 and reply.errcode() == "M_UNRECOGNIZED":
            return Outcome(names.REJECTED)
        return outcome_of(reply)
    if (response.content_length or 0) > most:
        return Outcome(FILE_TOO_LARGE)
    async for chunk in response.content.iter_chunked(CHUNK):
        sink(chunk)
    return Outcome()
