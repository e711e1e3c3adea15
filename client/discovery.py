"""Which resources of a contact speak ESessions: by presence and service discovery (XEP-0116, section 3)."""

from collections.abc import Callable, Collection
from typing import Any

from slixmpp import JID
from slixmpp.exceptions import XMPPError

from client.stanzas import NS_ESESSION, NS_STANZA_ENCRYPTION, NS_STANZA_ID
from crypto.esession.profiles import Profile

ANSWER_S = 10
"""Seconds that a resource has to answer."""


def announced_profile(features: Collection[str]) -> Profile | None:
    """Who announces all of this is younger than the deployed implementation, and reads the XEPs by the letter."""
    return Profile.LETTER if {NS_ESESSION, NS_STANZA_ENCRYPTION, NS_STANZA_ID} <= set(features) else None


class Discovery:
    """Asks each resource once while it is available; `found` is told every time one that can shows itself."""

    def __init__(self, xmpp: Any, found: Callable[[JID, Profile | None], None]) -> None:
        self._xmpp = xmpp
        self._found = found
        self._available: set[str] = set()
        self._able: dict[str, Profile | None] = {}
        self._asking: set[str] = set()

    def clear(self) -> None:
        """The stream is gone: whoever was there must show itself again."""
        self._available.clear()
        self._able.clear()

    def gone(self, peer: JID) -> None:
        """The resource is unavailable."""
        self._available.discard(peer.full)
        self._able.pop(peer.full, None)

    async def came(self, peer: JID) -> None:
        """The resource is available, or says so again."""
        self._available.add(peer.full)
        if peer.full not in self._able and not await self._ask(peer):
            return
        if peer.full in self._available:
            self._found(peer, self._able[peer.full])

    async def _ask(self, peer: JID) -> bool:
        if peer.full in self._asking:
            return False
        self._asking.add(peer.full)
        try:
            features = await self.features(peer, ANSWER_S)
        except XMPPError:
            return False
        finally:
            self._asking.discard(peer.full)
        if NS_ESESSION not in features:
            return False
        self._able[peer.full] = announced_profile(features)
        return True

    async def features(self, peer: JID, timeout_s: float) -> Collection[str]:
        """What the resource announces. Raises XMPPError when it does not answer, or with an error."""
        info = await self._xmpp.plugin["xep_0030"].get_info(jid=peer, timeout=timeout_s, cached=False)
        found: Collection[str] = info["disco_info"]["features"]
        return found
