"""Holding back the end of what came from a server while it is only a part of a tag.

Expat since 2.6, and older ones with the fix of CVE-2023-52425 (Debian 12), put a part of a tag off until the input
has doubled. The last stanza of a burst would then wait for the next one. Given whole tags only, expat puts nothing off.
"""

import re
from typing import Final

MAX_TOKEN: Final = 4 << 20
"""Octets of a tag, a reference or a section that has no end."""

_OPENING = re.compile(rb"[<&]")
_IN_TAG = re.compile(rb"[>\"']")
_ENDS: Final = {b"<![CDATA[": b"]]>", b"<!--": b"-->", b"<?": b"?>", b"&": b";"}


class TokenTooLong(Exception):
    """A tag, a reference or a section does not end."""


class WholeTokens:
    """Takes an XML stream in pieces and gives it back in pieces that end with a text or with a whole tag."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._whole = 0
        self._at = 0
        self._until = b""
        self._in_tag = False

    def feed(self, octets: bytes) -> bytes:
        """What can be handed on now. Raises TokenTooLong."""
        self._held += octets
        while self._advance():
            pass
        ready = bytes(self._held[: self._whole])
        del self._held[: self._whole]
        self._at -= self._whole
        self._whole = 0
        if len(self._held) > MAX_TOKEN:
            raise TokenTooLong("a tag does not end")
        return ready

    def _advance(self) -> bool:
        """Go on to the next mark; False when it has not come yet."""
        if self._until:
            return self._seek_end()
        if self._in_tag:
            return self._seek_in_tag()
        found = _OPENING.search(self._held, self._at)
        self._at = self._whole = found.start() if found else len(self._held)
        return self._open() if found else False

    def _open(self) -> bool:
        """What begins here; a few octets may not tell yet."""
        first = bytes(self._held[self._at : self._at + 9])
        for opening, end in _ENDS.items():
            if first.startswith(opening):
                self._at += len(opening)
                self._until = end
                return True
            if opening.startswith(first):
                return False
        self._at += 1
        self._in_tag = True
        return True

    def _seek_end(self) -> bool:
        """The end of a quotation, a reference, or a section."""
        found = self._held.find(self._until, self._at)
        if found < 0:
            self._at = max(self._at, len(self._held) - len(self._until) + 1)
            return False
        self._at = found + len(self._until)
        self._until = b""
        if not self._in_tag:
            self._whole = self._at
        return True

    def _seek_in_tag(self) -> bool:
        """The end of a tag, or a quotation in it."""
        found = _IN_TAG.search(self._held, self._at)
        self._at = found.end() if found else len(self._held)
        if found is None:
            return False
        if found[0] == b">":
            self._in_tag = False
            self._whole = self._at
        else:
            self._until = found[0]
        return True
