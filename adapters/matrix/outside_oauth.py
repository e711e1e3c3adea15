"""OAuth 2.0 as a Matrix client does it: discovery, registration, the device authorization grant, refresh.

Matrix spec, OAuth 2.0 API: server metadata discovery, client registration, scope, device authorization grant
(RFC 8628), token refresh. There is no PKCE in this grant: no code passes through a browser back to us.

Redirections are never followed, answers are bounded, tokens go to https or to this machine only.
"""

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import aiohttp

from adapters.matrix import outside_oauth_answers as answers
from adapters.matrix.outside_oauth_answers import DEVICE_GRANT, REFRESH_GRANT, OAuthFailed, ServerMetadata, Tokens
from adapters.matrix.outside_session import Session, locked, read_session, write_session

CLIENT_NAME: Final = "Lockgate"
CLIENT_URI: Final = "https://lockgate.invalid/"
MAX_ANSWER: Final = 256 << 10
REQUEST_TIMEOUT_S: Final = 30.0
SLOWER_S: Final = 5
"""RFC 8628 section 3.5."""


@dataclass(frozen=True, slots=True)
class ScopeNames:
    """How a homeserver calls the right to use the API, and a device."""

    api: str
    device: str

    def scope(self, device_id: str) -> str:
        """The scope of a client that is this device."""
        return f"{self.api} {self.device}{device_id}"


STABLE: Final = ScopeNames("urn:matrix:client:api:*", "urn:matrix:client:device:")
UNSTABLE: Final = ScopeNames(
    "urn:matrix:org.matrix.msc2967.client:api:*", "urn:matrix:org.matrix.msc2967.client:device:"
)
_PLACES: Final = (
    ("/_matrix/client/v1/auth_metadata", STABLE),
    ("/_matrix/client/unstable/org.matrix.msc2965/auth_metadata", UNSTABLE),
)


class Web:
    """Requests whose troubles are `OAuthFailed`."""

    def __init__(self) -> None:
        timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S)
        self._session = aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self._session.close()

    async def call(
        self,
        method: str,
        url: str,
        *,
        form: Mapping[str, str] | None = None,
        document: object = None,
        token: str | None = None,
    ) -> tuple[int, bytes]:
        """Status and body. Raises OAuthFailed(UNREACHABLE), MALFORMED for an answer that is too large."""
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        failure = answers.UNREACHABLE
        try:
            async with self._session.request(
                method, url, data=form, json=document, headers=headers, allow_redirects=False
            ) as reply:
                body = await _bounded(reply)
                if body is not None:
                    return reply.status, body
                failure = answers.MALFORMED
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError):
            pass  # raised below, where nothing of the request or the answer hangs on it
        raise OAuthFailed(failure)


async def discovered(web: Web, homeserver: str) -> tuple[ServerMetadata, ScopeNames]:
    """The server that the homeserver delegates logins to. Raises OAuthFailed(NO_OAUTH) when it delegates none."""
    for path, scopes in _PLACES:
        status, body = await web.call("GET", homeserver.rstrip("/") + path)
        if status == 200:
            return answers.metadata(body), scopes
        if status not in (400, 404, 405):
            raise OAuthFailed(answers.UNREACHABLE)
    raise OAuthFailed(answers.NO_OAUTH)


async def registered(web: Web, server: ServerMetadata) -> str:
    """Register as a client (RFC 7591); returns its id. Raises OAuthFailed."""
    if server.registration_endpoint is None:
        raise OAuthFailed(answers.NO_REGISTRATION)
    ours = {
        "client_name": CLIENT_NAME,
        "client_uri": CLIENT_URI,
        "application_type": "native",
        "token_endpoint_auth_method": "none",
        "grant_types": [DEVICE_GRANT, REFRESH_GRANT],
        "response_types": [],
    }
    status, body = await web.call("POST", server.registration_endpoint, document=ours)
    if status not in (200, 201):
        raise OAuthFailed(answers.NO_REGISTRATION if 400 <= status < 500 else answers.UNREACHABLE)
    return answers.client_id(body)


async def authorization(web: Web, server: ServerMetadata, client_id: str, scope: str) -> answers.DeviceAuthorization:
    """Begin a device authorization (RFC 8628 section 3.1). Raises OAuthFailed."""
    if server.device_authorization_endpoint is None:
        raise OAuthFailed(answers.NO_DEVICE_GRANT)
    form = {"client_id": client_id, "scope": scope}
    status, body = await web.call("POST", server.device_authorization_endpoint, form=form)
    if status != 200:
        raise OAuthFailed(answers.error_code(status, body))
    return answers.device_authorization(body)


