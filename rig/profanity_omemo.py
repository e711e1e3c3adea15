"""OMEMO in Profanity (Debian package), as a person uses it: its commands, its lock, its mark beside a message.

Measured with 0.13.1: `[OMEMO]` in the title bar says that OMEMO was asked for, not that it works; a message that was
encrypted has the mark `~` beside its time (`OWN_MARK`), one in clear has `-`, and one that was corrected `+`.
"""

import asyncio
import contextlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, TypeVar

from rig.profanity import Profanity
from rig.services import ServiceFailed
from rig.xmpp import XmppAccount

OWN_MARK, CORRECTED = "~", "+"
_LINE = re.compile(r"^\s*\d\d:\d\d:\d\d (?P<mark>\S) (?P<who>[^\s:]+): (?P<text>.*)$")
_FINGERPRINT = re.compile(r"(\S+) OMEMO fingerprint: ([0-9a-f-]{71})( \(trusted\))?")
_DEVICE = re.compile(r"Your Device ID is (\d+)")
_ASKING = re.compile(r' DBG: SENT: <message id="([^"]+)"[^\n]*<request xmlns="urn:xmpp:receipts"/>')
_ADDRESS = re.compile(r"(?P<who>\S+): (?P<url>aesgcm://\S+#[0-9a-f]{88})$", re.MULTILINE)
_IN, _OUT = " logged in successfully\n", "prof: DBG: Connection handler: XMPP_CONN_DISCONNECT"
_T = TypeVar("_T")


@dataclass(frozen=True)
class ShownMessage:
    """A message as the window with a contact shows it."""

    mark: str
    who: str
    """`me`, or the contact's address."""
    text: str = field(repr=False)

    @property
    def encrypted(self) -> bool:
        """Whether it is marked so."""
        return self.mark == OWN_MARK


@dataclass(frozen=True)
class ShownFingerprint:
    """A fingerprint as it is shown: 64 hexadecimal digits, without the dashes."""

    value: str
    trusted: bool


