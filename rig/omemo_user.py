"""A user whose client speaks OMEMO: slixmpp-omemo as a process, in the older form, in omemo:2, or in both."""

import itertools
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from rig.lines import Event, LineClient
from rig.services import ROOT
from rig.xmpp import XmppAccount


@dataclass(frozen=True)
class Read:
    """A message that this device could decrypt."""

    id: str
    sender: str
    namespace: str
    via: str
    """`live`, `carbon` or `archive`."""
    device: int
    body: str = field(repr=False)


class OmemoUser(LineClient):
    """One device. The store outlives the process: `start` again is the same device, which reads what it missed."""

    def __init__(
        self,
        folder: Path,
        account: XmppAccount,
        name: str = "omemo",
        *,
        namespaces: Sequence[str] = ("axolotl",),
        manual: bool = False,
    ) -> None:
        """`namespaces`: `axolotl`, `omemo:2`, newest first. `manual`: trusts nobody blindly."""
        super().__init__(name, folder)
        self.account, self.namespaces, self.manual = account, tuple(namespaces), manual
        self.device, self.fingerprint = 0, ""
        self._password = folder / f"{name}.password"
        self._password.touch(0o600)
        self._password.write_text(account.password + "\n")
        self._ids = itertools.count(1)

    def command(self) -> list[str]:
        """The command line of the client."""
        return [
            *(sys.executable, "-m", "rig.omemo_client", "--jid", f"{self.account.jid}/{self.name}"),
            *("--password-file", str(self._password), "--authority", str(self.account.authority)),
            *("--host", self.account.host, "--port", str(self.account.port)),
            *("--store", str(self.folder / f"{self.name}.store"), "--namespaces", ",".join(self.namespaces)),
            *(["--manual"] if self.manual else []),
        ]

    async def start(self, *, timeout_s: float = 30.0) -> Self:
        """Log in; returns when the device is published and what came meanwhile has been read."""
        since = len(self.events)
        await self.spawn(self.command(), {"PYTHONPATH": str(ROOT)})
        event = await self.wait_for(
            lambda e: e.get("event") in {"online", "error"}, since=since, timeout_s=timeout_s, what="the login"
        )
        self.device, self.fingerprint = event["device"], event["fingerprint"]
        return self

    async def send(self, to: str, text: str, message_id: str | None = None, **more: object) -> Event:
        """Encrypt and send; returns `sent` (with `namespaces` and `devices`) or `failed` (with `reason`).

        `beside`: further elements as texts; inside the envelope in omemo:2, in clear in the older form.
        `receipt`: ask for one (XEP-0184).
        """
        message_id = message_id or f"{self.name}-{next(self._ids)}"
        since = len(self.events)
        await self.put({"send": text, "to": to, "id": message_id, **more})
        return await self.wait_for(
            lambda e: e.get("event") in {"sent", "failed"} and e.get("id") == message_id,
            since=since,
            what="the sending",
        )

    async def send_plain(self, to: str, text: str) -> str:
        """Send without encryption; returns the id."""
        message_id = f"{self.name}-{next(self._ids)}"
        await self.put({"plain": text, "to": to, "id": message_id})
        return message_id

    async def devices(self, of: str) -> list[dict[str, Any]]:
        """The devices of somebody as this client knows them: `id`, `fingerprint`, `namespaces`, `trust`."""
        event = await self._ask({"devices": of}, "devices")
        return list(event["devices"])

    async def trust(self, whom: str, device: int, *, level: str = "TRUSTED") -> None:
        """Decide on a device: `TRUSTED`, `DISTRUSTED`, `UNDECIDED`."""
        await self._ask({"trust": whom, "device": device, "level": level}, "trusted")

    async def remove_device(self, device: int) -> None:
        """Take another device of this account off its lists."""
        await self._ask({"remove_device": device}, "removed")

    async def forget(self, whom: str) -> None:
        """Lose the sessions with somebody."""
        await self._ask({"forget": whom}, "forgotten")

    async def renew(self, whom: str) -> None:
        """Replace the sessions with all devices of somebody by messages without content."""
        await self._ask({"renew": whom}, "renewed")

    async def send_again(self, message_id: str) -> None:
        """Send a stanza once more, octet for octet."""
        await self._ask({"again": message_id}, "sent")

    async def subscribe(self, whom: str) -> None:
        """Ask for somebody's presence."""
        await self._ask({"subscribe": whom}, "asked")

    async def wait_messages(self, count: int, *, timeout_s: float = 60.0) -> list[Read]:
        """All messages read so far, once there are at least that many."""
        await self.wait_until(
            lambda: len(self.messages) >= count, timeout_s=timeout_s, what=f"{count} messages; has {len(self.messages)}"
        )
        return self.messages

    async def _ask(self, command: dict[str, object], answer: str) -> Event:
        since = len(self.events)
        await self.put(command)
        return await self.wait_for(lambda e: e.get("event") == answer, since=since, what=answer)

    def told(self, kind: str) -> list[Event]:
        """All events of a kind.

        `message`, `plain`, `undecryptable`, `repeated` (the same ciphertext again), `keys` (a key transport), `content`
        (an envelope without text), `list` (a changed device list), `receipt`, `refused` (an error stanza).
        """
        return [event for event in self.events if event.get("event") == kind]

    @property
    def messages(self) -> list[Read]:
        """All messages this device decrypted, in order."""
        names = ("id", "sender", "namespace", "via", "device", "body")
        return [Read(**{name: event[name] for name in names}) for event in self.told("message")]

    @property
    def bodies(self) -> list[str]:
        """Their texts."""
        return [message.body for message in self.messages]
