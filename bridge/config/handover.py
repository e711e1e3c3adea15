"""What each process gets of the configuration, as the orders of the control channels.

The enclave gets the sealing key and the map with its policy; the gateway gets addresses and its own credentials.
Neither gets what belongs to the other.
"""

from collections.abc import Iterable, Iterator, Mapping

from adapters.registry import BUILTIN, ENTRY, Halves
from bridge.config.content import Content, content_options
from bridge.config.esession import ESession, options
from bridge.config.load import Loaded
from bridge.config.models import Account, Config, Contact, Matrix
from bridge.config.networks import NEAR_NETWORK
from bridge.config.omemo import Omemo, omemo_options
from bridge.config.secrets import Secrets
from bridge.config.wording import Path as Place
from bridge.wire.control import MAX_ACCOUNTS, AccountMap, ContactMap, EnclaveConfigure, FarAddress, Option
from bridge.wire.gateway_control import AccountRouteMap, GatewayServe, NetworkSettings, RouteMap, Setting
from bridge.wire.values import CONTROL, GATEWAY_CONTACT

Slots = Mapping[str, int]


def assigned_slots(accounts: Iterable[str], before: Slots | None = None) -> Slots:
    """Every account's place in the shared register. An account keeps the place it had; a place that another
    account had is taken only when no fresh one is left."""
    kept = dict(before or {})
    names = sorted(accounts)
    slots = {name: kept[name] for name in names if name in kept}
    fresh = iter([slot for slot in range(MAX_ACCOUNTS) if slot not in set(kept.values())])
    freed = iter(sorted(set(kept.values()) - set(slots.values())))
    for name in names:
        if name not in slots:
            slot = next(fresh, None)
            slots[name] = next(freed) if slot is None else slot
    return slots


def account_maps(config: Config, slots: Slots, secrets: Secrets) -> tuple[AccountMap, ...]:
    """The operator's map with its policy, for the enclave."""
    return tuple(
        AccountMap(
            id=name,
            slot=slots[name],
            near_network=NEAR_NETWORK,
            near_address=account.xmpp,
            far_addresses=_far_addresses(account),
            contacts=(*_contact_maps(config, name, secrets), _gateway_itself(config)),
            options=(
                *_options(account.esession, ("accounts", name), secrets),
                *_passing(account.content),
                *_omemo(account.omemo),
            ),
        )
        for name, account in config.accounts.items()
    )


def route_maps(config: Config, secrets: Secrets) -> tuple[AccountRouteMap, ...]:
    """Addresses and credentials, for the gateway."""
    return tuple(
        AccountRouteMap(
            account=name,
            near_address=account.xmpp,
            far_addresses=_far_addresses(account),
            contacts=(*_routes(config, account), _route_to_itself(config)),
            credentials=tuple(_settings(network, given) for network, given in secrets.accounts[name].items()),
        )
        for name, account in config.accounts.items()
    )


def enclave_configure(loaded: Loaded, slots: Slots) -> EnclaveConfigure:
    """First order to an enclave."""
    return EnclaveConfigure(
        sealing_key=loaded.secrets.sealing_key,
        accounts=account_maps(loaded.config, slots, loaded.secrets),
    )


def gateway_serve(loaded: Loaded) -> GatewayServe:
    """First order to a gateway."""
    config = loaded.config
    return GatewayServe(
        accounts=route_maps(config, loaded.secrets),
        networks=tuple(_network_settings(config, loaded.secrets)),
        ledger_path=str(config.storage.path),
        log_level=config.log.level,
        log_format=config.log.format,
    )


def halves(config: Config, network: str) -> Halves:
    """Where the halves of a network's adapter are found."""
    adapter = config.adapters.get(network)
    return BUILTIN[network] if adapter is None else Halves(adapter.outside, adapter.inside)


def alias(config: Config, contact: str) -> str:
    """The address that a contact appears under: `bob` -> `bob@matrix.example.org`."""
    return f"{contact}@{config.xmpp.component.jid}"


