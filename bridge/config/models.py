"""The configuration as closed, strict, immutable models. Shapes only: what one field says about another is in
`bridge.config.relations`, what the file system says in `bridge.config.secrets`.

Secrets are never in the file: a `*_file` key names the file that holds one, relative to the configuration's folder.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, ValidationInfo

from bridge.config.appservice import Appservice
from bridge.config.base import Closed, ConfigPath, folder_of, mistake
from bridge.config.content import Content
from bridge.config.endpoints import Host, Port
from bridge.config.esession import ESession
from bridge.config.jid import NotAnAddress, bare_jid, domainpart
from bridge.config.mxid import user_id
from bridge.config.networks import AssuranceName, TrustName, inside_half, outside_half, printable
from bridge.config.omemo import Omemo
from bridge.config.paths import is_encodable
from bridge.config.wording import shown
from bridge.urls import split_url
from bridge.wire.control import MAX_ACCOUNTS

ADMIN_SOCKET = "admin.sock"


def _address(normal: Callable[[str], str], called: str, example: str, code: str = "address") -> Callable[[str], str]:
    def checked(text: str) -> str:
        reason: NotAnAddress
        try:
            return normal(text)
        except NotAnAddress as error:
            reason = error
        meant = f"Perhaps {shown(reason.suggestion)} is meant." if reason.suggestion else f"It looks like “{example}”."
        raise mistake(code, f"{{shown}} is not {called} that can be used: it {reason.reason}", meant)

    return checked


def _homeserver(text: str) -> str:
    parts = split_url(text)
    remedy = "Write the homeserver's base URL, for example https://matrix.example.org."
    if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname:
        raise mistake("url", "{shown} is not an http or https URL", remedy)
    if parts.username is not None or parts.password is not None:
        raise mistake("url-secret", "the URL holds a user name or password (not shown)", remedy)
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise mistake("url", "{shown} has something after the host", remedy)
    return f"{parts.scheme}://{parts.netloc}"


_SCHEME = re.compile(r"([a-z][a-z0-9+]*):")


def _storage_url(text: str, info: ValidationInfo) -> str:
    """`sqlite:///PATH` (absolute) or `sqlite:PATH` (relative to the configuration's folder), as `sqlite:///PATH`."""
    match = _SCHEME.match(text)
    scheme = match.group(1) if match else ""
    remedy = "Write sqlite:///var/lib/lockgate/ledger.db, with three slashes and the absolute path."
    if scheme.startswith("postgres"):
        raise mistake("storage-postgres", "PostgreSQL is not supported yet (the URL is not shown)", remedy)
    if scheme != "sqlite":
        raise mistake("storage-url", "the storage URL (not shown) does not begin with “sqlite:”", remedy)
    path = text.removeprefix("sqlite:")
    malformed = not is_encodable(path) or re.search(r"[?#]", path) or not path.strip("/")
    if malformed or (path.startswith("//") and not path.startswith("///")):
        raise mistake("storage-url", "{shown} does not name a file", remedy)
    if path.startswith("///"):
        return f"sqlite:///{path.lstrip('/')}"
    return f"sqlite://{(folder_of(info) / path).absolute()}"


Jid = Annotated[str, AfterValidator(_address(bare_jid, "an XMPP address", "alice@example.org"))]
ComponentJid = Annotated[str, AfterValidator(_address(domainpart, "a component's domain", "matrix.example.org"))]
MatrixUser = Annotated[str, AfterValidator(_address(user_id, "a Matrix user ID", "@alice:example.org"))]
LoopbackUser = Annotated[str, AfterValidator(_address(printable, "a loopback address", "alice"))]
FarAddress = Annotated[str, AfterValidator(_address(printable, "an address", "alice"))]
OutsideHalf = Annotated[
    str, AfterValidator(_address(outside_half, "an outside half", "lockgate_carrier.outside:CarrierOutside", "half"))
]
InsideHalf = Annotated[
    str, AfterValidator(_address(inside_half, "an inside half", "lockgate_carrier.inside:CarrierInside", "half"))
]
Label = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
"""Name of an account or contact; a contact's is the localpart of its JID (bridge.wire.values.ContactId)."""
NetworkName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,47}$")]
"""bridge.wire.values.Name"""
SettingName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,47}$")]
"""bridge.wire.control.Setting"""


class Component(Closed):
    """The external component's connection to the user's XMPP server (XEP-0114)."""

    jid: ComponentJid
    host: Host = "127.0.0.1"
    port: Port = 5347
    secret_file: ConfigPath


class Xmpp(Closed):
    """The near network."""

    component: Component


class History(Closed):
    """How much of what was missed is fetched: messages no older than this, and no more for one room at a time."""

    days: Annotated[int, Field(ge=1, le=3650)] | None = None
    messages: Annotated[int, Field(ge=1, le=100_000)] | None = None


