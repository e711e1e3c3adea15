"""Where the homeserver reaches us: the server side of the Application Service API.

Whoever connects proves with `hs_token` that they are the homeserver, before a body is read.
"""

import asyncio
import hmac
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from aiohttp import web

PREFIX = "/_matrix/app/v1"
MAX_TRANSACTION = 32 << 20
"""Octets of a transaction that are read."""
ACKNOWLEDGED_WITHIN_S = 50.0
"""Synapse gives up after 60, and comes again."""
SHUTDOWN_S = 1.0
_BEARER = "Bearer "

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Taken = Callable[[bytes | None], Awaitable[None]]
"""Called with the body of a transaction, None when it was too large; returns when it may be acknowledged."""


class Port:
    """One listening address. `knows`: whether a user is one of ours; `pinged`: that the homeserver reached us."""

    def __init__(
        self, hs_token: str, taken: Taken, *, knows: Callable[[str], bool], pinged: Callable[[], None]
    ) -> None:
        self._expected = hs_token.encode()
        self._taken = taken
        self._knows = knows
        self._pinged = pinged
        self._runner: web.AppRunner | None = None

    async def open(self, host: str, port: int) -> int:
        """Listen; returns the port. Raises OSError when the address cannot be used."""
        app = web.Application(middlewares=[self._guarded], client_max_size=MAX_TRANSACTION)
        app.router.add_put(PREFIX + "/transactions/{transaction}", self._transaction)
        app.router.add_post(PREFIX + "/ping", self._ping)
        app.router.add_get(PREFIX + "/users/{user}", self._user)
        app.router.add_get(PREFIX + "/rooms/{alias}", self._alias)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError:
            await self.close()
            raise
        return int(self._runner.addresses[0][1])

    async def close(self) -> None:
        """Stop listening. What is not acknowledged yet comes again."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    @web.middleware
    async def _guarded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Every answer is one that Matrix knows, and only the homeserver gets another than a refusal."""
        given = request.headers.get("Authorization", "")
        if not given.startswith(_BEARER):
            return _refusal(HTTPStatus.UNAUTHORIZED, "M_UNAUTHORIZED")
        if not hmac.compare_digest(given.removeprefix(_BEARER).encode("utf-8", "replace"), self._expected):
            return _refusal(HTTPStatus.FORBIDDEN, "M_FORBIDDEN")
        try:
            return await handler(request)
        except web.HTTPException as error:
            return _refusal(HTTPStatus(error.status), "M_UNRECOGNIZED")

    async def _transaction(self, request: web.Request) -> web.StreamResponse:
        try:
            body: bytes | None = await request.read()
        except web.HTTPRequestEntityTooLarge:
            body = None
        try:
            async with asyncio.timeout(ACKNOWLEDGED_WITHIN_S):
                await self._taken(body)
        except TimeoutError:
            return _refusal(HTTPStatus.SERVICE_UNAVAILABLE, "M_UNKNOWN")
        return web.json_response({})

    async def _ping(self, _request: web.Request) -> web.StreamResponse:
        self._pinged()
        return web.json_response({})

    async def _user(self, request: web.Request) -> web.StreamResponse:
        known = self._knows(request.match_info["user"])
        return web.json_response({}) if known else _refusal(HTTPStatus.NOT_FOUND, "M_NOT_FOUND")

    async def _alias(self, _request: web.Request) -> web.StreamResponse:
        return _refusal(HTTPStatus.NOT_FOUND, "M_NOT_FOUND")


def _refusal(status: HTTPStatus, errcode: str) -> web.Response:
    return web.json_response({"errcode": errcode, "error": status.phrase}, status=status)