def _options(settings: ESession | None, place: Place, secrets: Secrets) -> tuple[Option, ...]:
    """The settings of encrypted sessions at a place: they go to the enclave, and nowhere else."""
    if settings is None:
        return ()
    found = options(settings, secrets.peers.get((*place, "esession"), {}))
    return tuple(Option(name=name, value=value) for name, value in found.items())


def _contact_maps(config: Config, owner: str, secrets: Secrets) -> Iterator[ContactMap]:
    account = config.accounts[owner]
    for name, contact in account.contacts.items():
        yield ContactMap(
            id=name,
            network=account.network_of(contact),
            address=contact.address,
            alias=alias(config, name),
            require=contact.require,
            options=(
                *_trust(contact),
                *_options(contact.esession, ("accounts", owner, "contacts", name), secrets),
                *_passing(contact.content),
                *_omemo(contact.omemo),
            ),
        )


def _gateway_itself(config: Config) -> ContactMap:
    """The contact that is the gateway itself, under the component's own address (docs/decisions/0144)."""
    jid = config.xmpp.component.jid
    return ContactMap(id=GATEWAY_CONTACT, network=CONTROL, address=jid, alias=jid, require="end-to-end")


def _route_to_itself(config: Config) -> RouteMap:
    jid = config.xmpp.component.jid
    return RouteMap(contact=GATEWAY_CONTACT, network=CONTROL, address=jid, alias=jid)


def _passing(settings: Content | None) -> tuple[Option, ...]:
    """What may pass beside text: the enclave's to decide."""
    return tuple(Option(name=name, value=value) for name, value in content_options(settings).items())


def _omemo(settings: Omemo | None) -> tuple[Option, ...]:
    return tuple(Option(name=name, value=value) for name, value in omemo_options(settings).items())


def _trust(contact: Contact) -> tuple[Option, ...]:
    return () if contact.trust is None else (Option(name="trust", value=contact.trust),)


def _routes(config: Config, account: Account) -> Iterator[RouteMap]:
    for name, contact in account.contacts.items():
        network = account.network_of(contact)
        yield RouteMap(contact=name, network=network, address=contact.address, alias=alias(config, name))


def _far_addresses(account: Account) -> tuple[FarAddress, ...]:
    return tuple(FarAddress(network=name, address=address) for name, address in account.far_addresses().items())


def _network_settings(config: Config, secrets: Secrets) -> Iterator[NetworkSettings]:
    component = config.xmpp.component
    yield _settings(
        NEAR_NETWORK,
        {
            **{"jid": component.jid, "host": component.host, "port": str(component.port), "secret": secrets.component},
            **_spool(config, NEAR_NETWORK),
            "file_hosts": " ".join(config.files.allow_hosts),
        },
    )
    if config.matrix is not None:
        yield _settings(
            "matrix",
            {
                "homeserver": config.matrix.homeserver,
                **_spool(config, "matrix"),
                **_history(config.matrix),
                **_appservice(config.matrix, secrets),
            },
        )
    if "loopback" in config.networks():
        yield _settings("loopback", {})
    for network in config.networks():
        if (adapter := config.adapters.get(network)) is not None:
            entry = {ENTRY: adapter.outside}
            yield _settings(network, {**adapter.settings, **secrets.adapters[network], **entry})


def _history(matrix: Matrix) -> dict[str, str]:
    """How much of what was missed is fetched, as far as it is written."""
    bounds = {"history_days": matrix.history.days, "history_messages": matrix.history.messages}
    return {name: str(value) for name, value in bounds.items() if value is not None}


def _spool(config: Config, network: str) -> dict[str, str]:
    """Where files on their way are kept: a folder of the network's own, beside the ledger."""
    return {"spool": str(config.storage.path.with_suffix(".files") / network)}


def _appservice(matrix: Matrix, secrets: Secrets) -> dict[str, str]:
    """The application service, for the gateway: where it listens, and its tokens."""
    if matrix.appservice is None:
        return {}
    address, port = matrix.appservice.address
    where = {"appservice_host": address, "appservice_port": port}
    return {"appservice_id": matrix.appservice.id, **where, **secrets.appservice}


def _settings(network: str, values: Mapping[str, str]) -> NetworkSettings:
    return NetworkSettings(
        network=network, settings=tuple(Setting(name=name, value=value) for name, value in values.items())
    )
