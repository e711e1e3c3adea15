"""The outside half of the smallest network there is: everything sent comes back.

Read this file and `inside` first when you write an adapter of your own; docs/adapters.md walks through them.
"""

from collections.abc import Mapping, Sequence

from adapters.loopback.names import ECHOED, NETWORK
from adapters.outside_api import AccountRoutes, Edge, Outcome
from bridge.wire.link import Carry
from bridge.wire.values import Address, Sealed


class LoopbackOutside:
    """adapters.outside_api.OutsideHalf without a network behind it. It sees addresses and ciphertext."""

    network = NETWORK
    pipelined = True
    quiet = frozenset[str]()

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        """`settings` are the adapter's own in the configuration; it has none."""
        self._edge: Edge | None = None

    async def connect(self, edge: Edge, routes: Sequence[AccountRoutes]) -> None:
        """Nothing to connect to."""
        self._edge = edge
        edge.health(None, "up", "the loopback network is always there")

    async def remap(self, routes: Sequence[AccountRoutes]) -> None:
        """No contact needs anything."""

    async def carry(self, account: str, request: Carry) -> Outcome:
        """Hand the octets back as an arrival; the request is done once that is durable."""
        to, body = request.values.get("to"), request.values.get("body")
        if self._edge is None:
            return Outcome(code="not-connected", retry=True)
        if not isinstance(to, Address) or not isinstance(body, Sealed):
            return Outcome(code="malformed")
        await self._edge.arrived(account, ECHOED, to.v.encode() + b"\0" + body.v)
        return Outcome()

    async def close(self) -> None:
        """Nothing to close."""
        self._edge = None
