"""From the orders of the supervisor to what the outside halves are given."""

from collections.abc import Iterable

from adapters.outside_api import AccountRoutes, OutsideHalf, Route
from adapters.registry import BUILTIN, ENTRY, Unloadable, half
from bridge.wire.gateway_control import AccountRouteMap, NetworkSettings


def account_routes(accounts: Iterable[AccountRouteMap]) -> list[AccountRoutes]:
    """The accounts as the halves see them."""
    return [
        AccountRoutes(
            account=account.account,
            near_address=account.near_address,
            far_addresses={far.network: far.address for far in account.far_addresses},
            contacts=tuple(Route(c.contact, c.network, c.address, c.alias) for c in account.contacts),
            credentials={
                given.network: {setting.name: setting.value for setting in given.settings}
                for given in account.credentials
            },
        )
        for account in accounts
    ]


def outside_halves(networks: Iterable[NetworkSettings]) -> list[OutsideHalf]:
    """One outside half for each network, made from its settings (text, by name). Raises Unloadable.

    A class that wants them otherwise than as one mapping has a class method `from_settings`.
    """
    return [_half(given) for given in networks]


def _half(given: NetworkSettings) -> OutsideHalf:
    settings = {setting.name: setting.value for setting in given.settings}
    builtin = BUILTIN.get(given.network)
    path = settings.pop(ENTRY, None) if builtin is None else builtin.outside
    if path is None:
        raise Unloadable(given.network, "none is built in or named for it")
    made: OutsideHalf = half(given.network, path, lambda found: getattr(found, "from_settings", found)(settings))
    return made
