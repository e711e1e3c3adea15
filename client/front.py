"""What a front end (terminal, pipe, JSON lines) is given, and the conversation it drives."""

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Protocol

from client.endpoint import Endpoint
from client.events import (
    ContactPresence,
    ContactRead,
    ContactTyping,
    Happening,
    MessageCopied,
    MessageDelivered,
    MessageFailed,
    MessageHeld,
    MessageReceived,
    PlainReceived,
    Reacted,
    Retracted,
    SessionChanged,
    SessionEnded,
    SessionRefused,
    SessionStarted,
    SessionView,
    Warned,
)
from crypto.xml import Element

SHOWN = (
    SessionChanged,
    SessionStarted,
    SessionEnded,
    SessionRefused,
    MessageReceived,
    MessageDelivered,
    MessageFailed,
    MessageHeld,
    PlainReceived,
    MessageCopied,
    ContactTyping,
    ContactPresence,
    Warned,
    Reacted,
    Retracted,
    ContactRead,
)

EXIT_OK, EXIT_UNDELIVERED, EXIT_USAGE = 0, 1, 2


class Front(Protocol):
    """How a conversation is shown to a person or a program."""

    def online(self, jid: str) -> None:
        """The account is logged in."""

    def offline(self, reason: str) -> None:
        """The connection is lost; it is tried again."""

    def stopped(self, sentence: str) -> None:
        """The login failed for good; `run` is cancelled."""

    def happened(self, happening: Happening) -> None:
        """Something happened between the account and the contact."""

    async def run(self, chat: "Chat") -> None:
        """Read what the user wants until there is no more."""


class Chat:
    """One account, one contact, one front end."""

    def __init__(self, endpoint: Endpoint, contact: str, front: Front) -> None:
        self.endpoint, self.contact, self._front = endpoint, contact, front
        self.failures = 0
        self._running: asyncio.Task[None] | None = None
        self._login_failed = False
        endpoint.went_online, endpoint.went_offline = front.online, front.offline
        endpoint.login_failed = self._stopped
        for kind in SHOWN:
            endpoint.add_event_handler(kind.event, self._happened)

    def _happened(self, happening: Happening) -> None:
        if happening.jid == self.contact:
            self.failures += isinstance(happening, MessageFailed)
            self._front.happened(happening)

    def _stopped(self, sentence: str) -> None:
        self._login_failed = True
        self._front.stopped(sentence)
        if self._running is not None:
            self._running.cancel()

    async def run(self) -> int:
        """Log in, converse, log out; returns the exit status."""
        self.endpoint.begin()
        self._running = asyncio.ensure_future(self._front.run(self))
        try:
            await self._running
        except asyncio.CancelledError:
            if not self._login_failed:
                raise
        waiting = self.view.waiting
        await self.endpoint.leave()
        if self._login_failed:
            return EXIT_USAGE
        return EXIT_UNDELIVERED if waiting or self.failures else EXIT_OK

    # ------------------------------------------------------------ what a front end does
    @property
    def view(self) -> SessionView:
        """How things stand."""
        return self.endpoint.sessions.session(self.contact)

    def send(self, text: str, message_id: str | None = None) -> str:
        """Queue a message; see the plugin."""
        return self.endpoint.sessions.send(self.contact, text, message_id)

    def correct(self, old: str, text: str, message_id: str | None = None) -> str:
        """Send another wording of a message."""
        return self.endpoint.sessions.correct(self.contact, old, text, message_id)

    def reply(self, to: str, text: str, message_id: str | None = None, *, quoted: str = "", own: bool = False) -> str:
        """Answer a message."""
        return self.endpoint.sessions.reply(self.contact, to, text, message_id, quoted=quoted, own=own)

    def react(self, to: str, emojis: Sequence[str], message_id: str | None = None) -> str:
        """Say what the user now feels about a message."""
        return self.endpoint.sessions.react(self.contact, to, emojis, message_id)

    def retract(self, old: str, message_id: str | None = None) -> str:
        """Take a message back."""
        return self.endpoint.sessions.retract(self.contact, old, message_id)

    def displayed(self, message_id: str) -> bool:
        """The user was shown all up to this message."""
        return self.endpoint.sessions.displayed(self.contact, message_id)

    async def send_file(self, path: Path, message_id: str | None = None) -> str:
        """Upload a file, and queue the message that names it. Raises client.files.FileFailed."""
        return self.send(await self.endpoint.uploaded(path), message_id)

    async def fetch_file(self, address: str, folder: Path) -> Path:
        """Fetch the file that a message names; returns where it is. Raises client.files.FileFailed."""
        return await self.endpoint.fetched(address, folder)

    def start(self) -> None:
        """Negotiate a session."""
        self.endpoint.sessions.start(self.contact)

    def verify(self, *, weak_string: bool = False) -> bool:
        """The SAS was compared; `weak_string`: by a user who was told what a weak one is worth."""
        return self.endpoint.sessions.verify(self.contact, weak_string=weak_string)

    def unverify(self) -> bool:
        """It was not, or is not to be relied on any more."""
        return self.endpoint.sessions.unverify(self.contact)

    def typing(self, active: bool) -> bool:
        """Tell the contact that the user writes, or stopped."""
        return self.endpoint.sessions.typing(self.contact, active)

    def show(self, show: str, status: str) -> bool:
        """Tell the contact the user's presence."""
        return self.endpoint.sessions.show(self.contact, show, status)

    async def ask(self, what: str, *, kind: str = "get") -> tuple[Element, ...]:
        """Ask the contact's end something; see the plugin."""
        return await self.endpoint.sessions.ask(self.contact, what, kind=kind)

    async def end(self) -> None:
        """End the session."""
        await self.endpoint.sessions.end(self.contact)

    async def flush(self, timeout: float | None) -> int:  # noqa: ASYNC109
        """Wait until all is acknowledged."""
        return await self.endpoint.sessions.flush(self.contact, timeout)


