"""The login that an operator made by OAuth 2.0 (`lockgate matrix login`): used, renewed, and given up when it ended."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from adapters.matrix import outside_oauth_answers as answers
from adapters.matrix.outside_login import DEVICE_MARK, UNKNOWN_TOKEN, Login, LoginFailed
from adapters.matrix.outside_oauth import Web, renewed
from adapters.matrix.outside_oauth_answers import OAuthFailed
from adapters.matrix.outside_session import UNWRITABLE, BadSession, Session, read_session
from adapters.matrix.transport import Homeserver, retry_after_s
from adapters.outside_api import Edge

CREDENTIAL: Final = "session"
"""Name of the credential: the path of the session file."""
GRANT_MARK: Final = "grant"
LOOK_AGAIN_S: Final = 2.0
"""How often the file is looked at while somebody has to log in."""

NOT_YET: Final = "Nobody has logged in yet. Run: lockgate matrix login ACCOUNT"
ENDED: Final = "The login has ended. Run again: lockgate matrix login ACCOUNT"
OTHER: Final = "The session file is of another user or homeserver. Run: lockgate matrix login ACCOUNT"
UNUSABLE: Final = "The session file is damaged, or others may read it. Remove it and run: lockgate matrix login ACCOUNT"
CANNOT_WRITE: Final = "The session file cannot be written: its folder must be writable for Lockgate."
OTHER_ISSUER: Final = "The homeserver names another login server than before. Run: lockgate matrix login ACCOUNT"
FORGOTTEN: Final = "Logged in again: the homeserver had removed the device; its keys are published anew."
_DETAILS: Final = {answers.INVALID_GRANT: ENDED, answers.OTHER_ISSUER: OTHER_ISSUER}


@dataclass(slots=True)
class SessionLogin(Login):
    """The access of one account by the tokens in its session file."""

    grant: str | None = None
    """The number of a login that the enclave has not heard of."""
    _ended: str | None = None
    """The access token of a login that is over."""

    @property
    def _path(self) -> Path:
        return Path(self.credentials[CREDENTIAL])

    def mark(self) -> tuple[str, str] | None:
        """Which login the enclave has heard of, once it has."""
        return None if self.grant is None else (GRANT_MARK, self.grant)

    async def establish(self) -> str:
        """Return the device id once the server accepts the tokens. Raises LoginFailed."""
        session = self._read()
        for _ in range(2):
            self.server.client.access_token = session.access_token
            reply = await self.server.request("GET", "/account/whoami")
            found = self._whoami(reply)
            if found is not None:
                return await self._taken(session, found)
            if reply.errcode() != UNKNOWN_TOKEN:
                other = reply.ok and reply.object() is not None
                wait = LOOK_AGAIN_S if other else retry_after_s(reply)
                raise LoginFailed(final=other, retry_after_s=wait, detail=OTHER)
            session = await self._renewed(session.access_token)
        raise LoginFailed(final=False)

    async def lost(self, *, soft: bool) -> None:
        """The server no longer takes the token. Whether it only ran out is asked later."""
        self.server.client.access_token = ""
        self.device_id = None

    async def _freshened(self) -> bool:
        session = await self._renewed(self.server.client.access_token)
        if (session.grant, session.device_id) != (await self.edge.mark(self.account, GRANT_MARK), self.device_id):
            return False  # somebody has logged in anew meanwhile
        self.server.client.access_token = session.access_token
        self.lasts(_lifetime_s(session))
        return True

    async def _taken(self, session: Session, device_id: str) -> str:
        before = await self.edge.mark(self.account, GRANT_MARK)
        self.grant = session.grant if before != session.grant else None
        had = await self.edge.mark(self.account, DEVICE_MARK) == device_id
        self.forgotten = self.grant is not None and had and not await self._has_keys(device_id)
        self.news = FORGOTTEN if self.forgotten else None
        if not had:
            await self.edge.set_mark(self.account, DEVICE_MARK, device_id)
        self.device_id = device_id
        self.lasts(_lifetime_s(session))
        return device_id

    async def _has_keys(self, device_id: str) -> bool:
        """Whether the homeserver still has this device's keys: it removes them when it removes a device."""
        body = msgspec.json.encode({"device_keys": {self.server.user: [device_id]}})
        reply = await self.server.request("POST", "/keys/query", body)
        listed = (reply.object() or {}).get("device_keys") if reply.ok else None
        if not isinstance(listed, dict):
            raise LoginFailed(final=False, retry_after_s=retry_after_s(reply))
        devices = listed.get(self.server.user)
        return isinstance(devices, dict) and device_id in devices

    def _read(self) -> Session:
        detail = UNUSABLE
        try:
            session = read_session(self._path)
        except BadSession:
            session = None
        else:
            detail = NOT_YET if session is None else OTHER
        if session is None or (session.user, session.homeserver) != (self.server.user, self.server.url):
            raise LoginFailed(final=True, retry_after_s=LOOK_AGAIN_S, detail=detail)
        if session.access_token == self._ended:
            raise LoginFailed(final=True, retry_after_s=LOOK_AGAIN_S, detail=ENDED)
        return session

    async def _renewed(self, spent: str) -> Session:
        """The login with other tokens. Raises LoginFailed."""
        self._exchange = asyncio.ensure_future(self._exchanged_for(spent))
        try:
            return await asyncio.shield(self._exchange)
        finally:
            if self._exchange.done():
                self._exchange = None

    async def _exchanged_for(self, spent: str) -> Session:
        try:
            async with Web() as web:
                return await renewed(web, self._path, spent)
        except OAuthFailed as error:
            detail = _DETAILS.get(error.code)
        except BadSession as error:
            detail = CANNOT_WRITE if error.code == UNWRITABLE else UNUSABLE
        if detail == ENDED:
            self._ended = spent
        raise LoginFailed(
            final=detail is not None,
            retry_after_s=None if detail is None else LOOK_AGAIN_S,
            **({} if detail is None else {"detail": detail}),
        )


def login_of(account: str, edge: Edge, server: Homeserver, credentials: Mapping[str, str]) -> Login:
    """The way to log in that the credentials are for."""
    kind = SessionLogin if CREDENTIAL in credentials else Login
    return kind(account, edge, server, credentials)


def _lifetime_s(session: Session) -> float | None:
    return None if session.expires_s is None else session.expires_s - time.time()
