"""A peer of another make: python-omemo's SessionManager, as slixmpp-omemo uses it, over a node store in memory."""

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import oldmemo
import oldmemo.etree
import omemo
import twomemo
import twomemo.etree

from crypto.omemo.bundles import bundle_element, read_bundle
from crypto.omemo.elements import device_list_element, read_device_list, read_message
from crypto.omemo.model import Bundle, DeviceList, ListedDevice, Message
from crypto.omemo.names import Namespace
from crypto.xml import Element, parse, serialize

TRUST = "trusted"
_ETREES: Mapping[str, Any] = {Namespace.AXOLOTL: oldmemo.etree, Namespace.OMEMO_2: twomemo.etree}


def to_etree(element: Element) -> ET.Element:
    """By way of its octets."""
    return ET.fromstring(serialize(element))


def from_etree(element: ET.Element) -> Element:
    """By way of its octets."""
    return parse(ET.tostring(element))


@dataclass
class Nodes:
    """What everybody publishes: by form and JID the device ids, by form, JID and device the bundles."""

    lists: dict[tuple[str, str], Element] = field(default_factory=dict)
    bundles: dict[tuple[str, str, int], Element] = field(default_factory=dict)

    def announce(self, jid: str, bundle: Bundle, device_id: int) -> None:
        """One of our devices."""
        namespace = bundle.namespace
        listed = DeviceList(namespace, (ListedDevice(device_id),))
        self.lists[namespace, jid] = device_list_element(listed)
        self.bundles[namespace, jid, device_id] = bundle_element(bundle)


class Memory(omemo.Storage):
    """Storage that is a mapping."""

    def __init__(self) -> None:
        super().__init__(disable_cache=True)
        self.values: dict[str, omemo.JSONType] = {}

    async def _load(self, key: str) -> "omemo.Maybe[omemo.JSONType]":
        return omemo.Just(self.values[key]) if key in self.values else omemo.Nothing()

    async def _store(self, key: str, value: omemo.JSONType) -> None:
        self.values[key] = value

    async def _delete(self, key: str) -> None:
        self.values.pop(key, None)


def _manager(nodes: Nodes, jid: str, sent: list[tuple[str, Element]]) -> type[omemo.SessionManager]:
    class Manager(omemo.SessionManager):
        """Its network is `nodes` and `sent`."""

        @staticmethod
        async def _upload_bundle(bundle: omemo.Bundle) -> None:
            element = from_etree(_ETREES[bundle.namespace].serialize_bundle(bundle))
            nodes.bundles[bundle.namespace, jid, bundle.device_id] = element

        @staticmethod
        async def _download_bundle(namespace: str, bare_jid: str, device_id: int) -> omemo.Bundle:
            found = nodes.bundles.get((namespace, bare_jid, device_id))
            if found is None:
                raise omemo.BundleNotFound
            parsed: omemo.Bundle = _ETREES[namespace].parse_bundle(to_etree(found), bare_jid, device_id)
            return parsed

        @staticmethod
        async def _delete_bundle(namespace: str, device_id: int) -> None:
            nodes.bundles.pop((namespace, jid, device_id), None)

        @staticmethod
        async def _upload_device_list(namespace: str, device_list: omemo.DeviceList) -> None:
            nodes.lists[namespace, jid] = from_etree(_ETREES[namespace].serialize_device_list(device_list))

        @staticmethod
        async def _download_device_list(namespace: str, bare_jid: str) -> omemo.DeviceList:
            found = nodes.lists.get((namespace, bare_jid))
            parsed: omemo.DeviceList = {} if found is None else _ETREES[namespace].parse_device_list(to_etree(found))
            return parsed

        async def _evaluate_custom_trust_level(self, device: omemo.DeviceInformation) -> omemo.TrustLevel:
            return omemo.TrustLevel.TRUSTED

        async def _make_trust_decision(
            self, undecided: frozenset[omemo.DeviceInformation], identifier: str | None
        ) -> None:
            raise AssertionError("nothing is undecided here")

        @staticmethod
        async def _send_message(message: omemo.Message, bare_jid: str) -> None:
            sent.append((bare_jid, from_etree(_ETREES[message.namespace].serialize_message(message))))

    return Manager


@dataclass
class Peer:
    """A client of the user's, or of somebody's. `sent`: the empty messages that it sent by itself."""

    nodes: Nodes
    jid: str
    device_id: int
    manager: omemo.SessionManager
    storage: Memory
    sent: list[tuple[str, Element]]

    @staticmethod
    async def make(nodes: Nodes, jid: str, forms: tuple[Namespace, ...] = tuple(Namespace)) -> "Peer":
        """A new device, announced in these forms."""
        sent: list[tuple[str, Element]] = []
        storage = Memory()
        makers: dict[str, Any] = {Namespace.AXOLOTL: oldmemo.Oldmemo, Namespace.OMEMO_2: twomemo.Twomemo}
        backends = [makers[form](storage) for form in forms]
        manager = await _manager(nodes, jid, sent).create(backends, storage, jid, None, TRUST)
        await manager.after_history_sync()
        own, _ = await manager.get_own_device_information()
        return Peer(nodes, jid, own.device_id, manager, storage, sent)

    def bundle(self, namespace: Namespace) -> Bundle:
        """What it publishes, as we read it."""
        return read_bundle(self.nodes.bundles[namespace, self.jid, self.device_id])

    def listed(self, namespace: Namespace) -> DeviceList:
        """The devices of its account, as we read them."""
        return read_device_list(self.nodes.lists[namespace, self.jid])

    async def refresh(self, jid: str) -> None:
        """It fetches somebody's device lists."""
        for namespace in Namespace:
            await self.manager.refresh_device_list(namespace, jid)

    async def encrypt(self, to: str, content: Mapping[Namespace, bytes]) -> dict[Namespace, Message]:
        """Its message, as we read it."""
        priorities = [namespace.value for namespace in content]
        texts = {namespace.value: octets for namespace, octets in content.items()}
        messages, errors = await self.manager.encrypt(frozenset({to}), texts, priorities)
        assert not errors, errors
        elements = [from_etree(_ETREES[m.namespace].serialize_message(m)) for m in messages]
        return {message.namespace: message for message in map(read_message, elements)}

    async def decrypt(self, element: Element, sender: str) -> bytes | None:
        """What a message of ours says to it."""
        if element.namespace == Namespace.AXOLOTL:
            parsed = await oldmemo.etree.parse_message(to_etree(element), sender, self.jid, self.manager)
        else:
            parsed = twomemo.etree.parse_message(to_etree(element), sender)
        plaintext, _, _ = await self.manager.decrypt(parsed)
        return plaintext
