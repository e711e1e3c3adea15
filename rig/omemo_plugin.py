"""OMEMO for the rig's users: slixmpp-omemo with a file to keep its state in, a choice of namespaces, and omemo:2.

slixmpp-omemo itself writes and reads the older form only; envelopes (XEP-0420) are added here on the same library.
"""

import contextlib
import json
import secrets
import xml.etree.ElementTree as ET
from asyncio import Task, create_task, shield
from collections.abc import Sequence
from copy import copy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import oldmemo.etree
import twomemo.etree
from omemo import DeviceInformation, SessionManager
from omemo.backend import Backend
from omemo.storage import Just, Maybe, Nothing, Storage
from omemo.types import DeviceList, JSONType
from slixmpp import stanza
from slixmpp_omemo import xep_0384
from slixmpp_omemo.base_session_manager import TrustLevel

AXOLOTL = oldmemo.oldmemo.NAMESPACE
OMEMO_2 = twomemo.twomemo.NAMESPACE
NAMESPACES = {"omemo:2": OMEMO_2, "axolotl": AXOLOTL}
NAMES = {namespace: name for name, namespace in NAMESPACES.items()}
_SCE = "{urn:xmpp:sce:1}"


class NotForItsSender(Exception):
    """An envelope names another sender than the stanza does."""


class Kept(Storage):
    """The library's state in one file. Written by `flush`, so that a step is kept whole or not at all."""

    def __init__(self, path: Path) -> None:
        super().__init__(disable_cache=True)
        self._path, self._dirty = path, False
        self._values: dict[str, JSONType] = json.loads(path.read_text()) if path.exists() else {}

    async def _load(self, key: str) -> Maybe[JSONType]:
        return Just(self._values[key]) if key in self._values else Nothing()

    async def _store(self, key: str, value: JSONType) -> None:
        self._values[key], self._dirty = value, True

    async def _delete(self, key: str) -> None:
        self._dirty = self._values.pop(key, None) is not None or self._dirty

    def get(self, key: str, default: Any) -> Any:
        """A value of our own."""
        return self._values.get(key, default)

    def put(self, key: str, value: Any) -> None:
        """Keep a value of our own."""
        self._values[key], self._dirty = value, True

    def flush(self) -> None:
        """Write what changed."""
        if self._dirty:
            draft = self._path.with_suffix(".new")
            draft.write_text(json.dumps(self._values))
            draft.replace(self._path)
            self._dirty = False


