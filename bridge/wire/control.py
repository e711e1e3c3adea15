"""What crosses the control channels: supervisor <-> enclave, supervisor <-> gateway. Four closed unions."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from bridge.wire.values import AccountId, AddressText, ContactId, Name, Strict

AssuranceName = Literal["end-to-end", "end-to-end-no-forward-secrecy", "transport", "none"]
Sentence = Annotated[str, StringConstraints(max_length=1024)]
MAX_ACCOUNTS = 1024
MAX_RELEASED = 1000
"""Parked inputs in one order to release them."""


MAX_OPTION = 400 << 10
"""Characters of the longest option: a certificate of 256 KiB in base64."""
MAX_OPTIONS = 64


# ---------------------------------------------------------------- supervisor -> enclave (trusted)
class Option(Strict):
    """One setting of the near network's sessions, as a flat text; some are secrets."""

    name: Name
    value: str = Field(max_length=MAX_OPTION, repr=False)


Options = Annotated[tuple[Option, ...], Field(max_length=MAX_OPTIONS, repr=False)]


class ContactMap(Strict):
    """One contact of the operator's map."""

    id: ContactId
    network: Name
    address: AddressText
    alias: AddressText
    require: AssuranceName
    options: Options = ()
    """What differs from the account's."""


class FarAddress(Strict):
    """The user's own address on a far network."""

    network: Name
    address: AddressText


class AccountMap(Strict):
    """One account of the operator's map. `slot` is its place in the shared register."""

    id: AccountId
    slot: int = Field(ge=0, lt=MAX_ACCOUNTS)
    near_network: Name
    near_address: AddressText
    far_addresses: tuple[FarAddress, ...]
    contacts: tuple[ContactMap, ...]
    options: Options = ()


class EnclaveConfigure(Strict):
    """First order to an enclave: the sealing key and the map. `adapters` names the inside halves to load from."""

    t: Literal["configure"] = "configure"
    sealing_key: bytes = Field(min_length=32, max_length=32, repr=False)
    accounts: tuple[AccountMap, ...] = Field(max_length=MAX_ACCOUNTS)


class EnclaveRemap(Strict):
    """The operator changed the map."""

    t: Literal["remap"] = "remap"
    accounts: tuple[AccountMap, ...] = Field(max_length=MAX_ACCOUNTS)


class AskStatus(Strict):
    """How do the legs stand?"""

    t: Literal["ask-status"] = "ask-status"
    nonce: int = Field(ge=0, lt=1 << 53)


SasText = Annotated[str, StringConstraints(pattern=r"^[a-z0-9 ]{1,64}$")]


class TrustDecision(Strict):
    """The operator decided about a contact's leg."""

    t: Literal["trust"] = "trust"
    nonce: int = Field(ge=0, lt=1 << 53)
    account: AccountId
    contact: ContactId
    network: Name
    decision: Literal["verify", "distrust"]
    sas: SasText | None = None
    """The string that was compared, where the leg has one: the decision holds for no other session."""


ToEnclaveControl = Annotated[EnclaveConfigure | EnclaveRemap | AskStatus | TrustDecision, Field(discriminator="t")]


# ---------------------------------------------------------------- enclave -> supervisor
class Measure(Strict):
    """One measure of the lockdown: whether it was reached, and the error number when it was not."""

    name: Name
    achieved: bool
    errno: int = Field(default=0, ge=0, lt=4096)


class Locked(Strict):
    """First word of an enclave, before it read a byte: what its lockdown achieved, and whether that is enough."""

    t: Literal["locked"] = "locked"
    measures: tuple[Measure, ...]
    sufficient: bool


class Configured(Strict):
    """The map was taken."""

    t: Literal["configured"] = "configured"


class Leg(Strict):
    """One leg to one contact (adapters.inside_api.LegStatus)."""

    account: AccountId
    contact: ContactId
    network: Name
    assurance: AssuranceName
    state: Name
    verified: bool
    sas: SasText | None
    peer: AddressText | None
    waiting: int = Field(ge=0)


class Counter(Strict):
    """How often a report code came."""

    code: Name
    count: int = Field(ge=0)


class Status(Strict):
    """Answer to AskStatus. `unloaded` lists accounts whose state is not in memory."""

    t: Literal["status"] = "status"
    nonce: int
    legs: tuple[Leg, ...]
    counters: tuple[Counter, ...]
    unloaded: tuple[AccountId, ...]


class Decided(Strict):
    """Answer to TrustDecision: `ok`, or why not."""

    t: Literal["decided"] = "decided"
    nonce: int
    code: Name


FromEnclaveControl = Annotated[Locked | Configured | Status | Decided, Field(discriminator="t")]


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
