"""What stands between the two streams: sees each stanza, says what becomes of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ToServer:
    """One whole stanza (UTF-8; the namespace is `jabber:client` when none is declared) towards the server."""

    octets: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ToClient:
    """One whole stanza, in the same form, towards the local client.

    `taken` is called once the client has it: acknowledged (XEP-0198), or written to a client that acknowledges nothing.
    """

    octets: bytes = field(repr=False)
    taken: Callable[[], None] | None = field(default=None, repr=False, compare=False)


Action = ToServer | ToClient
Push = Callable[[Sequence[Action]], None]
"""Hands on actions at any time. Never blocks; called in the event loop only; the order of calls is kept."""


class Interceptor(Protocol):
    """Decides about stanzas. Calls of one direction follow each other; the two directions run side by side.

    A stanza is acknowledged to its sender once the far sides have taken all that its answer holds. An exception ends
    the session, and the stanza stays unacknowledged.
    """

    def attach(self, push: Push | None) -> None:
        """How to act unasked, from now on; None: no more."""

    async def begun(self, jid: str) -> None:
        """A session stands, with this full JID; before its first stanza."""

    async def ended(self) -> None:
        """The session is over. What is pushed to the server meanwhile is still written."""

    async def from_client(self, stanza: bytes) -> Sequence[Action]:
        """A stanza from the client, as it was received: whole, well-formed, without DTD, standing alone."""

    async def from_server(self, stanza: bytes) -> Sequence[Action]:
        """A stanza from the server, the same."""


class PassThrough:
    """Hands every stanza on unchanged."""

    def attach(self, push: Push | None) -> None:
        """It never acts unasked."""

    async def begun(self, jid: str) -> None:
        """Nothing to do."""

    async def ended(self) -> None:
        """Nothing to do."""

    async def from_client(self, stanza: bytes) -> Sequence[Action]:
        """To the server."""
        return [ToServer(stanza)]

    async def from_server(self, stanza: bytes) -> Sequence[Action]:
        """To the client."""
        return [ToClient(stanza)]
