"""Logging in: the token of last time, else the password; the device stays the same as long as the server has it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import msgspec

from adapters.matrix.names import AUTH_REQUIRED
from adapters.matrix.transport import Homeserver, Reply, nio, outcome_of, retry_after_s
from adapters.outside_api import Edge, Outcome

TOKEN_MARK = "token"  # noqa: S105 - the name of a mark
DEVICE_MARK = "device"
DEVICE_NAME = "Lockgate"
PASSWORD = "m.login.password"  # noqa: S105 - the name of a flow


class LoginFailed(Exception):
    """It did not work. `final`: asking again the same way will not help before an operator acts."""

    def __init__(self, *, final: bool, retry_after_s: float | None = None) -> None:
        super().__init__("the log-in did not work")
        self.final = final
        self.retry_after_s = retry_after_s


@dataclass(slots=True)
class Login:
    """The access of one account. `device_id` is set once logged in."""

    account: str
    edge: Edge
    server: Homeserver
    credentials: Mapping[str, str] = field(repr=False)
    device_id: str | None = None

    async def establish(self) -> str:
        """Return the device id once the server accepts the token, or has given a new one. Raises LoginFailed."""
        stored = self.credentials.get("token") or await self.edge.mark(self.account, TOKEN_MARK)
        if stored:
            self.server.client.access_token = stored
            reply = await self.server.request("GET", "/account/whoami")
            found = self._whoami(reply)
            if found is not None:
                self.device_id = found
                return found
            if reply.errcode() != "M_UNKNOWN_TOKEN":
                raise LoginFailed(final=reply.ok and reply.object() is not None, retry_after_s=retry_after_s(reply))
            await self.lost(soft=(reply.object() or {}).get("soft_logout") is True)
        return await self._with_password()

    async def lost(self, *, soft: bool) -> None:
        """The server no longer takes the token. Unless it was a soft log-out it has forgotten the device as well."""
        self.server.client.access_token = ""
        self.device_id = None
        await self.edge.set_mark(self.account, TOKEN_MARK, "")
        if not soft:
            await self.edge.set_mark(self.account, DEVICE_MARK, "")

    async def authorised(self, path: str, body: bytes) -> Outcome:
        """POST something for which a server may want the password once more (spec: User-Interactive Authentication)."""
        reply = await self.server.request("POST", path, body)
        asked = reply.object() if reply.status == HTTPStatus.UNAUTHORIZED else None
        if asked is None or not isinstance(asked.get("flows"), list):
            return outcome_of(reply)
        password = self.credentials.get("password")
        if not password or not any(_is_password(flow) for flow in asked["flows"]):
            return Outcome(AUTH_REQUIRED)
        auth = {
            "type": PASSWORD,
            "identifier": {"type": "m.id.user", "user": self.server.user},
            "password": password,
            "session": asked.get("session"),
        }
        whole = msgspec.json.encode({**msgspec.json.decode(body), "auth": auth})
        again = await self.server.request("POST", path, whole)
        return Outcome(AUTH_REQUIRED) if again.status == HTTPStatus.UNAUTHORIZED else outcome_of(again)

    def _whoami(self, reply: Reply) -> str | None:
        told = reply.object() if reply.ok else None
        if told is None or told.get("user_id") != self.server.user:
            return None
        device = told.get("device_id") or self.credentials.get("device")
        return device if isinstance(device, str) else None

    async def _with_password(self) -> str:
        password = self.credentials.get("password")
        if not password:
            raise LoginFailed(final=True)
        request: dict[str, Any] = {
            "type": PASSWORD,
            "identifier": {"type": "m.id.user", "user": self.server.user},
            "password": password,
            "initial_device_display_name": DEVICE_NAME,
        }
        device = await self.edge.mark(self.account, DEVICE_MARK)
        if device:
            request["device_id"] = device
        response = await self._login(request)
        self.device_id = str(response.device_id)
        await self.edge.set_mark(self.account, DEVICE_MARK, self.device_id)
        await self.edge.set_mark(self.account, TOKEN_MARK, str(response.access_token))
        return self.device_id

    async def _login(self, request: dict[str, Any]) -> "nio.LoginResponse":
        self.server.opened()
        try:
            response = await self.server.client.login_raw(request)
        except Exception:  # whatever nio makes of a broken answer: the request, with the password, stays out of it
            response = None
        if isinstance(response, nio.LoginResponse) and response.user_id == self.server.user:
            return response
        status = response.status_code if isinstance(response, nio.LoginError) else None
        delay = response.retry_after_ms if isinstance(response, nio.LoginError) else None
        raise LoginFailed(
            final=status in ("M_FORBIDDEN", "M_USER_DEACTIVATED", "M_INVALID_USERNAME"),
            retry_after_s=delay / 1000 if isinstance(delay, int | float) else None,
        )


def _is_password(flow: object) -> bool:
    return isinstance(flow, dict) and flow.get("stages") == [PASSWORD]
