"""Holding back the end of what came from a server while it is only a part of a tag.

Expat since 2.6, and older ones with the fix of CVE-2023-52425 (Debian 12), put a part of a tag off until the input
has doubled. The last stanza of a burst would then wait for the next one. Given whole tags only, expat puts nothing off.
"""

import re
from typing import Final

_WHOLE: Final = re.compile(
    rb"""(?: [^<&]++
    | &[^;]*+;
    | <!--.*?--> | <!\[CDATA\[.*?\]\]> | <\?.*?\?>
    | <(?!!--|!\[CDATA\[|\?) [^>"']*+ (?: (?: "[^"]*+" | '[^']*+' ) [^>"']*+ )*+ >
    )*+""",
    re.VERBOSE | re.DOTALL,
)
_ENDING: Final = re.compile(b"[>;]")


class WholeTokens:
    """Takes an XML stream in pieces and gives it back in pieces that end with a text or with a whole tag."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, octets: bytes) -> bytes:
        """What can be handed on now."""
        begun = bool(self._held)
        self._held += octets
        if begun and not _ENDING.search(octets):
            return b""
        found = _WHOLE.match(self._held)
        assert found is not None  # it matches nothing, too
        end = found.end()
        del found  # it would keep the octets from being taken away
        ready = bytes(self._held[:end])
        del self._held[:end]
        return ready

    @property
    def waiting(self) -> int:
        """Octets of the tag, reference or section that has not ended yet."""
        return len(self._held)
