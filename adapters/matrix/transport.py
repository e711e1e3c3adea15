"""Requests to a homeserver, over matrix-nio's client without its encryption.

matrix-nio loads its end-to-end encryption when it finds vodozemac installed. That library belongs into the enclave
process, so it is hidden while nio is imported: nio then runs without.

Of nio the log-in and the HTTP session are used. Answers are taken raw: its models drop or refuse what the enclave
needs to see (a one-time-key count of zero, events without `sender_key`, unknown to-device events).
"""

import importlib
import json
import logging
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import aiohttp
from yarl import URL

from adapters.matrix.names import FORBIDDEN, LOGGED_OUT, MALFORMED, NOT_FOUND, RATE_LIMITED, REJECTED, UNAVAILABLE
from adapters.outside_api import Outcome
from bridge.wire.values import MAX_BODY

if TYPE_CHECKING:
    import nio
else:
    _HIDDEN = "vodozemac"
    _held = sys.modules.get(_HIDDEN)
    sys.modules[_HIDDEN] = None  # type: ignore[assignment]
    try:
        nio = importlib.import_module("nio")
    finally:
        del sys.modules[_HIDDEN]
        if _held is not None:
            sys.modules[_HIDDEN] = _held

logging.getLogger("nio").setLevel(logging.CRITICAL)  # its warnings quote what servers answered

__all__ = ["Homeserver", "Reply", "nio", "outcome_of", "retry_after_s"]
CLIENT_API = "/_matrix/client/v3"
MEDIA_API = "/_matrix/client/v1"
"""Where the content repository is, for those who are logged in (spec: since 1.11)."""
REQUEST_TIMEOUT_S = 60.0
LONGEST_RETRY_S = 3600.0
MAX_SYNC = 64 << 20
"""Octets of the largest answer to `/sync` or `/messages` that is read."""


OVERSIZE = -1
"""In the place of a status: the answer was larger than what is read."""


class _TooLarge(Exception):
    """The answer is larger than the limit."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: the status (0: nothing did) and the body. `retry_after_s` from a header, if there was one."""

    status: int
    body: bytes = field(default=b"", repr=False)
    retry_after_s: float | None = None

    @property
    def ok(self) -> bool:
        """Whether the request was carried out."""
        return 200 <= self.status < 300

    def object(self) -> dict[str, Any] | None:
        """The body as a JSON object, None when it is none."""
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None

    def errcode(self) -> str:
        """The Matrix error code, empty when the body tells none (it may not be from a homeserver at all)."""
        value = (self.object() or {}).get("errcode")
        return value if isinstance(value, str) else ""


@dataclass(slots=True)
class Homeserver:
    """A homeserver as seen by one account."""

    url: str
    user: str
    client: "nio.AsyncClient" = field(init=False, repr=False)
    acting: str = ""
    """A query that says for whom an application service asks (spec: Identity assertion), empty for everybody else."""

    def __post_init__(self) -> None:
        config = nio.AsyncClientConfig(
            encryption_enabled=False, store_sync_tokens=False, max_limit_exceeded=0, max_timeouts=0
        )
        self.url = self.url.rstrip("/")
        self.client = nio.AsyncClient(self.url, self.user, config=config)

    async def close(self) -> None:
        """Close the connections."""
        await self.client.close()

    async def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        timeout_s: float = REQUEST_TIMEOUT_S,
        limit: int = MAX_BODY,
        authorised: bool = True,
        api: str = CLIENT_API,
    ) -> Reply:
        """One request below the client API. Troubles of the network are a reply of status 0; nothing is raised.

        `path` is quoted already. Redirections are not followed: they could lead the access token elsewhere.
        """
        session = self.opened()
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if authorised and self.client.access_token:
            headers["Authorization"] = f"Bearer {self.client.access_token}"
        try:
            async with session.request(
                method,
                URL(self.url + api + self.asserted(path), encoded=True),
                data=body,
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=timeout_s),
            ) as response:
                found = await _limited(response, limit)
                return Reply(response.status, found, _seconds(response.headers.get("Retry-After")))
        except _TooLarge:
            return Reply(OVERSIZE)
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError):
            return Reply(0)

    def asserted(self, path: str) -> str:
        """The path with the query that says for whom we ask."""
        return path if not self.acting else f"{path}{'&' if '?' in path else '?'}{self.acting}"

    def opened(self) -> aiohttp.ClientSession:
        """The session. nio would make one on first use, with cookies and tracing that cost time for nothing."""
        if self.client.client_session is None:
            self.client.client_session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        return cast(aiohttp.ClientSession, self.client.client_session)


def outcome_of(reply: Reply) -> Outcome:
    """What came of a request that the enclave asked for. Only a homeserver's own refusal is final."""
    if reply.ok:
        if reply.object() is None:
            return Outcome(MALFORMED, retry=True)
        return Outcome(body=reply.body)
    errcode = reply.errcode()
    if reply.status == 429 or errcode == "M_LIMIT_EXCEEDED":
        return Outcome(RATE_LIMITED, retry=True, retry_after_s=retry_after_s(reply))
    if errcode in ("M_UNKNOWN_TOKEN", "M_MISSING_TOKEN", "M_UNKNOWN_DEVICE"):  # the last one to application services
        return Outcome(LOGGED_OUT, retry=True)
    if not 400 <= reply.status < 500 or reply.status in (408, 425) or not errcode:
        gone = reply.status in (OVERSIZE, 0, 408, 425) or reply.status >= 500
        return Outcome(UNAVAILABLE if gone else MALFORMED, retry=True)
    return Outcome({403: FORBIDDEN, 404: NOT_FOUND, 413: "too-large"}.get(reply.status, REJECTED))


def retry_after_s(reply: Reply) -> float | None:
    """When the server wants to be asked again: its own field first, then the header."""
    told = (reply.object() or {}).get("retry_after_ms")
    if isinstance(told, int | float) and not isinstance(told, bool) and 0 <= told < LONGEST_RETRY_S * 1000:
        return told / 1000
    return reply.retry_after_s


async def _limited(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The body. Raises _TooLarge when it is larger than the limit."""
    length = response.content_length
    if length is not None and length <= limit:
        return await response.read()
    parts, size = [], 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > limit:
            raise _TooLarge
        parts.append(part)
    return b"".join(parts)


def _seconds(header: str | None) -> float | None:
    if header is None or not header.isascii() or not header.isdigit() or len(header) > 4:
        return None
    return min(float(header), LONGEST_RETRY_S)
