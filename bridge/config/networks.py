"""What the configuration must know of each adapter: the closed list, its addresses, what its leg can give.

An adapter's own declaration is in its halves; a test compares the two.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from bridge.config.jid import NotAnAddress
from bridge.config.mxid import user_id

AssuranceName = Literal["end-to-end", "end-to-end-no-forward-secrecy", "transport", "none"]
"""Best first."""
ASSURANCES: tuple[AssuranceName, ...] = ("end-to-end", "end-to-end-no-forward-secrecy", "transport", "none")
FarNetwork = Literal["matrix", "loopback"]
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
