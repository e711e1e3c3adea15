"""A homeserver and the OAuth 2.0 server it names, over real HTTP on loopback, that misbehave when told to."""

import json
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Form = dict[str, str]


@dataclass
class OAuthServer:
    """Answers are taken from `answers` first, by path. A refresh token is taken until its successor is used."""

    answers: dict[str, list[tuple[int, Any]]] = field(default_factory=dict)
    requests: list[tuple[str, Form]] = field(default_factory=list)
    redirect_to: str | None = None
    forgiving: bool = True
    hang_up: int = 0
    url: str = ""
    made: int = 0
    issuer: str | None = None
    _current: str = "refresh0"
    _earlier: str | None = None
    _runner: web.AppRunner | None = None

    async def start(self) -> "OAuthServer":
        """Listen on a free port of loopback."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    def metadata(self, **changes: object) -> dict[str, Any]:
        """Metadata with these changes; None takes a key away."""
        whole = {
            "issuer": self.issuer or f"{self.url}/",
            "token_endpoint": f"{self.url}/token",
            "registration_endpoint": f"{self.url}/register",
            "device_authorization_endpoint": f"{self.url}/device",
            "grant_types_supported": ["refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
            **changes,
        }
        return {key: value for key, value in whole.items() if value is not None}

    def asked(self, path: str) -> list[Form]:
        """The forms that were sent there."""
        return [form for found, form in self.requests if found == path]

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        form: Form = {}
        if request.content_type == "application/x-www-form-urlencoded":
            form = {key: str(value) for key, value in (await request.post()).items()}
        elif body:
            form = {key: json.dumps(value) for key, value in json.loads(body).items()}
        self.requests.append((request.path, form))
        if self.redirect_to is not None:
            raise web.HTTPTemporaryRedirect(self.redirect_to + request.path)
        planned = self.answers.get(request.path)
        status, answer = planned.pop(0) if planned else self._answer(request.path, form)
        if self.hang_up and request.path == "/token":
            self.hang_up -= 1
            assert request.transport is not None
            request.transport.close()
        return web.Response(status=status, body=answer if isinstance(answer, bytes) else json.dumps(answer).encode())

    def _answer(self, path: str, form: Form) -> tuple[int, Any]:
        if path == "/_matrix/client/v1/auth_metadata":
            return 200, self.metadata()
        if path == "/register":
            return 201, {"client_id": "client"}
        if path == "/device":
            codes = {"device_code": "device-code", "user_code": "AB-CD", "verification_uri": f"{self.url}/agree"}
            return 200, {**codes, "expires_in": 60, "interval": 5}
        if path == "/token":
            return self._tokens(form)
        return 404, {"errcode": "M_UNRECOGNIZED"}

    def _tokens(self, form: Form) -> tuple[int, Any]:
        given = form.get("refresh_token")
        if given is not None and given == self._earlier and self.forgiving:
            pass  # its successor was never used
        elif given is not None and given != self._current:
            return 400, {"error": "invalid_grant"}
        else:
            self._earlier = given
        self.made += 1
        self._current = f"refresh{self.made}"
        answer = {"access_token": f"access{self.made}", "refresh_token": self._current, "expires_in": 300}
        return 200, {**answer, "token_type": "Bearer"}