_WARNINGS = {
    "changed": "The contact shows another key than before. If nobody told you why, somebody may be posing as it.",
    "shared": "The key that the contact shows is known as another contact's.",
    "absent": "The contact used to show a key, and shows none now.",
}


WEAK_STRING = "a weak string: somebody in between can make it the same at both ends within seconds"


def warning(reason: str, view: SessionView) -> str:
    """What a person should read before writing on."""
    weaker = f"This session is weaker than earlier ones with this contact: it lacks {', '.join(view.weaker)}."
    sentence = _WARNINGS.get(reason, weaker)
    return sentence if reason not in _WARNINGS or not view.fingerprint else f"{sentence} Its key: {view.fingerprint}"


def to_compare(view: SessionView) -> str:
    """What two people compare: the string, or a key where there is none."""
    if view.sas is None:
        return f"compare its key with your contact: {view.fingerprint}"
    kind = f" ({WEAK_STRING})" if view.weak_string else ""
    return f"compare with your contact: {view.sas}{kind}"


async def stdin_lines() -> AsyncIterator[str]:
    """Lines of standard input, whatever kind of file it is, without their ends; stops at its end."""
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[bytes | None] = asyncio.Queue()

    def put(line: bytes | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended before the input
            loop.call_soon_threadsafe(lines.put_nowait, line)

    def read() -> None:
        # os.read, because a thread that hangs in a buffered reader makes the interpreter crash when it ends.
        rest = b""
        while octets := os.read(0, 1 << 16):
            *whole, rest = (rest + octets).split(b"\n")
            for line in whole:
                put(line)
        if rest:
            put(rest)
        put(None)

    threading.Thread(target=read, daemon=True).start()
    while (line := await lines.get()) is not None:
        yield line.decode("utf-8", "replace").removesuffix("\r")
