"""An XMPP account logged in for one conversation: the plugin, and a connection that is kept."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slixmpp.exceptions import XMPPError
from slixmpp.stanza import Presence

from client.account import Account, Login, Trace
from client.files import fetched, uploaded
from client.pace import Backoff
from client.plugin import XEP_0116, sessions_of
from client.store import Store
from client.surroundings import ContactSettings


class Endpoint(Account):
    """A logged-in account with the ESession plugin, for a conversation with one contact.

    Callbacks: `went_online(full JID)`, `went_offline(reason)`, `login_failed(sentence)`.
    """

    went_online: Callable[[str], None]
    went_offline: Callable[[str], None]

    def __init__(
        self, login: Login, contact: str, store: Store, settings: ContactSettings, trace: Trace | None = None
    ) -> None:
        super().__init__(login, trace)
        self.went_online = self.went_offline = lambda _: None
        self._contact = contact
        self._retry = Backoff(0.5, 10.0)
        self._retrying: asyncio.TimerHandle | None = None
        self.register_plugin("xep_0116", {"store": store, "settings": settings})
        for event, handler in (
            ("session_start", self._started),
            ("disconnected", self._lost),
            ("connection_failed", self._unreachable),
            ("presence_subscribe", self._asked),
        ):
            self.add_event_handler(event, handler)

    @property
    def sessions(self) -> XEP_0116:
        """The plugin."""
        return sessions_of(self)

    async def uploaded(self, path: Path) -> str:
        """See client.files."""
        return await uploaded(self, self._login, path)

    async def fetched(self, address: str, folder: Path) -> Path:
        """See client.files."""
        return await fetched(self._login, address, folder)

    def begin(self) -> None:
        """Connect, and stay connected until `leave`."""
        self._retrying = None
        self.connect(self._login.host, self._login.port)

    async def leave(self) -> None:
        """End the session, log out."""
        self._leaving = True
        if self._retrying is not None:
            self._retrying.cancel()
        self.cancel_connection_attempt()
        if self.is_connected():
            await self.sessions.end(self._contact)
            await self.disconnect(wait=2.0)
        self.sessions.plugin_end()

    # ------------------------------------------------------------ the stream
    def _started(self, _: object) -> None:
        self._retry = self._retry.reset()
        self._open = asyncio.ensure_future(self._join())

    async def _join(self) -> None:
        try:
            await self.get_roster()
            await self.plugin["xep_0115"].update_caps(broadcast=False)
        except XMPPError as error:
            self.reconnect(reason=f"the server did not answer: {error.condition}")
            return
        self.send_presence()
        known = self.client_roster[self._contact]
        if known["subscription"] not in ("to", "both"):
            self.send_presence_subscription(pto=self._contact)
        self.sessions.session(self._contact)  # the user named it: it is answered, whatever the roster says
        self.went_online(self.boundjid.full)

    def _asked(self, presence: Presence) -> None:
        """The contact wants to see our presence; nobody else is answered."""
        if presence["from"].bare == self._contact:
            self.send_presence_subscription(pto=self._contact, ptype="subscribed")

    # ------------------------------------------------------------ losses
    def _lost(self, reason: Any) -> None:
        if not self._leaving:
            self.went_offline(str(reason or "the connection was closed"))
            self._later()

    def _unreachable(self, reason: Any) -> None:
        if not self._leaving:
            self.went_offline(str(reason or "no connection"))
            self._later()

    def _later(self) -> None:
        if self._retrying is None:
            self._retrying = self.loop.call_later(self._retry.pause_s, self.begin)
            self._retry = self._retry.failed()