class Plugin(xep_0384.XEP_0384):
    """`xep_0384` of slixmpp-omemo. Config: `store` (`Kept`), `namespaces`, `blind` (trust before verification)."""

    default_config: ClassVar[dict[str, Any]] = {
        "fallback_message": "I sent you an OMEMO encrypted message.",
        "store": None,
        "namespaces": tuple(NAMESPACES.values()),
        "blind": True,
    }
    store: Kept
    namespaces: Sequence[str]
    blind: bool

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._manager: Task[SessionManager] | None = None
        self.backends: list[Backend] = []

    @property
    def storage(self) -> Storage:
        """Where the library keeps its state."""
        return self.store

    @property
    def _btbv_enabled(self) -> bool:
        return self.blind

    async def _prompt_manual_trust(
        self, manually_trusted: frozenset[DeviceInformation], identifier: str | None
    ) -> None:
        """Nobody is asked: what is undecided stays so, and the library refuses to send."""

    async def get_session_manager(self) -> SessionManager:
        """The one of this account, in its catching-up mode until somebody calls `after_history_sync`."""
        if self._manager is None:
            self._manager = create_task(self._made())
        return await shield(self._manager)

    async def _made(self) -> SessionManager:
        made: dict[str, Backend] = {OMEMO_2: twomemo.Twomemo(self.store), AXOLOTL: oldmemo.Oldmemo(self.store)}
        self.backends = [made[namespace] for namespace in self.namespaces]
        base = xep_0384._make_session_manager(self.xmpp, self)
        return await _of(base, self.namespaces).create(
            self.backends, self.store, self.xmpp.boundjid.bare, None, TrustLevel.UNDECIDED.value
        )

    async def sealed(self, message: stanza.Message, extra: Sequence[ET.Element]) -> stanza.Message | None:
        """The stanza encrypted for its recipient and our own other devices, each in its newest form.

        `extra` travels inside omemo:2 envelopes, and in clear beside the older form, as it does with every client.
        """
        if OMEMO_2 not in self.namespaces:
            encrypted, _ = await self.encrypt_message(message, message["to"])
        else:
            encrypted = await self._sealed(message, extra)
        if encrypted is not None and encrypted.xml.find(f"{{{AXOLOTL}}}encrypted") is not None:
            for element in extra:
                encrypted.append(element)
        return encrypted

    async def _sealed(self, message: stanza.Message, extra: Sequence[ET.Element]) -> stanza.Message:
        await self.refresh_device_lists({message["to"]})
        text = message["body"]
        body = ET.Element("{jabber:client}body")
        body.text = text
        content = [body, *extra] if text else list(extra)
        plaintexts = {OMEMO_2: enveloped(self.xmpp.boundjid.bare, message["to"].bare, content)}
        if AXOLOTL in self.namespaces and text:
            plaintexts[AXOLOTL] = text.encode()
        manager = await self.get_session_manager()
        made, _ = await manager.encrypt(frozenset({message["to"].bare}), plaintexts, list(plaintexts))
        encrypted = self.xmpp.make_message(mto=message["to"], mtype=message["type"])
        encrypted["id"], encrypted["body"] = message["id"], self.fallback_message
        encrypted.enable("store")
        for part in made:
            form = twomemo.etree if part.namespace == OMEMO_2 else oldmemo.etree
            encrypted.append(form.serialize_message(part))
        return encrypted

    async def opened(self, message: stanza.Message) -> tuple[list[ET.Element] | None, str, DeviceInformation]:
        """What an encrypted stanza holds: elements (None: it only carries keys), its namespace, its device."""
        element = message.xml.find(f"{{{OMEMO_2}}}encrypted")
        if element is None or OMEMO_2 not in self.namespaces or not self._is_for_us(element):
            return await self._opened_axolotl(message)
        manager = await self.get_session_manager()
        sender = message["from"].bare
        plaintext, device, _ = await manager.decrypt(twomemo.etree.parse_message(element, sender))
        return None if plaintext is None else content_of(plaintext, sender), OMEMO_2, device

    def _is_for_us(self, encrypted: ET.Element) -> bool:
        own = str(self.store.get("/own_device_id", 0))
        return any(key.get("rid") == own for key in encrypted.iter(f"{{{OMEMO_2}}}key"))

    async def _opened_axolotl(self, message: stanza.Message) -> tuple[list[ET.Element] | None, str, DeviceInformation]:
        only = copy(message)  # slixmpp-omemo looks at the newer form first, whether or not it can read it
        for element in only.xml.findall(f"{{{OMEMO_2}}}encrypted"):
            only.xml.remove(element)
        opened, device = await self.decrypt_message(only)
        body = opened.xml.find("{jabber:client}body")
        return None if body is None else [body], AXOLOTL, device

    async def _on_device_list_update(self, msg: stanza.Message) -> None:
        self.xmpp.event("omemo_list", msg)
        await super()._on_device_list_update(msg)

    async def remove_device(self, device_id: int) -> None:
        """Take one of our other devices off our lists, and its bundles away."""
        manager = await self.get_session_manager()
        own = self.xmpp.boundjid.bare
        for namespace in self.namespaces:
            known = await manager._download_device_list(namespace, own)
            await manager._upload_device_list(namespace, {i: label for i, label in known.items() if i != device_id})
            with contextlib.suppress(Exception):  # it may never have had one in this form
                await manager._delete_bundle(namespace, device_id)


def _of(base: type[SessionManager], namespaces: Sequence[str]) -> type[SessionManager]:
    """The library's core, deaf to what it is told of forms that this user does not speak."""

    class Deaf(base):  # type: ignore[valid-type, misc]
        async def update_device_list(self, namespace: str, bare_jid: str, device_list: DeviceList) -> None:
            if namespace in namespaces:
                await super().update_device_list(namespace, bare_jid, device_list)

        async def refresh_device_list(self, namespace: str, bare_jid: str) -> None:
            if namespace in namespaces:
                await super().refresh_device_list(namespace, bare_jid)

    return Deaf


def enveloped(sender: str, recipient: str, children: Sequence[ET.Element]) -> bytes:
    """An envelope of XEP-0420 with the affixes that XEP-0384 asks for."""
    envelope = ET.Element(f"{_SCE}envelope")
    ET.SubElement(envelope, f"{_SCE}content").extend(children)
    ET.SubElement(envelope, f"{_SCE}rpad").text = secrets.token_hex(secrets.randbelow(100))
    ET.SubElement(envelope, f"{_SCE}time", {"stamp": datetime.now(UTC).isoformat().replace("+00:00", "Z")})
    ET.SubElement(envelope, f"{_SCE}from", {"jid": sender})
    ET.SubElement(envelope, f"{_SCE}to", {"jid": recipient})
    return ET.tostring(envelope)


def content_of(plaintext: bytes, sender: str) -> list[ET.Element]:
    """The elements of an envelope. Raises `NotForItsSender`, and ValueError for what is none."""
    envelope = ET.fromstring(plaintext)
    content = envelope.find(f"{_SCE}content")
    if envelope.tag != f"{_SCE}envelope" or content is None or envelope.find(f"{_SCE}rpad") is None:
        raise ValueError("this is no envelope")
    named = envelope.find(f"{_SCE}from")
    if named is not None and named.get("jid", "").partition("/")[0] != sender:
        raise NotForItsSender
    return list(content)


def fingerprint(identity_key: bytes) -> str:
    """As clients show it, without the spaces: 64 hexadecimal digits of the Curve25519 key."""
    return "".join(SessionManager.format_identity_key(identity_key))
