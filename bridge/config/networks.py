"""What the configuration must know of each adapter: the built-in ones, their addresses, what their legs can give, and
how those of other packages are named.

An adapter's own declaration is in its halves; a test compares the two.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from bridge.config.jid import NotAnAddress
from bridge.config.mxid import user_id
from bridge.import_guard import is_inside
from bridge.wire.values import CONTROL

AssuranceName = Literal["end-to-end", "end-to-end-no-forward-secrecy", "transport", "none"]
"""Best first."""
ASSURANCES: tuple[AssuranceName, ...] = ("end-to-end", "end-to-end-no-forward-secrecy", "transport", "none")
TrustName = Literal["cross-signed", "verified", "any-device"]
"""Which devices of a Matrix contact are given keys; the first is the default."""
NEAR_NETWORK = "xmpp"
MAX_ADDRESS = 1024


@dataclass(frozen=True, slots=True)
class NetworkFacts:
    """One far network."""

    assurance: AssuranceName
    """The best its leg can give."""
    address: Callable[[str], str]
    """The normal form of an address; raises `NotAnAddress`."""
    address_is: str
    """What an address is called, with its article."""
    example: str

    def gives(self, required: str) -> bool:
        """Whether its leg can be as good as required."""
        words: tuple[str, ...] = ASSURANCES
        return words.index(self.assurance) <= words.index(required)


def printable(text: str) -> str:
    """Any address without white space or control characters. Raises `NotAnAddress`."""
    if not text:
        raise NotAnAddress("is empty")
    if len(text) > MAX_ADDRESS:
        raise NotAnAddress(f"is longer than {MAX_ADDRESS} characters")
    if any(not char.isprintable() or char.isspace() for char in text):
        raise NotAnAddress("contains white space or a control character")
    return text


FAR_NETWORKS: Mapping[str, NetworkFacts] = MappingProxyType(
    {
        "matrix": NetworkFacts("end-to-end", user_id, "a Matrix user ID", "@bob:matrix.org"),
        "loopback": NetworkFacts("none", printable, "a loopback address", "echo"),
    }
)
RESERVED = frozenset({NEAR_NETWORK, *FAR_NETWORKS, "enclave", "gateway", CONTROL})
"""Names that no other network may have."""


def other_network(assurance: object) -> NetworkFacts:
    """A network whose adapter is another package's, with the assurance that the operator wrote down for it."""
    declared = next((word for word in ASSURANCES if word == assurance), ASSURANCES[0])
    return NetworkFacts(declared, printable, "an address", "bob")


_CLASS = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+):[A-Za-z_]\w*", re.ASCII)


def outside_half(path: str) -> str:
    """`package.module:Class`, in a module that the gateway process may load. Raises `NotAnAddress`."""
    if is_inside(_module(path)):
        raise NotAnAddress("is in a module of the inside, which the gateway process refuses to load")
    return path


def inside_half(path: str) -> str:
    """`package.inside:Class`: the gateway process refuses to load modules of this name. Raises `NotAnAddress`."""
    if not is_inside(_module(path)):
        raise NotAnAddress("is not in a module called “inside” or “inside_…”, which the gateway refuses to load")
    return path


def _module(path: str) -> str:
    match = _CLASS.fullmatch(path)
    if match is None:
        raise NotAnAddress("is not a module of a package, a colon, and a class")
    return match.group(1)
