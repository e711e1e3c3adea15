"""Alice: `lockgate chat --json` as a process, for one contact."""

import itertools
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rig.lines import ClientFailed, Event, LineClient
from rig.services import ROOT
from rig.xmpp import XmppAccount


@dataclass(frozen=True)
class Heard:
    """A message as Alice's client shows it."""

    id: str
    body: str = field(repr=False)


@dataclass(frozen=True)
class Stanza:
    """A raw stanza that Alice's client wrote or read: what her own server saw of it."""

    direction: str
    """`out` or `in`."""
    xml: str


class Alice(LineClient):
    """One logged-in chat with one contact. The store outlives the process: `start` again continues."""

    def __init__(
        self,
        folder: Path,
        account: XmppAccount,
        contact: str,
        name: str = "alice",
        *,
        keep_keys: bool = False,
        resource: str = "lockgate",
        options: Sequence[str] = (),
    ) -> None:
        super().__init__(name, folder)
        self._keys_file = folder / f"{name}.keys" if keep_keys else None
        self.account, self.contact = account, contact
        self.resource, self._options = resource, tuple(options)
        self.store, self.trace_file = folder / f"{name}.store", folder / f"{name}.trace"
        self._password = folder / f"{name}.password"
        self._password.touch(0o600)
        self._password.write_text(account.password + "\n")
        self._ids = itertools.count(1)

    def command(self) -> list[str]:
        """The command line of the client."""
        module = "rig.keyed_chat" if self._keys_file else "client.chat"
        return [
            *(sys.executable, "-m", module, self.contact, "--json"),
            *("--account", f"{self.account.jid}/{self.resource}", "--password-file", str(self._password)),
            *("--host", self.account.host, "--port", str(self.account.port), "--insecure-loopback"),
            *("--store", str(self.store), "--trace", str(self.trace_file)),
            *self._options,
        ]

    async def start(self, *, timeout_s: float = 30.0) -> "Alice":
        """Start the process and return when it is logged in."""
        since = len(self.events)
        environment = {"PYTHONPATH": str(ROOT)}
        if self._keys_file:
            environment["LOCKGATE_RIG_KEYS"] = str(self._keys_file)
        await self.spawn(self.command(), environment)
        await self.wait_for(
            lambda event: event.get("event") in {"online", "error"}, since=since, timeout_s=timeout_s, what="the login"
        )
        return self

    async def send(self, text: str, message_id: str | None = None) -> str:
        """Queue a message; returns its id."""
        message_id = message_id or f"{self.name}-{next(self._ids)}"
        await self.put({"send": text, "id": message_id})
        return message_id

    async def send_file(self, path: Path, message_id: str | None = None, *, timeout_s: float = 60.0) -> str:
        """Upload a file and queue the message that names it; returns its id."""
        message_id = message_id or f"{self.name}-{next(self._ids)}"
        since = len(self.events)
        await self.put({"send_file": str(path), "id": message_id})
        event = await self.wait_for(
            lambda event: event.get("event") in {"queued", "file_failed"} and event.get("id") == message_id,
            since=since,
            timeout_s=timeout_s,
            what="the upload",
        )
        if event["event"] != "queued":
            raise ClientFailed(f"{self.name}: {event['text']}")
        return message_id

    async def fetch_file(self, address: str, folder: Path, *, timeout_s: float = 60.0) -> Path:
        """Fetch the file that a message names; returns where it is."""
        since = len(self.events)
        await self.put({"fetch_file": address, "folder": str(folder)})
        event = await self.wait_for(
            lambda event: event.get("event") in {"file", "file_failed"} and event.get("address") == address,
            since=since,
            timeout_s=timeout_s,
            what="the file",
        )
        if event["event"] != "file":
            raise ClientFailed(f"{self.name}: {event['text']}")
        return Path(event["path"])

    async def say(self, message_id: str | None = None, **command: object) -> str:
        """Queue a message by its command (`edit`, `reply`, `react`, `retract`, with what belongs to it); its id."""
        message_id = message_id or f"{self.name}-{next(self._ids)}"
        await self.put({**command, "id": message_id})
        return message_id

    async def heard(self, kind: str, count: int = 1, *, timeout_s: float = 60.0) -> list[Event]:
        """All events of a kind, once there are at least that many."""

        def found() -> list[Event]:
            return [event for event in self.events if event.get("event") == kind]

        await self.wait_until(lambda: len(found()) >= count, timeout_s=timeout_s, what=f"{count} of {kind}")
        return found()

    async def flushed(self, *, timeout_s: float = 60.0) -> int:
        """Wait until all that was queued is acknowledged; returns how many are still waiting after the time."""
        since = len(self.events)
        await self.put({"flush": True, "timeout": timeout_s})
        event = await self.wait_for(
            lambda event: event.get("event") == "flushed",
            since=since,
            timeout_s=timeout_s + 10,
            what="the acknowledgements",
        )
        return int(event["waiting"])

    async def session(self) -> Event:
        """How the ESession stands: `state`, `sas`, `verified`, `profile`, `peer` ..."""
        since = len(self.events)
        await self.put({"status": True})
        return await self.wait_for(
            lambda event: event.get("event") == "session", since=since, what="the state of the session"
        )

    async def end(self) -> None:
        """End the session, and return when it has ended."""
        since = len(self.events)
        await self.put({"end": True})
        await self.wait_for(
            lambda event: event.get("event") == "session" and event["state"] == "none",
            since=since,
            what="the end of the session",
        )

    def keys(self) -> list[bytes]:
        """All keys of her ESessions so far, when `keep_keys` was asked for."""
        assert self._keys_file is not None
        return [bytes.fromhex(line) for line in dict.fromkeys(self._keys_file.read_text().split())]

    # ------------------------------------------------------------ what she saw
    @property
    def messages(self) -> list[Heard]:
        """All messages she was shown, in order."""
        return [Heard(event["id"], event["body"]) for event in self.events if event.get("event") == "message"]

    @property
    def copies(self) -> list[Heard]:
        """All that another client of hers sent, as this one shows it, in order."""
        return [Heard(event["id"], event["body"]) for event in self.events if event.get("event") == "copied"]

    async def ask(self, what: str) -> Event:
        """Ask the contact's end something inside the session: `info`, `ping`, `time`, `version`, `last`, `vcard`."""
        since = len(self.events)
        await self.put({"ask": what})
        return await self.wait_for(
            lambda event: event.get("event") == "answer", since=since, what=f"the answer to {what}"
        )

    async def order(self, command: str) -> str:
        """Give a command to the contact's end inside the session, by its XML; the XML of what it answers."""
        since = len(self.events)
        await self.put({"ask": command, "kind": "set"})
        answer = await self.wait_for(
            lambda event: event.get("event") == "answer", since=since, timeout_s=60, what="the answer to a command"
        )
        return str(answer["result"])

    def ids(self, kind: str) -> list[str]:
        """The message ids of all events of a kind (`queued`, `delivered`, `failed`), in order."""
        return [event["id"] for event in self.events if event.get("event") == kind]

    async def wait_messages(self, count: int, *, timeout_s: float = 60.0) -> list[Heard]:
        """All messages, once there are at least that many."""
        await self.wait_until(
            lambda: len(self.messages) >= count, timeout_s=timeout_s, what=f"{count} messages ({len(self.messages)})"
        )
        return self.messages

    def trace(self) -> list[Stanza]:
        """The stanzas that passed between her and her server."""
        if not self.trace_file.exists():
            raise ClientFailed("there is no trace of stanzas")
        lines = self.trace_file.read_text("utf-8").splitlines()
        return [Stanza(entry["dir"], entry["xml"]) for entry in map(json.loads, lines)]
