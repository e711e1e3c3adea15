"""The companion's proxy in the test's own process, and clients that log in to it."""

import asyncio
import contextlib
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import slixmpp

from companion.app import run
from companion.hook import Interceptor
from companion.settings import Local, Settings
from rig.xmpp import XmppAccount


class LocalCompanion:
    """`async with`: a companion for one account. `account` is what a client logs in with."""

    def __init__(
        self, folder: Path, account: XmppAccount, interceptor: Interceptor | None = None, **settings: Any
    ) -> None:
        """`settings`: fields of `Settings` other than those of the account."""
        values = {"host": account.host, "server_port": account.port, "ca_file": account.authority, "port": 0}
        self.settings = Settings(
            **{"jid": account.jid, "password": account.password, "folder": folder} | values | settings  # type: ignore[arg-type]
        )
        self._real = account
        self._interceptor = interceptor
        self._task: asyncio.Task[None] | None = None
        self.local: Local

    @property
    def account(self) -> XmppAccount:
        """The local login."""
        password = self.settings.local_password
        if password is None:
            assert self.local.password_file is not None
            password = self.local.password_file.read_text().strip()
        return replace(
            self._real,
            password=password,
            host=self.local.host,
            port=self.local.port,
            authority=self.local.certificate_file,
        )

    async def __aenter__(self) -> Self:
        ready: asyncio.Future[Local] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(run(self.settings, self._interceptor, ready=ready.set_result))
        await asyncio.wait((ready, self._task), return_when=asyncio.FIRST_COMPLETED)
        if self._task.done():
            await self._task
        self.local = ready.result()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task


class Client:
    """An ordinary client on slixmpp, as ordinary as can be: its own plugins answer and ask."""

    def __init__(
        self, account: XmppAccount, resource: str = "here", *, managed: bool = True, tls: bool = False
    ) -> None:
        """`managed`: with stream management. `tls`: direct TLS."""
        self.account = account
        self.xmpp = slixmpp.ClientXMPP(f"{account.jid}/{resource}", account.password)
        self.xmpp.enable_direct_tls, self.xmpp.enable_starttls = tls, not tls
        self.xmpp.ca_certs = account.authority
        for plugin in ("xep_0030", "xep_0199", "xep_0280", "xep_0313", "xep_0363", "xep_0060", "xep_0163", "xep_0045"):
            self.xmpp.register_plugin(plugin)
        if managed:
            self.xmpp.register_plugin("xep_0198", {"window": 1})
        self.messages: list[ET.Element] = []
        self.errors: list[str] = []
        self.events: list[str] = []
        self._changed = asyncio.Event()
        self._present = False
        self.xmpp.add_event_handler("message", self._message)
        self.xmpp.add_event_handler("message_error", self._message)
        self.xmpp.add_event_handler("groupchat_message", self._message)
        for name in ("session_start", "session_resumed", "disconnected", "failed_all_auth", "connection_failed"):
            self.xmpp.add_event_handler(name, self._noted(name))
        self.xmpp.add_event_handler("stream_error", self._failed)

    @property
    def bodies(self) -> list[str]:
        """The texts of the messages that came."""
        return [
            m.findtext("{jabber:client}body") or "" for m in self.messages if m.find("{jabber:client}body") is not None
        ]

    async def login(self, *, present: bool = True) -> Self:
        """Log in, and be there."""
        self.connect()
        await self.until(lambda: "session_start" in self.events, "the login")
        if present:
            self.xmpp.send_presence()
            await self.xmpp.get_roster()
        return self

    def connect(self) -> None:
        """Begin to connect."""
        self.xmpp.connect(self.account.host, self.account.port)

    def say(self, to: str, text: str) -> None:
        """Send a message."""
        self.xmpp.send_message(slixmpp.JID(to), text, mtype="chat")

    async def drop(self) -> None:
        """Lose the connection, as a cable that is pulled would."""
        await self.xmpp.waiting_queue.join()  # slixmpp would write what is left before TLS, next time
        if self.xmpp.transport is not None:
            self.xmpp.transport.abort()

    async def logout(self) -> None:
        """Leave."""
        if self.xmpp.is_connected():
            await self.xmpp.disconnect(1.0)
        self.xmpp.cancel_connection_attempt()

    async def until(self, what: Callable[[], object], name: str, timeout_s: float = 15.0) -> None:
        """Wait for something to be so."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        while not what():
            left = deadline - asyncio.get_running_loop().time()
            assert left > 0, f"{self.account.jid}: {name} did not come; {self.bodies=} {self.events=} {self.errors=}"
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), min(left, 0.2))

    async def heard(self, count: int, timeout_s: float = 15.0) -> list[str]:
        """Wait for so many texts; all that came."""
        await self.until(lambda: len(self.bodies) >= count, f"message {count}", timeout_s)
        return self.bodies

    def _message(self, message: slixmpp.Message) -> None:
        self.messages.append(message.xml)
        self._changed.set()

    def _noted(self, name: str) -> Callable[[object], None]:
        def note(_: object) -> None:
            self.events.append(name)
            self._changed.set()

        return note

    def _failed(self, error: Any) -> None:
        self.errors.append(error["condition"])
        if error["text"]:
            self.errors.append(error["text"])
        self._changed.set()
