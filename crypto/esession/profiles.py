"""Where the letter of the XEPs and the only deployed implementation differ: the one table of it.

`LETTER` and `DEPLOYED` are what we speak first. The other rows are mixtures that a reader of the specifications can
arrive at; as responder we recognise them by what authenticates, as initiator we never choose them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Profile(StrEnum):
    """How a peer reads the specifications."""

    DEPLOYED = "deployed"
    LETTER = "letter"
    SIMPLIFIED = "simplified"
    """XEP-0217, "Generating Session Keys": every key is 128 bits, MAC and SIGMA keys too."""
    LONG_KEY = "long-key"
    LATE_COUNTER = "late-counter"


@dataclass(frozen=True, slots=True)
class Traits:
    """What a profile decides."""

    cipher_key: int
    """Octets of the cipher key, taken from the end of the HMAC."""
    mac_key: int
    """Octets of the MAC and SIGMA keys, likewise."""
    first_block: int
    """0: the key stream begins with the block of the counter; 1: the counter is incremented before use."""
    runs_on: bool
    """Whether the rest of a partly used block of key stream serves the next stanza."""
    short_sas: bool
    """Whether the peer shows the short authentication string without leading `a` digits."""


TRAITS: Mapping[Profile, Traits] = MappingProxyType(
    {
        Profile.DEPLOYED: Traits(cipher_key=32, mac_key=32, first_block=1, runs_on=True, short_sas=True),
        Profile.LETTER: Traits(cipher_key=16, mac_key=32, first_block=0, runs_on=False, short_sas=False),
        Profile.SIMPLIFIED: Traits(cipher_key=16, mac_key=16, first_block=0, runs_on=False, short_sas=False),
        Profile.LONG_KEY: Traits(cipher_key=32, mac_key=32, first_block=0, runs_on=False, short_sas=False),
        Profile.LATE_COUNTER: Traits(cipher_key=16, mac_key=32, first_block=1, runs_on=False, short_sas=False),
    }
)


def other(profile: Profile) -> Profile:
    """The profile to try once when a negotiation with this one failed at the third message."""
    return Profile.LETTER if profile is Profile.DEPLOYED else Profile.DEPLOYED
