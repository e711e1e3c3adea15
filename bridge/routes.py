"""From the orders of the supervisor to what the outside halves are given."""

from collections.abc import Iterable

from adapters.outside_api import AccountRoutes, OutsideHalf, Route
from adapters.registry import BUILTIN, load
from bridge.wire.control import AccountRouteMap, NetworkSettings

ENTRY = "adapter"
"""Setting of a network that is not built in: its outside half as `package.module:Class`."""


class UnknownNetwork(Exception):
    """No adapter of that name is built in, and none is named in its settings, or it cannot be loaded."""

    def __init__(self, network: str) -> None:
        super().__init__(f"there is no adapter for the network {network!r}, or it cannot be loaded")


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
    """One outside half for each network, made from its settings (text, by name). UnknownNetwork.

    A class that wants them otherwise than as one mapping has a class method `from_settings`.
    """
    return [_half(given) for given in networks]


def _half(given: NetworkSettings) -> OutsideHalf:
    settings = {setting.name: setting.value for setting in given.settings}
    builtin = BUILTIN.get(given.network)
    path = settings.pop(ENTRY, None) if builtin is None else builtin.outside
    if path is None:
        raise UnknownNetwork(given.network)
    try:
        made = load(path)
    except (ImportError, AttributeError):
        made = None
    if made is None:
        raise UnknownNetwork(given.network)
    half: OutsideHalf = getattr(made, "from_settings", made)(settings)
    return half