class Matrix(Closed):
    """The Matrix network: the homeserver of the accounts' users."""

    homeserver: Annotated[str, AfterValidator(_homeserver)]
    appservice: Appservice | None = None
    history: History = History()


class Adapter(Closed):
    """An adapter of another package: its halves, what its leg can give, and what its outside half is told."""

    outside: OutsideHalf
    inside: InsideHalf
    assurance: AssuranceName
    settings: dict[SettingName, Annotated[str, StringConstraints(max_length=8192)]] = Field(default_factory=dict)
    secret_files: dict[SettingName, ConfigPath] = Field(default_factory=dict)


class MatrixLogin(Closed):
    """An account's own Matrix user, and how the gateway logs in as it."""

    user: MatrixUser
    password_file: ConfigPath | None = None
    token_file: ConfigPath | None = None
    session_file: ConfigPath | None = None
    appservice: bool = False
    device: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._~:+/=-]{1,255}$")] | None = None


class LoopbackLogin(Closed):
    """An account's own address on the loopback network, which has no server and no login."""

    user: LoopbackUser


class FarLogin(Closed):
    """An account's own address on a network of `adapters`, and the secrets it takes to use it."""

    address: FarAddress
    secret_files: dict[SettingName, ConfigPath] = Field(default_factory=dict)


class Contact(Closed):
    """A person on a far network, mapped by hand: the map is the allow-list and the policy."""

    address: Annotated[str, StringConstraints(min_length=1, max_length=1024)]
    require: AssuranceName = "end-to-end"
    network: str | None = None
    trust: TrustName | None = None
    esession: ESession | None = None
    content: Content | None = None
    omemo: Omemo | None = None


class Account(Closed):
    """One XMPP user with their own addresses on far networks and their contacts."""

    xmpp: Jid
    matrix: MatrixLogin | None = None
    loopback: LoopbackLogin | None = None
    networks: dict[str, FarLogin] = Field(default_factory=dict)
    contacts: dict[Label, Contact] = Field(default_factory=dict)
    esession: ESession | None = None
    content: Content | None = None
    omemo: Omemo | None = None

    def far_addresses(self) -> dict[str, str]:
        """The user's own address by far network."""
        logins = {"matrix": self.matrix, "loopback": self.loopback}
        built_in = {network: login.user for network, login in logins.items() if login is not None}
        return {**built_in, **{network: login.address for network, login in self.networks.items()}}

    def network_of(self, contact: Contact) -> str:
        """The contact's network: the one it names, or the account's only one."""
        return contact.network or next(iter(self.far_addresses()))


class Sealing(Closed):
    """Where the key is that seals the enclave's state."""

    key_file: ConfigPath


class Storage(Closed):
    """Where the ledger is."""

    url: Annotated[str, AfterValidator(_storage_url)]

    @property
    def path(self) -> Path:
        """The ledger's file."""
        return Path(self.url.removeprefix("sqlite://"))


class Enclave(Closed):
    """What the enclave must achieve before it starts."""

    lockdown: Literal["enforce", "best-effort"] = "enforce"


class Log(Closed):
    """What the log says, and how."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["console", "json"] = "console"


_FILE_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]{1,253})(:[0-9]{1,5})?")


def _file_hosts(value: object) -> tuple[str, ...]:
    remedy = "Write a list of hosts as they stand in the URLs of files, for example [files.example.org]."
    if not isinstance(value, list | tuple) or len(value) > 16:
        raise mistake("not-a-list", "{shown} is not a list of at most 16 hosts", remedy)
    for entry in value:
        if not isinstance(entry, str) or _FILE_HOST.fullmatch(entry) is None:
            raise mistake("host", f"{shown(entry)} is not a host, or host:port", remedy)
    return tuple(entry.lower() for entry in value)


class Files(Closed):
    """How files are fetched: from public hosts, and from those that are named here."""

    allow_hosts: Annotated[tuple[str, ...], BeforeValidator(_file_hosts)] = ()


class Config(Closed):
    """The whole file."""

    xmpp: Xmpp
    matrix: Matrix | None = None
    adapters: dict[NetworkName, Adapter] = Field(default_factory=dict)
    accounts: Annotated[dict[Label, Account], Field(min_length=1, max_length=MAX_ACCOUNTS)]
    sealing: Sealing
    storage: Storage
    state_dir: ConfigPath | None = None
    enclave: Enclave = Enclave()
    files: Files = Files()
    log: Log = Log()

    @property
    def runtime_dir(self) -> Path:
        """The folder of the admin socket: `state_dir`, by default the ledger's folder."""
        return self.state_dir or self.storage.path.parent

    @property
    def admin_socket(self) -> Path:
        """The supervisor's admin socket."""
        return self.runtime_dir / ADMIN_SOCKET

    def networks(self) -> Mapping[str, tuple[str, ...]]:
        """The accounts that use each far network."""
        used: dict[str, tuple[str, ...]] = {}
        for name, account in self.accounts.items():
            for network in account.far_addresses():
                used[network] = (*used.get(network, ()), name)
        return used
