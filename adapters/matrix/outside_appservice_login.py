"""Ghosts: users of the application service's namespace, one for each account, each with one device (MSC4190, MSC4326).

Their requests are those of any client, but with the token of the application service, and a query that says for whom.
"""

import json
import secrets
import string
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from adapters.matrix.outside_login import DEVICE_MARK, DEVICE_NAME, NEW_DEVICE, REFUSED, Login, LoginFailed
from adapters.matrix.transport import Reply, outcome_of, retry_after_s
from adapters.outside_api import Outcome

AS_TOKEN = "as_token"  # noqa: S105 - the name of a credential
GHOST = "m.login.application_service"
UNKNOWN_SERVICE = "The homeserver does not know the application service: see lockgate matrix registration."
NOT_OURS = "The homeserver does not count this user among those of the application service."
NO_DEVICES = "The homeserver cannot let application services act as devices (Matrix 1.17)."
_REFUSALS = {
    "M_UNKNOWN_TOKEN": UNKNOWN_SERVICE,
    "M_EXCLUSIVE": NOT_OURS,
    "M_FORBIDDEN": NOT_OURS,
    "M_INVALID_USERNAME": NOT_OURS,
    "M_USER_DEACTIVATED": REFUSED,
    "M_UNRECOGNIZED": NO_DEVICES,
}


@dataclass(slots=True)
class GhostLogin(Login):
    """A ghost's access: no password and no log-in, but it has to exist, and its device too."""

    async def establish(self) -> str:
        """Register the ghost and make its device, unless they are there. Raises LoginFailed."""
        self.server.client.access_token = self.credentials[AS_TOKEN]
        self.server.acting = ""
        ghost = {"type": GHOST, "username": self.server.user[1:].partition(":")[0], "inhibit_login": True}
        reply = await self.server.request("POST", "/register", json.dumps(ghost).encode())
        if not reply.ok and reply.errcode() != "M_USER_IN_USE":
            raise _failed(reply)
        self.server.acting = _acting(self.server.user)
        device = await self._device()
        self.server.acting = _acting(self.server.user, device)
        reply = await self.server.request("GET", "/account/whoami")
        told = reply.object() if reply.ok else None
        if told is None:
            raise _failed(reply)
        if (told.get("user_id"), told.get("device_id")) != (self.server.user, device):
            raise LoginFailed(final=True, detail=NO_DEVICES)
        self.device_id = device
        return device

    async def _device(self) -> str:
        """The device of before; a new one when the homeserver has it no more."""
        device = await self.edge.mark(self.account, DEVICE_MARK)
        if device:
            reply = await self.server.request("GET", f"/devices/{quote(device, safe='')}")
            if reply.ok:
                return device
            if reply.errcode() != "M_NOT_FOUND":
                raise _failed(reply)
            self.news = NEW_DEVICE
        device = "LOCKGATE" + "".join(secrets.choice(string.ascii_uppercase) for _ in range(8))
        await self.edge.set_mark(self.account, DEVICE_MARK, device)
        body = json.dumps({"display_name": DEVICE_NAME}).encode()
        reply = await self.server.request("PUT", f"/devices/{device}", body)
        if not reply.ok:
            raise _failed(reply)
        return device

    async def lost(self, *, soft: bool) -> None:
        """The token is the operator's, so there is nothing to forget; whether the device is there is asked anew."""
        self.device_id = None

    async def authorised(self, path: str, body: bytes) -> Outcome:
        """Application services are not asked for a password (MSC4190)."""
        return outcome_of(await self.server.request("POST", path, body))


def _acting(user: str, device: str | None = None) -> str:
    query = {"user_id": user} if device is None else {"user_id": user, "device_id": device}
    return urlencode(query)


def _failed(reply: Reply) -> LoginFailed:
    detail = _REFUSALS.get(reply.errcode())
    return LoginFailed(final=detail is not None, retry_after_s=retry_after_s(reply), detail=detail or REFUSED)
