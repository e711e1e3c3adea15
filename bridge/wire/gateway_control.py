"""What crosses the control channel of the gateway: supervisor <-> gateway. A closed union each way."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from bridge.wire.control import MAX_ACCOUNTS, Counter, FarAddress
from bridge.wire.values import AccountId, AddressText, ContactId, Name, Strict

Sentence = Annotated[str, StringConstraints(max_length=1024)]
MAX_RELEASED = 1000
"""Parked inputs in one order to release them."""


# ---------------------------------------------------------------- supervisor -> gateway
class RouteMap(Strict):
    """One contact as the gateway may know it (adapters.outside_api.Route)."""

    contact: ContactId
    network: Name
    address: AddressText
    alias: AddressText


class Setting(Strict):
    """One named setting of an adapter or credential of an account."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,47}$")]
    value: str = Field(max_length=8192, repr=False)


class NetworkSettings(Strict):
    """Settings by network, for example the component's `jid`, `host`, `port`, `secret`."""

    network: Name
    settings: tuple[Setting, ...]


class AccountRouteMap(Strict):
    """One account as the gateway may know it (adapters.outside_api.AccountRoutes)."""

    account: AccountId
    near_address: AddressText
    far_addresses: tuple[FarAddress, ...]
    contacts: tuple[RouteMap, ...]
    credentials: tuple[NetworkSettings, ...] = Field(repr=False)


class GatewayServe(Strict):
    """First order to a gateway: what to serve and with which credentials."""

    t: Literal["serve"] = "serve"
    accounts: tuple[AccountRouteMap, ...] = Field(max_length=MAX_ACCOUNTS)
    networks: tuple[NetworkSettings, ...]
    ledger_path: Sentence
    log_level: Literal["debug", "info", "warning", "error"]
    log_format: Literal["console", "json"]


class LinkFollows(Strict):
    """A new enclave link: its descriptor comes as ancillary data of the single octet sent after this frame."""

    t: Literal["link-follows"] = "link-follows"


class GatewayRemap(Strict):
    """The operator changed the map."""

    t: Literal["remap"] = "remap"
    accounts: tuple[AccountRouteMap, ...] = Field(max_length=MAX_ACCOUNTS)


class Drain(Strict):
    """Take no more in, finish what is there within the bound, then end."""

    t: Literal["drain"] = "drain"
    within_ms: int = Field(ge=0, lt=600_000)


class ReleaseParked(Strict):
    """The operator wants these parked inputs tried again."""

    t: Literal["release-parked"] = "release-parked"
    nonce: int = Field(ge=0, lt=1 << 53)
    positions: tuple[Annotated[int, Field(ge=1, lt=1 << 53)], ...] = Field(max_length=MAX_RELEASED)


class AskGateway(Strict):
    """How do the connections stand?"""

    t: Literal["ask-gateway"] = "ask-gateway"
    nonce: int = Field(ge=0, lt=1 << 53)


ToGatewayControl = Annotated[
    GatewayServe | LinkFollows | GatewayRemap | Drain | ReleaseParked | AskGateway, Field(discriminator="t")
]


# ---------------------------------------------------------------- gateway -> supervisor (hostile)
class Health(Strict):
    """How a connection stands, with a constant sentence for the operator."""

    t: Literal["health"] = "health"
    network: Name
    account: AccountId | None
    state: Name
    detail: Sentence


class Serving(Strict):
    """The ledger is open and the outside halves are started."""

    t: Literal["serving"] = "serving"


class Refusing(Strict):
    """The gateway cannot serve (for example: the ledger is another's); it ends."""

    t: Literal["refusing"] = "refusing"
    detail: Sentence


class Drained(Strict):
    """Nothing is left to do, or the bound passed with so many entries left (they are kept)."""

    t: Literal["drained"] = "drained"
    left: int = Field(ge=0)


class GatewayStatus(Strict):
    """Answer to AskGateway."""

    t: Literal["gateway-status"] = "gateway-status"
    nonce: int
    inbox: int = Field(ge=0)
    outbox: int = Field(ge=0)
    parked: int = Field(ge=0)
    counters: tuple[Counter, ...]
    health: tuple[Health, ...]


class Released(Strict):
    """Answer to ReleaseParked: how many there were. The others are not parked (any more)."""

    t: Literal["released"] = "released"
    nonce: int
    count: int = Field(ge=0)


FromGatewayControl = Annotated[
    Serving | Refusing | Health | Drained | GatewayStatus | Released, Field(discriminator="t")
]
