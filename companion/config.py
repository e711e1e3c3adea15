"""The companion's own configuration: a YAML file like the gateway's, or the same by options of the command line."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, ValidationError

from bridge.config.base import Closed, ConfigPath, mistake
from bridge.config.document import Node, read_document
from bridge.config.jid import NotAnAddress, bare_jid
from bridge.config.paths import file_path
from bridge.config.wording import dotted, shown
from bridge.errors import ConfigError, Problem

DEFAULT_FOLDER: Final = "~/.local/share/lockgate/companion"
MAX_OCTETS: Final = 1 << 20
LOOPBACK: Final = ("127.0.0.1", "localhost")

_EXAMPLES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "jid": "jid: alice@example.org",
        "password_file": "password_file: secrets/alice",
        "folder": "folder: ~/.local/share/lockgate/companion",
        "listen": "listen: 127.0.0.1:5222",
        "listen_tls": "listen_tls: 5223",
        "lockdown": "lockdown: enforce",
        "server": "server: {host: xmpp.example.org, port: 5222}",
    }
)


def _jid(text: str) -> str:
    reason = ""
    try:
        return bare_jid(text)
    except NotAnAddress as error:
        reason = error.reason
    raise mistake("address", f"{{shown}} is not an address that can be used: it {reason}", _EXAMPLES["jid"])


def _listen(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdecimal() or int(port) > 65535:
        raise mistake("listen", "{shown} is not an address with a port", f"Write it like this: {_EXAMPLES['listen']}")
    if host not in LOOPBACK:
        remedy = "Other machines must not reach it: what clients send it is not encrypted end to end yet."
        raise mistake("listen", "{shown} is not on this machine's loopback", remedy)
    return text


class Server(Closed):
    """The real server, where DNS or the system's certificates do not tell."""

    host: str | None = None
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    direct_tls: bool = False
    ca_file: ConfigPath | None = None
    fingerprint: str | None = None
    allow_plain: bool = False


class CompanionConfig(Closed):
    """One account."""

    jid: Annotated[str, AfterValidator(_jid)]
    password_file: ConfigPath
    folder: ConfigPath | None = None
    listen: Annotated[str, AfterValidator(_listen)] = "127.0.0.1:5222"
    listen_tls: Annotated[int, Field(ge=0, le=65535)] | None = None
    server: Server = Server()
    lockdown: Literal["enforce", "best-effort"] = "enforce"

    @property
    def place(self) -> Path:
        """Where the companion keeps its certificate, passwords, sealing key and sealed state."""
        return self.folder or Path(DEFAULT_FOLDER).expanduser() / self.jid

    @property
    def port(self) -> int:
        """Where the client connects to."""
        return int(self.listen.rpartition(":")[2])


def load_companion(file: Path) -> CompanionConfig:
    """Read the configuration. Raises ConfigError with every mistake, each with its path and line."""
    octets = b""
    trouble = False
    try:
        octets = file.read_bytes()[:MAX_OCTETS]
    except OSError:
        trouble = True
    if trouble:
        remedy = "Name it with -c, or give --jid and --password-file."
        raise ConfigError(str(file), [Problem("no-file", "", "it cannot be read", remedy)])
    root, problems = read_document(octets)
    if root is None or problems:
        raise ConfigError(str(file), problems)
    return checked(root.plain(), file.absolute().parent, str(file), root)


def checked(document: object, folder: Path, name: str, root: Node | None = None) -> CompanionConfig:
    """The configuration that a document holds; relative paths are in `folder`. Raises ConfigError."""
    problems: list[Problem] = []
    try:
        return CompanionConfig.model_validate(document, context={"folder": folder})
    except ValidationError as error:
        problems = [_problem(details, root) for details in error.errors(include_url=False)]
    raise ConfigError(name, problems)


def from_options(jid: str, password_file: str, listen: str | None, folder: str | None) -> CompanionConfig:
    """The configuration by options of the command line. Raises ConfigError."""
    given = {"jid": jid, "password_file": password_file, "listen": listen, "folder": folder}
    document = {key: value for key, value in given.items() if value is not None}
    return checked(document, file_path(".", Path.cwd()) or Path.cwd(), "the command line")


def _problem(details: Any, root: Node | None) -> Problem:
    path = tuple(details["loc"])
    line = root.line_of(path) if root is not None else None
    context = details.get("ctx", {})
    example = _EXAMPLES.get(str(path[0]) if path else "", "See docs/companion.md.")
    if "remedy" in context:
        found = str(context["found"]).replace("{shown}", shown(details["input"]))
        return Problem(details["type"], dotted(path), found, str(context["remedy"]), line)
    if details["type"] == "missing":
        return Problem("missing-key", dotted(path), f"“{path[-1]}” is missing", f"Write it like this: {example}", line)
    if details["type"] == "extra_forbidden":
        known = ", ".join(Server.model_fields if len(path) > 1 else CompanionConfig.model_fields)
        return Problem("unknown-key", dotted(path), "there is no such key here", f"Known keys here: {known}.", line)
    found = f"{shown(details['input'])} cannot be used here"
    return Problem("wrong-value", dotted(path), found, f"Write it like this: {example}", line)
