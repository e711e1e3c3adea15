"""Clients that speak OMEMO, for the tests with real servers."""

from pathlib import Path

from rig.omemo_user import OmemoUser
from rig.profanity_omemo import OmemoProfanity
from rig.xmpp import XmppAccount


class Clients:
    """Makes clients, and stops them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: list[OmemoProfanity | OmemoUser] = []

    def user(self, account: XmppAccount, name: str, *namespaces: str, priority: int = 0) -> OmemoUser:
        """A device on slixmpp-omemo, not yet started; of the older form when no namespaces are given."""
        spoken = namespaces or ("axolotl",)
        user = OmemoUser(self._folder / name, account, name, namespaces=spoken, priority=priority)
        self._made.append(user)
        return user

    async def profanity(self, account: XmppAccount, name: str = "profanity", trust: str = "blind") -> OmemoProfanity:
        """A device in Profanity, logged in, with keys."""
        client = OmemoProfanity(self._folder / name, account)
        self._made.append(client)
        await client.online()
        await client.generate(trust)
        return client

    async def stop(self) -> None:
        """Stop them all."""
        for one in self._made:
            await one.stop()
