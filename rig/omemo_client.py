"""A user with OMEMO on slixmpp-omemo, as a process: commands and events are lines of JSON. See `rig.omemo_user`."""

import argparse
import asyncio
import contextlib
import hashlib
import json
import logging
import sys
import xml.etree.ElementTree as ET
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import slixmpp
from omemo.session_manager import MessageNotForUs, SenderNotFound
from slixmpp.plugins import register_plugin
from slixmpp.stanza import Message
from slixmpp.xmlstream import StanzaBase
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import StanzaPath

from rig.lines import LINE_LIMIT
from rig.omemo_files import fetched
from rig.omemo_plugin import NAMES, NAMESPACES, OMEMO_2, Kept, Plugin, fingerprint

_BODY, _RECEIPTS = "{jabber:client}body", "{urn:xmpp:receipts}"
_REMEMBERED = 5000
_PLUGINS = ("xep_0030", "xep_0060", "xep_0163", "xep_0184", "xep_0199", "xep_0280", "xep_0313", "xep_0334", "xep_0359")
_FILES = ("xep_0363", "xep_0454")


class Client:
    """One device of one account."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._store = Kept(options.store)
        self._arrived: asyncio.Queue[tuple[str, Message]] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []
        self._started = False
        self._sent: dict[str, Message] = {}
        self._withholding = False
        self._withheld: list[tuple[str, Message]] = []
        self.xmpp = slixmpp.ClientXMPP(options.jid, options.password_file.read_text().strip())
        self.xmpp.ca_certs = options.authority
        self._add_plugins()
        for name, handler in (
            ("session_start", self._start),
            ("carbon_received", lambda m: self._arrived.put_nowait(("carbon", m["carbon_received"]))),
            ("carbon_sent", lambda m: self._arrived.put_nowait(("carbon", m["carbon_sent"]))),
            ("omemo_list", self._list_changed),
            ("receipt_received", lambda m: self._tell("receipt", id=m["receipt"], sender=m["from"].bare)),
            # ejabberd tells of changed nodes whom it heard of after the other one let them see its presence.
            ("presence_subscribed", lambda p: self.xmpp.send_presence(pto=p["from"].bare)),
            ("failed_all_auth", lambda _: self._tell("error", text="the login was refused")),
        ):
            self.xmpp.add_event_handler(name, handler)
        # Not the event `message`: slixmpp has it for messages with a body only, and those with keys only have none.
        self.xmpp.register_handler(Callback("rig", StanzaPath("message"), self._arrive))

    def _add_plugins(self) -> None:
        for name in (*_PLUGINS, *_FILES):
            self.xmpp.register_plugin(name)
        register_plugin(Plugin)
        spoken = [NAMESPACES[name] for name in self._options.namespaces.split(",")]
        config = {"store": self._store, "namespaces": spoken, "blind": not self._options.manual}
        self.xmpp.register_plugin("xep_0384", config)
        self.plugin: Plugin = cast("dict[str, Any]", self.xmpp.plugin)["xep_0384"]

    # ------------------------------------------------------------ life
    async def run(self) -> None:
        """Log in, carry out commands until the input ends, log out."""
        self.xmpp.connect(self._options.host, self._options.port)
        reader = asyncio.StreamReader(limit=LINE_LIMIT)
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            await self._obey(json.loads(line))
        for task in self._tasks:
            task.cancel()
        await self.xmpp.disconnect(2.0)
        self._store.flush()

    async def _start(self, _: object) -> None:
        await self.xmpp.get_roster()
        manager = await self.plugin.get_session_manager()
        await self.xmpp.plugin["xep_0280"].enable()
        if self._started:
            return
        self._started = True
        # Plugins added features since the last time, and ejabberd reads `+notify` only where the hash is right.
        await self.xmpp.plugin["xep_0115"].update_caps(broadcast=False)
        self.xmpp.send_presence(ppriority=self._options.priority)
        await self._catch_up()
        await manager.after_history_sync()
        self._tasks.append(asyncio.create_task(self._read()))
        device, _ = await manager.get_own_device_information()
        self._tell("online", device=device.device_id, fingerprint=fingerprint(device.identity_key))

    def _tell(self, event: str, **fields: object) -> None:
        self._store.flush()
        sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
        sys.stdout.flush()

    # ------------------------------------------------------------ messages that come
    async def _catch_up(self) -> None:
        last = self._store.get("rig/archived", None)
        since = self._store.get("rig/since", None)
        if since is None:  # a new device cannot read what was said before it
            self._store.put("rig/since", datetime.now(UTC).isoformat())
            return
        page: dict[str, object] = {"max": 50} | ({"after": last} if last else {})
        start = None if last else datetime.fromisoformat(since)
        async for result in self.xmpp.plugin["xep_0313"].iterate(start=start, rsm=page):
            await self._safely(self._take("archive", result["mam_result"]["forwarded"]["stanza"]))
            self._store.put("rig/archived", result["mam_result"]["id"])

    async def _archive(self, archive: bool, naive: bool = False) -> None:
        """Read all of the archive once more. `naive`: as a client does that keeps no note of what it had."""
        if naive:
            self._store.put("rig/seen", [])
        start = datetime.fromisoformat(self._store.get("rig/since", None))
        async for result in self.xmpp.plugin["xep_0313"].iterate(start=start, rsm={"max": 50}):
            await self._safely(self._take("archive", result["mam_result"]["forwarded"]["stanza"]))
        self._tell("archived")

    async def _withhold(self, withhold: str) -> None:
        """`start` to leave encrypted messages unread, as if they were lost; `stop`; `read` those after all."""
        self._withholding = withhold == "start"
        if withhold == "read":
            for entry in self._withheld:
                self._arrived.put_nowait(entry)
        self._tell("withholding", what=withhold)

    def _arrive(self, stanza: StanzaBase) -> None:
        message = cast("Message", stanza)
        if self._withholding and self.plugin.is_encrypted(message):
            self._withheld.append(("live", message))
            self._tell("withheld", id=message["id"])
        else:
            self._arrived.put_nowait(("live", message))

    async def _read(self) -> None:
        while True:
            via, message = await self._arrived.get()
            await self._safely(self._take(via, message))

    async def _safely(self, work: Awaitable[None]) -> None:
        try:
            await work
        except Exception:
            logging.getLogger(__name__).exception("an error of the rig")
            self._tell("error", text="see the log")

    async def _take(self, via: str, message: Message) -> None:
        own = self.xmpp.boundjid.bare
        for mark in message.xml.findall("{urn:xmpp:sid:0}stanza-id"):
            if mark.get("by") == own:
                self._store.put("rig/archived", mark.get("id"))
        known = {"id": message["id"], "sender": str(message["from"]), "to": str(message["to"]), "via": via}
        known["origin"] = message["origin_id"]["id"]
        if message["type"] == "error":
            self._tell("refused", **known, condition=message["error"]["condition"], text=message["error"]["text"])
        elif self.plugin.is_encrypted(message):
            if any(message.xml.find(f"{{{form}}}encrypted") is not None for form in self.plugin.namespaces):
                await self._open(message, known)
        elif message.xml.find(_BODY) is not None:
            self._tell("plain", **known, body=message["body"], beside=_beside(message.xml))

    async def _open(self, message: Message, known: dict[str, str]) -> None:
        seen: list[str] = self._store.get("rig/seen", [])
        # In canonical form: Prosody's archive gives attributes back in any order.
        digest = hashlib.sha256(
            "".join(ET.canonicalize(ET.tostring(e)) for e in message.xml if e.tag.endswith("}encrypted")).encode()
        ).hexdigest()
        if digest in seen:
            self._tell("repeated", **known)
            return
        self._store.put("rig/seen", [*seen[-_REMEMBERED:], digest])
        senders = {e.get("sid") for e in message.xml.iter() if e.tag.endswith("}header")}
        if message["from"].bare == self.xmpp.boundjid.bare and str(self._own_id()) in senders:
            return  # our own, out of the archive
        try:
            content, namespace, device = await self.plugin.opened(message)
        except Exception as error:
            if isinstance(error, MessageNotForUs | SenderNotFound) and message.xml.find(".//{*}payload") is None:
                return  # keys from or for another device of ours
            logging.getLogger(__name__).exception("not opened")
            self._tell("undecryptable", **known, reason=type(error).__name__)
            return
        sent_by = {
            "device": device.device_id,
            "fingerprint": fingerprint(device.identity_key),
            "namespace": NAMES[namespace],
        }
        if content is None:
            self._tell("keys", **known, **sent_by)
            return
        if namespace == OMEMO_2:
            await self._receipts(message, content)
        body = next((element.text or "" for element in content if element.tag == _BODY), None)
        inside = [ET.tostring(element, "unicode") for element in content if element.tag != _BODY]
        beside = _beside(message.xml)
        trust = device.trust_level_name
        event = "content" if body is None else "message"
        self._tell(event, **known, **sent_by, body=body, inside=inside, beside=beside, trust=trust)

    async def _receipts(self, message: Message, content: list[ET.Element]) -> None:
        """Inside an envelope slixmpp does not see them."""
        for element in content:
            if element.tag == f"{_RECEIPTS}received":
                self._tell("receipt", id=element.get("id"), sender=message["from"].bare)
            if element.tag == f"{_RECEIPTS}request" and message["from"].bare != self.xmpp.boundjid.bare:
                answer = self.xmpp.make_message(mto=message["from"], mtype="chat")
                answer["id"] = f"r-{message['id']}"
                sealed = await self.plugin.sealed(answer, [ET.Element(f"{_RECEIPTS}received", {"id": message["id"]})])
                assert sealed is not None
                sealed.send()

    def _own_id(self) -> int:
        return int(self._store.get("/own_device_id", 0))

    def _list_changed(self, message: Message) -> None:
        ids = [int(e.get("id", "0")) for e in message.xml.iter() if e.tag.endswith("}device")]
        old = message.xml.find(".//{eu.siacs.conversations.axolotl}list") is not None
        self._tell("list", of=message["from"].bare, namespace="axolotl" if old else "omemo:2", ids=sorted(ids))

    # ------------------------------------------------------------ commands
    async def _obey(self, command: dict[str, Any]) -> None:
        verbs: dict[str, Callable[..., Awaitable[None]]] = {
            "send": self._send,
            "plain": self._plain,
            "bare": self._bare,
            "upload": self._upload,
            "fetch": self._fetch,
            "again": self._again,
            "archive": self._archive,
            "withhold": self._withhold,
            "devices": self._devices,
            "trust": self._trust,
            "remove_device": self._remove_device,
            "forget": self._forget,
            "renew": self._renew,
            "subscribe": self._subscribe,
        }
        verb = next(name for name in verbs if name in command)
        await self._safely(verbs[verb](**command))

    async def _send(
        self, send: str, to: str, id: str, beside: list[str] | None = None, *, receipt: bool = False, lost: bool = False
    ) -> None:
        message = self.xmpp.make_message(mto=slixmpp.JID(to), mbody=send, mtype="chat")
        message["id"] = id
        extra = [ET.fromstring(text) for text in beside or []]
        if receipt:
            extra.append(ET.Element(f"{_RECEIPTS}request"))
        try:
            encrypted = await self.plugin.sealed(message, extra)
        except Exception as error:
            logging.getLogger(__name__).exception("not sent")
            self._tell("failed", id=id, reason=type(error).__name__)
            return
        assert encrypted is not None
        self._store.flush()
        self._sent[id] = encrypted
        if not lost:
            encrypted.send()
        used = sorted(name for name, ns in NAMESPACES.items() if encrypted.xml.find(f"{{{ns}}}encrypted") is not None)
        devices = sorted(int(e.get("rid", 0)) for e in encrypted.xml.iter() if e.get("rid"))
        self._tell("sent", id=id, namespaces=used, devices=devices)

    async def _again(self, again: str) -> None:
        """Send the same stanza once more, octet for octet, as a broken relay does."""
        self._sent[again].send()
        self._tell("sent", id=again, namespaces=[], devices=[])

    async def _plain(self, plain: str, to: str, id: str) -> None:
        message = self.xmpp.make_message(mto=slixmpp.JID(to), mbody=plain, mtype="chat")
        message["id"] = id
        message.send()
        self._tell("sent", id=id, namespaces=[], devices=[])

    async def _bare(self, bare: list[str], to: str, id: str) -> None:
        """Elements without a text and without encryption: clients of the older form send reactions so."""
        message = self.xmpp.make_message(mto=slixmpp.JID(to), mtype="chat")
        message["id"] = id
        for text in bare:
            message.append(ET.fromstring(text))
        message.send()
        self._tell("sent", id=id, namespaces=[], devices=[])

    async def _upload(self, upload: str) -> None:
        """Encrypt a file and leave it with the server (XEP-0454)."""
        url = await self.xmpp.plugin["xep_0454"].upload_file(Path(upload))
        self._tell("uploaded", path=upload, url=url)

    async def _fetch(self, fetch: str, path: str) -> None:
        """Fetch and decrypt what an address names."""
        await asyncio.to_thread(Path(path).write_bytes, await fetched(fetch))
        self._tell("fetched", url=fetch, path=path)

    async def _devices(self, devices: str) -> None:
        manager = await self.plugin.get_session_manager()
        own, others = await manager.get_own_device_information()
        if devices == self.xmpp.boundjid.bare:
            found = {own, *others}
        else:
            await self.plugin.refresh_device_lists({slixmpp.JID(devices)}, force_download=True)
            found = set(await manager.get_device_information(devices))
        described = [
            {
                "id": device.device_id,
                "fingerprint": fingerprint(device.identity_key),
                "namespaces": sorted(NAMES[n] for n, active in device.active if active),
                "trust": device.trust_level_name,
            }
            for device in sorted(found, key=lambda one: one.device_id)
        ]
        self._tell("devices", of=devices, devices=described)

    async def _trust(self, trust: str, device: int, level: str) -> None:
        manager = await self.plugin.get_session_manager()
        for known in await manager.get_device_information(trust):
            if known.device_id == device:
                await manager.set_trust(trust, known.identity_key, level)
                self._tell("trusted", of=trust, device=device, level=level)
                return
        self._tell("error", text="there is no such device")

    async def _remove_device(self, remove_device: int) -> None:
        await self.plugin.remove_device(remove_device)
        self._tell("removed", device=remove_device)

    async def _renew(self, renew: str) -> None:
        """Replace the sessions with all devices of somebody; the library tells them by messages without content."""
        manager = await self.plugin.get_session_manager()
        for device in await manager.get_device_information(renew):
            await manager.replace_sessions(device)
        self._tell("renewed", of=renew)

    async def _forget(self, forget: str) -> None:
        """Lose the sessions with somebody, as a restored backup does."""
        for backend in self.plugin.backends:
            await backend.purge_bare_jid(forget)
        self._tell("forgotten", of=forget)

    async def _subscribe(self, subscribe: str) -> None:
        self.xmpp.send_presence_subscription(pto=slixmpp.JID(subscribe))
        self._tell("asked", of=subscribe)


def _beside(message: ET.Element) -> list[str]:
    """What a stanza holds in clear, other than its body."""
    hidden = (_BODY, "{urn:xmpp:sid:0}stanza-id")
    return [ET.tostring(e, "unicode") for e in message if e.tag not in hidden and not e.tag.endswith("}encrypted")]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, kind in (("jid", str), ("host", str), ("port", int), ("namespaces", str)):
        parser.add_argument(f"--{name}", type=kind, required=True)
    for name in ("password-file", "authority", "store"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--priority", type=int, default=0)
    parser.add_argument("--manual", action="store_true", help="trust nobody blindly")
    return parser.parse_args()


async def _main() -> None:
    with contextlib.suppress(asyncio.CancelledError):
        await Client(_options()).run()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    asyncio.run(_main())
