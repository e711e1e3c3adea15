"""The Matrix half in the gateway process: one connection for each account, ciphertext only."""

import asyncio
from collections.abc import Mapping, Sequence

from adapters.matrix import names
from adapters.matrix.outside_account import NOT_READY, MatrixAccount
from adapters.matrix.outside_appservice import Appservice, GhostAccount, ghost_account
from adapters.matrix.outside_appservice_login import AS_TOKEN
from adapters.matrix.outside_files import MatrixCarrier
from adapters.outside_api import AccountRoutes, Edge, Outcome
from bridge.filing import FileDesk
from bridge.wire.files import FILE_QUIET
from bridge.wire.link import Carry


class MatrixOutside:
    """Clients of the users' homeservers. `settings` has `homeserver`, the base URL for accounts that name none."""

    network = names.NETWORK
    pipelined = False
    quiet = FILE_QUIET

    def __init__(self, settings: Mapping[str, str]) -> None:
        self._settings = settings
        self._files = FileDesk(settings.get("spool"))
        self._edge: Edge | None = None
        self._accounts: dict[str, MatrixAccount] = {}
        self._appservice = Appservice.of(settings, self._ghosts)

    async def connect(self, edge: Edge, routes: Sequence[AccountRoutes]) -> None:
        """Begin to connect every account that has a Matrix side."""
        self._edge = edge
        if self._appservice is not None:
            self._appservice.start(edge)
        await self.remap(routes)

    async def remap(self, routes: Sequence[AccountRoutes]) -> None:
        """Begin with new accounts, end with those that are gone, tell the others their contacts."""
        assert self._edge is not None
        wanted = {route.account: route for route in routes if self.network in route.far_addresses}
        for account in self._accounts.keys() - wanted.keys():
            await self._accounts.pop(account).close()
        for account, route in wanted.items():
            present = self._accounts.get(account)
            if present is not None and _same_login(present.routes, route):
                present.remap(route)
                continue
            if present is not None:
                await present.close()
            self._accounts[account] = self._account(route, self._edge)
            self._accounts[account].start()

    def _account(self, route: AccountRoutes, edge: Edge) -> MatrixAccount:
        if AS_TOKEN not in route.credentials.get(self.network, {}):
            return MatrixAccount.of(route, edge, self._settings)
        # Without a service: the map was changed since the start. Then it asks all the time, as any client does.
        service = self._appservice
        return ghost_account(route, edge, self._settings, service.reached if service is not None else lambda: False)

    def _ghosts(self) -> list[GhostAccount]:
        return [account for account in self._accounts.values() if isinstance(account, GhostAccount)]

    async def carry(self, account: str, request: Carry) -> Outcome:
        """Carry one request out."""
        present = self._accounts.get(account)
        if FileDesk.handles(request):
            server = present.reachable if present is not None else None
            return await self._files.carry(account, request, None if server is None else MatrixCarrier(server))
        return await present.carry(request) if present is not None else NOT_READY

    async def close(self) -> None:
        """End all connections."""
        if self._appservice is not None:
            await self._appservice.close()
        await self._files.close()
        accounts, self._accounts = list(self._accounts.values()), {}
        await asyncio.gather(*(account.close() for account in accounts))


def _same_login(one: AccountRoutes, other: AccountRoutes) -> bool:
    network = names.NETWORK
    return (one.far_addresses[network], one.credentials.get(network)) == (
        other.far_addresses[network],
        other.credentials.get(network),
    )
