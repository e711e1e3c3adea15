"""Every key of the configuration: what it means, and an example of a right value. `*` stands for a chosen name."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from bridge.config.wording import Path


class Key(NamedTuple):
    """One key."""

    meaning: str
    example: str


KEYS: Mapping[str, Key] = MappingProxyType(
    {
        "xmpp": Key("the XMPP side", "xmpp: {component: {…}}"),
        "xmpp.component": Key("the connection to the XMPP server (XEP-0114)", "component: {jid: …, secret_file: …}"),
        "xmpp.component.jid": Key(
            "the component's domain, as in the XMPP server's settings", "jid: matrix.example.org"
        ),
        "xmpp.component.host": Key("where the XMPP server listens for components", "host: 127.0.0.1"),
        "xmpp.component.port": Key("the port of that", "port: 5347"),
        "xmpp.component.secret_file": Key("file with the component's secret", "secret_file: secrets/component"),
        "matrix": Key("the Matrix side", "matrix: {homeserver: https://matrix.example.org}"),
        "matrix.homeserver": Key("base URL of the users' homeserver", "homeserver: https://matrix.example.org"),
        "adapters": Key("adapters of other packages, by their networks' names", "adapters: {carrier: {…}}"),
        "adapters.*": Key("one adapter", "carrier: {outside: …, inside: …, assurance: end-to-end}"),
        "adapters.*.outside": Key("the class of its outside half", "outside: lockgate_carrier.outside:CarrierOutside"),
        "adapters.*.inside": Key("the class of its inside half", "inside: lockgate_carrier.inside:CarrierInside"),
        "adapters.*.assurance": Key("the best that its leg can give", "assurance: end-to-end"),
        "adapters.*.settings": Key("what its outside half is told, as text", "settings: {host: 127.0.0.1}"),
        "adapters.*.settings.*": Key("one setting", "host: 127.0.0.1"),
        "adapters.*.secret_files": Key("files with its secrets", "secret_files: {token: secrets/carrier-token}"),
        "adapters.*.secret_files.*": Key("file with a secret", "token: secrets/carrier-token"),
        "accounts": Key("the users, each under a name of the operator's choice", "accounts: {alice: {…}}"),
        "accounts.*": Key("one user", "alice: {xmpp: …, matrix: {…}, contacts: {…}}"),
        "accounts.*.xmpp": Key("the user's XMPP address", "xmpp: alice@example.org"),
        "accounts.*.matrix": Key("the user's Matrix login", "matrix: {user: …, password_file: …}"),
        "accounts.*.matrix.user": Key("the user's Matrix ID", 'user: "@alice:example.org"'),
        "accounts.*.matrix.password_file": Key("file with their password", "password_file: secrets/alice-matrix"),
        "accounts.*.matrix.token_file": Key("file with an access token, instead", "token_file: secrets/alice-token"),
        "accounts.*.matrix.device": Key("the token's device ID", "device: ABCDEFGHIJ"),
        "accounts.*.loopback": Key("an address on the built-in test network", "loopback: {user: alice}"),
        "accounts.*.loopback.user": Key("the user's address there", "user: alice"),
        "accounts.*.networks": Key("the user's logins on networks of `adapters`", "networks: {carrier: {address: …}}"),
        "accounts.*.networks.*": Key("the user's login on one network", "carrier: {address: alice}"),
        "accounts.*.networks.*.address": Key("the user's own address there", "address: alice"),
        "accounts.*.networks.*.secret_files": Key("files with the user's secrets", "secret_files: {pin: secrets/pin}"),
        "accounts.*.networks.*.secret_files.*": Key("file with a secret", "pin: secrets/pin"),
        "accounts.*.contacts": Key("the people this user may talk to", "contacts: {bob: {address: …}}"),
        "accounts.*.contacts.*": Key("one contact", 'bob: {address: "@bob:matrix.org"}'),
        "accounts.*.contacts.*.address": Key("their address on the far network", 'address: "@bob:matrix.org"'),
        "accounts.*.contacts.*.require": Key("the least assurance on the far leg", "require: end-to-end"),
        "accounts.*.contacts.*.network": Key("the contact's network, when the user has several", "network: matrix"),
        "sealing": Key("how the enclave's state is sealed", "sealing: {key_file: secrets/sealing}"),
        "sealing.key_file": Key("file with the sealing key", "key_file: secrets/sealing"),
        "storage": Key("the ledger", 'storage: {url: "sqlite:///var/lib/lockgate/ledger.db"}'),
        "storage.url": Key("where the ledger is", 'url: "sqlite:///var/lib/lockgate/ledger.db"'),
        "state_dir": Key("folder of the admin socket", "state_dir: /run/lockgate"),
        "enclave": Key("the enclave process", "enclave: {lockdown: enforce}"),
        "enclave.lockdown": Key("whether it starts without full lockdown", "lockdown: enforce"),
        "log": Key("the log", "log: {level: info, format: console}"),
        "log.level": Key("the least important event that is logged", "level: info"),
        "log.format": Key("lines for people or JSON", "format: console"),
    }
)

_NAMED = ("accounts", "contacts", "adapters", "networks", "settings", "secret_files")
"""Mappings whose keys are names that are not in `KEYS`."""


def pattern(path: Path) -> str:
    """The entry of `KEYS` that a place of the document belongs to: `accounts.alice.xmpp` -> `accounts.*.xmpp`."""
    steps: list[str] = []
    for step in path:
        named = bool(steps) and steps[-1] in _NAMED
        steps.append("*" if named else str(step))
    return ".".join(steps)


def children(parent: str) -> list[str]:
    """The keys that may stand under an entry of `KEYS` (the root is the empty string)."""
    prefix = f"{parent}." if parent else ""
    return [name for key in KEYS if key.startswith(prefix) and "." not in (name := key[len(prefix) :]) and name != "*"]


def elsewhere(name: str) -> str | None:
    """The only other entry whose key has this name."""
    places = [key for key in KEYS if key.rpartition(".")[2] == name]
    return places[0] if len(places) == 1 else None
