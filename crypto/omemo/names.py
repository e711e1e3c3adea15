"""What the two forms of OMEMO call things, and how large they may be."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from crypto.xml import Element, element

NS_EME = "urn:xmpp:eme:0"
NS_HINTS = "urn:xmpp:hints"


class Namespace(StrEnum):
    """The forms of OMEMO: XEP-0384 0.4 and later, and 0.3, which most clients speak."""

    OMEMO_2 = "urn:xmpp:omemo:2"
    AXOLOTL = "eu.siacs.conversations.axolotl"

    @property
    def short(self) -> str:
        """As it stands in the names of records."""
        return "2" if self is Namespace.OMEMO_2 else "axolotl"


DEVICES_NODE: Mapping[Namespace, str] = MappingProxyType(
    {
        Namespace.OMEMO_2: "urn:xmpp:omemo:2:devices",
        Namespace.AXOLOTL: "eu.siacs.conversations.axolotl.devicelist",
    }
)
"""The node that holds the list of an account's devices."""
DEVICES_ITEM = "current"
EME_NAMES: Mapping[Namespace, str] = MappingProxyType({Namespace.OMEMO_2: "OMEMO", Namespace.AXOLOTL: "OMEMO"})
"""Names by which XEP-0380 introduces the protocols to clients that do not know them."""

MAX_DEVICE_ID = (1 << 31) - 1
"""Of the ids that are drawn here (XEP-0384, section 5.1)."""
MAX_READ_ID = (1 << 32) - 1
MAX_DEVICES = 64
"""Devices that are taken of one list."""
MAX_PREKEYS = 300
"""Prekeys that are read of one bundle."""
MAX_KEYS = 256
"""Recipients that are read of one message."""
MAX_KEY_OCTETS = 4096
"""Of the part of a message that is for one device."""
MAX_SKIPPED = 1000
"""Messages that may be missing in a row, and whose keys are kept, in one session (XEP-0384, section 4.3)."""
REDUCED_SKIPPED = 50
"""The same with a device that is not believed."""
KEPT_SESSIONS = 5
"""Sessions with one device: the one in use, and those before it, for messages that were under way."""
LEFT_KEYS = 16
"""Former ratchet keys of a peer's by which a repetition is known for one."""
HEARTBEAT = 53
"""From this counter on a receiver answers with an empty message (XEP-0384, section 6)."""
PREKEYS = 100
SIGNED_PREKEY_MS = 7 * 24 * 3600 * 1000
"""How long a signed prekey is offered; it is accepted for as long again."""


def bundles_node(namespace: Namespace, device_id: int) -> str:
    """The node that holds the bundle of a device."""
    if namespace is Namespace.OMEMO_2:
        return "urn:xmpp:omemo:2:bundles"
    return f"eu.siacs.conversations.axolotl.bundles:{device_id}"


def bundle_item(namespace: Namespace, device_id: int) -> str:
    """The id of its item there."""
    return str(device_id) if namespace is Namespace.OMEMO_2 else "current"


def hints(namespace: Namespace) -> tuple[Element, ...]:
    """What stands beside `<encrypted/>`: which protocol it is (XEP-0380), and that it is to be stored (XEP-0334)."""
    named = Element(NS_EME, "encryption", (("namespace", namespace.value), ("name", EME_NAMES[namespace])))
    return named, element(NS_HINTS, "store")