async def granted(
    web: Web, server: ServerMetadata, client_id: str, begun: answers.DeviceAuthorization, *, step_s: float = 1.0
) -> Tokens:
    """Ask until the user has agreed (RFC 8628 section 3.4); `step_s` is how long a second takes.

    Raises OAuthFailed: ACCESS_DENIED, EXPIRED, or what else the server says.
    """
    form = {"grant_type": DEVICE_GRANT, "device_code": begun.device_code, "client_id": client_id}
    interval, waited = max(1, begun.interval_s), 0
    while waited <= begun.lifetime_s:
        await asyncio.sleep(interval * step_s)
        waited += interval
        try:
            status, body = await web.call("POST", server.token_endpoint, form=form)
            code = answers.error_code(status, body)
        except OAuthFailed as error:
            status, body, code = 0, b"", error.code
        if status == 200:
            return answers.tokens(body)
        if code in (answers.SLOW_DOWN, answers.UNREACHABLE):
            interval = min(interval + SLOWER_S, answers.MOST_INTERVAL_S)
        elif code != answers.PENDING:
            raise OAuthFailed(code)
    raise OAuthFailed(answers.EXPIRED)


async def revoke(web: Web, server: ServerMetadata, client_id: str, tokens: Tokens) -> None:
    """Give tokens back that are of no use (RFC 7009). Whether it works does not matter: nobody keeps them."""
    if server.revocation_endpoint is None:
        return
    form = {"token": tokens.refresh_token or tokens.access_token, "client_id": client_id}
    try:
        await web.call("POST", server.revocation_endpoint, form=form)
    except OAuthFailed:
        return


async def whoami(web: Web, homeserver: str, access_token: str) -> tuple[object, object] | None:
    """The user and the device that a token is of; None when the homeserver does not take it. Raises OAuthFailed."""
    url = homeserver.rstrip("/") + "/_matrix/client/v3/account/whoami"
    status, body = await web.call("GET", url, token=access_token)
    if status == 401:
        return None
    try:
        found = json.loads(body) if status == 200 else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise OAuthFailed(answers.UNREACHABLE)
    return found.get("user_id"), found.get("device_id")


async def renewed(web: Web, path: Path, spent: str) -> Session:
    """The login with an access token other than `spent`: that of the file when somebody else has renewed it, else a
    new one, which is in the file when this returns.

    Raises OAuthFailed; INVALID_GRANT: the login has ended. Raises BadSession when the file cannot be used.

    A server may answer, and the answer be lost. The old refresh token is then tried again: servers for Matrix take it
    until the new tokens are first used (spec: Token refresh); one that does not says INVALID_GRANT.
    """
    async with locked(path):
        session = read_session(path)
        if session is None or session.refresh_token is None:
            raise OAuthFailed(answers.INVALID_GRANT)
        if session.access_token != spent:
            return session
        write_session(path, session)  # that it can be written is known before the tokens in it are spent
        session = with_tokens(session, await _refreshed(web, session))
        write_session(path, session)
        return session


def with_tokens(session: Session, tokens: Tokens) -> Session:
    """The same login with new tokens. A refresh token stays when no other was given (RFC 6749 section 6)."""
    return replace(
        session,
        access_token=tokens.access_token,
        refresh_token=tokens.refresh_token or session.refresh_token,
        expires_s=None if tokens.lifetime_s is None else int(time.time()) + tokens.lifetime_s,
    )


async def _refreshed(web: Web, session: Session) -> Tokens:
    assert session.refresh_token is not None
    form = {"grant_type": REFRESH_GRANT, "refresh_token": session.refresh_token, "client_id": session.client_id}
    status, body = await web.call("POST", session.token_endpoint, form=form)
    if status in (404, 405) or 300 <= status < 400:  # the server may have moved
        server, _ = await discovered(web, session.homeserver)
        if server.issuer != session.issuer:
            raise OAuthFailed(answers.OTHER_ISSUER)
        status, body = await web.call("POST", server.token_endpoint, form=form)
    if status == 200:
        return answers.tokens(body)
    code = answers.error_code(status, body)
    raise OAuthFailed(answers.INVALID_GRANT if code == answers.INVALID_CLIENT else code)


async def _bounded(reply: aiohttp.ClientResponse) -> bytes | None:
    """The body; None when it is larger than is read."""
    body = bytearray()
    async for part in reply.content.iter_any():
        body += part
        if len(body) > MAX_ANSWER:
            return None
    return bytes(body)
