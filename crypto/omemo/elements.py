"""Device lists and messages as XML (XEP-0384, sections 5.2, 5.5; 0.3: sections 4.2, 4.5)."""

from typing import TypeVar

from crypto.omemo import curve
from crypto.omemo.faults import BadBundle, Malformed
from crypto.omemo.model import DeviceList, Key, ListedDevice, Message
from crypto.omemo.names import MAX_DEVICES, MAX_KEY_OCTETS, MAX_KEYS, Namespace
from crypto.omemo.reading import b64, flag, number, only, several, unb64
from crypto.xml import Element

T = TypeVar("T")
_LIST = {Namespace.OMEMO_2: "devices", Namespace.AXOLOTL: "list"}
_MAX_LABEL = 256


def _namespace_of(element: Element, names: dict[Namespace, str]) -> Namespace:
    for namespace, name in names.items():
        if element.namespace == namespace and element.name == name:
            return namespace
    raise Malformed


# ---------------------------------------------------------------- device lists
def device_list_element(devices: DeviceList) -> Element:
    """`<devices/>`, in the older form `<list/>`."""
    return Element(
        devices.namespace,
        _LIST[devices.namespace],
        (),
        tuple(_device(devices.namespace, device) for device in devices.devices),
    )


def _device(namespace: Namespace, device: ListedDevice) -> Element:
    attributes: list[tuple[str, str]] = [("id", str(device.id))]
    if namespace is Namespace.OMEMO_2 and device.label is not None and device.label_signature is not None:
        attributes += [("label", device.label), ("labelsig", b64(device.label_signature))]
    return Element(namespace, "device", tuple(attributes))


def read_device_list(element: Element) -> DeviceList:
    """A device list: each id once, of very long lists the beginning. Entries without an id that is one are passed over.

    Raises Malformed when it is no device list.
    """
    namespace = _namespace_of(element, _LIST)
    found: dict[int, ListedDevice] = {}
    for child in several(element, "device")[: 4 * MAX_DEVICES]:
        device = _read_device(namespace, child)
        if device is not None and len(found) < MAX_DEVICES:
            found.setdefault(device.id, device)
    return DeviceList(namespace, tuple(found.values()))


def _read_device(namespace: Namespace, element: Element) -> ListedDevice | None:
    try:
        id_ = number(element.attribute("id"))
    except Malformed:
        return None
    label, signature = element.attribute("label"), element.attribute("labelsig")
    if namespace is not Namespace.OMEMO_2 or label is None or signature is None or len(label) > _MAX_LABEL:
        return ListedDevice(id_)
    try:
        return ListedDevice(id_, label, unb64(signature))
    except Malformed:
        return ListedDevice(id_)


def label_is_signed(device: ListedDevice, signing_key: bytes) -> bool:
    """Whether the label may be shown: it is signed by the device's own identity key. It decides nothing else."""
    if device.label is None or device.label_signature is None:
        return False
    try:
        curve.require_signature(signing_key, device.label.encode(), device.label_signature)
    except BadBundle:
        return False
    return True


# ---------------------------------------------------------------- messages
def is_encrypted(element: Element) -> Namespace | None:
    """The form that the element is a message of."""
    if element.name != "encrypted":
        return None
    return next((namespace for namespace in Namespace if element.namespace == namespace), None)


def message_element(message: Message) -> Element:
    """`<encrypted/>`."""
    namespace = message.namespace
    header: list[Element] = []
    if namespace is Namespace.OMEMO_2:
        for jid in dict.fromkeys(key.jid for key in message.keys):
            inside = tuple(_key(namespace, "kex", key) for key in message.keys if key.jid == jid)
            header.append(Element(namespace, "keys", (("jid", jid or ""),), inside))
    else:
        header += [_key(namespace, "prekey", key) for key in message.keys]
        header.append(Element(namespace, "iv", (), (b64(message.iv or b""),)))
    parts = [Element(namespace, "header", (("sid", str(message.sender_device)),), tuple(header))]
    if message.payload is not None:
        parts.append(Element(namespace, "payload", (), (b64(message.payload),)))
    return Element(namespace, "encrypted", (), tuple(parts))


def _key(namespace: Namespace, exchanging: str, key: Key) -> Element:
    attributes = (("rid", str(key.device_id)),) + (((exchanging, "true"),) if key.prekey else ())
    return Element(namespace, "key", attributes, (b64(key.octets),))


def read_message(element: Element) -> Message:
    """A message. Raises Malformed; nothing of it is authentic yet."""
    namespace = is_encrypted(element)
    if namespace is None:
        raise Malformed
    header = only(element, "header")
    payloads = several(element, "payload")
    if len(payloads) > 1:
        raise Malformed
    payload = unb64(payloads[0].text) if payloads else None
    if namespace is Namespace.OMEMO_2:
        keys, iv = _keys_2(header), None
    else:
        keys = [_read_key(None, "prekey", child) for child in _bounded(several(header, "key"))]
        iv = unb64(only(header, "iv").text)
    return Message(namespace, number(header.attribute("sid")), tuple(keys), iv, payload)


def _keys_2(header: Element) -> list[Key]:
    found: list[tuple[str, Element]] = []
    for group in several(header, "keys"):
        jid = group.attribute("jid")
        if jid is None:
            raise Malformed
        found += [(jid, child) for child in several(group, "key")]
    return [_read_key(jid, "kex", child) for jid, child in _bounded(found)]


def _read_key(jid: str | None, exchanging: str, element: Element) -> Key:
    octets = unb64(element.text)
    if len(octets) > MAX_KEY_OCTETS:
        raise Malformed
    return Key(jid, number(element.attribute("rid")), flag(element.attribute(exchanging)), octets)


def _bounded(found: list[T]) -> list[T]:
    if len(found) > MAX_KEYS:
        raise Malformed
    return found
