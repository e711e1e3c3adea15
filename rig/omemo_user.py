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
        priority: int = 0,
    ) -> None:
        """`namespaces`: `axolotl`, `omemo:2`, newest first. `manual`: trusts nobody blindly.

        `priority`: of its presence.
        """
        super().__init__(name, folder)
        self.account, self.namespaces, self.manual = account, tuple(namespaces), manual
        self.priority = priority
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
            *("--priority", str(self.priority)),
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
        `receipt`: ask for one (XEP-0184). `lost`: it is not sent, until `send_again`.
        """
        message_id = message_id or f"{self.name}-{next(self._ids)}"
        since = len(self.events)
        await self.put({"send": text, "to": to, "id": message_id, **more})
        return await self.wait_for(
            lambda e: e.get("event") in {"sent", "failed"} and e.get("id") == message_id,
            since=since,
            what="the sending",
        )

    async def correct(self, to: str, replaced: str, text: str) -> Event:
        """A new wording of the message with that id (XEP-0308)."""
        return await self.send(to, text, beside=[f'<replace xmlns="urn:xmpp:message-correct:0" id="{replaced}"/>'])

    async def reply(self, to: str, answered: str, author: str, text: str, quoted: str = "") -> Event:
        """An answer (XEP-0461), before it the lines that it quotes, marked as such (XEP-0428)."""
        beside = [f'<reply xmlns="urn:xmpp:reply:0" id="{answered}" to="{author}"/>']
        lead = f"> {quoted}\n" if quoted else ""
        if lead:
            within = f'<body start="0" end="{len(lead)}"/>'
            beside.append(f'<fallback xmlns="urn:xmpp:fallback:0" for="urn:xmpp:reply:0">{within}</fallback>')
        return await self.send(to, lead + text, beside=beside)

    async def react(self, to: str, message_id: str, *emojis: str) -> Event:
        """All that is felt about a message (XEP-0444)."""
        inner = "".join(f"<reaction>{emoji}</reaction>" for emoji in emojis)
        return await self._bare(to, f'<reactions xmlns="urn:xmpp:reactions:0" id="{message_id}">{inner}</reactions>')

    async def retract(self, to: str, message_id: str) -> Event:
        """Take a message back (XEP-0424)."""
        return await self._bare(to, f'<retract xmlns="urn:xmpp:message-retract:1" id="{message_id}"/>')

    async def read(self, to: str, message_id: str) -> Event:
        """Say that all up to that message was read (XEP-0333)."""
        return await self._bare(to, f'<displayed xmlns="urn:xmpp:chat-markers:0" id="{message_id}"/>')

    async def _bare(self, to: str, element: str) -> Event:
        """Without a text: in an envelope where this client knows them, else without encryption, as others do."""
        if "omemo:2" in self.namespaces:
            return await self.send(to, "", beside=[element])
        message_id, since = f"{self.name}-{next(self._ids)}", len(self.events)
        await self.put({"bare": [element], "to": to, "id": message_id})
        return await self.wait_for(
            lambda e: e.get("event") == "sent" and e.get("id") == message_id, since=since, what="the sending"
        )

    async def upload(self, path: Path) -> str:
        """Encrypt a file and leave it with the server; its `aesgcm:` address (XEP-0454)."""
        return str((await self._ask({"upload": str(path)}, "uploaded"))["url"])

    async def fetch(self, address: str, path: Path) -> None:
        """Fetch and decrypt what an `aesgcm:` address names."""
        await self._ask({"fetch": address, "path": str(path)}, "fetched")

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

    async def read_archive(self, *, naive: bool = False) -> None:
        """Read all of the archive once more. `naive`: without a note of what was read before."""
        await self._ask({"archive": True, "naive": naive}, "archived")

    async def withhold(self, what: str) -> None:
        """`start` to leave encrypted messages unread, as if they were lost; `stop`; `read` those after all."""
        await self._ask({"withhold": what}, "withholding")

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
