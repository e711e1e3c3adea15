"""Commands to the gateway (XEP-0050) as they look without a session: they are listed, and refused with the reason.

They are carried out in the enclave, for who asks inside an encrypted session: here anybody on the way could ask.
"""

import xml.etree.ElementTree as ET
from html import escape

from adapters.xmpp.outside_disco import NS_COMMANDS, NS_ITEMS

COMMANDS = {
    "contacts": "Contacts and how they are verified",
    "fingerprints": "Keys of identities",
    "verify": "Verify a contact",
    "devices": "Your OMEMO devices",
    "trust": "Trust or distrust one of your OMEMO devices",
}
"""A test compares them with those of the enclave."""


def command_items(to: str) -> str:
    """The `<query/>` that lists the commands."""
    rows = "".join(
        f"<item jid='{escape(to, quote=True)}' node='{node}' name='{escape(name, quote=True)}'/>"
        for node, name in COMMANDS.items()
    )
    return f"<query xmlns='{NS_ITEMS}' node='{NS_COMMANDS}'>{rows}</query>"


def plain_command(iq: ET.Element) -> bool:
    """Whether somebody gives a command without encryption."""
    return iq.get("type") == "set" and len(iq) == 1 and iq[0].tag == f"{{{NS_COMMANDS}}}command"
