"""Every key of the configuration: what it means, and an example of a right value. `*` stands for a chosen name."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from bridge.config.wording import Path


class Key(NamedTuple):
    """One key."""

    meaning: str
    example: str


_ESESSION: Mapping[str, Key] = MappingProxyType(
    {
        "": Key("encrypted sessions with the user", "esession: {post_quantum: require}"),
        ".groups": Key("Diffie-Hellman groups, the best first", "groups: [14, 15, 16, 17, 18]"),
        ".ciphers": Key("ciphers, the best first", "ciphers: [aes128-ctr, aes256-ctr]"),
        ".hashes": Key("hash functions, the best first", "hashes: [sha256, sha3-256]"),
        ".stanzas": Key("what is encrypted, the most important first", "stanzas: [message, presence, iq]"),
        ".post_quantum": Key("the post-quantum part of the keys", "post_quantum: prefer"),
        ".password_file": Key("file with a password that both ends know", "password_file: secrets/alice-password"),
        ".public_keys": Key("how public keys may be shown", "public_keys: [hash, key]"),
        ".own_key": Key("how contacts show their own keys", "own_key: hash"),
        ".pinned": Key("fingerprints of the user's keys", 'pinned: ["64 hexadecimal digits"]'),
        ".ca_file": Key("file with certificates that vouch", "ca_file: certificates/ca.pem"),
        ".certificate_file": Key("file with the user's certificate", "certificate_file: certificates/alice.pem"),
        ".openpgp_file": Key("file with the user's OpenPGP certificate", "openpgp_file: certificates/alice.asc"),
        ".allow_dsa": Key("whether keys of old peers may be DSA", "allow_dsa: false"),
        ".rekey": Key("when a session makes new keys", "rekey: {messages: 100, minutes: 60}"),
        ".rekey.messages": Key("after how many messages, 1 to 2147483648", "messages: 100"),
        ".rekey.minutes": Key("after how many minutes, 1 to 525600", "minutes: 60"),
        ".three_message": Key("negotiations of three messages", "three_message: accept"),
        ".one_shot": Key("single messages without a session", "one_shot: accept"),
        ".shield": Key("whose identity is shielded from active attacks", "shield: initiator"),
        ".offline": Key("sessions while the user is offline (XEP-0187)", "offline: on"),
        ".require_verified": Key("whether the user must be verified first", "require_verified: true"),
        ".weak_string": Key("strings that can be made to match", "weak_string: refuse"),
    }
)


_CONTENT: Mapping[str, Key] = MappingProxyType(
    {
        "": Key("what may pass beside text", "content: {reactions: true, files: 100 MiB}"),
        ".reactions": Key("whether reactions pass unencrypted", "reactions: true"),
        ".retractions": Key("whether messages may be taken back", "retractions: true"),
        ".receipts": Key("whether either side is told what the other has read", "receipts: false"),
        ".typing": Key("whether the contact's network is told that the user writes", "typing: true"),
        ".presence": Key("whether the contact's network is told that the user is there", "presence: true"),
        ".profile": Key("whether the contact's public name and picture are shown", "profile: false"),
        ".files": Key("the size of the largest file", "files: 100 MiB"),
    }
)


def _content(parent: str) -> dict[str, Key]:
    return {f"{parent}.content{name}": key for name, key in _CONTENT.items()}


_OMEMO = {
    "": Key("OMEMO with the user's clients", "omemo: {use: on}"),
    ".use": Key("whether contacts are OMEMO devices", "use: on"),
    ".trust": Key("which of the user's devices are believed", "trust: blind-until-verified"),
    ".automatic": Key("whether devices may vouch for each other", "automatic: off"),
    ".protocols": Key("which encryption is used first", "protocols: [esession, omemo:2, axolotl]"),
    ".beside": Key("what may stand in clear beside the older form of OMEMO", "beside: all"),
}


def _omemo(parent: str) -> dict[str, Key]:
    return {f"{parent}.omemo{name}": key for name, key in _OMEMO.items()}


def _esession(parent: str) -> dict[str, Key]:
    return {f"{parent}.esession{name}": key for name, key in _ESESSION.items()}


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
        "matrix.history": Key("how much of what was missed is fetched", "history: {days: 30, messages: 20000}"),
        "matrix.history.days": Key("the age of the oldest message that is fetched", "days: 30"),
        "matrix.history.messages": Key("how many messages of one room are fetched", "messages: 20000"),
        "matrix.appservice": Key("Lockgate as an application service", "appservice: {users: …, as_token_file: …}"),
        "matrix.appservice.id": Key("what it is called in its registration", "id: lockgate"),
        "matrix.appservice.users": Key("the users that are its own", 'users: "@xmpp_*:example.org"'),
        "matrix.appservice.listen": Key("address and port where it listens", "listen: 127.0.0.1:29333"),
        "matrix.appservice.url": Key("where the homeserver reaches it", "url: http://127.0.0.1:29333"),
        "matrix.appservice.as_token_file": Key("file with its token", "as_token_file: secrets/appservice-as"),
        "matrix.appservice.hs_token_file": Key(
            "file with the homeserver's token", "hs_token_file: secrets/appservice-hs"
        ),
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
        "accounts.*.matrix.session_file": Key("file for a login in the browser", "session_file: secrets/alice-session"),
        "accounts.*.matrix.appservice": Key("whether the user is the application service's", "appservice: true"),
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
        "accounts.*.contacts.*.trust": Key("which of a Matrix contact's devices are trusted", "trust: cross-signed"),
        **_esession("accounts.*"),
        **_esession("accounts.*.contacts.*"),
        **_content("accounts.*"),
        **_content("accounts.*.contacts.*"),
        **_omemo("accounts.*"),
        **_omemo("accounts.*.contacts.*"),
        "sealing": Key("how the enclave's state is sealed", "sealing: {key_file: secrets/sealing}"),
        "sealing.key_file": Key("file with the sealing key", "key_file: secrets/sealing"),
        "storage": Key("the ledger", 'storage: {url: "sqlite:///var/lib/lockgate/ledger.db"}'),
        "storage.url": Key("where the ledger is", 'url: "sqlite:///var/lib/lockgate/ledger.db"'),
        "state_dir": Key("folder of the admin socket", "state_dir: /run/lockgate"),
        "enclave": Key("the enclave process", "enclave: {lockdown: enforce}"),
        "enclave.lockdown": Key("whether it starts without full lockdown", "lockdown: enforce"),
        "files": Key("how files are fetched", "files: {allow_hosts: [files.example.org]}"),
        "files.allow_hosts": Key("hosts to fetch from that are not public ones", "allow_hosts: [files.example.org]"),
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