class OmemoProfanity(Profanity):
    """One Profanity, one OMEMO device of the account."""

    def __init__(self, folder: Path, account: XmppAccount) -> None:
        super().__init__(folder)
        self.account = account
        self.device = 0

    async def online(self) -> Self:
        """Log in, the first time or again."""
        before = self.logins()
        await self.start(self.account.jid, self.account.password, self.account.host, self.account.port)
        await self.wait_login(before)
        return self

    def logins(self) -> int:
        """How often it has logged in."""
        return self._logged(_IN)

    async def wait_login(self, before: int) -> None:
        """Wait until it has done so more often."""
        await self._until(lambda: self.logins() > before, "the login", timeout_s=30)

    async def offline(self) -> None:
        """`/disconnect`."""
        before = self._logged(_OUT)
        await self.command("/disconnect")
        await self._until(lambda: self._logged(_OUT) > before, "the end of the connection")

    def _logged(self, line: str) -> int:
        return self.logged().count(line)

    async def generate(self, trust: str = "blind") -> int:
        """`/omemo gen`, with the trust mode before it (`manual`, `firstusage`, `blind`); returns the device id.

        To an account that never had a device list it publishes none; `/omemo clear_device_list` makes it do so.
        """
        await self.command("/win 1")
        await self.command(f"/omemo trustmode {trust}")
        await self.command("/omemo gen")
        found = await self._until(lambda: _DEVICE.search(self.shown()), "the device id", timeout_s=60)
        self.device = int(found.group(1))
        await self._until(lambda: self._published() or "can't get OMEMO device list" in self.logged(), "its list")
        if not self._published():
            await self.command("/omemo clear_device_list")
            await self._until(self._published, "the publication of its list")
        return self.device

    def _published(self) -> bool:
        return f"cache identity for {self.account.jid}:{self.device}" in self.logged()

    async def befriend(self, contact: str) -> None:
        """Ask for the contact's presence, and let the contact, who asks as well, see ours."""
        await self.command(f"/sub request {contact}")
        await self.wait_logged(f"Received authorization request from {contact}")
        await self.command(f"/sub allow {contact}")

    async def lock(self, contact: str, device: int | None = None, *, timeout_s: float = 30.0) -> None:
        """`/omemo start`: returns when the lock is shown and the keys are there of this device, or of any.

        A device that the contact adds later is left out, silently, until this is done anew.
        """
        await self.command(f"/msg {contact}")
        if self.locked(contact):
            await self.command("/omemo end")
        await self.command(f"/omemo start {contact}")
        await self._until(lambda: self.locked(contact), "the lock", timeout_s=timeout_s)
        await self.wait_logged(f"cache identity for {contact}:{device or ''}", timeout_s=timeout_s)

    def locked(self, contact: str) -> bool:
        """Whether the window with the contact is the one that is shown, with the lock on."""
        title = self.shown().partition("\n")[0]
        return title.strip().startswith(contact) and "[OMEMO]" in title

    async def fingerprints(self, contact: str) -> list[ShownFingerprint]:
        """`/omemo fingerprint` in the window with the contact."""
        await self.command(f"/msg {contact}")
        await self.command("/clear")
        await self.command("/omemo fingerprint")
        await self._until(lambda: _FINGERPRINT.search(self.shown()), "fingerprints")
        return [ShownFingerprint(m[2].replace("-", ""), bool(m[3])) for m in _FINGERPRINT.finditer(self.shown())]

    async def own_fingerprint(self) -> str:
        """`/omemo fingerprint` in the console."""
        await self.command("/win 1")
        await self.command("/omemo fingerprint")
        line = await self.wait_for("Your OMEMO fingerprint: ")
        return line.partition("fingerprint: ")[2].strip().replace("-", "")

    async def trust(self, contact: str, fingerprint: str, *, trusted: bool = True) -> None:
        """`/omemo trust` or `/omemo untrust` for a fingerprint without dashes."""
        grouped = "-".join(fingerprint[i : i + 8] for i in range(0, 64, 8))
        await self.command(f"/omemo {'trust' if trusted else 'untrust'} {contact} {grouped}")

    def messages(self) -> list[ShownMessage]:
        """The messages in the window that is shown, one line each."""
        found = (_LINE.match(line) for line in self.shown().splitlines())
        return [ShownMessage(m["mark"], m["who"].partition("/")[0], m["text"].strip()) for m in found if m]

    async def wait_message(self, contact: str, text: str, *, timeout_s: float = 30.0) -> ShownMessage:
        """The message with that text, once the window with the contact shows it."""
        await self.command(f"/msg {contact}")
        return await self._until(
            lambda: next((m for m in self.messages() if m.text == text), None), repr(text), timeout_s=timeout_s
        )

    async def write(self, text: str) -> None:
        """Send a text in the window that is shown; returns when Profanity has sent it and written it down."""
        await self.type(text)
        await self.wait_chat(text)

    async def wait_chat(self, text: str, count: int = 1, *, timeout_s: float = 20.0) -> None:
        """Wait until it has written messages with that text down so often, its own or the contact's."""
        deadline = time.monotonic() + timeout_s
        while self.chat_log().count(text) < count:
            if time.monotonic() > deadline or not self.running:
                raise ServiceFailed(f"profanity does not write down {text!r}; its screen:\n{self.shown()}")
            await asyncio.sleep(0.02)

    async def wait_logged(self, text: str, *, timeout_s: float = 20.0) -> None:
        """Wait until its own log has a text."""
        await self._until(lambda: text in self.logged(), f"and does not log {text!r}", timeout_s=timeout_s)

    def asking(self) -> list[str]:
        """The ids of the messages for which it asked for a receipt."""
        return _ASKING.findall(self.logged())

    async def wait_address(self, contact: str) -> str:
        """The `aesgcm:` address that the contact sent, as written down: on the screen it may take two lines."""
        return await self._until(
            lambda: next((m["url"] for m in _ADDRESS.finditer(self.chat_log()) if m["who"].startswith(contact)), None),
            f"an address of {contact}'s",
        )

    async def save_file(self, address: str, path: Path, octets: int, *, timeout_s: float = 30.0) -> None:
        """`/url save`; returns when the file has so many octets."""
        await self.command(f"/url save {address} {path}")
        await self._until(
            lambda: path.exists() and path.stat().st_size >= octets, f"that {path} is saved", timeout_s=timeout_s
        )

    def wire(self) -> str:
        """All stanzas that it sent and received: what its server saw of it."""
        return "\n".join(
            line for line in self.logged().splitlines() if " DBG: SENT: " in line or " DBG: RECV: " in line
        )

    async def _until(self, look: Callable[[], _T | None], what: str, *, timeout_s: float = 20.0) -> _T:
        deadline = time.monotonic() + timeout_s
        while not (found := look()):
            if time.monotonic() > deadline or not self.running:
                lines = "\n".join(line for line in self.shown().splitlines() if line)
                raise ServiceFailed(f"profanity does not show {what}; its screen:\n{lines}")
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), 0.2)
        return found
