"""Logging in: the token of last time, else the password; the device stays the same as long as the server has it."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import msgspec

from adapters.matrix.names import AUTH_REQUIRED
from adapters.matrix.transport import Homeserver, Reply, outcome_of, retry_after_s
from adapters.outside_api import Edge, Outcome

TOKEN_MARK = "token"  # noqa: S105 - the name of a mark
REFRESH_MARK = "refresh"
DEVICE_MARK = "device"
DEVICE_NAME = "Lockgate"
PASSWORD = "m.login.password"  # noqa: S105 - the name of a flow
UNKNOWN_TOKEN = "M_UNKNOWN_TOKEN"  # noqa: S105 - an error
EARLY_S = 60.0
"""How long before its end a token is exchanged, at most; half its life when it is shorter."""
SETTLED_WITHIN_S = 10.0

NEW_DEVICE = "Logged in as a new device: the homeserver had ended the old login for good."
REFUSED = "The homeserver refuses the log-in."
TOKEN_REFUSED = "The homeserver no longer takes the access token: make a new one for token_file."  # noqa: S105


class LoginFailed(Exception):
    """It did not work. `final`: asking again the same way will not help before an operator acts, as `detail` says."""

    def __init__(self, *, final: bool, retry_after_s: float | None = None, detail: str = REFUSED) -> None:
        super().__init__("the log-in did not work")
        self.final = final
        self.retry_after_s = retry_after_s
        self.detail = detail


@dataclass(slots=True)
class Login:
    """The access of one account. `device_id` is set once logged in.

    `forgotten`: the server had removed the device and now has one of the same name, without its keys.
    `news`: what the operator should know about this log-in.
    """

    account: str
    edge: Edge
    server: Homeserver
    credentials: Mapping[str, str] = field(repr=False)
    device_id: str | None = None
    forgotten: bool = False
    news: str | None = None
    _early: float | None = None
    _exchange: "asyncio.Future[Any] | None" = None

    async def establish(self) -> str:
        """Return the device id once the server accepts the token, or has given a new one. Raises LoginFailed."""
        for _ in range(2):
            stored = self.credentials.get("token") or await self.edge.mark(self.account, TOKEN_MARK)
            if not stored:
                break
            self.server.client.access_token = stored
            reply = await self.server.request("GET", "/account/whoami")
            found = self._whoami(reply)
            if found is not None:
                self.device_id = found
                return found
            if reply.errcode() != UNKNOWN_TOKEN:
                raise LoginFailed(final=reply.ok and reply.object() is not None, retry_after_s=retry_after_s(reply))
            soft = _is_soft(reply)
            refresh = await self.edge.mark(self.account, REFRESH_MARK)
            refused = await self._refreshed(refresh) if refresh else reply
            if refused is not None:
                await self._forget(soft=soft or _is_soft(refused))
                break
        return await self._with_password()

    async def lost(self, *, soft: bool) -> None:
        """The server no longer takes the token. Unless it was a soft log-out it has forgotten the device as well."""
        self.server.client.access_token = ""
        self.device_id = None
        if not await self.edge.mark(self.account, REFRESH_MARK):  # else it may only have expired
            await self._forget(soft=soft)

    async def freshen(self) -> bool:
        """Exchange the token when it soon ends. Returns whether the login is still the same; raises nothing."""
        if self._early is None or asyncio.get_running_loop().time() < self._early:
            return True
        self._early = None
        try:
            return await self._freshened()
        except LoginFailed:
            return True  # the old token shows how it stands

    def mark(self) -> tuple[str, str] | None:
        """What is to be stored together with the news of this log-in."""
        return None

    async def settled(self) -> None:
        """Return when no exchange of tokens is under way: its answer must not be lost."""
        if self._exchange is not None:
            done, _ = await asyncio.wait([self._exchange], timeout=SETTLED_WITHIN_S)
            for exchange in done:
                exchange.exception()  # nobody is left who would want to know

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

    async def _freshened(self) -> bool:
        refresh = await self.edge.mark(self.account, REFRESH_MARK)
        if refresh:
            await self._refreshed(refresh)
        return True

    def _whoami(self, reply: Reply) -> str | None:
        told = reply.object() if reply.ok else None
        if told is None or told.get("user_id") != self.server.user:
            return None
        device = told.get("device_id") or self.credentials.get("device")
        return device if isinstance(device, str) else None

    async def _forget(self, *, soft: bool) -> None:
        await self.edge.set_mark(self.account, TOKEN_MARK, "")
        await self.edge.set_mark(self.account, REFRESH_MARK, "")
        if not soft and await self.edge.mark(self.account, DEVICE_MARK):
            await self.edge.set_mark(self.account, DEVICE_MARK, "")
            self.news = NEW_DEVICE

    async def _with_password(self) -> str:
        password = self.credentials.get("password")
        if not password:
            raise LoginFailed(final=True, detail=TOKEN_REFUSED)
        request: dict[str, Any] = {
            "type": PASSWORD,
            "identifier": {"type": "m.id.user", "user": self.server.user},
            "password": password,
            "initial_device_display_name": DEVICE_NAME,
            "refresh_token": True,
        }
        device = await self.edge.mark(self.account, DEVICE_MARK)
        if device:
            request["device_id"] = device
        self.server.client.access_token = ""
        reply = await self.server.request("POST", "/login", msgspec.json.encode(request))
        told = reply.object() if reply.ok else None
        made = told.get("device_id") if told is not None and told.get("user_id") == self.server.user else None
        if told is None or not isinstance(made, str) or not _is_token(told.get("access_token")):
            final = reply.errcode() in ("M_FORBIDDEN", "M_USER_DEACTIVATED", "M_INVALID_USERNAME")
            raise LoginFailed(final=final, retry_after_s=retry_after_s(reply))
        self.device_id = made
        await self.edge.set_mark(self.account, DEVICE_MARK, made)
        await self._keep(told)
        return made

    async def _refreshed(self, refresh: str) -> Reply | None:
        """Exchange the tokens (spec: Refreshing access tokens); returns the answer of a server that refuses."""
        self._exchange = asyncio.ensure_future(self._exchanged(refresh))
        try:
            return await asyncio.shield(self._exchange)
        finally:
            if self._exchange.done():
                self._exchange = None

    async def _exchanged(self, refresh: str) -> Reply | None:
        # The old token is left as it is meanwhile: requests of the enclave go on.
        reply = await self.server.request(
            "POST", "/refresh", msgspec.json.encode({"refresh_token": refresh}), authorised=False
        )
        told = reply.object() if reply.ok else None
        if told is not None and _is_token(told.get("access_token")):
            await self._keep(told)
            return None
        if reply.errcode() in (UNKNOWN_TOKEN, "M_FORBIDDEN", "M_UNRECOGNIZED", "M_NOT_FOUND"):
            return reply
        raise LoginFailed(final=False, retry_after_s=retry_after_s(reply))

    async def _keep(self, told: dict[str, Any]) -> None:
        """Note the tokens. The refresh token first: with it the other can be had again, but not the other way round."""
        refresh = told.get("refresh_token")
        if _is_token(refresh):
            await self.edge.set_mark(self.account, REFRESH_MARK, str(refresh))
        await self.edge.set_mark(self.account, TOKEN_MARK, str(told["access_token"]))
        self.server.client.access_token = str(told["access_token"])
        lifetime = told.get("expires_in_ms")
        known = isinstance(lifetime, int | float) and not isinstance(lifetime, bool) and 0 < lifetime < 1 << 53
        self.lasts(lifetime / 1000 if known and lifetime is not None else None)

    def lasts(self, lifetime_s: float | None) -> None:
        """From now on the token is good for so long, None when that is not known."""
        early = None if lifetime_s is None else max(lifetime_s / 2, lifetime_s - EARLY_S)
        self._early = None if early is None else asyncio.get_running_loop().time() + early


def _is_password(flow: object) -> bool:
    return isinstance(flow, dict) and flow.get("stages") == [PASSWORD]


def _is_soft(reply: Reply) -> bool:
    return (reply.object() or {}).get("soft_logout") is True


def _is_token(value: object) -> bool:
    """Whether it can stand in a header."""
    return isinstance(value, str) and 0 < len(value) <= 8192 and value.isascii() and value.isprintable()
